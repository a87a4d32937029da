// SPDX-License-Identifier: MIT OR Apache-2.0
//! What schedulers choose from: a service's servers, and how many connections each has.

use crate::counters::ServerCounts;
use crate::snapshot::{Candidate, ServerView, ServiceView};

/// A service's servers as they are now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roster<'a> {
    pub(super) service: &'a ServiceView,
    pub(super) servers: &'a [ServerView],
    pub(super) counts: &'a ServerCounts,
}

impl<'a> Roster<'a> {
    /// The whole list.
    #[inline]
    pub(super) fn candidates(&self) -> &'a [Candidate] {
        &self.service.candidates
    }

    /// The servers that take new connections.
    #[inline]
    pub(super) fn open(&self) -> impl Iterator<Item = &'a Candidate> {
        let counts = self.counts;
        self.candidates().iter().filter(|candidate| takes(counts, candidate))
    }

    /// Whether a server takes new connections: it has a weight and is not overloaded.
    #[inline]
    pub(super) fn takes(&self, candidate: &Candidate) -> bool {
        takes(self.counts, candidate)
    }

    /// Its active connections.
    #[inline]
    pub(super) fn active(&self, candidate: &Candidate) -> u32 {
        self.counts.active(candidate.id.slot)
    }

    /// Its connections; an active one weighs 257, an inactive one 1.
    #[inline]
    pub(super) fn overhead(&self, candidate: &Candidate) -> u64 {
        self.counts.overhead(candidate.id.slot)
    }

    /// The first candidate with the least cost per weight, compared by cross-multiplication.
    #[inline]
    pub(super) fn least(
        &self,
        mut candidates: impl Iterator<Item = &'a Candidate>,
        cost: impl Fn(&Candidate) -> u64,
    ) -> Option<&'a Candidate> {
        let mut least = candidates.next()?;
        let mut least_cost = cost(least);
        for candidate in candidates {
            let cost = cost(candidate);
            let left = u128::from(least_cost) * u128::from(candidate.weight);
            if left > u128::from(cost) * u128::from(least.weight) {
                (least, least_cost) = (candidate, cost);
            }
        }
        Some(least)
    }

    /// The server at a place of the list.
    #[inline]
    pub(super) fn at(&self, place: u32) -> Option<&'a Candidate> {
        self.candidates().get(place as usize)
    }

    /// The server that a hash table has in a bucket.
    #[inline]
    pub(super) fn in_bucket(&self, buckets: &[u32], bucket: usize) -> Option<&'a Candidate> {
        self.at(*buckets.get(bucket)?)
    }

    /// The server in a slot, if it is one of the service's.
    #[inline]
    pub(super) fn by_slot(&self, slot: u32) -> Option<&'a Candidate> {
        let position = self.servers.get(slot as usize)?.position;
        self.at(position).filter(|candidate| candidate.id.slot == slot)
    }

    /// The list from the element after the server in `slot`, and then from the head round to it;
    /// the whole list where `slot` names no server in it.
    pub(super) fn after(&self, slot: Option<u32>) -> (&'a [Candidate], &'a [Candidate]) {
        let candidates = self.candidates();
        let position = slot.and_then(|slot| {
            self.by_slot(slot)?;
            Some(self.servers.get(slot as usize)?.position as usize)
        });
        match position.and_then(|position| candidates.split_at_checked(position + 1)) {
            Some((head, tail)) => (tail, head),
            None => (candidates, &[]),
        }
    }
}

#[inline]
fn takes(counts: &ServerCounts, candidate: &Candidate) -> bool {
    candidate.weight > 0 && !counts.is_overloaded(candidate.id.slot)
}
