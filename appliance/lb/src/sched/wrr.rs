// SPDX-License-Identifier: MIT OR Apache-2.0
//! Weighted round robin (`ip_vs_wrr.c`): passes over the list with a falling threshold; each pass
//! takes the servers whose weight reaches it.
//!
//! The state is the slot of the last chosen server plus one (upper half) and the threshold (lower
//! half). The threshold survives edits, so the order after one depends on what was added before.
//! Passes that no server can reach are not walked but reckoned: with one server overloaded, the
//! kernel may walk the list 65535 times for one connection.

use std::sync::atomic::Ordering;

use super::{Roster, SchedState, common_divisor};
use crate::service::Service;
use crate::snapshot::Candidate;

/// What the weights of a list say about its passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passes {
    /// The threshold of the first pass; 0 if no server has a weight.
    highest: u32,
    /// By how much the threshold falls from pass to pass: the weights' common divisor.
    fall: u32,
}

impl Passes {
    /// The passes over a list with these weights.
    pub fn over(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let fall = common_divisor(weights.clone()).max(1);
        let heaviest = weights.max().unwrap_or(0);
        Self { highest: heaviest.saturating_sub(fall - 1), fall }
    }

    /// The threshold of the pass after the one with `threshold`, and whether that begins anew.
    fn next(self, threshold: u32) -> (u32, bool) {
        match threshold.checked_sub(self.fall) {
            Some(lower) if lower > 0 => (lower, false),
            _ => (self.highest, true),
        }
    }

    /// The first threshold from `threshold` on that a server of this weight reaches.
    fn reached(self, threshold: u32, weight: u32) -> u32 {
        let passes = threshold.saturating_sub(weight).div_ceil(self.fall.max(1));
        threshold.saturating_sub(passes.saturating_mul(self.fall)).max(1)
    }

    /// Where a search ends that finds no server.
    fn exhausted(self, State { last, threshold }: State) -> State {
        let lowest = (self.highest - 1) % self.fall + 1;
        match self.next(threshold) {
            (_, true) if last.is_some() => State { last, threshold: lowest },
            _ => State { last: None, threshold: self.highest },
        }
    }
}

#[derive(Clone, Copy)]
struct State {
    last: Option<u32>,
    threshold: u32,
}

pub(super) fn pick<'a>(roster: &Roster<'a>, passes: Passes) -> Option<&'a Candidate> {
    if passes.highest == 0 {
        return None;
    }
    roster.service.state.advance(|word| {
        let state = State::from(word);
        // A worker that still reads the weights before an edit may have left a higher one.
        let state = State { threshold: state.threshold.min(passes.highest), ..state };
        match search(roster, passes, state) {
            Some((chosen, threshold)) => {
                (Some(chosen), State { last: Some(chosen.id.slot), threshold }.into())
            }
            None => (None, passes.exhausted(state).into()),
        }
    })
}

/// The server that is next, and the threshold that it reached.
fn search<'a>(
    roster: &Roster<'a>,
    passes: Passes,
    State { last, threshold }: State,
) -> Option<(&'a Candidate, u32)> {
    let reaching = |candidate: &&Candidate, threshold: u32| {
        candidate.weight >= threshold && roster.takes(candidate)
    };
    let (tail, _) = roster.after(last);
    if let Some(chosen) = tail.iter().find(|candidate| reaching(candidate, threshold)) {
        return Some((chosen, threshold));
    }
    let heaviest = roster.open().map(|candidate| candidate.weight).max()?;
    let threshold = passes.reached(passes.next(threshold).0, heaviest);
    let chosen = roster.open().find(|candidate| candidate.weight >= threshold)?;
    Some((chosen, threshold))
}

pub(super) fn servers_changed(service: &Service, state: &SchedState) {
    let passes = Passes::over(service.servers.iter().map(|server| server.options.weight));
    let edited = |word| {
        let State { threshold, .. } = State::from(word);
        let threshold = if threshold > passes.highest || threshold == 0 {
            passes.highest
        } else if passes.fall > 1 {
            threshold / passes.fall * passes.fall + 1
        } else {
            threshold
        };
        Some(State { last: None, threshold }.into())
    };
    let updated = state.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, edited);
    debug_assert!(updated.is_ok());
}

impl From<u64> for State {
    fn from(word: u64) -> Self {
        let last = ((word >> 32) as u32).checked_sub(1);
        Self { last, threshold: word as u32 }
    }
}

impl From<State> for u64 {
    fn from(state: State) -> Self {
        let last = state.last.map_or(0, |slot| u64::from(slot) + 1);
        last << 32 | u64::from(state.threshold)
    }
}
