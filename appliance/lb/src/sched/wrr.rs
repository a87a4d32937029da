// SPDX-License-Identifier: MIT OR Apache-2.0
//! Weighted round robin (`ip_vs_wrr.c`): passes over the list with a falling threshold; each pass
//! takes the servers whose weight reaches it.
//!
//! The state is the slot of the last chosen server plus one (upper half) and the threshold (lower
//! half). The threshold survives edits, so the order after one depends on what was added before.

use std::sync::atomic::Ordering;

use super::{SchedState, after};
use crate::service::Service;
use crate::snapshot::{Candidate, ServerView, ServiceView};

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
    pub fn over(weights: impl Iterator<Item = u32>) -> Self {
        let (mut common, mut heaviest) = (0, 0);
        for weight in weights.filter(|weight| *weight > 0) {
            common = gcd(common, weight);
            heaviest = heaviest.max(weight);
        }
        let fall = common.max(1);
        Self { highest: heaviest.saturating_sub(fall - 1), fall }
    }
}

#[derive(Clone, Copy)]
struct State {
    last: Option<u32>,
    threshold: u32,
}

pub(super) fn pick<'a>(service: &'a ServiceView, servers: &[ServerView]) -> Option<&'a Candidate> {
    let passes = service.passes;
    if passes.highest == 0 {
        return None;
    }
    service.state.advance(|word| {
        let State { last, threshold } = State::from(word);
        // A worker that still reads the weights before an edit may have left a higher one.
        let threshold = threshold.min(passes.highest);
        let (tail, _) = after(&service.candidates, servers, last);
        let lower = match threshold.checked_sub(passes.fall) {
            Some(lower) if lower > 0 => lower,
            _ => passes.highest,
        };
        let reaches = |threshold| move |candidate: &&Candidate| candidate.weight >= threshold;
        // A fresh pass always finds the heaviest server.
        let found =
            tail.iter().find(reaches(threshold)).map(|chosen| (chosen, threshold)).or_else(|| {
                let mut pass = service.candidates.iter();
                pass.find(reaches(lower)).map(|chosen| (chosen, lower))
            });
        match found {
            Some((chosen, threshold)) => {
                (Some(chosen), State { last: Some(chosen.id.slot), threshold }.into())
            }
            None => (None, word),
        }
    })
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
    let updated = state.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, edited);
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

fn gcd(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
