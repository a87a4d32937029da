// SPDX-License-Identifier: MIT OR Apache-2.0
//! Maglev hashing (`ip_vs_mh.c`; Eisenbud et al., NSDI 2016): a table of 4093 places, filled by
//! each server in the order of its own permutation, a few places a turn by weight. A client's
//! address has one place, with `mh-port` each of its ports another.
//!
//! A server whose weight becomes 0 keeps its places, so that those of others do not move; its
//! clients get no server, unless `mh-fallback` looks through the other places.

use super::fixed_hash::{fold, sip13};
use super::{Buckets, FALLBACK, PORT, Request, Roster, common_divisor};
use crate::service::Server;
use crate::snapshot::Candidate;

/// Places of the table: the prime below 2^12.
const PLACES: u32 = 4093;
/// Keys of the two hashes.
const KEYS: [u64; 2] = [2_654_435_761, 2_654_446_892];
/// Turns are cut to this many bits.
const TURN_BITS: u32 = 6;
const FREE: u32 = u32::MAX;

/// One server's way through the table.
struct Permutation {
    place: u32,
    skip: u32,
    turns: u32,
}

impl Permutation {
    fn new(server: &Server, turns: u32) -> Self {
        let name = fold(server.key.address).wrapping_add(server.key.port.into());
        let [first, second] = KEYS.map(|key| sip13(name, key));
        Self { place: first % PLACES, skip: second % (PLACES - 1) + 1, turns }
    }
}

/// The table; empty if no server ever had a weight.
pub(super) fn places(servers: &[Server]) -> Buckets {
    let weights = servers.iter().map(|server| server.last_weight);
    let common = common_divisor(weights.clone());
    if common == 0 {
        return Buckets::default();
    }
    let heaviest = weights.max().unwrap_or(0) / common;
    let shift = (u32::BITS - heaviest.leading_zeros()).saturating_sub(TURN_BITS);
    let turns = |weight: u32| match (weight / common) >> shift {
        0 => weight.min(1),
        turns => turns,
    };
    let of = |server: &Server| Permutation::new(server, turns(server.last_weight));
    let mut permutations: Vec<_> = servers.iter().map(of).collect();
    fill(&mut permutations)
}

fn fill(permutations: &mut [Permutation]) -> Buckets {
    let mut places: Buckets = (0..PLACES).map(|_| FREE).collect();
    let mut free = places.len();
    loop {
        for (server, way) in (0..).zip(&mut *permutations) {
            for _ in 0..way.turns {
                let is_free = |place: u32| places.get(place as usize) == Some(&FREE);
                while !is_free(way.place) {
                    way.place = (way.place + way.skip) % PLACES;
                }
                if let Some(place) = places.get_mut(way.place as usize) {
                    *place = server;
                }
                free -= 1;
                if free == 0 {
                    return places;
                }
            }
        }
    }
}

pub(super) fn pick<'a>(
    roster: &Roster<'a>,
    places: &Buckets,
    request: &Request<'_>,
) -> Option<&'a Candidate> {
    let flags = roster.service.options.flags;
    let port = if flags.has(PORT) { request.client_port.into() } else { 0 };
    let name = fold(request.client).wrapping_add(port);
    let hash = |offset: u32| sip13(offset.wrapping_add(name), KEYS[0]) % PLACES;
    let at = |place: u32| roster.in_bucket(places, place as usize);
    let takes = |candidate: &&Candidate| roster.takes(candidate);
    let first = hash(0);
    match at(first)? {
        candidate if roster.takes(candidate) => Some(candidate),
        // Without a server that takes connections, 4093 hashes would be for nothing.
        _ if flags.has(FALLBACK) && roster.open().next().is_some() => {
            let others = (0..PLACES).map(|step| hash((step + first) % PLACES));
            others.filter_map(at).find(takes)
        }
        _ => None,
    }
}
