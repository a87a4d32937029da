// SPDX-License-Identifier: MIT OR Apache-2.0
//! Per server, how many connections of all workers there are, and whether that is too many.
//!
//! Written at admission, change of class and expiry only, with one atomic addition: both classes
//! share a word, so that no reader ever sees a connection twice or not at all while it moves from
//! one to the other. The thresholds of `-x` and `-y` act as in the kernel (`ip_vs_conn.c`): a
//! server is overloaded once its connections reach the upper one, until, when one ends, there are
//! fewer than the lower one, or without a lower one fewer than three quarters of the upper one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::icmp::path_mtu::PathMtus;
use crate::limits::Limits;
use crate::persist::templates::Templates;
use crate::prefetch;

/// What all workers share: per server, how many connections are active and inactive; and the
/// persistence templates.
#[derive(Debug)]
pub struct ServerCounts {
    servers: Box<[ServerCount]>,
    templates: Templates,
    paths: PathMtus,
}

/// When a server takes no new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Connections with which it is overloaded; 0 for never.
    pub upper: u32,
    /// It stays so while there are this many; 0 for three quarters of the upper one.
    pub lower: u32,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct ServerCount {
    /// Active connections in the upper half, inactive ones in the lower half.
    connections: AtomicU64,
    upper: AtomicU32,
    lower: AtomicU32,
    overloaded: AtomicBool,
}

const _: () = assert!(size_of::<ServerCount>() == 64);

const ACTIVE: u64 = 1 << 32;
const INACTIVE: u64 = 1;

impl ServerCounts {
    /// Zeroed counts for every server place.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            servers: (0..limits.servers).map(|_| ServerCount::default()).collect(),
            templates: Templates::new(limits),
            paths: PathMtus::default(),
        })
    }

    /// What is known of the ways to tunnel servers.
    #[inline]
    pub fn paths(&self) -> &PathMtus {
        &self.paths
    }

    /// The persistence templates.
    #[inline]
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// Connections in SYN_SENT, SYN_RECV, ESTABLISHED or SYNACK.
    pub fn active(&self, slot: u32) -> u32 {
        (self.connections(slot) >> 32) as u32
    }

    /// Connections in any other state.
    pub fn inactive(&self, slot: u32) -> u32 {
        self.connections(slot) as u32
    }

    /// All connections.
    pub fn total(&self, slot: u32) -> u64 {
        total(self.connections(slot))
    }

    /// What lc and wlc compare: an active connection weighs 257, an inactive one 1.
    #[inline]
    pub fn overhead(&self, slot: u32) -> u64 {
        let connections = self.connections(slot);
        (connections >> 32) * 256 + total(connections)
    }

    /// Asks the cache for what is known of a server.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        if let Some(count) = self.at(slot) {
            prefetch::read(count);
        }
    }

    /// Whether a server takes no new connections because it has too many.
    #[inline]
    pub fn is_overloaded(&self, slot: u32) -> bool {
        self.at(slot).is_some_and(|count| count.overloaded.load(Ordering::Relaxed))
    }

    /// Sets the thresholds of a server. Raising the upper one, or giving it up, ends an overload
    /// at once; lowering it has an effect with the next connection.
    pub fn set_thresholds(&self, slot: u32, thresholds: Thresholds) {
        let Some(count) = self.at(slot) else { return };
        let before = count.upper.swap(thresholds.upper, Ordering::Relaxed);
        count.lower.store(thresholds.lower, Ordering::Relaxed);
        if thresholds.upper == 0 || thresholds.upper > before {
            count.overloaded.store(false, Ordering::Relaxed);
        }
    }

    /// Counts a new connection.
    pub(crate) fn opened(&self, slot: u32, active: bool) {
        let Some(count) = self.at(slot) else { return };
        let one = class(active);
        let now = count.connections.fetch_add(one, Ordering::AcqRel).wrapping_add(one);
        let upper = count.upper.load(Ordering::Relaxed);
        if upper != 0 && total(now) >= upper.into() {
            count.overloaded.store(true, Ordering::Relaxed);
        }
    }

    /// Counts the end of a connection.
    pub(crate) fn closed(&self, slot: u32, active: bool) {
        let Some(count) = self.at(slot) else { return };
        let one = class(active);
        let now = count.connections.fetch_sub(one, Ordering::AcqRel).wrapping_sub(one);
        if count.overloaded.load(Ordering::Relaxed) && count.has_room(total(now)) {
            count.overloaded.store(false, Ordering::Relaxed);
        }
    }

    /// Counts a connection that became active or inactive.
    pub(crate) fn changed(&self, slot: u32, active: bool) {
        if let Some(count) = self.at(slot) {
            let change = class(active).wrapping_sub(class(!active));
            count.connections.fetch_add(change, Ordering::AcqRel);
        }
    }

    fn connections(&self, slot: u32) -> u64 {
        self.at(slot).map_or(0, |count| count.connections.load(Ordering::Relaxed))
    }

    #[inline]
    fn at(&self, slot: u32) -> Option<&ServerCount> {
        self.servers.get(slot as usize)
    }
}

impl ServerCount {
    /// Whether an overload is over with this many connections.
    fn has_room(&self, connections: u64) -> bool {
        let upper = u64::from(self.upper.load(Ordering::Relaxed));
        let lower = u64::from(self.lower.load(Ordering::Relaxed));
        match (lower, upper) {
            (0, 0) => true,
            (0, upper) => connections * 4 < upper * 3,
            (lower, _) => connections < lower,
        }
    }
}

fn class(active: bool) -> u64 {
    if active { ACTIVE } else { INACTIVE }
}

fn total(connections: u64) -> u64 {
    (connections >> 32) + (connections & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(upper: u32, lower: u32) -> Arc<ServerCounts> {
        let limits =
            Limits { services: 1, servers: 1, connections: 1, templates: 0, ..Limits::DEFAULT };
        let counts = ServerCounts::new(&limits);
        counts.set_thresholds(0, Thresholds { upper, lower });
        counts
    }

    /// Opens or closes connections; the totals at which the server is overloaded.
    fn overloaded(counts: &ServerCounts, opened: u32, closed: u32) -> Vec<u64> {
        let mut at = Vec::new();
        let mut look = || {
            if counts.is_overloaded(0) {
                at.push(counts.total(0));
            }
        };
        for _ in 0..opened {
            counts.opened(0, true);
            look();
        }
        for _ in 0..closed {
            counts.closed(0, true);
            look();
        }
        at
    }

    #[test]
    fn an_overload_lasts_from_the_upper_threshold_until_below_the_lower_one() {
        assert_eq!(overloaded(&counts(5, 2), 6, 6), [5, 6, 5, 4, 3, 2]);
        assert!(overloaded(&counts(0, 0), 6, 6).is_empty());
    }

    #[test]
    fn without_a_lower_threshold_it_ends_below_three_quarters() {
        assert_eq!(overloaded(&counts(4, 0), 4, 4), [4, 3]);
        assert_eq!(overloaded(&counts(5, 0), 5, 5), [5, 4]);
        assert_eq!(overloaded(&counts(1, 0), 1, 1), [1]);
    }

    #[test]
    fn inactive_connections_count_and_a_change_of_class_does_not() {
        let counts = counts(2, 1);
        counts.opened(0, false);
        counts.changed(0, true);
        counts.changed(0, false);
        assert!(!counts.is_overloaded(0));
        counts.opened(0, true);
        assert!(counts.is_overloaded(0));
        assert_eq!((counts.active(0), counts.inactive(0), counts.overhead(0)), (1, 1, 258));
    }

    #[test]
    fn raising_the_upper_threshold_ends_an_overload_and_lowering_does_not_begin_one() {
        let counts = counts(2, 0);
        assert_eq!(overloaded(&counts, 2, 0), [2]);
        counts.set_thresholds(0, Thresholds { upper: 3, lower: 0 });
        assert!(!counts.is_overloaded(0));
        counts.set_thresholds(0, Thresholds { upper: 1, lower: 0 });
        assert!(!counts.is_overloaded(0), "until the next connection");
        counts.opened(0, true);
        assert!(counts.is_overloaded(0));
        counts.set_thresholds(0, Thresholds { upper: 0, lower: 0 });
        assert!(!counts.is_overloaded(0));
    }

    #[test]
    fn workers_that_open_and_close_at_once_leave_no_overload_behind() {
        let counts = counts(3, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        counts.opened(0, true);
                        counts.changed(0, false);
                        counts.closed(0, false);
                    }
                });
            }
        });
        assert_eq!(counts.total(0), 0);
        assert!(!counts.is_overloaded(0), "a server without connections stays overloaded");
    }
}
