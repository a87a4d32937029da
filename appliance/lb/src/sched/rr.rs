// SPDX-License-Identifier: MIT OR Apache-2.0
//! Round robin (`ip_vs_rr.c`): the next server in the list with a weight above 0.
//!
//! The state is the slot of the last chosen server plus one, 0 for a fresh service. Adding a server
//! does not move it; removing the server it names moves it to the one before.

use std::sync::atomic::Ordering;

use super::{SchedState, after};
use crate::snapshot::{Candidate, ServerView, ServiceView};

pub(super) fn pick<'a>(service: &'a ServiceView, servers: &[ServerView]) -> Option<&'a Candidate> {
    service.state.advance(|last| {
        let (tail, head) = after(&service.candidates, servers, slot(last));
        match tail.iter().chain(head).find(|candidate| candidate.weight > 0) {
            Some(chosen) => (Some(chosen), word(Some(chosen.id.slot))),
            None => (None, last),
        }
    })
}

pub(super) fn server_removed(state: &SchedState, removed: u32, before: Option<u32>) {
    let removed = word(Some(removed));
    let _ = state.0.compare_exchange(removed, word(before), Ordering::Relaxed, Ordering::Relaxed);
}

fn slot(word: u64) -> Option<u32> {
    word.checked_sub(1).map(|slot| slot as u32)
}

fn word(slot: Option<u32>) -> u64 {
    slot.map_or(0, |slot| u64::from(slot) + 1)
}
