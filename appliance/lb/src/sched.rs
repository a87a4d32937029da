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
use crate::knobs::Knobs;
use crate::prefetch;
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
    /// The settings of the moment.
    pub knobs: &'a Knobs,
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

/// Chooses a server for a new connection, or none if no server takes new connections. Most
/// schedulers do not ask for the `request`.
#[inline]
pub fn pick<'a, 'k>(
    service: &'a ServiceView,
    servers: &'a [ServerView],
    counts: &'a ServerCounts,
    request: impl FnOnce() -> Request<'k>,
) -> Option<&'a Candidate> {
    let roster = &Roster { service, servers, counts };
    match (service.options.scheduler, &service.tables, service.state.memory()) {
        (Scheduler::RoundRobin, ..) => rr::pick(roster),
        (Scheduler::WeightedRoundRobin, Tables::Passes(passes), _) => wrr::pick(roster, *passes),
        (Scheduler::LeastConnections, ..) => lc::pick(roster),
        (Scheduler::WeightedLeastConnections, ..) => wlc::pick(roster),
        (_, _, Memory::Lodgings(table)) => lblc::pick(roster, table, &request()),
        (_, _, Memory::Parties(table)) => lblcr::pick(roster, table, &request()),
        (Scheduler::DestinationHashing, Tables::Buckets(buckets), _) => {
            dh::pick(roster, buckets, &request())
        }
        (Scheduler::SourceHashing, Tables::Buckets(buckets), _) => {
            sh::pick(roster, buckets, &request())
        }
        (Scheduler::ShortestExpectedDelay, ..) => sed::pick(roster),
        (Scheduler::NeverQueue, ..) => nq::pick(roster),
        (Scheduler::FailOver, ..) => fo::pick(roster),
        (Scheduler::Overflow, ..) => ovf::pick(roster),
        (Scheduler::Maglev, Tables::Buckets(places), _) => mh::pick(roster, places, &request()),
        (Scheduler::TwoChoices, ..) => twos::pick(roster, request().draw),
        (Scheduler::ConsistentHashing, Tables::Ring(ring), _) => {
            conhash::pick(roster, ring, &request())
        }
        _ => None,
    }
}

/// The server that [`pick`] is about to choose, or would after the one in slot `last`, where that
/// can be told without a choice.
pub(crate) fn foresee<'a>(
    service: &'a ServiceView,
    servers: &'a [ServerView],
    counts: &'a ServerCounts,
    last: Option<u32>,
) -> Option<&'a Candidate> {
    match service.options.scheduler {
        Scheduler::RoundRobin => {
            let last = last.or_else(|| self::last(service));
            rr::following(&Roster { service, servers, counts }, last)
        }
        _ => None,
    }
}

/// The slot of the server that was chosen last, where the next choice goes by it.
pub(crate) fn last(service: &ServiceView) -> Option<u32> {
    match service.options.scheduler {
        Scheduler::RoundRobin => rr::last(&service.state),
        _ => None,
    }
}

/// Asks the cache for what [`pick`] looks at first.
pub(crate) fn prefetch(service: &ServiceView) {
    prefetch::read(&service.state.word);
    if let Some(candidate) = service.candidates.first() {
        prefetch::read(candidate);
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
mod tests;
