// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of the frames that were sent have come, by their numbers.
//!
//! A bit for each of the last 16 million numbers tells a late frame from a doubled one. Order is
//! looked at within each flow (RFC 4737's reordering, by flow): flows on different workers may
//! overtake each other, the frames of one flow should not.

use super::flows::Flows;

/// Numbers that are remembered, a power of two.
const REMEMBERED: u64 = 1 << 24;
const WORD: u64 = 64;

/// What a number turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Its first arrival, in the order of its flow.
    InOrder,
    /// Its first arrival, after a later frame of its flow.
    Overtaken,
    /// It has come before.
    Duplicate,
    /// So late that nobody knows whether it has come before; it counts as lost.
    TooLate,
    /// None of those that were sent.
    Foreign,
}

/// The numbers from a first one on.
#[derive(Debug)]
pub struct Arrivals {
    flows: Flows,
    first: u64,
    /// One more than the highest that came.
    end: u64,
    came: Vec<u64>,
    /// By flow: one more than the highest that came, or 0.
    ends_of_flows: Vec<u64>,
}

impl Arrivals {
    /// Nothing has come yet; numbers before `first` are of former trials.
    #[must_use]
    pub fn new(flows: Flows, first: u64) -> Self {
        Self {
            flows,
            first,
            end: first,
            came: vec![0; (REMEMBERED / WORD) as usize],
            ends_of_flows: vec![0; flows.count() as usize],
        }
    }

    /// Notes a number; those from `sent` on have not left yet.
    pub fn note(&mut self, number: u64, sent: u64) -> Arrival {
        if number < self.first || number >= sent {
            return Arrival::Foreign;
        }
        if number >= self.end {
            self.advance(number + 1);
        } else if self.end - number > REMEMBERED {
            return Arrival::TooLate;
        }
        let (word, bit) = place(number);
        let Some(word) = self.came.get_mut(word) else {
            return Arrival::Foreign;
        };
        if *word & bit != 0 {
            return Arrival::Duplicate;
        }
        *word |= bit;
        let flow = self.flows.place(number - self.first) as usize;
        match self.ends_of_flows.get_mut(flow) {
            Some(end) if *end > number => Arrival::Overtaken,
            Some(end) => {
                *end = number + 1;
                Arrival::InOrder
            }
            None => Arrival::Foreign,
        }
    }

    /// Moves the end on; the numbers that come into sight have not come.
    fn advance(&mut self, end: u64) {
        if end - self.end >= REMEMBERED {
            self.came.fill(0);
        } else {
            for number in self.end..end {
                let (word, bit) = place(number);
                if let Some(word) = self.came.get_mut(word) {
                    *word &= !bit;
                }
            }
        }
        self.end = end;
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % REMEMBERED;
    ((at / WORD) as usize, 1 << (at % WORD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blast::flows::Ends;

    fn arrivals(flows: u32, first: u64) -> Arrivals {
        let ends = Ends {
            clients: "198.18.0.1".parse().unwrap(),
            client_ports: "1024-65535".parse().unwrap(),
            vips: "192.0.2.1".parse().unwrap(),
            vip_ports: "80".parse().unwrap(),
        };
        Arrivals::new(Flows::new(ends, flows).unwrap(), first)
    }

    #[test]
    fn lost_doubled_and_foreign_frames_are_told_apart() {
        let mut arrivals = arrivals(4, 1000);
        assert_eq!(arrivals.note(999, 1100), Arrival::Foreign, "of the trial before");
        assert_eq!(arrivals.note(1000, 1100), Arrival::InOrder);
        assert_eq!(arrivals.note(1002, 1100), Arrival::InOrder, "1001 is lost or late");
        assert_eq!(arrivals.note(1002, 1100), Arrival::Duplicate);
        assert_eq!(arrivals.note(1100, 1100), Arrival::Foreign, "not sent yet");
    }

    #[test]
    fn order_counts_within_a_flow_only() {
        let mut arrivals = arrivals(4, 0);
        assert_eq!(arrivals.note(5, 100), Arrival::InOrder);
        assert_eq!(arrivals.note(2, 100), Arrival::InOrder, "of another flow");
        assert_eq!(arrivals.note(1, 100), Arrival::Overtaken, "of the flow of 5");
        assert_eq!(arrivals.note(1, 100), Arrival::Duplicate);
        assert_eq!(arrivals.note(9, 100), Arrival::InOrder);
    }

    #[test]
    fn what_is_forgotten_is_too_late_and_never_a_duplicate() {
        let (mut arrivals, sent) = (arrivals(4, 0), u64::MAX);
        assert_eq!(arrivals.note(0, sent), Arrival::InOrder);
        assert_eq!(arrivals.note(REMEMBERED, sent), Arrival::InOrder, "its place is free again");
        assert_eq!(arrivals.note(0, sent), Arrival::TooLate);
        assert_eq!(arrivals.note(1, sent), Arrival::InOrder, "just remembered");
        assert_eq!(arrivals.note(9 * REMEMBERED + 1, sent), Arrival::InOrder);
        assert_eq!(arrivals.note(9 * REMEMBERED, sent), Arrival::InOrder);
    }
}
