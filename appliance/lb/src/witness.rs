// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whoever looks over a worker's shoulder: what it learns of each decision, and when.
//!
//! The phases tell a [`Witness`] what they found, at the few points where something is decided.
//! The witness of the packet path is `()`, which hears nothing: facts are closures that are never
//! called then, so that nothing of them is left in the program. A capture and `replay --explain`
//! have witnesses of their own. A witness sees, and changes nothing.

use std::net::{IpAddr, SocketAddr};

use wire::{Frame, L4};

use crate::batch::Origin;
use crate::conn::tcp_state::State;
use crate::conn::{Conn, ConnFamily, Direction};
use crate::counters::ServerCounts;
use crate::ids::{NicId, ServerId, Tick, WorkerId};
use crate::network::{Neighbour, NextHop};
use crate::sched::Scheduler;
use crate::service::{ForwardMode, ServiceKey};
use crate::snapshot::{ServerView, ServiceView, Snapshot};
use crate::verdict::{DropReason, Verdict};

/// Where and when a frame came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The worker that has it.
    pub worker: WorkerId,
    /// The NIC that it came by.
    pub nic: NicId,
    /// From that NIC, from another worker, or after waiting here.
    pub origin: Origin,
    /// When.
    pub now: Tick,
}

/// A connection as one of its packets meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Which way the packet goes.
    pub direction: Direction,
    /// Transport protocol.
    pub protocol: L4,
    /// The client.
    pub client: SocketAddr,
    /// The virtual address and port.
    pub vip: SocketAddr,
    /// The source that the server sees: the client, or a local address.
    pub local: SocketAddr,
    /// How packets reach the server; none if it was removed.
    pub mode: Option<ForwardMode>,
    /// The server; none if it was removed.
    pub server: Option<SocketAddr>,
    /// The state.
    pub state: State,
    /// Seconds until it expires unless a packet comes.
    pub expires_s: u32,
}

impl Meeting {
    /// What there is to tell of a connection.
    pub(crate) fn of<F: ConnFamily>(
        conn: &Conn<F>,
        direction: Direction,
        snapshot: &Snapshot,
        now: Tick,
    ) -> Self {
        let record = conn.record(now);
        let leaving = conn.action(Direction::Request).tuple;
        let local: IpAddr = leaving.src.into();
        let view = snapshot.server(record.server);
        let port = leaving.dport.get();
        Self {
            direction,
            protocol: record.protocol,
            client: record.client,
            vip: record.vip,
            local: SocketAddr::new(local, leaving.sport.get()),
            mode: view.map(|view| view.mode),
            server: view.map(|view| SocketAddr::new(view.address, port)),
            state: record.state,
            expires_s: record.expires_s,
        }
    }
}

/// The way on from the director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayOn {
    /// The destination that was looked up.
    pub to: Option<IpAddr>,
    /// The neighbour that the routes say; none if there is no route.
    pub neighbour: Option<Neighbour>,
    /// The neighbour with its link-layer address, if that is known.
    pub hop: Option<NextHop>,
}

/// The service that a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Its name.
    pub key: ServiceKey,
    /// How it chooses servers.
    pub scheduler: Scheduler,
    /// The rule that marked the packet, the first being 1; none if the service is of no mark.
    pub rule: Option<u32>,
}

/// What persistence had to do with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persisted {
    /// The client's template named it: the scheduler was not asked.
    Kept,
    /// The scheduler chose it, and a template names it from now on.
    Made,
    /// The scheduler chose it in the place of a server that is gone.
    Moved,
}

/// Something that a phase found or decided about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The flow belongs to this worker.
    Owner(WorkerId),
    /// The fragments of its packet meet at this worker.
    Keeper(WorkerId),
    /// The packet is of this connection.
    Found(Meeting),
    /// It is of no connection.
    NotFound,
    /// It finds this connection, which ends: it may open another one.
    Outlived(Meeting),
    /// It is for this service, or for none.
    Service(Option<Matched>),
    /// It opens no connection.
    NotOurs,
    /// It may not open a connection.
    Refused(DropReason),
    /// A persistence template had to do with the choice of a server.
    Persisted(Persisted),
    /// It opened this connection.
    Opened(Meeting),
    /// The connection after it.
    Tracked(Meeting),
    /// The oldest half-open connection gave way to it.
    Recycled,
    /// The MSS that it tells was lowered to so many bytes.
    Clamped(u16),
    /// Where it goes next.
    WayOn(WayOn),
}

/// What a server was chosen from.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The service.
    pub service: &'a ServiceView,
    /// Servers by slot.
    pub servers: &'a [ServerView],
    /// What is counted per server, without the new connection.
    pub counts: &'a ServerCounts,
    /// The server that was chosen.
    pub chosen: Option<ServerId>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It left the worker, or was freed.
    Verdict(Verdict),
    /// It was dropped, and its sender is told why through this NIC.
    Answered(NicId, DropReason),
    /// It waits for the link-layer address of this neighbour.
    Held(Neighbour),
    /// A fragment, it waits for the first of its packet.
    AwaitsFirst,
}

/// Learns what a worker does with each frame of a batch; `index` is the frame's place in it.
///
/// Of each frame: [`Self::arrived`], any number of the others, [`Self::settled`].
pub trait Witness {
    /// A frame is there, as it came.
    fn arrived(&mut self, index: u8, arrival: impl FnOnce() -> Arrival, frame: &impl Frame);

    /// Something was found or decided.
    fn note(&mut self, index: u8, fact: impl FnOnce() -> Fact);

    /// A server was to be chosen.
    fn chose<'s>(&mut self, index: u8, choice: impl FnOnce() -> Option<Choice<'s>>);

    /// The frame's end, as it leaves.
    fn settled(&mut self, index: u8, end: End, frame: &impl Frame);

    /// A frame that waited leaves by the NIC, or is dropped at last.
    fn released(&mut self, nic: NicId, verdict: Verdict, frame: &impl Frame);

    /// The sender of a frame that waited in vain and was dropped for the reason is told by this
    /// answer, through the NIC.
    fn answered(&mut self, nic: NicId, reason: DropReason, answer: &impl Frame);
}

/// Learns of the answers about frames that waited in vain, and of nothing else.
pub(crate) struct Answers<'w, W>(pub(crate) &'w mut W);

impl<W: Witness> Witness for Answers<'_, W> {
    fn arrived(&mut self, _: u8, _: impl FnOnce() -> Arrival, _: &impl Frame) {}

    fn note(&mut self, _: u8, _: impl FnOnce() -> Fact) {}

    fn chose<'s>(&mut self, _: u8, _: impl FnOnce() -> Option<Choice<'s>>) {}

    fn settled(&mut self, _: u8, end: End, frame: &impl Frame) {
        if let End::Answered(nic, reason) = end {
            self.0.answered(nic, reason, frame);
        }
    }

    fn released(&mut self, _: NicId, _: Verdict, _: &impl Frame) {}

    fn answered(&mut self, _: NicId, _: DropReason, _: &impl Frame) {}
}

/// Nobody looks.
impl Witness for () {
    #[inline]
    fn arrived(&mut self, _: u8, _: impl FnOnce() -> Arrival, _: &impl Frame) {}

    #[inline]
    fn note(&mut self, _: u8, _: impl FnOnce() -> Fact) {}

    #[inline]
    fn chose<'s>(&mut self, _: u8, _: impl FnOnce() -> Option<Choice<'s>>) {}

    #[inline]
    fn settled(&mut self, _: u8, _: End, _: &impl Frame) {}

    #[inline]
    fn released(&mut self, _: NicId, _: Verdict, _: &impl Frame) {}

    #[inline]
    fn answered(&mut self, _: NicId, _: DropReason, _: &impl Frame) {}
}
