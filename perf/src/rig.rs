// SPDX-License-Identifier: MIT OR Apache-2.0
//! One poll loop between two wires: frames in, a turn, frames out, and the books.
//!
//! Time is the bench's: it goes on as the rows say, so that connections expire as they would under
//! the load that is meant. The clock is read all the same, as often as the appliance does.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use appliance::clock::Clock;
use appliance::worker::PollLoop;
use dpdk::{Burst, Mbuf};
use lb::batch::Batch;
use lb::counters::WorkerCounters;
use lb::ids::Tick;
use lb::verdict::DropReason;

use crate::row::Failure;
use crate::stand::{BenchEnds, Blanks, Stand, Wire};
use crate::traffic::{Segment, Traffic};

/// Turns of the loop per millisecond of the bench's time: about 8 Mpps.
const TURNS_PER_MS: u32 = 128;

/// Which of the two NICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That towards clients.
    Wan,
    /// That towards servers.
    Lan,
}

impl Side {
    /// The other NIC.
    pub fn opposite(self) -> Self {
        match self {
            Self::Wan => Self::Lan,
            Self::Lan => Self::Wan,
        }
    }
}

/// A poll loop and the other ends of all that it is joined to.
pub struct Rig {
    /// The product.
    pub poll: PollLoop,
    counters: Arc<WorkerCounters>,
    wan: BenchEnds,
    lan: BenchEnds,
    blanks: Blanks,
    frames: Burst,
    received: Burst,
    batch: Batch<Mbuf>,
    clock: Clock,
    now_ms: u64,
    turns: u32,
    turns_per_ms: u32,
    fed: u64,
    left: u64,
}

impl Rig {
    /// A rig at moment 0.
    pub fn new(poll: PollLoop, ends: [BenchEnds; 2], blanks: Blanks) -> Self {
        let [wan, lan] = ends;
        Self {
            counters: Arc::clone(poll.worker.counters()),
            poll,
            wan,
            lan,
            blanks,
            frames: Burst::new(),
            received: Burst::new(),
            batch: Batch::default(),
            clock: Clock::new(Instant::now()),
            now_ms: 0,
            turns: 0,
            turns_per_ms: TURNS_PER_MS,
            fed: 0,
            left: 0,
        }
    }

    /// Takes `count` blank frames, which [`Self::write`] and [`Self::feed`] are for.
    ///
    /// # Errors
    /// The pool is empty.
    #[inline]
    pub fn blank(&mut self, count: usize) -> Result<(), Failure> {
        self.blanks.take(&mut self.frames, count)
    }

    /// Writes frames into the blanks of a range; returns where the traffic goes on.
    ///
    /// # Errors
    /// A blank is too short.
    #[inline]
    pub fn write(
        &mut self,
        range: std::ops::Range<usize>,
        traffic: &Traffic,
        from: usize,
        segment: Segment,
    ) -> Result<usize, Failure> {
        traffic.fill(from, &mut self.frames.as_mut_slice()[range], segment)
    }

    /// Gives the written frames to the loop.
    ///
    /// # Errors
    /// The loop left older ones there.
    #[inline]
    pub fn feed(&mut self, side: Side) -> Result<(), Failure> {
        self.fed += self.frames.len() as u64;
        let Self { wan, lan, frames, .. } = self;
        match side {
            Side::Wan => wan.feed(frames),
            Side::Lan => lan.feed(frames),
        }
    }

    /// Writes a burst of a traffic's frames and gives it to the loop; returns where to go on.
    ///
    /// # Errors
    /// As [`Self::blank`], [`Self::write`] and [`Self::feed`].
    #[inline]
    pub fn send(
        &mut self,
        side: Side,
        traffic: &Traffic,
        from: usize,
        count: usize,
        segment: Segment,
    ) -> Result<usize, Failure> {
        self.blank(count)?;
        let next = self.write(0..count, traffic, from, segment)?;
        self.feed(side)?;
        Ok(next)
    }

    /// One turn of the poll loop; returns how many frames came in.
    #[inline]
    pub fn turn(&mut self) -> usize {
        black_box(self.clock.turn(true));
        self.turns += 1;
        if self.turns == self.turns_per_ms {
            (self.turns, self.now_ms) = (0, self.now_ms + 1);
        }
        let now = Tick::from_millis(self.now_ms);
        self.poll.turn(&self.counters, &mut self.received, &mut self.batch, now)
    }

    /// Turns until what came in is sent: with many connections the loop serves a batch in the turn
    /// after that in which it received it.
    pub fn turn_through(&mut self) {
        self.turn();
        self.turn();
    }

    /// Takes and frees what the loop sent; shows it to `look` before. Returns how much it was.
    #[inline]
    pub fn drain(&mut self, side: Side, look: impl FnMut(&Mbuf)) -> u64 {
        let Self { wan, lan, received, .. } = self;
        let frames = match side {
            Side::Wan => wan.drain(received, look),
            Side::Lan => lan.drain(received, look),
        };
        self.left += frames;
        frames
    }

    /// Lets the other side answer: what the loop sent by a NIC comes back to it as `answer` makes
    /// it; frames that it refuses are freed. Returns how many come back.
    ///
    /// # Errors
    /// The loop left older ones there.
    pub fn echo(
        &mut self,
        side: Side,
        mut answer: impl FnMut(&mut Mbuf) -> bool,
    ) -> Result<u64, Failure> {
        let Self { wan, lan, received, .. } = self;
        let ends = match side {
            Side::Wan => wan,
            Side::Lan => lan,
        };
        self.left += ends.receive(received) as u64;
        let mut back = Burst::new();
        for mut frame in received.drain() {
            if answer(&mut frame) {
                let pushed = back.push(frame);
                debug_assert!(pushed.is_ok(), "no more come back than came");
            }
        }
        let answers = back.len() as u64;
        self.fed += answers;
        ends.feed(&mut back)?;
        Ok(answers)
    }

    /// Sets how fast time goes.
    pub fn set_pace(&mut self, turns_per_ms: u32) {
        (self.turns, self.turns_per_ms) = (0, turns_per_ms);
    }

    /// Lets time pass at once.
    #[inline]
    pub fn wait_ms(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// Says whether every frame that went in came out since the last time.
    ///
    /// # Errors
    /// How many did not, and why.
    pub fn check_all_left(&mut self) -> Result<(), Failure> {
        self.turn_through();
        for side in [Side::Wan, Side::Lan] {
            self.drain(side, |_| ());
        }
        let (fed, left) = (std::mem::take(&mut self.fed), std::mem::take(&mut self.left));
        if fed == left {
            return Ok(());
        }
        Err(Failure::Lost { fed, left, drops: self.drops() })
    }

    /// Forgets what went in and came out so far.
    pub fn forget(&mut self) {
        (self.fed, self.left) = (0, 0);
    }

    /// Frames that went in and came out.
    pub fn books(&self) -> (u64, u64) {
        (self.fed, self.left)
    }

    /// Connections in the tables.
    pub fn live(&self) -> u32 {
        self.poll.worker.live()
    }

    /// Drop reasons with their counts, as text.
    pub fn drops(&self) -> String {
        let frames = &self.counters.frames;
        let mut words: Vec<String> = DropReason::ALL
            .iter()
            .filter(|reason| frames.dropped(**reason) > 0)
            .map(|reason| format!("{} {}", frames.dropped(*reason), reason.name()))
            .collect();
        if frames.punted.value() > 0 {
            words.push(format!("{} to the host", frames.punted.value()));
        }
        if words.is_empty() { "no drops".to_owned() } else { words.join(", ") }
    }
}

/// The ends of both NICs, sorted by who holds them.
pub fn split(wires: (Wire, Wire)) -> ([crate::stand::LoopEnds; 2], [BenchEnds; 2]) {
    let ((wan_loop, wan_bench), (lan_loop, lan_bench)) = wires;
    ([wan_loop, lan_loop], [wan_bench, lan_bench])
}

/// Blanks for a rig, and for the reference loop beside it.
///
/// # Errors
/// The queues of the last row are still held.
pub fn blanks_for_two(stand: &mut Stand, bytes: u16) -> Result<[Blanks; 2], Failure> {
    let blanks = stand.blanks(bytes, 1)?;
    let got = blanks.len();
    blanks.try_into().map_err(|_| Failure::Buffers { wanted: 2, got })
}
