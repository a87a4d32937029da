// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where frames leave a worker: transmit buffers per NIC, rings to other workers, rings to the
//! host.
//!
//! Frames are gathered and leave in bursts. What becomes of each is counted here, when it is known:
//! a frame that a queue or ring did not take is a named drop.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use dpdk::{Burst, Mbuf, Pool, Producer, TxQueue};
use lb::batch::{Batch, Sink};
use lb::counters::{Counter, FrameCounters, WorkerCounters};
use lb::ids::{NicId, Tick, WorkerId};
use lb::network::Neighbour;
use lb::verdict::{DropReason, Verdict};
use wire::Frame;

use crate::capture::{LateDrops, Wanted};
use crate::punt::{self, Class, RateLimit};

/// The rings to the host thread, and how many frames may take them.
pub struct HostPath {
    /// For ARP, ND, VRRP, BGP and BFD.
    pub vital: Producer,
    /// For all other frames.
    pub other: Producer,
    /// How many of those there may be.
    pub rate: RateLimit,
}

/// Everything that a worker can give frames to.
pub struct Outlets {
    nics: Vec<Outlet>,
    workers: Vec<Outlet>,
    vital: Outlet,
    other: Outlet,
    rate: RateLimit,
    free: Burst,
    /// Buffers for packets that leave in fragments.
    pool: Option<Pool>,
    wanted: Arc<ArrayQueue<Neighbour>>,
    losses: Losses,
}

/// Where frames that were sent or lost are counted, and lost ones recorded.
struct Losses {
    counters: Arc<WorkerCounters>,
    late: LateDrops,
    now: Tick,
}

impl Losses {
    /// Counts and records frames of which the last one is `frame`.
    #[cold]
    fn add(&self, reason: DropReason, count: usize, nic: NicId, frame: &Mbuf) {
        self.counters.frames.drop(reason, count as u64);
        self.counters.last_drops.note(reason, nic, self.now, frame);
        self.late.dropped(self.counters.worker, nic, reason, frame);
    }
}

impl Outlets {
    /// Outlets to NICs and workers by their numbers; neighbours to be resolved go to `wanted`.
    pub fn new(
        nics: Vec<Way>,
        workers: Vec<Producer>,
        host: HostPath,
        wanted: Arc<ArrayQueue<Neighbour>>,
        counters: Arc<WorkerCounters>,
        late: LateDrops,
    ) -> Self {
        Self {
            nics: nics.into_iter().map(Outlet::new).collect(),
            workers: workers.into_iter().map(|ring| Outlet::new(Way::HandOff(ring))).collect(),
            vital: Outlet::new(Way::Host(host.vital)),
            other: Outlet::new(Way::Host(host.other)),
            rate: host.rate,
            free: Burst::new(),
            pool: None,
            wanted,
            losses: Losses { counters, late, now: Tick::default() },
        }
    }

    /// The outlets with buffers for packets that leave in fragments; without, those are dropped.
    #[must_use]
    pub fn with_pool(self, pool: Pool) -> Self {
        Self { pool: Some(pool), ..self }
    }

    /// The moment of the frames to come, and which of those that are dropped here are wanted.
    pub fn begin_turn(&mut self, now: Tick, wanted: Option<Wanted>) {
        self.losses.now = now;
        self.losses.late.set_wanted(wanted);
    }

    /// Sends a complete frame from a NIC.
    #[inline]
    pub fn transmit(&mut self, nic: NicId, mut frame: Mbuf) {
        match self.nics.get_mut(nic.index()) {
            Some(outlet) => {
                if matches!(outlet.way, Way::Relay(_)) {
                    frame.set_nic(dpdk::NicId::new(nic.0));
                }
                outlet.put(frame, &self.losses);
            }
            None => self.discard(nic, frame, DropReason::Bug),
        }
    }

    /// Gives what was gathered to the queues and rings.
    pub fn flush(&mut self) {
        let losses = &self.losses;
        self.nics.iter_mut().for_each(|outlet| outlet.flush(losses));
        self.workers.iter_mut().for_each(|outlet| outlet.flush(losses));
        self.vital.flush(losses);
        self.other.flush(losses);
        self.free.clear();
    }

    fn punt(&mut self, nic: NicId, mut frame: Mbuf) {
        let losses = &self.losses;
        frame.set_nic(dpdk::NicId::new(nic.0));
        match punt::classify(frame.head()) {
            Class::Vital => self.vital.put(frame, losses),
            Class::Other if self.rate.allows(losses.now) => self.other.put(frame, losses),
            Class::Other => self.discard(nic, frame, DropReason::PuntRate),
        }
    }

    fn discard(&mut self, nic: NicId, frame: Mbuf, reason: DropReason) {
        self.losses.add(reason, 1, nic, &frame);
        self.free(frame);
    }

    fn free(&mut self, frame: Mbuf) {
        if self.free.is_full() {
            self.free.clear();
        }
        // A burst that was just emptied has room; a frame it does not take frees itself.
        let _ = self.free.push(frame);
    }
}

impl Sink<Mbuf> for Outlets {
    #[inline]
    fn take(&mut self, mut frame: Mbuf, verdict: Verdict) {
        match verdict {
            Verdict::Transmit(nic) => self.transmit(nic, frame),
            Verdict::Punt(nic) => self.punt(nic, frame),
            Verdict::HandOff(WorkerId(worker), nic) => {
                frame.set_nic(dpdk::NicId::new(nic.0));
                match self.workers.get_mut(usize::from(worker)) {
                    Some(outlet) => outlet.put(frame, &self.losses),
                    None => self.discard(nic, frame, DropReason::Bug),
                }
            }
            Verdict::Drop(_) => self.free(frame),
        }
    }

    #[inline]
    fn send(&mut self, nic: NicId, batch: &mut Batch<Mbuf>) {
        match self.nics.get_mut(nic.index()) {
            Some(outlet) if matches!(outlet.way, Way::Queue(_)) => {
                outlet.put_all(batch, &self.losses);
            }
            _ => batch.frames_mut().drain(..).for_each(|frame| self.transmit(nic, frame)),
        }
    }

    fn piece(&mut self, of: &Mbuf, headers: &[u8], start: usize, len: usize) -> Option<Mbuf> {
        self.pool.as_ref()?.piece(of, headers, start, len)
    }

    fn want(&mut self, neighbour: Neighbour) {
        // A full queue is full of such wishes; this one is made again with the next frame.
        let _ = self.wanted.push(neighbour);
    }
}

/// A way out of the worker.
pub enum Way {
    /// A transmit queue of its own.
    Queue(TxQueue),
    /// The ring of the worker that has a queue of the NIC.
    Relay(Producer),
    /// The ring of a worker that owns flows.
    HandOff(Producer),
    /// A ring of the host thread.
    Host(Producer),
}

impl Way {
    fn send(&mut self, burst: &mut Burst) -> usize {
        match self {
            Self::Queue(queue) => queue.send(burst),
            Self::Relay(ring) | Self::HandOff(ring) | Self::Host(ring) => ring.enqueue(burst),
        }
    }

    /// Where frames that found room are counted.
    fn fate<'a>(&self, frames: &'a FrameCounters) -> &'a Counter {
        match self {
            Self::Queue(_) => &frames.sent,
            Self::Relay(_) | Self::HandOff(_) => &frames.handed_off,
            Self::Host(_) => &frames.punted,
        }
    }

    /// Why frames that found no room are dropped.
    fn refusal(&self) -> DropReason {
        match self {
            Self::Queue(_) | Self::Relay(_) => DropReason::TxFull,
            Self::HandOff(_) => DropReason::HandoffFull,
            Self::Host(_) => DropReason::PuntFull,
        }
    }
}

/// A way out and the frames that wait to take it together. It shares no cache line, nor pair of
/// lines, with what another worker writes.
#[repr(align(128))]
struct Outlet {
    way: Way,
    burst: Burst,
}

impl Outlet {
    fn new(way: Way) -> Self {
        Self { way, burst: Burst::new() }
    }

    #[inline]
    fn put(&mut self, frame: Mbuf, losses: &Losses) {
        if self.burst.is_full() {
            self.flush(losses);
        }
        let kept = self.burst.push(frame);
        debug_assert!(kept.is_ok(), "a flushed burst has room");
    }

    #[inline]
    fn put_all(&mut self, batch: &mut Batch<Mbuf>, losses: &Losses) {
        if !self.burst.append(batch.frames_mut()) {
            self.flush(losses);
            let kept = self.burst.append(batch.frames_mut());
            debug_assert!(kept, "a flushed burst has room for a batch");
        }
    }

    #[inline]
    fn flush(&mut self, losses: &Losses) {
        if self.burst.is_empty() {
            return;
        }
        let accepted = self.way.send(&mut self.burst) as u64;
        self.way.fate(&losses.counters.frames).add(accepted);
        if !self.burst.is_empty() {
            let reason = self.way.refusal();
            if let Some(frame) = self.burst.last() {
                losses.add(reason, self.burst.len(), NicId(frame.nic().index()), frame);
            }
            self.burst.clear();
        }
    }
}
