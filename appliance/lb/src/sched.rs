// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which server takes a new connection.
//!
//! Each scheduler chooses from the [`Roster`]: a service's list, the counts of all workers, and
//! tables that were built with the snapshot. What a scheduler must remember from one connection to
//! the next is shared by all workers and changed by compare-and-swap, so that rr and wrr spread
//! over all workers as over one. Lists run from the last added server to the first, as in the
//! kernel; a tie goes to the earlier in the list. After `net/netfilter/ipvs/ip_vs_*.c`.

mod conhash;
mod dh;
mod fixed_hash;
mod fo;
mod lblc;
mod lblcr;
mod lc;
mod locality;
mod mh;
mod nq;
mod ovf;
mod roster;
mod rr;
mod sed;
mod sh;
mod state;
mod twos;
mod wlc;
mod wrr;

pub use state::SchedState;

use std::net::IpAddr;

use crate::counters::ServerCounts;
use crate::hash::Keyed;
use crate::ids::Tick;
use crate::service::Service;
use crate::snapshot::{Candidate, ServerView, ServiceView};
use conhash::Ring;
use roster::Roster;
use state::Memory;
use wrr::Passes;

/// A scheduler by its name in `-s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// Round robin.
    RoundRobin,
    /// Weighted round robin.
    WeightedRoundRobin,
    /// Least connections.
    LeastConnections,
    /// Weighted least connections: the default.
    WeightedLeastConnections,
    /// Locality-based least connections.
    LocalityLeastConnections,
    /// Locality-based least connections with replication.
    LocalityReplicated,
    /// Destination hashing.
    DestinationHashing,
    /// Source hashing.
    SourceHashing,
    /// Shortest expected delay.
    ShortestExpectedDelay,
    /// Never queue.
    NeverQueue,
    /// Weighted fail-over.
    FailOver,
    /// Weighted overflow.
    Overflow,
    /// Maglev hashing.
    Maglev,
    /// Power of two choices.
    TwoChoices,
    /// Consistent hashing, as DPVS's users know it.
    ConsistentHashing,
    /// None: every connection is refused.
    None,
}

impl Scheduler {
    /// Every scheduler with its name.
    pub const NAMES: &'static [(Self, &'static str)] = &[
        (Self::RoundRobin, "rr"),
        (Self::WeightedRoundRobin, "wrr"),
        (Self::LeastConnections, "lc"),
        (Self::WeightedLeastConnections, "wlc"),
        (Self::LocalityLeastConnections, "lblc"),
        (Self::LocalityReplicated, "lblcr"),
        (Self::DestinationHashing, "dh"),
        (Self::SourceHashing, "sh"),
        (Self::ShortestExpectedDelay, "sed"),
        (Self::NeverQueue, "nq"),
        (Self::FailOver, "fo"),
        (Self::Overflow, "ovf"),
        (Self::Maglev, "mh"),
        (Self::TwoChoices, "twos"),
        (Self::ConsistentHashing, "conhash"),
        (Self::None, "none"),
    ];

    /// The scheduler that `-s NAME` means.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(scheduler, _)| *scheduler)
    }

    /// The name in `-s` and listings.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }
}

/// What a scheduler may know of a new connection.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// The address that the client speaks to.
    pub vip: IpAddr,
    /// The moment.
    pub now: Tick,
    /// Random bits, drawn for this connection.
    pub draw: u64,
    /// The hash function that no stranger knows, the same for all workers.
    pub keyed: &'a Keyed,
}

impl Request<'_> {
    /// The hash of the destination that lblc and lblcr remember servers of.
    fn destination_hash(&self) -> u64 {
        match self.vip {
            IpAddr::V4(v4) => self.keyed.bytes(&v4.octets()),
            IpAddr::V6(v6) => self.keyed.bytes(&v6.octets()),
        }
    }
}

/// Servers of a hash table's places, by their places in the list.
type Buckets = Box<[u32]>;

/// The flag of `sh-fallback` and `mh-fallback`.
const FALLBACK: u8 = 1;
/// The flag of `sh-port` and `mh-port`.
const PORT: u8 = 2;

/// Buckets of dh and sh.
const BUCKETS: usize = 256;

/// What a scheduler looks up, built whenever its service changes.
#[derive(Clone, Debug)]
pub enum Tables {
    /// Nothing.
    None,
    /// What the weights say about the passes of wrr.
    Passes(Passes),
    /// The buckets of dh, sh and mh.
    Buckets(Box<[u32]>),
    /// The ring of conhash.
    Ring(Ring),
}

impl Tables {
    /// The tables of a service.
    pub(crate) fn new(service: &Service) -> Self {
        let servers = &service.servers;
        let weights = servers.iter().map(|server| server.options.weight);
        match service.options.scheduler {
            Scheduler::WeightedRoundRobin => Self::Passes(Passes::over(weights)),
            Scheduler::DestinationHashing => Self::Buckets(dh::buckets(servers.len())),
            Scheduler::SourceHashing => Self::Buckets(sh::buckets(weights)),
            Scheduler::Maglev => Self::Buckets(mh::places(servers)),
            Scheduler::ConsistentHashing => Self::Ring(Ring::new(servers)),
            _ => Self::None,
        }
    }
}

/// Chooses a server for a new connection, or none if no server takes new connections.
#[inline]
pub fn pick<'a>(
    service: &'a ServiceView,
    servers: &'a [ServerView],
    counts: &'a ServerCounts,
    request: &Request<'_>,
) -> Option<&'a Candidate> {
    let roster = &Roster { service, servers, counts };
    match (service.options.scheduler, &service.tables, service.state.memory()) {
        (Scheduler::RoundRobin, ..) => rr::pick(roster),
        (Scheduler::WeightedRoundRobin, Tables::Passes(passes), _) => wrr::pick(roster, *passes),
        (Scheduler::LeastConnections, ..) => lc::pick(roster),
        (Scheduler::WeightedLeastConnections, ..) => wlc::pick(roster),
        (_, _, Memory::Lodgings(table)) => lblc::pick(roster, table, request),
        (_, _, Memory::Parties(table)) => lblcr::pick(roster, table, request),
        (Scheduler::DestinationHashing, Tables::Buckets(buckets), _) => {
            dh::pick(roster, buckets, request)
        }
        (Scheduler::SourceHashing, Tables::Buckets(buckets), _) => {
            sh::pick(roster, buckets, request)
        }
        (Scheduler::ShortestExpectedDelay, ..) => sed::pick(roster),
        (Scheduler::NeverQueue, ..) => nq::pick(roster),
        (Scheduler::FailOver, ..) => fo::pick(roster),
        (Scheduler::Overflow, ..) => ovf::pick(roster),
        (Scheduler::Maglev, Tables::Buckets(places), _) => mh::pick(roster, places, request),
        (Scheduler::TwoChoices, ..) => twos::pick(roster, request.draw),
        (Scheduler::ConsistentHashing, Tables::Ring(ring), _) => {
            conhash::pick(roster, ring, request)
        }
        _ => None,
    }
}

/// Tells the scheduler of a service that servers were added or edited.
pub(crate) fn servers_changed(service: &Service, state: &SchedState) {
    if service.options.scheduler == Scheduler::WeightedRoundRobin {
        wrr::servers_changed(service, state);
    }
}

/// Tells the scheduler of a service that the server in `slot`, which followed the one in `before`,
/// was removed.
pub(crate) fn server_removed(
    service: &Service,
    state: &SchedState,
    slot: u32,
    before: Option<u32>,
) {
    match service.options.scheduler {
        Scheduler::RoundRobin => rr::server_removed(state, slot, before),
        Scheduler::WeightedRoundRobin => wrr::servers_changed(service, state),
        _ => {}
    }
}

/// The first candidate of the highest weight.
fn heaviest<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<&'a Candidate> {
    candidates.reduce(|most, other| if other.weight > most.weight { other } else { most })
}

/// The greatest common divisor of the weights above 0; 0 if there is none.
fn common_divisor(weights: impl Iterator<Item = u32>) -> u32 {
    weights.fold(0, |common, weight| {
        let (mut a, mut b) = (common, weight);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Change};
    use crate::ids::Seed;
    use crate::limits::Limits;
    use crate::network::Network;
    use crate::service::{ForwardMode, ServerKey, ServerOptions, ServiceKey, ServiceOptions};
    use crate::snapshot::{Changed, Snapshot};
    use wire::{L4, V4};

    #[test]
    fn wrr_goes_on_after_a_worker_used_weights_from_before_an_edit() {
        let limits = Limits { services: 1, servers: 2, connections: 1, ..Limits::DEFAULT };
        let (mut catalog, network) = (Catalog::new(&limits), Network::new(vec![]));
        let (protocol, address) = (L4::Tcp, [192, 0, 2, 1].into());
        let service = ServiceKey::Endpoint { protocol, address, port: 80 };
        let server = |last| ServerKey { address: [10, 0, 0, last].into(), port: 80 };
        let weighing = |weight| ServerOptions::of(ForwardMode::Direct, weight);
        let options = ServiceOptions::of(Scheduler::WeightedRoundRobin);
        for change in [
            Change::AddService(service, options),
            Change::AddServer(service, server(1), weighing(10)),
            Change::AddServer(service, server(2), weighing(3)),
        ] {
            catalog.apply(change).unwrap();
        }
        let counts = ServerCounts::new(&limits);
        let before = Snapshot::new(&catalog, &network, Seed::fixed(1));
        catalog.apply(Change::EditServer(service, server(1), weighing(1))).unwrap();
        let after = before.next(&catalog, &network, Changed::ALL);
        let vip = wire::Endpoint { addr: wire::Addr4([192, 0, 2, 1]), port: 80.into() };
        let keyed = Keyed::new(Seed::fixed(1));
        let request = Request {
            client: [198, 51, 100, 7].into(),
            client_port: 40000,
            vip: [192, 0, 2, 1].into(),
            now: Tick::default(),
            draw: 0,
            keyed: &keyed,
        };
        let pick = |snapshot: &Snapshot| {
            let view = snapshot.services.family::<V4>().find(L4::Tcp, vip, || None).unwrap();
            pick(view, &snapshot.servers, &counts, &request).map(|candidate| candidate.id)
        };
        for _ in 0..4 {
            assert!(pick(&before).is_some());
        }
        for _ in 0..8 {
            assert!(pick(&after).is_some(), "no server although both have weights");
        }
    }
}
