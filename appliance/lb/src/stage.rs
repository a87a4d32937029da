// SPDX-License-Identifier: MIT OR Apache-2.0
//! The phases of one family: whose, find, admit, track, forward.

use std::net::IpAddr;

use wire::{Family, Frame, Parsed};

use crate::admit::{Admission, Admitter};
use crate::batch::Origin;
use crate::conn::Direction;
use crate::conn_table::FlowHash;
use crate::counters::{ServerCounts, TrafficCounters, WorkerCounters};
use crate::encap;
use crate::family::Balanced;
use crate::flows::Flows;
use crate::hash::Keyed;
use crate::icmp_error::{self, Error, RateLimit};
use crate::ids::{ConnId, NicId, Tick};
use crate::local_ports::PortClass;
use crate::network::{Neighbour, NextHop, Unresolved};
use crate::pipeline::{address, set_ethertype};
use crate::rewrite::rewrite;
use crate::snapshot::{ServerView, Snapshot};
use crate::steer::{Steering, Wiring};
use crate::verdict::{DropReason, Verdict};

/// What becomes of a frame, as the phases see it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It leaves the worker.
    Settled(Verdict),
    /// It was dropped for the reason and became the answer that leaves by the NIC.
    Answered(NicId, DropReason),
    /// It waits until the link-layer address of the next hop towards `to` is known.
    Held { to: IpAddr, neighbour: Neighbour },
}

impl From<DropReason> for Fate {
    fn from(reason: DropReason) -> Self {
        Self::Settled(Verdict::Drop(reason))
    }
}

/// A packet on its way through the phases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<F: Family> {
    pub(crate) index: u8,
    pub(crate) fate: Option<Fate>,
    nic: NicId,
    parsed: Parsed<F>,
    hash: FlowHash,
    /// What the index said before other packets of the batch were served.
    found: Option<(ConnId, Direction)>,
}

impl<F: Family> Item<F> {
    pub(crate) fn new(index: u8, nic: NicId, parsed: Parsed<F>) -> Self {
        Self { index, fate: None, nic, parsed, hash: FlowHash::default(), found: None }
    }
}

/// What the phases of one batch work with.
pub(crate) struct Stage<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) wiring: &'a Wiring,
    pub(crate) steering: &'a Steering,
    pub(crate) ports: PortClass,
    pub(crate) keyed: &'a Keyed,
    pub(crate) counters: &'a WorkerCounters,
    pub(crate) counts: &'a ServerCounts,
    pub(crate) icmp: &'a mut RateLimit,
    pub(crate) ip_id: &'a mut u16,
    pub(crate) origin: Origin,
    pub(crate) now: Tick,
}

impl Stage<'_> {
    /// Takes the packets of one family through all phases; each has a fate afterwards.
    pub(crate) fn serve<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        items: &mut [Item<F>],
        frames: &mut [B],
    ) {
        if self.origin == Origin::Wire {
            items.iter_mut().for_each(|item| self.steer(item));
        }
        for item in open(items) {
            item.hash = flows.conns().hash(&item.parsed.key());
        }
        for item in open(items) {
            flows.conns().prefetch(item.hash);
        }
        for item in open(items) {
            item.found = flows.conns().find(&item.parsed.key(), item.hash);
        }
        // A packet may open or end the connection of the next one, so from here on each is served
        // as if it had come alone.
        for item in open(items) {
            if let Some(frame) = frames.get_mut(usize::from(item.index)) {
                item.fate = Some(self.serve_one(flows, item, frame).unwrap_or_else(|fate| fate));
            }
        }
    }

    fn serve_one<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let (key, flags) = (item.parsed.key(), item.parsed.tcp_flags());
        let hit = match flows.confirm(item.found, &key, item.hash, flags, self.counts) {
            Some(hit) => hit,
            None => (self.admit(flows, item, frame)?, Direction::Request),
        };
        self.track(flows, item, hit)?;
        Ok(self.forward(flows, item, hit, frame))
    }

    /// What a frame that is not load-balanced becomes.
    pub(crate) fn punt(wiring: &Wiring, nic: NicId) -> Fate {
        match wiring.nic(nic) {
            Some(facts) if facts.has_host => Fate::Settled(Verdict::Punt(nic)),
            _ => DropReason::NoHostInterface.into(),
        }
    }

    fn steer<F: Balanced>(&self, item: &mut Item<F>) {
        let services = self.snapshot.services.family::<F>();
        let owner = self.steering.owner(&item.parsed.key(), services);
        if owner != self.counters.worker {
            item.fate = Some(Fate::Settled(Verdict::HandOff(owner, item.nic)));
        }
    }

    /// Opens a connection for a packet that has none.
    fn admit<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        frame: &mut B,
    ) -> Result<ConnId, Fate> {
        let admitter = Admitter {
            snapshot: self.snapshot,
            counts: self.counts,
            ports: self.ports,
            keyed: self.keyed,
        };
        match admitter.admit(flows, &item.parsed) {
            Admission::NotOurs => Err(Self::punt(self.wiring, item.nic)),
            Admission::Refused(DropReason::NoServer) => {
                let (reason, error) = (DropReason::NoServer, Error::PortUnreachable);
                Err(self.answer(item, frame, Direction::Request, reason, error))
            }
            Admission::Refused(reason) => Err(reason.into()),
            Admission::Open(conn, service) => {
                let id = flows.open(conn, self.counts)?;
                self.traffic(service, conn.server().slot, |counters| counters.conns.add(1));
                Ok(id)
            }
        }
    }

    /// Moves the connection's state and deadline, and counts; requests to a removed server end
    /// here, without either.
    fn track<F: Balanced>(
        &self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        (id, direction): (ConnId, Direction),
    ) -> Result<(), Fate> {
        let server = flows.conns().conn(id).ok_or(DropReason::Bug)?.server();
        let service = self.snapshot.server(server).and_then(|view| view.service);
        if service.is_none() && direction == Direction::Request {
            return Err(DropReason::ServerRemoved.into());
        }
        let (flags, bytes) = (item.parsed.tcp_flags(), item.parsed.ip_len() as u64);
        let timeouts = &self.snapshot.timeouts;
        flows.track(id, direction, flags, self.now, timeouts, self.counts);
        if let Some(service) = service {
            self.traffic(service, server.slot, |counters| {
                let (packets, octets) = match direction {
                    Direction::Request => (&counters.in_packets, &counters.in_bytes),
                    Direction::Reply => (&counters.out_packets, &counters.out_bytes),
                };
                packets.add(1);
                octets.add(bytes);
            });
        }
        Ok(())
    }

    fn traffic(&self, service: u32, server: u32, count: impl Fn(&TrafficCounters)) {
        if let Some(counters) = self.counters.service(service) {
            count(counters);
        }
        if let Some(counters) = self.counters.server(server) {
            count(counters);
        }
    }

    /// Makes the packet what its connection's action says, and sends it on its way.
    fn forward<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        (id, direction): (ConnId, Direction),
        frame: &mut B,
    ) -> Fate {
        let snapshot = self.snapshot;
        let Some(conn) = flows.conn_mut(id) else {
            return DropReason::Bug.into();
        };
        let server = snapshot.server(conn.server());
        let tunnel = conn.traits().tunnel && direction == Direction::Request;
        let to = match (direction, server.and_then(|view| F::from_ip(view.address))) {
            (Direction::Request, Some(server)) => server,
            (Direction::Request, None) => return DropReason::Bug.into(),
            (Direction::Reply, _) => conn.action(direction).tuple.dst,
        };
        let action = conn.action_mut(direction);
        if snapshot.network.next_hop(action.next_hop).is_none()
            && let Ok(resolved) = snapshot.network.resolve::<F>(to)
        {
            action.next_hop = resolved;
        }
        let hop = match snapshot.network.next_hop(action.next_hop) {
            Some(hop) => Ok(hop),
            None => Err(snapshot.network.resolve::<F>(to)),
        };
        let (action, fill) = (*action, conn.traits().fills_checksum);
        if let Err(fate) = self.fit(item, frame, direction, hop.ok(), tunnel) {
            return fate;
        }
        if !rewrite(frame.head_mut(), &item.parsed, &action, fill) {
            return DropReason::Bug.into();
        }
        if tunnel && let Err(reason) = self.encapsulate(item, frame, server) {
            return reason.into();
        }
        match hop {
            Ok(hop) => match address(frame, hop) {
                Ok(()) => {
                    self.counters.next_hops.mark(action.next_hop.place());
                    Fate::Settled(Verdict::Transmit(hop.nic))
                }
                Err(reason) => reason.into(),
            },
            Err(Err(Unresolved::NoNeighbour(neighbour))) => Fate::Held { to: to.into(), neighbour },
            Err(_) => DropReason::NoRoute.into(),
        }
    }

    /// Takes a hop off the packet's life and sees whether it fits the way on; if not, the sender
    /// is told.
    fn fit<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        frame: &mut B,
        direction: Direction,
        hop: Option<&NextHop>,
        tunnel: bool,
    ) -> Result<(), Fate> {
        if item.parsed.ttl() <= 1 {
            let expired = DropReason::TtlExpired;
            return Err(self.answer(item, frame, direction, expired, Error::TimeExceeded));
        }
        let l3 = frame.head_mut().get_mut(item.parsed.l3()..);
        if !l3.is_some_and(F::decrement_ttl) {
            return Err(DropReason::Bug.into());
        }
        let overhead = if tunnel { encap::overhead::<F>() } else { 0 };
        match hop.map(|hop| usize::from(hop.mtu).saturating_sub(overhead)) {
            Some(room) if item.parsed.ip_len() > room => {
                if !item.parsed.dont_fragment() {
                    return Err(DropReason::TooBig.into());
                }
                let error = Error::TooBig(room as u16);
                Err(self.answer(item, frame, direction, DropReason::TooBig, error))
            }
            _ => Ok(()),
        }
    }

    fn encapsulate<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        frame: &mut B,
        server: Option<&ServerView>,
    ) -> Result<(), DropReason> {
        let server = server.ok_or(DropReason::Bug)?;
        let source = server.tunnel_source.ok_or(DropReason::NoRoute)?;
        *self.ip_id = self.ip_id.wrapping_add(1);
        if !encap::encapsulate(frame, &item.parsed, source, server.address, *self.ip_id) {
            return Err(DropReason::NoHeadroom);
        }
        set_ethertype::<F>(frame)
    }

    /// Drops a packet and makes its frame the answer that tells the sender why, if it may.
    fn answer<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        frame: &mut B,
        direction: Direction,
        reason: DropReason,
        error: Error,
    ) -> Fate {
        let tuple = item.parsed.key().tuple;
        let source = match direction {
            Direction::Request => Some(tuple.dst),
            Direction::Reply => self.snapshot.network.source::<F>(tuple.src),
        };
        let Some((source, nic)) = source.zip(self.wiring.nic(item.nic)) else {
            return reason.into();
        };
        if self.icmp.allows(self.now)
            && icmp_error::answer::<F>(frame, item.parsed.ip_len(), source, nic.mac, error)
        {
            Fate::Answered(item.nic, reason)
        } else {
            reason.into()
        }
    }
}

fn open<F: Family>(items: &mut [Item<F>]) -> impl Iterator<Item = &mut Item<F>> {
    items.iter_mut().filter(|item| item.fate.is_none())
}
