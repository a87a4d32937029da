// SPDX-License-Identifier: MIT OR Apache-2.0
//! Consistent hashing, DPVS's `conhash` in our own way: each server has points on a ring of 2^32,
//! 160 for each unit of weight, and a client's address goes to the next point after its own.
//!
//! Adding a server moves to it only the clients that it takes, removing one or setting its weight
//! to 0 moves only its own, and editing a weight moves only the difference. While a server is
//! overloaded its clients go to the next points on the ring. Where the points would be more than
//! [`POINTS_MAX`], all servers have the same power of two fewer. Points and clients are placed
//! without a secret: every worker, director and restart finds the same server.

use std::net::IpAddr;

use super::{Request, Roster};
use crate::hash::Keyed;
use crate::ids::Seed;
use crate::service::Server;
use crate::snapshot::Candidate;

/// Points for each unit of weight.
const POINTS_PER_WEIGHT: u64 = 160;
/// Points of a service at most, those of servers that would have none apart.
const POINTS_MAX: u64 = 1 << 16;

/// The points of a service's servers in the order of the ring.
#[derive(Clone, Debug, Default)]
pub struct Ring(Box<[Point]>);

/// A point on the ring, and the place of its server in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u32,
    server: u32,
}

impl Ring {
    pub(super) fn new(servers: &[Server]) -> Self {
        let points = |server: &Server| u64::from(server.options.weight) * POINTS_PER_WEIGHT;
        let all: u64 = servers.iter().map(points).sum();
        let shift = all.div_ceil(POINTS_MAX).next_power_of_two().trailing_zeros();
        let mut ring = Vec::new();
        for (place, server) in (0..).zip(servers) {
            let count = match points(server) {
                0 => 0,
                points => (points >> shift).max(1),
            };
            let name = name(server.key.address, server.key.port);
            ring.extend((0..count).map(|point| Point { at: position(name, point), server: place }));
        }
        ring.sort_unstable();
        Self(ring.into())
    }
}

pub(super) fn pick<'a>(
    roster: &Roster<'a>,
    Ring(points): &Ring,
    request: &Request<'_>,
) -> Option<&'a Candidate> {
    roster.open().next()?;
    let at = position(name(request.client, 0), CLIENT);
    let (before, after) = points.split_at_checked(points.partition_point(|point| point.at < at))?;
    let servers = after.iter().chain(before);
    let candidates = servers.filter_map(|point| roster.at(point.server));
    candidates.into_iter().find(|candidate| roster.takes(candidate))
}

/// No point has this number.
const CLIENT: u64 = u64::MAX;

fn name(address: IpAddr, port: u16) -> u64 {
    let keyed = Keyed::new(Seed::fixed(0));
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    keyed.words(keyed.bytes(&address.octets()), port.into())
}

fn position(name: u64, number: u64) -> u32 {
    (Keyed::new(Seed::fixed(1)).words(name, number) >> 32) as u32
}
