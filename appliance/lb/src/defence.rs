// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a worker does against a flood: `drop_entry`, `drop_packet` and `secure_tcp`.
//!
//! Once a second it is decided which of them are in force (`ip_vs_ctl.c: update_defense_level`):
//! always, never, or while few connection entries are free. Random drops look at a 32nd of the
//! entries each second, spread over the second's polls, so that no poll has much to do.

use crate::conn::tcp_state::{State, TcpTables};
use crate::conn::{Conn, ConnFamily};
use crate::ids::Tick;
use crate::knobs::{Knob, Knobs};
use crate::random::Random;

/// How often it is decided, in milliseconds.
const PERIOD_MS: u64 = 1000;
/// What part of the entries random drops look at in a period.
const SHARE: u64 = 32;
/// A connection younger than this since its last packet is not dropped, in milliseconds.
const IDLE_MS: u64 = 60_000;
/// A connection with more requests than this is not dropped.
const FEW_REQUESTS: usize = 8;

/// The defences of one worker.
#[derive(Debug)]
pub(crate) struct Defence {
    /// The TCP state tables in force.
    pub(crate) tcp: &'static TcpTables,
    decided: Option<Tick>,
    drops_entries: bool,
    /// Of how many packets that would open a connection one is dropped; 0 for none.
    drop_rate: u32,
    drop_counter: u32,
    spared: [u8; FEW_REQUESTS + 1],
    random: Random,
}

impl Defence {
    /// No defence is in force; random drops choose by `random`.
    pub(crate) fn new(random: Random) -> Self {
        Self {
            tcp: &TcpTables::PLAIN,
            decided: None,
            drops_entries: false,
            drop_rate: 0,
            drop_counter: 0,
            spared: std::array::from_fn(|requests| requests as u8),
            random,
        }
    }

    /// Has the next call of [`Self::decide`] decide anew, since the settings changed.
    pub(crate) fn review(&mut self) {
        self.decided = None;
    }

    /// Decides once a period what is in force; `free` entries of the fuller table are left. Says
    /// whether a period began in which entries are dropped.
    #[inline]
    pub(crate) fn decide(&mut self, now: Tick, knobs: &Knobs, free: impl Fn() -> u32) -> bool {
        match self.decided {
            Some(decided) if now.since(decided) < PERIOD_MS => false,
            _ => self.decide_now(now, knobs, free()),
        }
    }

    #[cold]
    fn decide_now(&mut self, now: Tick, knobs: &Knobs, free: u32) -> bool {
        self.decided = Some(now);
        let threshold = knobs.value(Knob::Amemthresh);
        let in_force = |knob| match knobs.value(knob) {
            0 => false,
            3 => true,
            _ => free < threshold,
        };
        let wary = in_force(Knob::SecureTcp);
        self.tcp = if wary { &TcpTables::WARY } else { &TcpTables::PLAIN };
        self.drops_entries = in_force(Knob::DropEntry);
        self.drop_rate = match (in_force(Knob::DropPacket), knobs.value(Knob::DropPacket)) {
            (false, _) => 0,
            (true, 3) => knobs.value(Knob::AmDroprate),
            (true, _) => threshold / (threshold - free).max(1),
        };
        self.drops_entries
    }

    /// Whether a packet that would open a connection is dropped: the first of each `drop_rate`.
    pub(crate) fn drops_packet(&mut self) -> bool {
        if self.drop_rate == 0 {
            return false;
        }
        self.drop_counter = self.drop_counter.saturating_sub(1);
        let drops = self.drop_counter == 0;
        if drops {
            self.drop_counter = self.drop_rate;
        }
        drops
    }

    /// How many of `capacity` entries random drops look at in a period.
    pub(crate) fn looks(capacity: u32) -> u32 {
        u64::from(capacity).div_ceil(SHARE) as u32
    }

    /// A random entry of `capacity`.
    pub(crate) fn pick(&mut self, capacity: u32) -> u32 {
        (((self.random.draw() >> 32) * u64::from(capacity)) >> 32) as u32
    }

    /// Whether a connection that was looked at is dropped: one that is half-open, or has been idle
    /// and had few requests, the sooner the fewer (`ip_vs_conn.c: todrop_entry`). `timeout_s` is
    /// that of its state.
    pub(crate) fn drops_entry<F: ConnFamily>(
        &mut self,
        conn: &Conn<F>,
        timeout_s: u32,
        now: Tick,
    ) -> bool {
        match conn.state() {
            State::SynRecv | State::SynAck | State::SctpInit1 | State::SctpInit => true,
            State::Established | State::Udp | State::SctpEstablished => {
                let expires_ms = conn.deadline().since(now);
                let idle_ms = (u64::from(timeout_s) * 1000).saturating_sub(expires_ms);
                idle_ms >= IDLE_MS && self.has_turn(conn.requests().into())
            }
            _ => false,
        }
    }

    /// Of connections with so many requests, every so-manieth is dropped.
    fn has_turn(&mut self, requests: usize) -> bool {
        let Some(spared) = self.spared.get_mut(requests).filter(|_| requests > 0) else {
            return false;
        };
        *spared = spared.saturating_sub(1);
        if *spared > 0 {
            return false;
        }
        *spared = requests as u8;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Seed, WorkerId};

    fn defence(seed: u64) -> Defence {
        Defence::new(Random::new(Seed::fixed(seed), WorkerId(0)))
    }

    fn knobs(settings: &[(Knob, u32)]) -> Knobs {
        let mut knobs = Knobs::default();
        settings.iter().for_each(|(knob, value)| knobs.set(*knob, *value));
        knobs
    }

    fn dropped(defence: &mut Defence, packets: usize) -> Vec<usize> {
        (1..=packets).filter(|_| defence.drops_packet()).collect()
    }

    #[test]
    fn the_first_of_every_so_many_packets_is_dropped() {
        let mut defence = defence(1);
        assert!(dropped(&mut defence, 9).is_empty());
        let always = knobs(&[(Knob::DropPacket, 3), (Knob::AmDroprate, 4)]);
        defence.decide(Tick::default(), &always, || 0);
        assert_eq!(dropped(&mut defence, 10), [1, 5, 9]);
    }

    #[test]
    fn the_fewer_entries_are_free_the_more_packets_are_dropped() {
        let automatic = knobs(&[(Knob::DropPacket, 1), (Knob::Amemthresh, 100)]);
        let rate = |free| {
            let mut defence = defence(1);
            defence.decide(Tick::default(), &automatic, || free);
            defence.drop_rate
        };
        assert_eq!([100, 99, 80, 50, 0].map(rate), [0, 100, 5, 2, 1]);
    }

    #[test]
    fn what_is_in_force_is_decided_once_a_second() {
        let mut defence = defence(1);
        let automatic = knobs(&[(Knob::DropEntry, 2)]);
        assert!(defence.decide(Tick::from_millis(5), &automatic, || 0));
        assert!(!defence.decide(Tick::from_millis(1004), &automatic, || 0));
        assert!(defence.decide(Tick::from_millis(1005), &automatic, || 0));
        assert!(!defence.decide(Tick::from_secs(9), &automatic, || 4096));
        defence.review();
        assert!(defence.decide(Tick::from_secs(9), &automatic, || 0));
    }

    #[test]
    fn connections_with_few_requests_go_sooner() {
        let mut defence = defence(1);
        let mut turns = |requests| (0..24).filter(|_| defence.has_turn(requests)).count();
        assert_eq!([0, 1, 2, 3, 8, 9].map(&mut turns), [0, 24, 12, 8, 3, 0]);
    }

    #[test]
    fn every_entry_may_be_looked_at() {
        let mut defence = defence(7);
        let picked: std::collections::HashSet<_> = (0..1000).map(|_| defence.pick(16)).collect();
        assert_eq!(picked.len(), 16);
        assert_eq!((Defence::looks(16), Defence::looks(1 << 20)), (1, 1 << 15));
    }
}
