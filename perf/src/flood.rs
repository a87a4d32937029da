// SPDX-License-Identifier: MIT OR Apache-2.0
//! A flood of SYNs from clients that never answer, ten times the good load.
//!
//! Good are the packets of established connections and those of new ones: SYN, ACK 50 ms later,
//! data a second later. Good traffic is unharmed as far as its packets leave the director.

use wire::Frame;

use crate::cost::{Lap, Spread, thread_ns};
use crate::established::Established;
use crate::opening::fresh;
use crate::plan::{Group, Plan, family_number, mode_name};
use crate::rig::{Rig, Side};
use crate::row::{Failure, Row};
use crate::stand::Stand;
use crate::traffic::{Segment, Traffic};

/// SYNs of the flood in a part of a burst; with two good packets that makes ten to one.
const FLOOD: usize = 20;
/// Frames in a part.
const PART: usize = FLOOD + 2;
/// Parts in a burst, which is two thirds of a batch.
const PARTS: usize = 2;
/// Packets per millisecond of the flood: a million a second.
const PER_MS: u32 = 1000;
const ESTABLISHED: u32 = 20_000;
const CLIENTS: u32 = 1 << 20;
/// Connections that a client's ACK, and then its data, come behind its SYN: 50 ms and 1 s at one
/// new connection in three parts.
const BEHIND: [usize; 3] = [0, 50 * PARTS_PER_MS / 3, 1000 * PARTS_PER_MS / 3];
const PARTS_PER_MS: usize = PER_MS as usize / FLOOD;
const BURSTS_PER_MS: u32 = (PARTS_PER_MS / PARTS) as u32;
const SEGMENTS: [Segment; 3] = [Segment::Open, Segment::Data, Segment::Data];

/// What became of the good packets, as shares of those sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unharmed {
    /// Of connections that were there before.
    pub established: f64,
    /// Of connections that began meanwhile.
    pub new: f64,
}

/// Floods a director for so many milliseconds of its time.
///
/// # Errors
/// The connections could not be opened before the flood.
pub fn row(
    stand: &mut Stand,
    plan: &Plan,
    flood_ms: u32,
    tsc_hz: u64,
) -> Result<(Row, Unharmed), Failure> {
    let mut established = Established::new(stand, plan, ESTABLISHED, &[60])?;
    let mut flood = Flood {
        requests: &established.requests,
        rig: &mut established.rig,
        fresh: fresh(plan, Group::Fresh, CLIENTS),
        flood: fresh(plan, Group::Flood, CLIENTS),
        next: [0; 2],
        parts: 0,
        fed: [0; 2],
        left: [0; 2],
    };
    flood.rig.set_pace(BURSTS_PER_MS);
    let mut costs = Vec::new();
    for _ in 0..10 {
        let (before, mut packets) = (thread_ns(), 0);
        for _ in 0..flood_ms * BURSTS_PER_MS / 10 {
            packets += flood.lap()?;
        }
        costs.push((thread_ns() - before) as f64 / packets as f64);
    }
    flood.rig.turn_through();
    flood.take();
    let share = |index: usize| flood.left[index] as f64 / flood.fed[index].max(1) as f64;
    let unharmed = Unharmed { established: share(0), new: share(1) };
    let ns = Spread::of(costs);
    let row = Row {
        connections: Some(flood.rig.live()),
        mode: Some(mode_name(plan.mode)),
        family: Some(family_number(plan.family)),
        ns: Some(ns),
        cycles: Some(ns.times(tsc_hz as f64 / 1e9)),
        mpps: Some(1000.0 / ns.median),
        note: format!(
            "unharmed: established {:.2} %, new {:.2} %; {}",
            unharmed.established * 100.0,
            unharmed.new * 100.0,
            flood.rig.drops()
        ),
        ..Row::new("flood", "SYN flood, 10 x the good load")
    };
    Ok((row, unharmed))
}

struct Flood<'a> {
    rig: &'a mut Rig,
    requests: &'a Traffic,
    fresh: Traffic,
    flood: Traffic,
    /// Where flood and established traffic go on.
    next: [usize; 2],
    parts: usize,
    /// Good packets of established and of new connections that went in, and came out.
    fed: [u64; 2],
    left: [u64; 2],
}

impl Lap for Flood<'_> {
    fn lap(&mut self) -> Result<u64, Failure> {
        self.rig.blank(PARTS * PART)?;
        for part in 0..PARTS {
            self.write(part * PART)?;
        }
        self.rig.feed(Side::Wan)?;
        self.rig.turn();
        self.take();
        Ok((PARTS * PART) as u64)
    }
}

impl Flood<'_> {
    /// Writes a part of a burst from frame `at` on: the flood, a packet of a new connection, and
    /// one of an established connection.
    fn write(&mut self, at: usize) -> Result<(), Failure> {
        let good = at + FLOOD;
        let [flood, known] = self.next;
        self.next = [
            self.rig.write(at..good, &self.flood, flood, Segment::Open)?,
            self.rig.write(good + 1..good + 2, self.requests, known, Segment::Data)?,
        ];
        let (connection, step) = (self.parts / 3, self.parts % 3);
        // Before there is a connection that old, the first one speaks.
        let number = connection.saturating_sub(BEHIND[step]);
        let segment = if connection < BEHIND[step] { Segment::Open } else { SEGMENTS[step] };
        self.rig.write(good..good + 1, &self.fresh, number % self.fresh.len(), segment)?;
        self.parts += 1;
        self.fed.iter_mut().for_each(|fed| *fed += 1);
        Ok(())
    }

    /// Takes what left, and counts the good packets of it.
    fn take(&mut self) {
        let mut left = [0; 2];
        self.rig.drain(Side::Lan, |frame| match frame.head().get(26) {
            Some(first) if *first == Group::Established as u8 => left[0] += 1,
            Some(first) if *first == Group::Fresh as u8 => left[1] += 1,
            _ => {}
        });
        self.left = [self.left[0] + left[0], self.left[1] + left[1]];
    }
}
