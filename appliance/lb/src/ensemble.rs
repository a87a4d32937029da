// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several workers in one thread, exact and repeatable: what replay, tests and simulations run.
//!
//! Frames land on the workers in turn, as on a NIC whose receive-side scaling knows nothing of
//! flows, which is the worst case for ownership; or as [`Ensemble::land_by`] says. Hand-offs are
//! carried out at once.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::{V4, V6, VecFrame};

use crate::batch::{Batch, Origin, Sink};
use crate::catalog::Catalog;
use crate::conn::ConnRecord;
use crate::conn::table::ConnTable;
use crate::counters::{Figures, ServerCounts, WorkerCounters};
use crate::ids::{NicId, Tick, WorkerId};
use crate::limits::{BATCH, Limits};
use crate::memory::TableMemory;
use crate::network::{Neighbour, Network};
use crate::pipeline::{Parts, Worker};
use crate::snapshot::{Changed, Snapshot};
use crate::steer::Wiring;
use crate::verdict::Verdict;
use crate::witness::Witness;

/// What left the workers since the last look.
#[derive(Debug, Default)]
pub struct Outlet {
    /// Frames that leave by a NIC, in order.
    pub sent: Vec<(NicId, VecFrame)>,
    /// Frames for the host, in order.
    pub punted: Vec<(NicId, VecFrame)>,
    /// Neighbours whose link-layer addresses are needed.
    pub wanted: Vec<Neighbour>,
}

/// Workers in one thread, and what they are published.
#[derive(Debug)]
pub struct Ensemble<'m> {
    workers: Vec<Worker<'m, VecFrame>>,
    inboxes: Vec<VecDeque<(VecFrame, NicId)>>,
    limits: Limits,
    network: Network,
    snapshot: Arc<Snapshot>,
    counts: Arc<ServerCounts>,
    outlet: Outlet,
    landing: Landing,
}

/// Which worker's queue a frame comes by.
#[derive(Clone, Copy, Debug)]
enum Landing {
    /// The next one's: this is the worker that had the last.
    InTurn(usize),
    By(fn(NicId, &VecFrame) -> WorkerId),
}

impl Landing {
    fn worker(&mut self, nic: NicId, frame: &VecFrame, workers: usize) -> usize {
        match self {
            Self::InTurn(last) => {
                *last = (*last + 1) % workers.max(1);
                *last
            }
            Self::By(choose) => choose(nic, frame).index(),
        }
    }
}

impl<'m> Ensemble<'m> {
    /// Memory for the tables of `workers` workers.
    pub fn memory(limits: &Limits, workers: u16) -> Vec<TableMemory> {
        let bytes = [
            ConnTable::<V4>::memory_bytes(limits.connections),
            ConnTable::<V6>::memory_bytes(limits.connections),
        ];
        (0..workers).flat_map(|_| bytes).map(TableMemory::new).collect()
    }

    /// As many workers as the wiring says, with empty tables in `memory`; none if that was not
    /// made by [`Self::memory`] for as many.
    pub fn new(
        wiring: Wiring,
        limits: &Limits,
        network: Network,
        memory: &'m mut [TableMemory],
        now: Tick,
    ) -> Option<Self> {
        let wiring = Arc::new(wiring);
        let nothing = Catalog::new(limits);
        let snapshot = Arc::new(Snapshot::new(&nothing, &network, wiring.seed));
        let counts = ServerCounts::new(limits);
        let mut workers = Vec::new();
        let mut memory = memory.iter_mut();
        for id in (0..wiring.workers).map(WorkerId) {
            let (v4, v6) = (memory.next()?.bytes_mut(), memory.next()?.bytes_mut());
            let parts = Parts {
                id,
                wiring: Arc::clone(&wiring),
                snapshot: Arc::clone(&snapshot),
                v4: ConnTable::new(v4, limits.connections, wiring.seed)?,
                v6: ConnTable::new(v6, limits.connections, wiring.seed)?,
                counters: WorkerCounters::new(id, limits),
                counts: Arc::clone(&counts),
                half_open: limits.half_open,
            };
            workers.push(Worker::new(parts, now));
        }
        Some(Self {
            inboxes: workers.iter().map(|_| VecDeque::new()).collect(),
            workers,
            limits: *limits,
            network,
            snapshot,
            counts,
            outlet: Outlet::default(),
            landing: Landing::InTurn(usize::from(wiring.workers).saturating_sub(1)),
        })
    }

    /// Lets frames land where the NICs' hashing sends them, in place of in turn.
    pub fn land_by(&mut self, choose: fn(NicId, &VecFrame) -> WorkerId) {
        self.landing = Landing::By(choose);
    }

    /// Lets all workers see the services of a catalog.
    pub fn publish(&mut self, catalog: &Catalog) {
        let changed = Changed { catalog: true, ..Changed::default() };
        self.install(self.snapshot.next(catalog, &self.network, changed));
    }

    /// Changes routes or neighbours and lets all workers see them.
    pub fn rewire(&mut self, change: impl FnOnce(&mut Network)) {
        change(&mut self.network);
        let changed = Changed { routes: true, neighbours: true, ..Changed::default() };
        self.install(self.snapshot.rewired(&self.network, changed));
    }

    /// Receives frames at one moment, and carries out all that follows; what ended before that
    /// moment has ended when they come.
    pub fn receive(&mut self, frames: impl IntoIterator<Item = (NicId, VecFrame)>, now: Tick) {
        self.receive_before(frames, now, &mut ());
    }

    /// As [`Self::receive`], before a witness.
    pub fn receive_before(
        &mut self,
        frames: impl IntoIterator<Item = (NicId, VecFrame)>,
        now: Tick,
        witness: &mut impl Witness,
    ) {
        self.advance(now, witness);
        let mut landed: Vec<Vec<(NicId, VecFrame)>> = vec![Vec::new(); self.workers.len()];
        for (nic, frame) in frames {
            let at = self.landing.worker(nic, &frame, self.workers.len());
            if let Some(landed) = landed.get_mut(at) {
                landed.push((nic, frame));
            }
        }
        for (at, frames) in landed.into_iter().enumerate() {
            self.run_ahead(at, frames, now, witness);
        }
        self.carry_hand_offs(now, witness);
        self.tick_before(now, witness);
    }

    /// Lets time pass: expiry, and frames that wait.
    pub fn tick(&mut self, now: Tick) {
        self.tick_before(now, &mut ());
    }

    /// As [`Self::tick`], before a witness.
    pub fn tick_before(&mut self, now: Tick, witness: &mut impl Witness) {
        self.advance(now, witness);
        self.check();
    }

    fn advance(&mut self, now: Tick, witness: &mut impl Witness) {
        for worker in &mut self.workers {
            let mut exits = Exits::new(&mut self.outlet, worker);
            while worker.tick_before(now, &mut exits, witness) {}
            debug_assert!(exits.handed.is_empty(), "nothing is handed off without a frame");
        }
    }

    /// What left the workers since the last call.
    pub fn take(&mut self) -> Outlet {
        std::mem::take(&mut self.outlet)
    }

    /// Every connection of every worker.
    pub fn connections(&self, now: Tick) -> Vec<ConnRecord> {
        let mut records = Vec::new();
        for worker in &self.workers {
            let mut cursor = Some(Default::default());
            while let Some(at) = cursor {
                cursor = worker.list(at, 1024, now, |record| records.push(record));
            }
        }
        records
    }

    /// What all workers count.
    pub fn figures(&self) -> Figures {
        let workers = self.workers.iter();
        let counters = workers.map(|worker| Arc::clone(worker.counters()));
        Figures::new(counters.collect(), Arc::clone(&self.counts), &self.limits)
    }

    fn install(&mut self, next: Snapshot) {
        self.snapshot = Arc::new(next);
        for worker in &mut self.workers {
            drop(worker.install(Arc::clone(&self.snapshot)));
        }
    }

    /// Runs frames of one worker in batches, each of which is looked up before the one before it is
    /// served.
    fn run_ahead(
        &mut self,
        at: usize,
        frames: Vec<(NicId, VecFrame)>,
        now: Tick,
        witness: &mut impl Witness,
    ) {
        let (mut due, mut frames) = (Batch::default(), frames.into_iter());
        while frames.len() > 0 {
            let mut coming = Batch::default();
            for (nic, frame) in frames.by_ref().take(BATCH) {
                let pushed = coming.push(frame, nic);
                debug_assert!(pushed.is_ok());
            }
            if let Some(worker) = self.workers.get(at) {
                worker.sort(&mut coming, Origin::Wire);
                worker.point(&mut coming);
            }
            self.run(at, &mut due, Origin::Wire, now, witness);
            due = coming;
        }
        self.run(at, &mut due, Origin::Wire, now, witness);
    }

    fn carry_hand_offs(&mut self, now: Tick, witness: &mut impl Witness) {
        // A fragment goes to its keeper and from there to its flow's owner; an ICMP error may go
        // round all workers.
        for _ in 0..self.workers.len().max(2) {
            for at in 0..self.workers.len() {
                self.carry_inbox(at, now, witness);
            }
        }
        debug_assert!(self.inboxes.iter().all(VecDeque::is_empty), "handed off too often");
    }

    fn carry_inbox(&mut self, at: usize, now: Tick, witness: &mut impl Witness) {
        let mut batch = Batch::default();
        while let Some(inbox) = self.inboxes.get_mut(at).filter(|inbox| !inbox.is_empty()) {
            let count = inbox.len().min(BATCH);
            for (frame, nic) in inbox.drain(..count) {
                let pushed = batch.push(frame, nic);
                debug_assert!(pushed.is_ok());
            }
            self.run(at, &mut batch, Origin::Worker, now, witness);
        }
    }

    fn run(
        &mut self,
        at: usize,
        batch: &mut Batch<VecFrame>,
        origin: Origin,
        now: Tick,
        witness: &mut impl Witness,
    ) {
        let Some(worker) = self.workers.get_mut(at) else {
            return;
        };
        let mut exits = Exits::new(&mut self.outlet, worker);
        worker.run_before(batch, origin, now, &mut exits, witness);
        for (to, frame, nic) in exits.handed {
            if let Some(inbox) = self.inboxes.get_mut(to.index()) {
                inbox.push_back((frame, nic));
            }
        }
    }

    fn check(&self) {
        #[cfg(debug_assertions)]
        self.workers.iter().for_each(Worker::check);
    }
}

/// Takes everything; nothing is ever full.
struct Exits<'a> {
    outlet: &'a mut Outlet,
    handed: Vec<(WorkerId, VecFrame, NicId)>,
    counters: Arc<WorkerCounters>,
}

impl<'a> Exits<'a> {
    fn new(outlet: &'a mut Outlet, worker: &Worker<'_, VecFrame>) -> Self {
        Self { outlet, handed: Vec::new(), counters: Arc::clone(worker.counters()) }
    }
}

impl Sink<VecFrame> for Exits<'_> {
    fn take(&mut self, frame: VecFrame, verdict: Verdict) {
        let frames = &self.counters.frames;
        match verdict {
            Verdict::Transmit(nic) => {
                frames.sent.add(1);
                self.outlet.sent.push((nic, frame));
            }
            Verdict::Punt(nic) => {
                frames.punted.add(1);
                self.outlet.punted.push((nic, frame));
            }
            Verdict::HandOff(worker, nic) => {
                frames.handed_off.add(1);
                self.handed.push((worker, frame, nic));
            }
            Verdict::Drop(_) => {}
        }
    }

    fn piece(
        &mut self,
        of: &VecFrame,
        headers: &[u8],
        start: usize,
        len: usize,
    ) -> Option<VecFrame> {
        of.piece(headers, start, len)
    }

    fn want(&mut self, neighbour: Neighbour) {
        self.outlet.wanted.push(neighbour);
    }
}
