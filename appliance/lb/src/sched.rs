// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which server takes a new connection.
//!
//! Each scheduler is a pure step from its shared state to a choice and the next state; workers
//! agree on the state by compare-and-swap, so that rr and wrr spread over all workers as over one.
//! Lists run from the last added server to the first, as in the kernel; a tie goes to the earlier
//! in the list. After the algorithms of `net/netfilter/ipvs/ip_vs_{rr,wrr,lc,wlc}.c`.

mod lc;
mod rr;
mod wlc;
mod wrr;

pub use wrr::Passes;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters::ServerCounts;
use crate::service::Service;
use crate::snapshot::{Candidate, ServerView, ServiceView};

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
}

impl Scheduler {
    /// Every scheduler with its name.
    pub const NAMES: &'static [(Self, &'static str)] = &[
        (Self::RoundRobin, "rr"),
        (Self::WeightedRoundRobin, "wrr"),
        (Self::LeastConnections, "lc"),
        (Self::WeightedLeastConnections, "wlc"),
    ];

    /// The scheduler that `-s NAME` means.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(scheduler, _)| *scheduler)
    }

    /// The name in `-s` and listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin => "wrr",
            Self::LeastConnections => "lc",
            Self::WeightedLeastConnections => "wlc",
        }
    }
}

/// What the workers share of one service's scheduler: one word, changed by compare-and-swap.
#[derive(Debug, Default)]
pub struct SchedState(AtomicU64);

impl SchedState {
    /// Contended attempts before a worker takes its choice without publishing the step.
    const ATTEMPTS: usize = 8;

    /// Takes one step: the choice, and the state that follows it, are `step`'s.
    fn advance<T>(&self, step: impl Fn(u64) -> (Option<T>, u64)) -> Option<T> {
        let mut state = self.0.load(Ordering::Relaxed);
        let mut choice = None;
        for _ in 0..Self::ATTEMPTS {
            let next;
            (choice, next) = step(state);
            match self.0.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(found) => state = found,
            }
        }
        choice
    }
}

/// Chooses a server for a new connection, or none if no server takes new connections.
#[inline]
pub fn pick<'a>(
    service: &'a ServiceView,
    servers: &[ServerView],
    counts: &ServerCounts,
) -> Option<&'a Candidate> {
    match service.options.scheduler {
        Scheduler::RoundRobin => rr::pick(service, servers),
        Scheduler::WeightedRoundRobin => wrr::pick(service, servers),
        Scheduler::LeastConnections => lc::pick(&service.candidates, counts),
        Scheduler::WeightedLeastConnections => wlc::pick(&service.candidates, counts),
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
        Scheduler::LeastConnections | Scheduler::WeightedLeastConnections => {}
    }
}

/// The list from the element after the server in `slot`, and then from the head round to it; the
/// whole list where `slot` names no server in it.
fn after<'a>(
    candidates: &'a [Candidate],
    servers: &[ServerView],
    slot: Option<u32>,
) -> (&'a [Candidate], &'a [Candidate]) {
    let position = slot.and_then(|slot| {
        let position = servers.get(slot as usize)?.position as usize;
        (candidates.get(position)?.id.slot == slot).then_some(position)
    });
    match position.and_then(|position| candidates.split_at_checked(position + 1)) {
        Some((head, tail)) => (tail, head),
        None => (candidates, &[]),
    }
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
        let pick = |snapshot: &Snapshot| {
            let view = snapshot.services.family::<V4>().find(L4::Tcp, vip).unwrap();
            pick(view, &snapshot.servers, &counts).map(|candidate| candidate.id)
        };
        for _ in 0..4 {
            assert!(pick(&before).is_some());
        }
        for _ in 0..8 {
            assert!(pick(&after).is_some(), "no server although both have weights");
        }
    }
}
