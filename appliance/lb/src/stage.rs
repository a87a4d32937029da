// SPDX-License-Identifier: MIT OR Apache-2.0
//! The phases of one family: whose, find, admit, track, forward.
//!
//! Whose a packet is, is not asked where [`crate::express`] knows its connection, which was opened
//! here by its owner.

use wire::{FlowKey, Frame};

use crate::action::Action;
use crate::batch::Origin;
use crate::conn::flows::Flows;
use crate::conn::{Conn, Direction, Traits};
use crate::counters::{ServerCounts, TrafficCounters, WorkerCounters};
use crate::defence::Defence;
use crate::encap::tunnel;
use crate::express::Steady;
use crate::family::Balanced;
use crate::fate::{Fate, Wait, Waits};
use crate::foresee::{Ahead, Foreseen};
use crate::hash::Keyed;
use crate::icmp::error::{Error, RateLimit};
use crate::icmp::too_big::{Leaving, without_trailer};
use crate::ids::{ConnId, NicId, Tick, WorkerId};
use crate::lane::{Item, Lane};
use crate::network::{NextHop, NextHopId, Unresolved};
use crate::pipeline::address;
use crate::random::Random;
use crate::regime::Regime;
use crate::snapshot::{ServerView, Snapshot};
use crate::steer::local_ports::LocalPorts;
use crate::steer::{Steering, Wiring};
use crate::verdict::{DropReason, Verdict};
use crate::witness::{Fact, Meeting, WayOn, Witness};

/// Where a packet goes next, or what it has to wait for.
pub(crate) type Way<'a> = Result<&'a NextHop, Wait>;

/// What the phases of one batch work with.
pub(crate) struct Stage<'a, W> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) wiring: &'a Wiring,
    pub(crate) steering: &'a Steering,
    pub(crate) ports: &'a LocalPorts,
    pub(crate) keyed: &'a Keyed,
    pub(crate) counters: &'a WorkerCounters,
    pub(crate) counts: &'a ServerCounts,
    pub(crate) icmp: &'a mut RateLimit,
    pub(crate) ip_id: &'a mut u16,
    pub(crate) random: &'a mut Random,
    pub(crate) waits: &'a mut Waits,
    pub(crate) probes: u32,
    pub(crate) origin: Origin,
    pub(crate) now: Tick,
    pub(crate) steady: Steady,
    pub(crate) regime: Regime<'a>,
    pub(crate) defence: &'a mut Defence,
    pub(crate) witness: &'a mut W,
}

impl<'a, W: Witness> Stage<'a, W> {
    /// Takes the packets of one family through all phases; each has a fate afterwards.
    #[inline(never)]
    pub(crate) fn serve<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        mut lane: Lane<'_, B>,
    ) {
        self.look_ahead(flows, &lane);
        // A packet may open or end the connection of the next one, so from here on each is served
        // as if it had come alone.
        let (mut ahead, mut at) = (None, 0);
        while let Some(run) = lane.run(at) {
            let end = run.end.max(run.start + 1);
            at = self.express(flows, &mut lane, run);
            if at < end {
                self.serve_at(flows, &mut lane, at, &mut ahead);
                at += 1;
            }
        }
    }

    /// Serves the packet in a place, whatever it is.
    #[inline(never)]
    fn serve_at<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        lane: &mut Lane<'_, B>,
        at: usize,
        ahead: &mut Option<Ahead<'a, F>>,
    ) {
        if lane.probe(at).is_miss() && ahead.is_none() {
            *ahead = Some(self.foresee(flows, lane, at));
        }
        let (opening, foreseen) = ahead.as_mut().map(|ahead| ahead.take(at)).unwrap_or_default();
        let Some((item, frame)) = opening.or_else(|| lane.item(at)).zip(lane.frames.get_mut(at))
        else {
            return;
        };
        let fate = self.serve_if_own(flows, &item, foreseen, frame);
        lane.fates.set(item.index(), fate.unwrap_or_else(|fate| fate));
    }

    /// Serves a packet unless another worker owns its flow.
    fn serve_if_own<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        foreseen: Option<Foreseen<'a>>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        if self.origin == Origin::Wire {
            let owner = self.owner(item.parsed.key(), item.nic);
            self.witness.note(item.index, || Fact::Owner(owner));
            if owner != self.counters.worker {
                return Ok(Fate::Settled(Verdict::HandOff(owner, item.nic)));
            }
        }
        self.serve_one(flows, item, foreseen, frame)
    }

    #[inline(never)]
    pub(crate) fn serve_one<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        foreseen: Option<Foreseen<'a>>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let recycled = flows.recycled;
        let (hit, server) = match flows.conns().find(&item.parsed.key(), item.probe) {
            Some(hit) if self.begins_anew(flows, item, hit) => {
                self.admit_anew(flows, item, hit.0, frame)?
            }
            Some(hit) => {
                self.tell_of(flows, item, hit, Fact::Found);
                match self.track(flows, item, hit) {
                    Err(DropReason::ServerRemoved) if self.ends_without_server() => {
                        self.admit_anew(flows, item, hit.0, frame)?
                    }
                    tracked => (hit, tracked?),
                }
            }
            None => {
                self.witness.note(item.index, || Fact::NotFound);
                self.admit(flows, item, foreseen, frame)?
            }
        };
        if flows.recycled != recycled {
            self.witness.note(item.index, || Fact::Recycled);
        }
        self.tell_of(flows, item, hit, Fact::Tracked);
        self.forward(flows, item, hit, server, frame)
    }

    /// The worker that owns a packet's flow.
    #[inline]
    pub(crate) fn owner<F: Balanced>(&self, key: FlowKey<F>, nic: NicId) -> WorkerId {
        let services = self.snapshot.services.family::<F>();
        self.steering.owner(&key, nic, services)
    }

    /// Moves the connection's state and deadline, and counts; requests to a removed server end
    /// here, without either. Returns the server, unless another one has its place by now.
    #[inline]
    pub(crate) fn track<F: Balanced>(
        &self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        (id, direction): (ConnId, Direction),
    ) -> Result<Option<&'a ServerView>, DropReason> {
        let server = flows.conns().conn(id).ok_or(DropReason::Bug)?.server();
        let view = self.snapshot.server(server);
        let in_service = view.is_some_and(|view| view.in_service);
        if !in_service && direction == Direction::Request {
            return Err(DropReason::ServerRemoved);
        }
        let (flags, bytes) = (item.parsed.tcp_flags(), item.parsed.ip_len() as u64);
        flows.track(id, direction, flags, &self.regime);
        if in_service {
            self.count_packet(server.slot, direction, bytes);
        }
        Ok(view)
    }

    #[inline(always)]
    pub(crate) fn count_packet(&self, server: u32, way: Direction, bytes: u64) {
        self.traffic(server, |counters| counters.way(way).add(bytes));
    }

    /// Counts a connection and its first packet: the connection at the service that was asked for
    /// it too, which may be another one than the server's own.
    #[inline(always)]
    pub(crate) fn count_opening(&self, service: u32, server: u32, bytes: u64) {
        if let Some(opened) = self.counters.opened(service) {
            opened.add(1);
        }
        self.traffic(server, |counters| {
            counters.conns.add(1);
            counters.requests.add(bytes);
        });
    }

    #[inline(always)]
    pub(crate) fn traffic(&self, server: u32, count: impl FnOnce(&TrafficCounters)) {
        if let Some(counters) = self.counters.server(server) {
            count(counters);
        }
    }

    /// Makes the packet what its connection's action says, and sends it on its way.
    #[inline]
    pub(crate) fn forward<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        (id, direction): (ConnId, Direction),
        server: Option<&ServerView>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let conn = flows.conn_mut(id).ok_or(DropReason::Bug)?;
        let traits = conn.traits();
        self.apply(item, (conn.action_mut(direction), traits), direction, server, frame)
    }

    /// Does to a packet what an action of its direction says, and sends it on its way.
    #[inline]
    pub(crate) fn apply<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        (action, traits): (&mut Action<F>, Traits),
        direction: Direction,
        server: Option<&ServerView>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let tunnels = traits.tunnel && direction == Direction::Request;
        let way = self.way(action, direction, server);
        let hop = way.map_err(|fate| self.no_way(fate, item, frame, direction))?;
        let action = *action;
        self.tell_way(item.index, (&action, direction), server, &hop);
        let outer = if tunnels { Some(tunnel::outer(server)?) } else { None };
        let room = self.room(&hop, outer.as_ref());
        let leaving = Leaving { action, fills: traits.fills_checksum, outer, hop };
        let fits = self.fit(item, frame, direction, room, outer.is_some())?;
        if item.parsed.tcp_flags().syn() {
            self.clamp_mss(item, server, room, frame);
        }
        if fits {
            self.leave(item, &leaving, frame)
        } else {
            self.leave_in_parts(item, &leaving, frame)
        }
    }

    /// Where packets of a connection's direction go next, or what they have to wait for.
    #[inline]
    pub(crate) fn way<F: Balanced>(
        &self,
        action: &mut Action<F>,
        direction: Direction,
        server: Option<&ServerView>,
    ) -> Result<Way<'a>, Fate> {
        match self.snapshot.network.next_hop(action.next_hop) {
            Some(hop) => Ok(Ok(hop)),
            None => self.resolve(action, direction, server),
        }
    }

    pub(crate) fn tell_way<F: Balanced>(
        &mut self,
        index: u8,
        (action, direction): (&Action<F>, Direction),
        server: Option<&ServerView>,
        way: &Way<'_>,
    ) {
        self.witness.note(index, || {
            let to = match direction {
                Direction::Request => server.map(|view| view.address),
                Direction::Reply => Some(action.tuple.dst.into()),
            };
            let neighbour = to.and_then(|to| self.snapshot.network.neighbour(to));
            Fact::WayOn(WayOn { to, neighbour, hop: way.ok().copied() })
        });
    }

    /// Sends a frame that is complete but for its link-layer addresses, or lets it wait for them.
    #[inline]
    pub(crate) fn depart<B: Frame>(
        &mut self,
        frame: &mut B,
        way: Way<'_>,
        id: NextHopId,
    ) -> Result<Fate, Fate> {
        match way {
            Ok(hop) => {
                address(frame, hop)?;
                self.counters.next_hops.mark(id.place());
                Ok(Fate::Settled(Verdict::Transmit(hop.nic)))
            }
            Err(wait) => Ok(self.hold(wait)),
        }
    }

    /// Finds the next hop of a connection's direction anew, or what its packet has to wait for.
    #[cold]
    fn resolve<F: Balanced>(
        &self,
        action: &mut Action<F>,
        direction: Direction,
        server: Option<&ServerView>,
    ) -> Result<Way<'a>, Fate> {
        let to = match direction {
            Direction::Request => server.map(|view| view.address),
            Direction::Reply => Some(action.tuple.dst.into()),
        };
        let to = to.ok_or(DropReason::Bug)?;
        let network = &self.snapshot.network;
        match network.resolve_ip(to) {
            Ok(id) => {
                action.next_hop = id;
                Ok(Ok(network.next_hop(id).ok_or(DropReason::Bug)?))
            }
            Err(Unresolved::NoNeighbour(neighbour)) => Ok(Err(Wait { to, neighbour })),
            Err(Unresolved::NoRoute) => Err(DropReason::NoRoute.into()),
        }
    }

    fn hold(&mut self, wait: Wait) -> Fate {
        let place = self.waits.len() as u8;
        match self.waits.try_push(wait) {
            Ok(()) => Fate::Held(place),
            Err(_) => DropReason::Bug.into(),
        }
    }

    /// Sees whether the packet has hops left and fits the way on; if not, it leaves in parts (which
    /// is a no here), or the sender is told.
    #[inline]
    fn fit<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        frame: &mut B,
        direction: Direction,
        room: Option<usize>,
        tunnels: bool,
    ) -> Result<bool, Fate> {
        if item.parsed.ttl() <= 1 {
            let expired = DropReason::TtlExpired;
            return Err(self.answer(item, frame, direction, expired, Error::TimeExceeded));
        }
        match room {
            Some(room) if item.parsed.ip_len() > room => {
                self.too_big(item, frame, direction, room, tunnels)
            }
            Some(room) if frame.len() > item.parsed.l3() + room => {
                without_trailer(&item.parsed, frame).map(|()| true)
            }
            _ => Ok(true),
        }
    }

    pub(crate) fn tell_of<F: Balanced>(
        &mut self,
        flows: &Flows<'_, F>,
        item: &Item<F>,
        (id, direction): (ConnId, Direction),
        fact: impl FnOnce(Meeting) -> Fact,
    ) {
        if let Some(conn) = flows.conns().conn(id) {
            self.tell(conn, item.index, direction, fact);
        }
    }

    #[inline]
    pub(crate) fn tell<F: Balanced>(
        &mut self,
        conn: &Conn<F>,
        index: u8,
        direction: Direction,
        fact: impl FnOnce(Meeting) -> Fact,
    ) {
        let meeting = || Meeting::of(conn, direction, self.snapshot, self.now);
        self.witness.note(index, || fact(meeting()));
    }
}
