// SPDX-License-Identifier: MIT OR Apache-2.0
//! Round robin (`ip_vs_rr.c`): the next server in the list with a weight above 0.
//!
//! The state is the slot of the last chosen server plus one, 0 for a fresh service. Adding a server
//! does not move it; removing the server it names moves it to the one before.

use std::sync::atomic::Ordering;

use super::{Roster, SchedState};
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(roster: &Roster<'a>) -> Option<&'a Candidate> {
    roster.service.state.advance(|last| match following(roster, slot(last)) {
        Some(chosen) => (Some(chosen), word(Some(chosen.id.slot))),
        None => (None, last),
    })
}

/// The server whose turn is after the one in `slot`.
pub(super) fn following<'a>(roster: &Roster<'a>, slot: Option<u32>) -> Option<&'a Candidate> {
    let (tail, head) = roster.after(slot);
    tail.iter().chain(head).find(|candidate| roster.takes(candidate))
}

/// The slot of the server that was chosen last.
pub(super) fn last(state: &SchedState) -> Option<u32> {
    slot(state.word.load(Ordering::Relaxed))
}

pub(super) fn server_removed(state: &SchedState, removed: u32, before: Option<u32>) {
    let (removed, before) = (word(Some(removed)), word(before));
    let order = Ordering::Relaxed;
    let _ = state.word.compare_exchange(removed, before, order, order);
}

fn slot(word: u64) -> Option<u32> {
    word.checked_sub(1).map(|slot| slot as u32)
}

fn word(slot: Option<u32>) -> u64 {
    slot.map_or(0, |slot| u64::from(slot) + 1)
}
