// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worker: the phases that a batch goes through, in order.
//!
//! Sorting and looking up are loops over the whole batch, each with the prefetch for the next; then
//! each packet is served as if it had come alone. Functions say what becomes of a frame;
//! [`Worker::settle`] is the one place that counts it.

mod in_parts;
mod release;
mod settle;

use std::sync::Arc;

use wire::{Eth, FamilyId, Frame, V4, V6};
use zerocopy::FromBytes;

use crate::batch::{Batch, Origin, Progress, Sink};
use crate::conn::ConnRecord;
use crate::conn::flows::{Cursor, Flows};
use crate::conn::table::ConnTable;
use crate::counters::{ServerCounts, WorkerCounters};
use crate::defence::Defence;
use crate::express::Steady;
use crate::fate::Waits;
use crate::fragments::InParts;
use crate::fragments::follow::{Come, Known};
use crate::hash::Keyed;
use crate::held::Held;
use crate::icmp::error::RateLimit;
use crate::ids::{Tick, WorkerId};
use crate::knobs::Knob;
use crate::lane::Lane;
use crate::limits::{NEAR, PORT_PROBES_PER_BATCH};
use crate::network::NextHop;
use crate::persist::templates::Sweep;
use crate::random::Random;
use crate::regime::Regime;
use crate::snapshot::Snapshot;
use crate::sort::{Sorted, Sorter};
use crate::stage::Stage;
use crate::steer::local_ports::LocalPorts;
use crate::steer::{Steering, Wiring};
use crate::verdict::DropReason;
use crate::witness::{Arrival, Witness};

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts<'m> {
    /// Which worker.
    pub id: WorkerId,
    /// How workers and NICs are wired.
    pub wiring: Arc<Wiring>,
    /// The configuration of the moment.
    pub snapshot: Arc<Snapshot>,
    /// Connections over IPv4.
    pub v4: ConnTable<'m, V4>,
    /// Connections over IPv6.
    pub v6: ConnTable<'m, V6>,
    /// The worker's counters, which it alone writes.
    pub counters: Arc<WorkerCounters>,
    /// What all workers count per server.
    pub counts: Arc<ServerCounts>,
    /// Half-open connections of each family at most.
    pub half_open: u32,
}

/// One worker of the balancer, over frames of type `B`.
#[derive(Debug)]
pub struct Worker<'m, B> {
    wiring: Arc<Wiring>,
    steering: Steering,
    ports: LocalPorts,
    keyed: Keyed,
    snapshot: Arc<Snapshot>,
    v4: Flows<'m, V4>,
    v6: Flows<'m, V6>,
    counters: Arc<WorkerCounters>,
    counts: Arc<ServerCounts>,
    held: Held<B>,
    held_looked_at: Option<Tick>,
    in_parts: InParts<B>,
    icmp: RateLimit,
    ip_id: u16,
    random: Random,
    sweep: Sweep,
    defence: Defence,
}

/// Where a listing of a worker's connections goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListCursor(FamilyId, Cursor);

impl Default for ListCursor {
    fn default() -> Self {
        Self(FamilyId::V4, Cursor::default())
    }
}

impl<'m, B: Frame> Worker<'m, B> {
    /// A worker without connections.
    pub fn new(parts: Parts<'m>, now: Tick) -> Self {
        let Parts { id, wiring, snapshot, v4, v6, counters, counts, half_open } = parts;
        let sweep = Sweep::new(id.0, wiring.workers, now);
        let seed = wiring.seed;
        Self {
            steering: Steering::new(&wiring, id),
            ports: LocalPorts::new(&wiring, id),
            keyed: Keyed::new(wiring.seed),
            in_parts: InParts::new(Keyed::new(wiring.seed)),
            wiring,
            snapshot,
            v4: Flows::new(v4, half_open, now),
            v6: Flows::new(v6, half_open, now),
            counters,
            counts,
            held: Held::default(),
            held_looked_at: None,
            icmp: RateLimit::new(now),
            ip_id: id.0,
            random: Random::new(seed, id),
            sweep,
            defence: Defence::new(Random::new(seed, id)),
        }
    }

    /// Takes a new snapshot and gives the old one back, to be freed elsewhere.
    pub fn install(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        self.held_looked_at = None;
        self.defence.review();
        if snapshot.knobs.is_on(Knob::ExpireNodestConn) {
            self.v4.begin_purge();
            self.v6.begin_purge();
        }
        if snapshot.network.era() != self.snapshot.network.era() {
            self.v4.begin_rerouting();
            self.v6.begin_rerouting();
        }
        std::mem::replace(&mut self.snapshot, snapshot)
    }

    /// Takes a batch through all phases and empties it into `sink`.
    #[inline]
    pub fn run(
        &mut self,
        batch: &mut Batch<B>,
        origin: Origin,
        now: Tick,
        sink: &mut impl Sink<B>,
    ) {
        self.run_before(batch, origin, now, sink, &mut ());
    }

    /// As [`Self::run`], before a witness.
    #[inline]
    pub fn run_before(
        &mut self,
        batch: &mut Batch<B>,
        origin: Origin,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) {
        if self.held_looked_at.is_none() && !self.held.is_empty() {
            // What waited leaves before what comes now.
            self.held_looked_at = Some(now);
            self.release_held(now, sink, witness);
        }
        if !batch.is_empty() {
            self.run_all(batch, origin, now, sink, witness);
        }
    }

    #[inline(never)]
    fn run_all(
        &mut self,
        batch: &mut Batch<B>,
        origin: Origin,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) {
        let arrived = batch.len() as u64;
        match origin {
            Origin::Wire => self.counters.frames.received.add(arrived),
            Origin::Worker => self.counters.frames.handed_in.add(arrived),
            Origin::Waited | Origin::Undelivered => {}
        }
        let come = self.process(batch, origin, now, sink, witness);
        if let Some(come) =
            come.filter(|come| !come.is_empty() && !self.in_parts.waiting.is_empty())
        {
            self.follow_first(&come, now, sink, witness);
        }
        self.note_levels();
    }

    /// Sorts a batch from `origin` ahead of its turn, and asks the cache for where the connections
    /// of its packets are looked up. Takes nothing and changes nothing; to be called early, with
    /// other work before [`Self::run`].
    #[inline]
    pub fn sort(&self, batch: &mut Batch<B>, origin: Origin) {
        if batch.progress < Progress::Sorted && !batch.is_empty() {
            batch.progress = Progress::Sorted;
            let (v4, v6) = (self.v4.conns(), self.v6.conns());
            Sorter { wiring: &self.wiring, v4, v6, origin }.sort(batch);
        }
    }

    /// Goes on with a batch that was sorted ahead of its turn, and asks the cache for connections.
    #[inline]
    pub fn point(&self, batch: &mut Batch<B>) {
        if batch.progress == Progress::Sorted {
            batch.progress = Progress::Pointed;
            batch.sorted.point(self.v4.conns(), self.v6.conns());
        }
    }

    /// Takes a batch through all phases; returns the packets in parts whose first one came, if
    /// there were fragments.
    fn process(
        &mut self,
        batch: &mut Batch<B>,
        origin: Origin,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) -> Option<Come> {
        self.defend(now);
        self.sort(batch, origin);
        self.point(batch);
        batch.sorted.point_again(self.v4.conns(), self.v6.conns());
        for (index, (frame, nic)) in (0..).zip(batch.frames.iter().zip(batch.nics())) {
            let arrival = || Arrival { worker: self.counters.worker, nic: *nic, origin, now };
            witness.arrived(index, arrival, frame);
        }
        let mut waits = Waits::new();
        let mut stage = Stage {
            snapshot: &self.snapshot,
            wiring: &self.wiring,
            steering: &self.steering,
            ports: &self.ports,
            keyed: &self.keyed,
            counters: &self.counters,
            counts: &self.counts,
            icmp: &mut self.icmp,
            ip_id: &mut self.ip_id,
            random: &mut self.random,
            waits: &mut waits,
            probes: PORT_PROBES_PER_BATCH,
            origin,
            now,
            steady: Steady::new(now, &self.snapshot.timeouts),
            regime: Regime {
                now,
                timeouts: &self.snapshot.timeouts,
                knobs: &self.snapshot.knobs,
                tcp: self.defence.tcp,
                counts: &self.counts,
            },
            defence: &mut self.defence,
            witness,
        };
        let Sorted { v4, v6, parts, .. } = batch.sorted;
        if v4 != 0 {
            stage.serve(&mut self.v4, Lane::of(batch, v4));
        }
        if v6 != 0 {
            stage.serve(&mut self.v6, Lane::of(batch, v6));
        }
        let Sorted { errors, fates, .. } = &mut batch.sorted;
        for (index, nic) in errors.drain(..) {
            if let Some(frame) = batch.frames.get_mut(usize::from(index)) {
                let both = (&mut self.v4, &mut self.v6);
                fates.set(index, stage.serve_error(both, (index, nic), frame));
            }
        }
        let mut come = None;
        if parts != 0 {
            let InParts { v4, v6, .. } = &mut self.in_parts;
            let v4 = Known { flows: &mut self.v4, fragments: v4 };
            let v6 = Known { flows: &mut self.v6, fragments: v6 };
            come = Some(stage.follow(v4, v6, batch, parts));
        }
        self.settle_all(batch, &waits, now, sink, witness);
        come
    }

    /// What is to be done without frames: expiry, and frames whose next hop became known. Work per
    /// call is bounded; says whether there may be more at this moment.
    pub fn tick(&mut self, now: Tick, sink: &mut impl Sink<B>) -> bool {
        self.tick_before(now, sink, &mut ())
    }

    /// As [`Self::tick`], before a witness.
    pub fn tick_before(
        &mut self,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) -> bool {
        let v4 = self.v4.expire(now, &self.counts);
        let v6 = self.v6.expire(now, &self.counts);
        self.counters.expired.add(v4.ended + v6.ended);
        let templates = self.counts.templates().sweep(&mut self.sweep, now);
        let looks = self.look_on(now);
        if !self.held.is_empty() && self.held_looked_at != Some(now) {
            self.held_looked_at = Some(now);
            self.release_held(now, sink, witness);
        }
        if !self.in_parts.waiting.is_empty() {
            self.give_up_fragments(now, sink, witness);
        }
        self.note_levels();
        v4.more || v6.more || templates || looks
    }

    /// Lists connections from `cursor` on, looking at `max` entries at most; none when all were
    /// listed.
    pub fn list(
        &self,
        cursor: ListCursor,
        max: usize,
        now: Tick,
        out: impl FnMut(ConnRecord),
    ) -> Option<ListCursor> {
        let ListCursor(family, cursor) = cursor;
        match family {
            FamilyId::V4 => {
                let next = self.v4.list(cursor, max, now, out);
                let next = next.map(|cursor| ListCursor(FamilyId::V4, cursor));
                Some(next.unwrap_or(ListCursor(FamilyId::V6, Cursor::default())))
            }
            FamilyId::V6 => {
                let next = self.v6.list(cursor, max, now, out);
                next.map(|cursor| ListCursor(FamilyId::V6, cursor))
            }
        }
    }

    /// The worker's counters.
    pub fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }

    /// Connections of both families.
    pub fn live(&self) -> u32 {
        self.v4.conns().live() + self.v6.conns().live()
    }

    /// Whether there are so many connections that they are not near: it pays then to [`Self::sort`]
    /// a batch long before it is served.
    #[inline]
    pub fn is_far(&self) -> bool {
        self.live() > NEAR
    }

    /// Panics if an invariant does not hold: the conservation of frames, tables and wheels.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        let (entered, left) = self.counters.frames.balance();
        assert_eq!(entered, left, "a frame was lost or counted twice");
        self.v4.check();
        self.v6.check();
    }

    /// Decides once a second what is done against a flood.
    #[inline]
    fn defend(&mut self, now: Tick) {
        let Self { defence, snapshot, v4, v6, .. } = self;
        let free = || v4.conns().free().min(v6.conns().free());
        if defence.decide(now, &snapshot.knobs, free) {
            v4.begin_random_drops();
            v6.begin_random_drops();
        }
    }

    /// Ends connections before their time where a setting asks for it; work per call is bounded,
    /// and the answer says whether there is more.
    fn look_on(&mut self, now: Tick) -> bool {
        self.defend(now);
        let Self { defence, snapshot, v4, v6, counts, .. } = self;
        let regime = Regime {
            now,
            timeouts: &snapshot.timeouts,
            knobs: &snapshot.knobs,
            tcp: defence.tcp,
            counts,
        };
        let v4 = v4.look_on(snapshot, defence, &regime);
        let v6 = v6.look_on(snapshot, defence, &regime);
        v4 || v6
    }

    fn note_levels(&self) {
        self.counters.frames.held.set((self.held.len() + self.in_parts.waiting.len()) as u64);
        let families = [&self.v4.half_open, &self.v6.half_open];
        let half_open = families.iter().map(|list| u64::from(list.count())).sum();
        self.counters.half_open.set(half_open);
        self.counters.recycled.set(self.v4.recycled + self.v6.recycled);
        self.counters.defence.set(self.v4.dropped_at_random + self.v6.dropped_at_random);
        self.counters.connections.set(self.live().into());
    }
}

/// Writes the Ethernet addresses towards a next hop; the EtherType is there already.
pub(crate) fn address(frame: &mut impl Frame, hop: &NextHop) -> Result<(), DropReason> {
    let Ok((eth, _)) = Eth::mut_from_prefix(frame.head_mut()) else {
        return Err(DropReason::Bug);
    };
    eth.set_link(hop.link);
    Ok(())
}
