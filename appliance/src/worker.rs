// SPDX-License-Identifier: MIT OR Apache-2.0
//! The poll loop of a worker: take a snapshot, receive, run, send, expire.
//!
//! It does not allocate, lock, log or make system calls, but sleeps after empty polls if it is told
//! to. The clock is read once per turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::config::Idle;
use control::publish::Inbox;
use dpdk::{Burst, Consumer, Mbuf, RxQueue};
use lb::batch::{Batch, Origin};
use lb::counters::WorkerCounters;
use lb::ids::{NicId, Tick};
use lb::limits::BATCH;
use lb::pipeline::Worker;

use crate::listing::Lister;
use crate::outlets::Outlets;

/// Batches taken from a ring in one turn: rings must empty faster than the others can fill them.
const RING_BATCHES: usize = 8;
/// Empty polls in a row before an idle worker sleeps.
const POLLS_BEFORE_SLEEP: u32 = 64;

/// Where frames come from.
pub struct Inlets {
    /// Receive queues that this worker polls.
    pub queues: Vec<(NicId, RxQueue)>,
    /// Frames of flows that this worker owns, from the others.
    pub handed_in: Consumer,
    /// Frames that this worker sends for the others.
    pub relayed: Consumer,
    /// Frames that this worker sends for the host.
    pub from_host: Consumer,
}

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
        let mut empty_polls = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            let now = Tick::from_millis(self.start.elapsed().as_millis() as u64);
            let frames = self.turn(&counters, &mut burst, &mut batch, now);
            if frames > 0 || self.lister.is_busy() {
                empty_polls = 0;
            } else {
                empty_polls = empty_polls.saturating_add(1);
                rest(self.idle, empty_polls);
            }
        }
        self.outlets.flush();
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
        let Self { worker, inlets, outlets, snapshots, lister, .. } = self;
        if let Some(snapshot) = snapshots.take() {
            let generation = snapshot.generation;
            snapshots.give_back(worker.install(snapshot), generation);
        }
        outlets.set_now(now);
        let mut frames = 0;
        for _ in 0..RING_BATCHES {
            let count = inlets.handed_in.dequeue(burst, BATCH);
            fill(batch, burst);
            worker.run(batch, Origin::Worker, now, outlets);
            frames += count;
            if count < BATCH {
                break;
            }
        }
        for (nic, queue) in &mut inlets.queues {
            frames += queue.receive(burst, BATCH);
            batch.extend(*nic, burst.drain());
            worker.run(batch, Origin::Wire, now, outlets);
        }
        let sent_for_others = [
            (&mut inlets.relayed, &counters.frames.handed_in),
            (&mut inlets.from_host, &counters.frames.from_host),
        ];
        for (ring, origin) in sent_for_others {
            for _ in 0..RING_BATCHES {
                let count = ring.dequeue(burst, BATCH);
                origin.add(count as u64);
                burst.drain().for_each(|frame| outlets.transmit(nic_of(&frame), frame));
                frames += count;
                if count < BATCH {
                    break;
                }
            }
        }
        worker.tick(now, outlets);
        lister.turn(worker, now);
        outlets.flush();
        frames
    }
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
