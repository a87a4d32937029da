// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets of connections that are there already, in random order.

use std::sync::Arc;
use std::time::Instant;

use lb::conn::tcp_state::Timeouts;
use wire::{Frame, L4};

use crate::cost::{Effort, Lap, Span, beside, thread_ns};
use crate::latency::Histogram;
use crate::plan::{Group, LAN, Plan, WAN, family_number, mac, mode_name};
use crate::reference::{BURST, Reference, Work};
use crate::rig::{Rig, Side, blanks_for_two, split};
use crate::row::{Failure, Row};
use crate::site::{Site, table_bytes};
use crate::stand::{Blanks, Stand, Wire};
use crate::traffic::{Flow, Kind, Segment, Traffic, flow_of};

/// Which packets of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From clients.
    Requests,
    /// From servers.
    Replies,
    /// Bursts of both in turn.
    Both,
}

impl Way {
    /// Those that a director sees.
    pub fn of(plan: &Plan) -> &'static [Self] {
        match plan.mode {
            lb::service::ForwardMode::Masquerade => &[Self::Requests, Self::Replies, Self::Both],
            lb::service::ForwardMode::FullNat => &[Self::Requests, Self::Replies],
            _ => &[Self::Requests],
        }
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "request",
            Self::Replies => "reply",
            Self::Both => "both ways",
        }
    }
}

/// A director with all its connections open, and the frames that belong to them.
pub struct Established {
    plan: Plan,
    /// Keeps the management's side alive.
    pub site: Site,
    /// The poll loop.
    pub rig: Rig,
    /// From clients, in random order.
    pub requests: Arc<Traffic>,
    /// From servers, in random order; empty where they do not come back.
    pub replies: Arc<Traffic>,
    reference: Option<(Wire, Blanks)>,
}

impl Established {
    /// Opens `count` connections; the table is full if that is its capacity. Frames have these
    /// sizes in turn.
    ///
    /// # Errors
    /// A connection did not open.
    pub fn new(stand: &mut Stand, plan: &Plan, count: u32, sizes: &[u16]) -> Result<Self, Failure> {
        let kind = |to| Kind { family: plan.family, protocol: plan.protocol, to: mac(to), sizes };
        let mut requests = Traffic::new(kind(WAN));
        let mut replies = Traffic::new(kind(LAN));
        for number in 0..count {
            let src = plan.client(Group::Established, number);
            requests.push(Flow { src, dst: plan.vip(plan.service_of(number)) });
        }
        let [blanks, reference_blanks] = blanks_for_two(stand, requests.frame_bytes())?;
        let wires = stand.director_wires(1)?.pop().ok_or(Failure::Thread)?;
        let reference = stand.reference_wires(1)?.pop().zip(Some(reference_blanks));
        let (loop_ends, bench_ends) = split(wires);
        let (site, loops) = Site::new(&stand.eal, plan, Timeouts::default(), vec![loop_ends])?;
        let poll = loops.into_iter().next().ok_or(Failure::Thread)?;
        let mut rig = Rig::new(poll, bench_ends, blanks);
        open(&mut rig, plan, &requests, |flow| replies.push(flow))?;
        answer_each(&mut rig, &replies)?;
        requests.shuffle(1);
        replies.shuffle(2);
        let (requests, replies) = (Arc::new(requests), Arc::new(replies));
        Ok(Self { plan: *plan, site, rig, requests, replies, reference })
    }

    /// Measures one way beside 5tswap.
    ///
    /// # Errors
    /// A packet was lost.
    pub fn row(&mut self, way: Way, effort: Effort, tsc_hz: u64) -> Result<Row, Failure> {
        let mut reference = self.reference(Work::FiveTupleSwap)?;
        let mut packets = self.packets(way);
        let costs = beside(&mut packets, &mut reference, effort)?;
        let latency = packets.latency(effort)?;
        self.put_back(reference);
        let mut row = Row::new("established", way.name()).packets(costs, tsc_hz);
        row.connections = Some(self.rig.live());
        row.mode = Some(mode_name(self.plan.mode));
        row.family = Some(family_number(self.plan.family));
        row.latency = latency;
        row.bytes_per_connection =
            Some(table_bytes(&self.plan) as f64 / f64::from(self.rig.live()));
        Ok(row)
    }

    /// The reference loop over the same requests.
    ///
    /// # Errors
    /// It is out.
    pub fn reference(&mut self, work: Work) -> Result<Reference, Failure> {
        let (wire, blanks) = self.reference.take().ok_or(Failure::Thread)?;
        Ok(Reference::new(wire, blanks, Arc::clone(&self.requests), work))
    }

    /// Takes the reference loop back.
    pub fn put_back(&mut self, reference: Reference) {
        self.reference = Some(reference.into_ends());
    }

    /// One way's packets.
    pub fn packets(&mut self, way: Way) -> Packets<'_> {
        Packets {
            rig: &mut self.rig,
            requests: &self.requests,
            replies: &self.replies,
            way,
            next: [0; 2],
            turn: 0,
        }
    }
}

/// Opens a connection for each flow, and shows the replies that its packets will have.
///
/// # Errors
/// A packet was lost, or the table has fewer connections than flows.
pub fn open(
    rig: &mut Rig,
    plan: &Plan,
    requests: &Traffic,
    mut reply: impl FnMut(Flow),
) -> Result<(), Failure> {
    let mut next = 0;
    while next < requests.len() {
        let count = BURST.min(requests.len() - next);
        rig.send(Side::Wan, requests, next, count, Segment::Open)?;
        rig.turn_through();
        rig.drain(Side::Lan, |frame| {
            if plan.mode.sees_replies()
                && let Some(flow) = flow_of(frame.head(), plan.family)
            {
                reply(Flow { src: flow.dst, dst: flow.src });
            }
        });
        if plan.protocol == L4::Tcp {
            rig.send(Side::Wan, requests, next, count, Segment::Data)?;
            rig.turn_through();
            rig.drain(Side::Lan, |_| ());
        }
        next += count;
    }
    rig.check_all_left()?;
    let (live, wanted) = (rig.live(), requests.len() as u32);
    if live == wanted { Ok(()) } else { Err(Failure::Connections { wanted, live }) }
}

/// Sends one reply in each connection: what is found out with the first is known then.
fn answer_each(rig: &mut Rig, replies: &Traffic) -> Result<(), Failure> {
    let mut next = 0;
    while next < replies.len() {
        let count = BURST.min(replies.len() - next);
        rig.send(Side::Lan, replies, next, count, Segment::Data)?;
        rig.turn_through();
        rig.drain(Side::Wan, |_| ());
        next += count;
    }
    rig.check_all_left()
}

/// Packets of open connections.
pub struct Packets<'a> {
    rig: &'a mut Rig,
    requests: &'a Traffic,
    replies: &'a Traffic,
    way: Way,
    next: [usize; 2],
    turn: usize,
}

impl Packets<'_> {
    #[inline]
    fn feed(&mut self) -> Result<Side, Failure> {
        self.turn ^= 1;
        let index = match self.way {
            Way::Requests => 0,
            Way::Replies => 1,
            Way::Both => self.turn,
        };
        let (traffic, side) = [(self.requests, Side::Wan), (self.replies, Side::Lan)][index];
        let next = self.next[index];
        self.next[index] = self.rig.send(side, traffic, next, BURST, Segment::Data)?;
        Ok(side)
    }

    /// Times each turn for a window: a frame is in the worker from the beginning of the turn that
    /// takes it in to the end of the one that sends it, the same or with many connections the next.
    fn latency(&mut self, effort: Effort) -> Result<Option<crate::latency::Latency>, Failure> {
        let Span::Nanoseconds(window_ns) = effort.span else {
            return Ok(None);
        };
        let mut times = Histogram::default();
        let start = thread_ns();
        while thread_ns() - start < window_ns {
            let (mut before_ns, mut frames) = (0, 0);
            for _ in 0..32 {
                let side = self.feed()?;
                let begin = Instant::now();
                let next = self.rig.turn() as u64;
                let turn_ns = begin.elapsed().as_nanos() as u64;
                match self.rig.poll.worker.is_far() {
                    true => times.add(before_ns + turn_ns, frames),
                    false => times.add(turn_ns, next),
                }
                (before_ns, frames) = (turn_ns, next);
                self.rig.drain(side.opposite(), |_| ());
            }
        }
        self.check()?;
        Ok(times.latency())
    }
}

impl Lap for Packets<'_> {
    fn lap(&mut self) -> Result<u64, Failure> {
        let side = self.feed()?;
        let frames = self.rig.turn() as u64;
        self.rig.drain(side.opposite(), |_| ());
        Ok(frames)
    }

    fn check(&mut self) -> Result<(), Failure> {
        self.rig.check_all_left()
    }
}
