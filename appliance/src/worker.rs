// SPDX-License-Identifier: MIT OR Apache-2.0
//! The poll loop of a worker: take a snapshot, receive, run, send, expire.
//!
//! With many connections it works ahead: a batch is served in the turn after that in which it was
//! received, so that by then the cache has fetched what its packets touch. With few it has that
//! anyway, and a batch is served at once.
//!
//! It does not allocate, lock, log or make system calls, but sleeps after empty polls if it is told
//! to. A turn has one moment ([`Clock`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::config::Idle;
use control::publish::Inbox;
use dpdk::{Burst, Consumer, Mbuf};
use lb::batch::{Batch, Origin};
use lb::counters::{Counter, WorkerCounters};
use lb::ids::{NicId, Tick};
use lb::limits::BATCH;
use lb::pipeline::Worker;

use crate::capture::Recorder;
use crate::clock::Clock;
use crate::inlets::Inlets;
use crate::listing::Lister;
use crate::outlets::Outlets;

/// Batches taken from a ring in one turn: rings must empty faster than the others can fill them.
const RING_BATCHES: usize = 8;
/// Empty polls in a row before an idle worker sleeps.
const POLLS_BEFORE_SLEEP: u32 = 64;

/// A worker with all that it is joined to.
pub struct PollLoop {
    /// The balancer.
    pub worker: Worker<'static, Mbuf>,
    /// Where frames come from.
    pub inlets: Inlets,
    /// Where frames go.
    pub outlets: Outlets,
    /// New snapshots.
    pub snapshots: Inbox,
    /// Listings of connections.
    pub lister: Lister,
    /// Captures of frames.
    pub recorder: Recorder,
    /// What to do after empty polls.
    pub idle: Idle,
    /// When time began.
    pub start: Instant,
}

impl PollLoop {
    /// Polls until `stop` is set, and sends what is left.
    pub fn run(mut self, stop: &AtomicBool) {
        let counters = Arc::clone(self.worker.counters());
        let mut burst = Burst::new();
        let mut batch = Batch::default();
        let (mut clock, mut frames) = (Clock::new(self.start), 0);
        let mut empty_polls = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            let now = clock.turn(frames > 0);
            frames = self.turn(&counters, &mut burst, &mut batch, now);
            if frames > 0 || self.lister.is_busy() {
                empty_polls = 0;
            } else {
                empty_polls = empty_polls.saturating_add(1);
                rest(self.idle, empty_polls);
            }
        }
        let Self { worker, inlets, outlets, recorder, .. } = &mut self;
        for inlet in &mut inlets.queues {
            serve(worker, inlet.due(), Origin::Wire, clock.turn(false), outlets, recorder);
        }
        outlets.flush();
    }

    /// One turn of the loop; returns how many frames came in. `burst` and `batch` are empty before
    /// and after; `counters` are the worker's own.
    pub fn turn(
        &mut self,
        counters: &WorkerCounters,
        burst: &mut Burst,
        batch: &mut Batch<Mbuf>,
        now: Tick,
    ) -> usize {
        let Self { worker, inlets, outlets, snapshots, lister, recorder, start, .. } = self;
        recorder.turn(|| start.elapsed().as_nanos() as u64);
        if let Some(snapshot) = snapshots.take() {
            let generation = snapshot.generation;
            snapshots.give_back(worker.install(snapshot), generation);
        }
        outlets.begin_turn(now, recorder.wanted());
        let mut frames = 0;
        for _ in 0..RING_BATCHES {
            let count = inlets.handed_in.dequeue(burst, BATCH);
            fill(batch, burst);
            serve(worker, batch, Origin::Worker, now, outlets, recorder);
            frames += count;
            if count < BATCH {
                break;
            }
        }
        for inlet in &mut inlets.queues {
            worker.point(inlet.due());
        }
        for inlet in &mut inlets.queues {
            frames += inlet.receive(worker);
        }
        let works_ahead = worker.is_far();
        for inlet in &mut inlets.queues {
            serve(worker, inlet.due(), Origin::Wire, now, outlets, recorder);
            inlet.advance();
            if !works_ahead {
                serve(worker, inlet.due(), Origin::Wire, now, outlets, recorder);
            }
        }
        frames += relay(&mut inlets.relayed, burst, &counters.frames.handed_in, |frame| {
            outlets.transmit(nic_of(&frame), frame);
        });
        frames += relay(&mut inlets.from_host, burst, &counters.frames.from_host, |frame| {
            if recorder.is_on() {
                recorder.host_sends(counters.worker, nic_of(&frame), &frame);
            }
            outlets.transmit(nic_of(&frame), frame);
        });
        match recorder.is_on() {
            false => worker.tick(now, outlets),
            true => worker.tick_before(now, outlets, recorder),
        };
        lister.turn(worker, now);
        outlets.flush();
        frames
    }
}

/// Serves a batch, before the recorder while somebody captures.
#[inline]
fn serve(
    worker: &mut Worker<'static, Mbuf>,
    batch: &mut Batch<Mbuf>,
    origin: Origin,
    now: Tick,
    outlets: &mut Outlets,
    recorder: &mut Recorder,
) {
    if recorder.is_on() {
        worker.run_before(batch, origin, now, outlets, recorder);
    } else {
        worker.run(batch, origin, now, outlets);
    }
}

/// Takes from a ring the frames that are to be sent as they are; returns how many.
fn relay(
    ring: &mut Consumer,
    burst: &mut Burst,
    origin: &Counter,
    mut send: impl FnMut(Mbuf),
) -> usize {
    let mut frames = 0;
    for _ in 0..RING_BATCHES {
        let count = ring.dequeue(burst, BATCH);
        origin.add(count as u64);
        burst.drain().for_each(&mut send);
        frames += count;
        if count < BATCH {
            break;
        }
    }
    frames
}

fn fill(batch: &mut Batch<Mbuf>, burst: &mut Burst) {
    for frame in burst.drain() {
        let nic = nic_of(&frame);
        let pushed = batch.push(frame, nic);
        debug_assert!(pushed.is_ok(), "a burst of at most a batch fits an empty batch");
    }
}

/// The NIC that a frame in a ring is tagged with.
fn nic_of(frame: &Mbuf) -> NicId {
    NicId(frame.nic().index())
}

fn rest(idle: Idle, empty_polls: u32) {
    match idle {
        Idle::Spin => std::hint::spin_loop(),
        Idle::Yield => thread::yield_now(),
        Idle::Sleep(us) if empty_polls >= POLLS_BEFORE_SLEEP => {
            thread::sleep(Duration::from_micros(us.into()));
        }
        Idle::Sleep(_) => std::hint::spin_loop(),
    }
}
