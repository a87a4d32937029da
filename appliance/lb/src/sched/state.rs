// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a service's scheduler remembers from one connection to the next, for all workers together.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Scheduler;
use super::lblc::Lodging;
use super::lblcr::Party;
use super::locality::Table;
use crate::limits::WORKERS_MAX;
use crate::service::{ServiceKey, ServiceOptions};

/// What the workers share of one service's scheduler.
#[derive(Debug)]
pub struct SchedState {
    /// Where rr and wrr are: one word, changed by compare-and-swap.
    pub(super) word: AtomicU64,
    memory: Memory,
}

/// What a scheduler knows of destinations.
#[derive(Debug)]
pub(super) enum Memory {
    None,
    Lodgings(Table<Lodging>),
    Parties(Table<Party>),
}

impl SchedState {
    /// Contended attempts before a worker takes its choice without publishing the step: each of the
    /// others may have taken one meanwhile.
    const ATTEMPTS: u16 = WORKERS_MAX;

    /// The state of a scheduler that chose no server yet.
    pub(crate) fn new(key: &ServiceKey, options: &ServiceOptions) -> Self {
        // Behind a firewall mark there are many destinations.
        let many = matches!(key, ServiceKey::Mark { .. });
        let memory = match options.scheduler {
            Scheduler::LocalityLeastConnections => Memory::Lodgings(Table::new(many)),
            Scheduler::LocalityReplicated => Memory::Parties(Table::new(many)),
            _ => Memory::None,
        };
        Self { word: AtomicU64::default(), memory }
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes one step: the choice, and the state that follows it, are `step`'s.
    pub(super) fn advance<T>(&self, step: impl Fn(u64) -> (Option<T>, u64)) -> Option<T> {
        let mut state = self.word.load(Ordering::Relaxed);
        let mut choice = None;
        for _ in 0..Self::ATTEMPTS {
            let next;
            (choice, next) = step(state);
            let order = Ordering::Relaxed;
            match self.word.compare_exchange_weak(state, next, order, order) {
                Ok(_) => break,
                Err(found) => state = found,
            }
        }
        choice
    }
}
