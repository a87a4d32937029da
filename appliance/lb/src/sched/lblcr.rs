// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locality-based least connections with replication (`ip_vs_lblcr.c`): a destination address keeps
//! a set of servers, of which the one with the fewest connections per weight is chosen. When that
//! is busy, another server joins the set; when the set was not changed for
//! `lblcr_expiration`, its busiest server leaves it.
//!
//! All workers of a service share one table of fixed size. A set has room for twelve servers; one
//! more serves its connection without being remembered.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::lblc::is_busy;
use super::locality::{Entry, Table, seconds};
use super::{Request, Roster, wlc};
use crate::ids::Tick;
use crate::knobs::Knob;
use crate::snapshot::Candidate;

/// Servers of a set at most: an entry is one cache line.
const MEMBERS: usize = 12;

/// A destination's servers.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Party {
    /// The destination's hash, not 0; 0 for none.
    hash: AtomicU64,
    used_s: AtomicU32,
    /// Seconds at which a server joined or left.
    changed_s: AtomicU32,
    /// The servers' slots plus one in the order in which they joined; 0 for one that left.
    members: [AtomicU32; MEMBERS],
}

const _: () = assert!(size_of::<Party>() == 64);

impl Entry for Party {
    fn is_of(&self, hash: u64) -> bool {
        self.hash.load(Ordering::Relaxed) == hash | 1
    }

    fn is_free(&self) -> bool {
        self.hash.load(Ordering::Relaxed) == 0
    }

    fn used_s(&self) -> &AtomicU32 {
        &self.used_s
    }
}

impl Party {
    /// Makes it the empty set of a destination, unless another worker did.
    fn found(&self, hash: u64) {
        let seen = self.hash.load(Ordering::Relaxed);
        let order = Ordering::Relaxed;
        if self.hash.compare_exchange(seen, hash | 1, order, order).is_ok() {
            self.members.iter().for_each(|member| member.store(0, order));
        }
    }

    /// The members that are servers of the service, the last joined first.
    fn members<'a>(&self, roster: &Roster<'a>) -> impl Iterator<Item = &'a Candidate> {
        let slots = self.members.iter().rev().map(|member| member.load(Ordering::Relaxed));
        slots.filter_map(|member| roster.by_slot(member.checked_sub(1)?))
    }

    fn join(&self, candidate: &Candidate, now: Tick) {
        let named = candidate.id.slot.wrapping_add(1);
        let order = Ordering::Relaxed;
        if self.members.iter().any(|member| member.load(order) == named) {
            return;
        }
        // Behind the last joined while there is room, so that the order is kept.
        let last = self.members.iter().rposition(|member| member.load(order) != 0);
        let (older, newer) =
            self.members.split_at_checked(last.map_or(0, |last| last + 1)).unwrap_or_default();
        let mut room = newer.iter().chain(older);
        if room.any(|member| member.compare_exchange(0, named, order, order).is_ok()) {
            self.changed_s.store(seconds(now), order);
        }
    }

    fn leave(&self, candidate: &Candidate, now: Tick) {
        let named = candidate.id.slot.wrapping_add(1);
        for member in &self.members {
            let order = Ordering::Relaxed;
            if member.compare_exchange(named, 0, order, order).is_ok() {
                self.changed_s.store(seconds(now), order);
            }
        }
    }

    /// Lets the busiest leave a set that was not changed for `kept_s` seconds.
    fn shrink(&self, roster: &Roster<'_>, now: Tick, kept_s: u32) {
        let unchanged_s = seconds(now).saturating_sub(self.changed_s.load(Ordering::Relaxed));
        if unchanged_s <= kept_s || self.members(roster).count() < 2 {
            return;
        }
        let weighted = self.members(roster).filter(|member| member.weight > 0);
        let busier = |most: &'_ Candidate, other: &'_ Candidate| {
            let [most_overhead, overhead] = [most, other].map(|c| u128::from(roster.overhead(c)));
            most_overhead * u128::from(other.weight) < overhead * u128::from(most.weight)
        };
        let most = weighted.reduce(|most, other| if busier(most, other) { other } else { most });
        if let Some(most) = most {
            self.leave(most, now);
        }
    }
}

pub(super) fn pick<'a>(
    roster: &Roster<'a>,
    table: &Table<Party>,
    request: &Request<'_>,
) -> Option<&'a Candidate> {
    let hash = request.destination_hash();
    let now = request.now;
    let kept_s = request.knobs.value(Knob::LblcrExpiration);
    let known = table.find(hash, now, kept_s);
    let set = known.or_else(|| table.place(hash, now));
    if let Some(set) = known {
        let takes = set.members(roster).filter(|member| roster.takes(member));
        let least = roster.least(takes, |member| roster.overhead(member));
        set.shrink(roster, now, kept_s);
        if let Some(least) = least
            && !is_busy(roster, least)
        {
            return Some(least);
        }
    }
    let chosen = wlc::pick(roster)?;
    if let Some(set) = set {
        if known.is_none() {
            set.found(hash);
            set.touch(now);
            set.changed_s.store(seconds(now), Ordering::Relaxed);
        }
        set.join(chosen, now);
    }
    Some(chosen)
}
