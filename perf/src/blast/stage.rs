// SPDX-License-Identifier: MIT OR Apache-2.0
//! One stage of a run: who sends what, until when, and the loop of each NIC meanwhile.
//!
//! Each NIC has a thread. The number of the next frame is published before it leaves, so that a
//! frame is never taken for one that was not sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dpdk::Burst;
use rustix::time::{ClockId, clock_gettime};

use super::books::{Books, Times};
use super::end::{Counting, End};
use super::flows::Flows;
use super::frames::Frames;
use super::rate::{Bucket, Rate};
use super::stamp::Stamp;
use crate::traffic::Segment;

/// Frames that are made at once.
const BATCH: usize = 32;
/// A NIC that takes nothing for so long takes nothing at all.
const STALLED_NS: u64 = 5_000_000_000;

/// When a stage has sent enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    /// After so many frames.
    Frames(u64),
    /// After so much time.
    Nanoseconds(u64),
}

/// What the threads of a stage share.
#[derive(Debug)]
pub struct Stage {
    /// The run's mark.
    pub marker: u16,
    /// The flows, in turn.
    pub flows: Flows,
    /// Which segments.
    pub segment: Segment,
    /// How fast.
    pub rate: Rate,
    /// For how long.
    pub until: Until,
    /// Number of the first frame.
    pub first: u64,
    /// Pause of a thread that finds nothing to do; none if it is to spin.
    pub pause: Option<Duration>,
    /// Counters.
    pub books: Books,
    next: AtomicU64,
    sending_ns: AtomicU64,
    all_sent: AtomicBool,
    over: AtomicBool,
}

/// What a stage sends.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Which segments.
    pub segment: Segment,
    /// How fast.
    pub rate: Rate,
    /// For how long.
    pub until: Until,
}

impl Stage {
    /// A stage that is about to begin.
    #[must_use]
    pub fn new(marker: u16, flows: Flows, load: Load, first: u64, pause: Option<Duration>) -> Self {
        let Load { segment, rate, until } = load;
        Self {
            marker,
            flows,
            segment,
            rate,
            until,
            first,
            pause,
            books: Books::default(),
            next: AtomicU64::new(first),
            sending_ns: AtomicU64::new(0),
            all_sent: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// Number of the frame that is made next; all before it may have left.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Whether enough was sent.
    #[must_use]
    pub fn is_all_sent(&self) -> bool {
        self.all_sent.load(Ordering::Acquire)
    }

    /// Nanoseconds that sending took so far.
    #[must_use]
    pub fn sending_ns(&self) -> u64 {
        self.sending_ns.load(Ordering::Relaxed)
    }

    /// Ends the threads.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// The loop of a NIC, until the stage is ended; returns the times of what it counted.
    pub fn run(&self, end: &mut End, mut sender: Option<&mut Sender>) -> Times {
        let mut counting = Counting::new(self);
        let mut sending = Sending::new(self);
        while !self.over.load(Ordering::Acquire) {
            let now = now_ns();
            let came = end.receive(self, &mut counting, now);
            let left = match &mut sender {
                Some(sender) => sending.turn(self, end, sender, now),
                None => 0,
            };
            end.answer();
            if came + left == 0 {
                match self.pause {
                    Some(pause) => std::thread::sleep(pause),
                    None => std::hint::spin_loop(),
                }
            }
        }
        end.give_up(&self.books);
        counting.times
    }
}

/// What makes frames, from stage to stage.
#[derive(Debug)]
pub struct Sender {
    /// Templates.
    pub frames: Frames,
    /// Frames that wait for the NIC.
    waiting: Burst,
}

impl Sender {
    /// A sender of these frames.
    #[must_use]
    pub fn new(frames: Frames) -> Self {
        Self { frames, waiting: Burst::new() }
    }
}

/// How far a stage's sending is.
struct Sending {
    bucket: Bucket,
    begun_ns: u64,
    /// When the NIC last took a frame.
    taken_ns: u64,
    number: u64,
}

impl Sending {
    fn new(stage: &Stage) -> Self {
        let now = now_ns();
        let bucket = Bucket::new(stage.rate, now);
        Self { bucket, begun_ns: now, taken_ns: now, number: stage.first }
    }

    /// Makes what may leave, and gives it to the NIC; returns how many frames that took.
    fn turn(&mut self, stage: &Stage, end: &mut End, sender: &mut Sender, now: u64) -> usize {
        if stage.is_all_sent() {
            return 0;
        }
        self.bucket.fill(now);
        if sender.waiting.is_empty() {
            self.make(stage, end, sender, now);
        }
        let bytes = |burst: &Burst| burst.as_slice().iter().map(wire::Frame::len).sum::<usize>();
        let before = bytes(&sender.waiting);
        let left = end.send(&mut sender.waiting);
        stage.books.sent.add(left as u64);
        stage.books.sent_bytes.add((before - bytes(&sender.waiting)) as u64);
        if left > 0 || sender.waiting.is_empty() {
            self.taken_ns = now;
        }
        stage.sending_ns.store(now - self.begun_ns, Ordering::Relaxed);
        let is_enough = match stage.until {
            Until::Frames(frames) => {
                self.number - stage.first >= frames && sender.waiting.is_empty()
            }
            Until::Nanoseconds(ns) => now - self.begun_ns >= ns,
        };
        if is_enough || now - self.taken_ns >= STALLED_NS {
            sender.waiting.clear();
            stage.all_sent.store(true, Ordering::Release);
        }
        left
    }

    fn make(&mut self, stage: &Stage, end: &End, sender: &mut Sender, now: u64) {
        let most = match stage.until {
            Until::Frames(frames) => stage.first + frames,
            Until::Nanoseconds(_) => u64::MAX,
        };
        while sender.waiting.len() < BATCH && self.number < most {
            let turn = self.number - stage.first;
            let template = sender.frames.template(turn, stage.segment);
            if !self.bucket.pay(template.len() as u16) {
                break;
            }
            let Some(mut frame) = end.blank(template) else {
                break;
            };
            let stamp = Stamp { marker: stage.marker, number: self.number, sent_ns: now };
            sender.frames.lay(wire::Frame::head_mut(&mut frame), stage.flows.of(turn), stamp);
            let pushed = sender.waiting.push(frame);
            debug_assert!(pushed.is_ok(), "a burst holds more than a batch");
            self.number += 1;
        }
        stage.next.store(self.number, Ordering::Release);
    }
}

/// The monotonic clock, in nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
