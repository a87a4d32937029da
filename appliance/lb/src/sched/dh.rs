// SPDX-License-Identifier: MIT OR Apache-2.0
//! Destination hashing (`ip_vs_dh.c`): 256 buckets, filled with the servers in turn whatever their
//! weights; a destination address has one bucket.

use super::fixed_hash::{fold, golden8};
use super::{BUCKETS, Buckets, Request, Roster};
use crate::snapshot::Candidate;

pub(super) fn buckets(servers: usize) -> Buckets {
    (0..servers as u32).cycle().take(BUCKETS).collect()
}

pub(super) fn pick<'a>(
    roster: &Roster<'a>,
    buckets: &Buckets,
    request: &Request<'_>,
) -> Option<&'a Candidate> {
    let bucket = golden8(fold(request.vip));
    roster.in_bucket(buckets, bucket.into()).filter(|candidate| roster.takes(candidate))
}
