// SPDX-License-Identifier: MIT OR Apache-2.0
//! What went out and what came back, kept while it happens and summed up in the end.

use lb::counters::Counter;
use serde::Serialize;

use super::arrivals::Arrival;
use crate::latency::{Histogram, Latency};

/// Counters of one stage. Each has one writer; others look on.
#[derive(Debug, Default)]
pub struct Books {
    /// Frames that the NIC took.
    pub sent: Counter,
    /// Their bytes, FCS apart.
    pub sent_bytes: Counter,
    /// Frames that came for the first time.
    pub received: Counter,
    /// Their bytes, FCS apart.
    pub received_bytes: Counter,
    /// Those of them that came after a later frame of their flow.
    pub out_of_order: Counter,
    /// Frames that had come before.
    pub duplicated: Counter,
    /// Frames that came when nobody knew of them any more.
    pub too_late: Counter,
    /// Frames that are not of this stage.
    pub foreign: Counter,
    /// Frames whose checksums were computed anew.
    pub verified: Counter,
    /// Those of them that had a wrong one.
    pub bad_checksums: Counter,
    /// Requests that went back as answers.
    pub reflected: Counter,
    /// Answers that our own NIC did not take.
    pub unanswered: Counter,
}

impl Books {
    /// Counts a stamped frame; true if it came for the first time.
    pub fn note(&self, arrival: Arrival, bytes: u64) -> bool {
        match arrival {
            Arrival::InOrder => {}
            Arrival::Overtaken => self.out_of_order.add(1),
            Arrival::Duplicate => self.duplicated.add(1),
            Arrival::TooLate => self.too_late.add(1),
            Arrival::Foreign => self.foreign.add(1),
        }
        let is_first = matches!(arrival, Arrival::InOrder | Arrival::Overtaken);
        if is_first {
            self.received.add(1);
            self.received_bytes.add(bytes);
        }
        is_first
    }
}

/// Times on the way.
#[derive(Clone, Debug)]
pub struct Times {
    classes: Histogram,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { classes: Histogram::default(), min_ns: u64::MAX, max_ns: 0 }
    }
}

impl Times {
    /// Notes a frame that took so long.
    pub fn note(&mut self, ns: u64) {
        self.classes.add(ns, 1);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// What is said of them; none if there was none.
    #[must_use]
    pub fn way(&self) -> Option<Way> {
        let latency = self.classes.latency()?;
        // A class is named by its longest time.
        let within = |ns: u64| ns.clamp(self.min_ns, self.max_ns);
        let Latency { p50_ns, p99_ns, p999_ns, .. } = latency;
        Some(Way {
            min_ns: self.min_ns,
            p50_ns: within(p50_ns),
            p99_ns: within(p99_ns),
            p999_ns: within(p999_ns),
            max_ns: self.max_ns,
        })
    }
}

/// Time from our NIC to our NIC, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// No frame took less.
    pub min_ns: u64,
    /// Half of the frames took no more; 4 to 6 % is the width of its class.
    pub p50_ns: u64,
    /// 99 % of the frames took no more.
    pub p99_ns: u64,
    /// 99.9 % of the frames took no more.
    pub p999_ns: u64,
    /// No frame took more.
    pub max_ns: u64,
}

/// What became of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Frames per second that were asked for.
    pub asked_pps: f64,
    /// Frames per second that our NIC took.
    pub sent_pps: f64,
    /// Bits per second of them on the wire, preambles and gaps included.
    pub sent_bits_per_s: f64,
    /// Seconds of sending.
    pub seconds: f64,
    /// Frames that our NIC took.
    pub sent: u64,
    /// Frames that came back, or through.
    pub received: u64,
    /// Frames that did not.
    pub lost: u64,
    /// Frames that came again.
    pub duplicated: u64,
    /// Frames that came after a later one of their flow.
    pub out_of_order: u64,
    /// Frames that came too late to be known; they count as lost.
    pub too_late: u64,
    /// Other frames that came.
    pub foreign: u64,
    /// Frames whose checksums were computed anew.
    pub verified: u64,
    /// Those of them that had a wrong one.
    pub bad_checksums: u64,
    /// Requests that went back as answers.
    pub reflected: u64,
    /// Frames that we ourselves lost: answers that our NIC did not take, and what it received
    /// when we were too slow.
    pub our_losses: u64,
    /// Time on the way.
    pub way: Option<Way>,
}

impl Summary {
    /// Whether everything came, once, and right.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.sent > 0 && self.lost == 0 && self.duplicated == 0 && self.bad_checksums == 0
    }

    /// Whether the generator was slower than it should be by more than 1 %.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.sent_pps < 0.99 * self.asked_pps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_first_arrivals_count_as_received() {
        let books = Books::default();
        for arrival in [
            Arrival::InOrder,
            Arrival::Overtaken,
            Arrival::Duplicate,
            Arrival::TooLate,
            Arrival::Foreign,
        ] {
            books.note(arrival, 60);
        }
        assert_eq!((books.received.value(), books.received_bytes.value()), (2, 120));
        let others = [&books.out_of_order, &books.duplicated, &books.too_late, &books.foreign];
        assert!(others.iter().all(|count| count.value() == 1));
    }

    #[test]
    fn times_lie_between_the_shortest_and_the_longest() {
        let mut times = Times::default();
        assert_eq!(times.way(), None);
        for ns in [1001, 1000, 1003] {
            times.note(ns);
        }
        let way = times.way().unwrap();
        assert_eq!((way.min_ns, way.max_ns), (1000, 1003));
        assert!((1000..=1003).contains(&way.p50_ns) && way.p999_ns <= 1003);
    }

    #[test]
    fn a_summary_of_nothing_is_not_whole() {
        assert!(!Summary::default().is_whole());
        assert!(Summary { sent: 5, received: 5, ..Summary::default() }.is_whole());
        assert!(!Summary { sent: 5, received: 4, lost: 1, ..Summary::default() }.is_whole());
    }
}
