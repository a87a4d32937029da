// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection: plain old data in one cache line (IPv4) or two (IPv6).
//!
//! It keeps for each direction the tuple that packets leave with. That is at once what is written
//! into a packet of this direction and, mirrored, what packets of the other direction arrive with:
//! so the two lookup keys cost no space. DR and TUN leave the tuple as it came, which is the same
//! write with an empty checksum delta: the packet path never asks for the mode.

pub mod expiry;
pub mod filter;
pub mod flows;
pub(crate) mod half_open;
pub(crate) mod recycle;
pub mod sctp_state;
pub mod table;
pub mod tcp_state;

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use wire::{Endpoint, Family, FlowKey, L4, Tuple, V4, V6};
use zerocopy::native_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, transmute};

use crate::action::Action;
use crate::conn::tcp_state::{Sender, State};
use crate::ids::{ServerId, Tick};

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    Request,
    /// From the server.
    Reply,
}

impl Direction {
    /// The other way.
    #[inline]
    pub fn opposite(self) -> Self {
        match self {
            Self::Request => Self::Reply,
            Self::Reply => Self::Request,
        }
    }
}

/// What is true of a connection for all its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// The server's packets come back through the director.
    pub sees_replies: bool,
    /// Requests travel inside another IP packet.
    pub tunnel: bool,
    /// A missing UDP checksum is filled in, as the kernel's NAT does.
    pub fills_checksum: bool,
}

const LIVE: u8 = 1;
const REPLIES: u8 = 2;
const TUNNEL: u8 = 4;
const FILL: u8 = 8;
/// Under a persistence template that does not know of an established connection by this one.
const UNASSURED: u8 = 16;

/// One connection, packed; every bit pattern is legal.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Conn<F: ConnFamily> {
    request: Action<F>,
    reply: Action<F>,
    server_slot: U32,
    server_generation: U32,
    deadline: U32,
    /// The neighbours in the list of the timer wheel's slot, or of free entries.
    pub(crate) next: U32,
    pub(crate) previous: U32,
    vital: Vital,
    pad: F::Pad,
}

/// What says at a glance whether a packet is the usual case.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Vital {
    protocol: u8,
    state: u8,
    flags: u8,
    /// Lower half: what of the deadline is above 2^32 units, so that it reaches for 139
    /// years. Upper half: requests, up to [`MANY_REQUESTS`].
    deadline_high: u8,
}

impl Vital {
    #[inline(always)]
    fn word(self) -> u32 {
        transmute!(self)
    }
}

const _: () = assert!(size_of::<Conn<V4>>() == 64);
const _: () = assert!(size_of::<Conn<V6>>() == 128);

/// A family of which there are connections: it fills a [`Conn`] up to whole cache lines.
pub trait ConnFamily: Family {
    /// What is missing to the next cache line.
    type Pad: Copy + Default + Debug + FromBytes + Immutable + IntoBytes + KnownLayout + Unaligned;
}

impl ConnFamily for V4 {
    type Pad = [u8; 0];
}

impl ConnFamily for V6 {
    type Pad = [u8; 16];
}

/// Where counting requests ends: who sent so many is no flood.
const MANY_REQUESTS: u8 = 9;
/// Milliseconds that one unit of a deadline stands for.
const UNIT_MS: u64 = 64;

/// A deadline in the units that connections keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    low: u32,
    high: u8,
}

impl Deadline {
    /// The deadline `timeout_s` seconds after `now`.
    #[inline]
    pub(crate) fn after(now: Tick, timeout_s: u32) -> Self {
        let due = now.millis() + u64::from(timeout_s) * 1000;
        let units = due.div_ceil(UNIT_MS);
        Self { low: units as u32, high: (units >> 32) as u8 & 0x0F }
    }
}

/// What connections are like whose packets of a protocol come at a moment and leave them in their
/// state, and until when they live then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usual {
    vital: u32,
    due: u32,
}

impl Usual {
    /// Of the protocol, state, flags and upper part of the deadline, what tells the usual case.
    const MASK: u32 = u32::from_ne_bytes([0xff, 0xff, !(REPLIES | FILL), 0x0F]);

    pub(crate) fn new(protocol: L4, state: State, due: Deadline) -> Self {
        let (protocol, state) = (protocol.number(), state as u8);
        let vital = Vital { protocol, state, flags: LIVE, deadline_high: due.high };
        Self { vital: vital.word(), due: due.low }
    }

    /// The same of connections whose requests travel inside another IP packet, or of the others.
    pub(crate) fn through_tunnels(self, tunnels: bool) -> Self {
        let flag = if tunnels { TUNNEL } else { 0 };
        Self { vital: self.vital | u32::from_ne_bytes([0, 0, flag, 0]), ..self }
    }
}

impl<F: ConnFamily> Conn<F> {
    /// A connection whose first packet is still to be tracked.
    pub fn new(protocol: L4, server: ServerId, actions: [Action<F>; 2], traits: Traits) -> Self {
        let [request, reply] = actions;
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        Self {
            request,
            reply,
            server_slot: U32::new(server.slot),
            server_generation: U32::new(server.generation),
            deadline: U32::ZERO,
            next: U32::ZERO,
            previous: U32::ZERO,
            vital: Vital {
                protocol: protocol.number(),
                state: State::None as u8,
                flags: LIVE
                    | flag(traits.sees_replies, REPLIES)
                    | flag(traits.tunnel, TUNNEL)
                    | flag(traits.fills_checksum, FILL),
                deadline_high: 0,
            },
            pad: F::Pad::default(),
        }
    }

    /// Makes the entry one that stands for no connection.
    pub(crate) fn clear(&mut self) {
        self.vital.flags = 0;
    }

    /// Whether the entry stands for a connection.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.vital.flags & LIVE != 0
    }

    /// What is done to packets of one direction.
    #[inline]
    pub fn action(&self, direction: Direction) -> &Action<F> {
        match direction {
            Direction::Request => &self.request,
            Direction::Reply => &self.reply,
        }
    }

    /// What is done to packets of one direction, and of the other.
    #[inline(always)]
    pub(crate) fn actions(&self, direction: Direction) -> (&Action<F>, &Action<F>) {
        match direction {
            Direction::Request => (&self.request, &self.reply),
            Direction::Reply => (&self.reply, &self.request),
        }
    }

    /// What is done to packets of one direction, to be completed.
    #[inline]
    pub fn action_mut(&mut self, direction: Direction) -> &mut Action<F> {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Reply => &mut self.reply,
        }
    }

    /// The tuple that packets of one direction arrive with.
    #[inline]
    pub fn arrives(&self, direction: Direction) -> Tuple<F> {
        self.action(direction.opposite()).tuple.mirror()
    }

    /// Whether a packet with this key belongs to the connection, in this direction.
    #[inline]
    pub fn matches(&self, direction: Direction, key: &FlowKey<F>) -> bool {
        self.has_arrived(direction, &key.tuple) && self.vital.protocol == key.protocol.number()
    }

    /// Whether packets of one direction arrive with this tuple.
    #[inline]
    pub(crate) fn has_arrived(&self, direction: Direction, tuple: &Tuple<F>) -> bool {
        self.action(direction.opposite()).tuple.is_mirror_of(tuple)
    }

    /// The key that packets of one direction are found by.
    pub fn key(&self, direction: Direction) -> FlowKey<F> {
        FlowKey { tuple: self.arrives(direction), protocol: self.protocol() }
    }

    /// Transport protocol.
    #[inline]
    pub fn protocol(&self) -> L4 {
        L4::from_number(self.vital.protocol).unwrap_or(L4::Tcp)
    }

    /// The real server.
    #[inline]
    pub fn server(&self) -> ServerId {
        ServerId { slot: self.server_slot.get(), generation: self.server_generation.get() }
    }

    /// What is true of it for all its life.
    #[inline]
    pub fn traits(&self) -> Traits {
        Traits {
            sees_replies: self.vital.flags & REPLIES != 0,
            tunnel: self.vital.flags & TUNNEL != 0,
            fills_checksum: self.vital.flags & FILL != 0,
        }
    }

    /// Whether it is of the protocol and in the state of the usual case, nothing is to be done for
    /// its packets but to rewrite and count them, and they do not bring its end nearer.
    #[inline]
    pub(crate) fn is_usual(&self, usual: &Usual) -> bool {
        self.vital.word() & Usual::MASK == usual.vital && self.deadline.get() <= usual.due
    }

    /// Moves the deadline, and counts the packet, of a connection that [`Self::is_usual`].
    #[inline]
    pub(crate) fn go_on(&mut self, usual: &Usual, direction: Direction) {
        self.deadline = U32::new(usual.due);
        self.count(direction);
    }

    /// Whether its persistence template is still to be told when it is established.
    #[inline]
    pub(crate) fn is_unassured(&self) -> bool {
        self.vital.flags & UNASSURED != 0
    }

    /// Notes whether its persistence template is still to be told when it is established.
    pub(crate) fn set_unassured(&mut self, on: bool) {
        self.vital.flags =
            if on { self.vital.flags | UNASSURED } else { self.vital.flags & !UNASSURED };
    }

    /// Who sends the packets of one direction, for the TCP state tables.
    #[inline]
    pub fn sender(&self, direction: Direction) -> Sender {
        match direction {
            Direction::Reply => Sender::Server,
            Direction::Request if self.vital.flags & REPLIES != 0 => Sender::Client,
            Direction::Request => Sender::ClientOnly,
        }
    }

    /// Its state.
    #[inline]
    pub fn state(&self) -> State {
        State::from_byte(self.vital.state)
    }

    /// Changes the state.
    #[inline]
    pub fn set_state(&mut self, state: State) {
        self.vital.state = state as u8;
    }

    /// Sets the deadline to `timeout_s` seconds after `now`.
    #[inline]
    pub fn refresh(&mut self, now: Tick, timeout_s: u32) {
        let due = Deadline::after(now, timeout_s);
        self.deadline = U32::new(due.low);
        self.vital.deadline_high = self.vital.deadline_high & 0xF0 | due.high;
    }

    /// The moment at which it expires unless a packet comes.
    #[inline]
    pub fn deadline(&self) -> Tick {
        let units =
            u64::from(self.vital.deadline_high & 0x0F) << 32 | u64::from(self.deadline.get());
        Tick::from_millis(units * UNIT_MS)
    }

    /// Counts a packet, if it is from the client.
    #[inline]
    pub(crate) fn count(&mut self, direction: Direction) {
        if self.vital.deadline_high < MANY_REQUESTS << 4 {
            self.count_one_of_few(direction);
        }
    }

    #[cold]
    fn count_one_of_few(&mut self, direction: Direction) {
        if direction == Direction::Request {
            self.vital.deadline_high += 1 << 4;
        }
    }

    /// Packets from the client, up to [`MANY_REQUESTS`].
    pub(crate) fn requests(&self) -> u8 {
        self.vital.deadline_high >> 4
    }

    /// The connection as listings show it at `now`.
    pub fn record(&self, now: Tick) -> ConnRecord {
        let client = self.reply.tuple.destination();
        ConnRecord {
            protocol: self.protocol(),
            state: self.state(),
            expires_s: (self.deadline().since(now) / 1000) as u32,
            client: socket_address(client),
            vip: socket_address(self.arrives(Direction::Request).destination()),
            server: self.server(),
            server_port: self.request.tuple.dport.get(),
            source: self.request.tuple.source().addr.into(),
        }
    }
}

/// A connection as `-L -c` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnRecord {
    /// Transport protocol.
    pub protocol: L4,
    /// Its state.
    pub state: State,
    /// Seconds until it expires unless a packet comes.
    pub expires_s: u32,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The virtual address and port.
    pub vip: SocketAddr,
    /// The real server.
    pub server: ServerId,
    /// The port that it is spoken to.
    pub server_port: u16,
    /// The address that it sees requests come from: the client's, or a local one (FULLNAT).
    pub source: IpAddr,
}

fn socket_address<F: Family>(endpoint: Endpoint<F>) -> SocketAddr {
    let address: IpAddr = endpoint.addr.into();
    SocketAddr::new(address, endpoint.port.get())
}
