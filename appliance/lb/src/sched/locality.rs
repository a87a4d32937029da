// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table from destination addresses to servers that the workers of a service share, for lblc
//! and lblcr: fixed in size, sets of four entries, the longest unused gives way.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::ids::Tick;

/// What is over is forgotten at every multiple of this many seconds, as in the kernel.
const CHECK_S: u32 = 30 * 60;
/// Entries of one set.
const WAYS: usize = 4;
/// Sets of a service behind a firewall mark: as many entries as the kernel trims its table to.
const MARK_SETS: usize = 1 << 12;

/// An entry of the table.
pub(super) trait Entry: Default {
    /// Whether it is a destination's.
    fn is_of(&self, hash: u64) -> bool;
    /// Whether it is nobody's.
    fn is_free(&self) -> bool;
    /// The seconds at which it was last looked up.
    fn used_s(&self) -> &AtomicU32;

    /// Notes that it was looked up.
    fn touch(&self, now: Tick) {
        let now_s = seconds(now);
        if self.used_s().load(Ordering::Relaxed) != now_s {
            self.used_s().store(now_s, Ordering::Relaxed);
        }
    }

    /// Seconds since it was last looked up.
    fn idle_s(&self, now: Tick) -> u32 {
        // Another worker's clock may be a moment ahead.
        seconds(now).saturating_sub(self.used_s().load(Ordering::Relaxed))
    }
}

/// The shared table; a service with an address has one destination, and needs one set.
#[derive(Debug)]
pub(super) struct Table<E>(Box<[[E; WAYS]]>);

impl<E: Entry> Table<E> {
    /// An empty table; `many` destinations are those of a firewall mark.
    pub(super) fn new(many: bool) -> Self {
        let sets = if many { MARK_SETS } else { 1 };
        Self((0..sets).map(|_| Default::default()).collect())
    }

    /// The entry of a destination, if the last check within `kept_s` seconds of its last look-up
    /// left it there; it is looked up now.
    pub(super) fn find(&self, hash: u64, now: Tick, kept_s: u32) -> Option<&E> {
        let found = self.set(hash).iter().find(|entry| entry.is_of(hash))?;
        let checked_s = seconds(now) / CHECK_S * CHECK_S;
        let used_s = found.used_s().load(Ordering::Relaxed);
        if checked_s > used_s.saturating_add(kept_s) {
            return None;
        }
        found.touch(now);
        Some(found)
    }

    /// The entry to take for a destination that has none: its old one, a free one, or the longest
    /// unused.
    pub(super) fn place(&self, hash: u64, now: Tick) -> Option<&E> {
        let set = self.set(hash);
        let own = set.iter().find(|entry| entry.is_of(hash));
        own.or_else(|| set.iter().find(|entry| entry.is_free()))
            .or_else(|| set.iter().max_by_key(|entry| entry.idle_s(now)))
    }

    fn set(&self, hash: u64) -> &[E] {
        self.0.get(hash as usize & (self.0.len() - 1)).map_or(&[], |set| set)
    }
}

/// Seconds of a moment.
pub(super) fn seconds(now: Tick) -> u32 {
    (now.millis() / 1000) as u32
}
