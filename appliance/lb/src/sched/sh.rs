// SPDX-License-Identifier: MIT OR Apache-2.0
//! Source hashing (`ip_vs_sh.c`): 256 buckets, of which each server takes as many in a row as its
//! weight, and one if that is 0; a client's address has one bucket, with `sh-port` each of its
//! ports another. A server that takes no connections leaves its clients without one, unless
//! `sh-fallback` looks through the other buckets.

use super::fixed_hash::{fold, golden8};
use super::{BUCKETS, Buckets, FALLBACK, PORT, Request, Roster};
use crate::snapshot::Candidate;

pub(super) fn buckets(weights: impl Iterator<Item = u32> + Clone) -> Buckets {
    let servers = (0..).zip(weights).cycle();
    let runs = servers.flat_map(|(server, weight): (u32, u32)| {
        std::iter::repeat_n(server, BUCKETS.min(weight.max(1) as usize))
    });
    runs.take(BUCKETS).collect()
}

pub(super) fn pick<'a>(
    roster: &Roster<'a>,
    buckets: &Buckets,
    request: &Request<'_>,
) -> Option<&'a Candidate> {
    let flags = roster.service.options.flags;
    let port = if flags.has(PORT) { request.client_port.into() } else { 0 };
    let hash = golden8(fold(request.client).wrapping_add(port));
    let at = |bucket: u8| roster.in_bucket(buckets, bucket.into());
    let takes = |candidate: &&Candidate| roster.takes(candidate);
    match at(hash).filter(takes) {
        None if flags.has(FALLBACK) => {
            // The kernel begins with the offset `hash`, which it adds to the hash once more.
            let others = (0..=u8::MAX).map(|step| hash.wrapping_mul(2).wrapping_add(step));
            others.filter_map(at).find(takes)
        }
        first => first,
    }
}
