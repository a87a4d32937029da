// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locality-based least connections (`ip_vs_lblc.c`): a destination address keeps its server,
//! found by wlc, until that takes no connections or has more active ones than its weight while
//! another has fewer than half; for transparent caches behind a firewall mark.
//!
//! All workers of a service share one table of fixed size: an entry is one word, who and where,
//! changed by compare-and-swap, and a worker that loses adopts the winner's server. Where the
//! kernel's table grows to 16384 entries and is trimmed, the longest unused of four gives way here.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::locality::{Entry, Table};
use super::{Request, Roster, wlc};
use crate::knobs::Knob;
use crate::snapshot::Candidate;

/// A destination's server: 40 bits of the destination's hash, 24 bits of the server's slot plus
/// one; 0 for none.
#[derive(Debug, Default)]
pub struct Lodging {
    word: AtomicU64,
    /// Seconds at which it was last looked up.
    used_s: AtomicU32,
}

const SLOT_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

impl Entry for Lodging {
    fn is_of(&self, hash: u64) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word != 0 && word >> SLOT_BITS == hash >> SLOT_BITS
    }

    fn is_free(&self) -> bool {
        self.word.load(Ordering::Relaxed) == 0
    }

    fn used_s(&self) -> &AtomicU32 {
        &self.used_s
    }
}

impl Lodging {
    fn slot(word: u64) -> Option<u32> {
        (word & SLOT_MASK).checked_sub(1).map(|slot| slot as u32)
    }

    /// Makes it the entry of `hash` in `slot`; the slot that another worker put there for the same
    /// destination meanwhile is returned instead.
    fn settle(&self, hash: u64, slot: u32, seen: u64) -> u32 {
        let named = u64::from(slot) + 1;
        if named > SLOT_MASK {
            return slot;
        }
        let word = hash & !SLOT_MASK | named;
        match self.word.compare_exchange(seen, word, Ordering::Relaxed, Ordering::Relaxed) {
            Err(found) if found & !SLOT_MASK == hash & !SLOT_MASK => {
                Self::slot(found).unwrap_or(slot)
            }
            _ => slot,
        }
    }
}

pub(super) fn pick<'a>(
    roster: &Roster<'a>,
    table: &Table<Lodging>,
    request: &Request<'_>,
) -> Option<&'a Candidate> {
    let hash = request.destination_hash();
    let kept_s = request.knobs.value(Knob::LblcExpiration);
    let known = table.find(hash, request.now, kept_s);
    let entry = known.or_else(|| table.place(hash, request.now));
    let seen = entry.map_or(0, |entry| entry.word.load(Ordering::Relaxed));
    if let Some(candidate) = known.and(Lodging::slot(seen)).and_then(|slot| roster.by_slot(slot))
        && candidate.weight > 0
        && !is_busy(roster, candidate)
    {
        return Some(candidate);
    }
    let chosen = wlc::pick(roster)?;
    let Some(entry) = entry else { return Some(chosen) };
    entry.touch(request.now);
    let slot = entry.settle(hash, chosen.id.slot, seen);
    roster.by_slot(slot).or(Some(chosen))
}

/// Whether a server has more active connections than its weight while another has fewer than half.
pub(super) fn is_busy(roster: &Roster<'_>, candidate: &Candidate) -> bool {
    let idles = |other: &Candidate| u64::from(roster.active(other)) * 2 < other.weight.into();
    roster.active(candidate) > candidate.weight && roster.candidates().iter().any(idles)
}
