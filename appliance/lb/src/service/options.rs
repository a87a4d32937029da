// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of services and real servers can be edited.

use std::net::Ipv4Addr;

use super::ForwardMode;
use crate::counters::Thresholds;
use crate::sched::Scheduler;

/// What of a service can be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceOptions {
    /// How a server is chosen for a new connection.
    pub scheduler: Scheduler,
    /// What the scheduler is to do otherwise.
    pub flags: SchedFlags,
    /// How a client stays with its server; none if it does not.
    pub persistence: Option<Persistence>,
    /// What beside its address makes a client, for persistence; none for nothing.
    pub engine: Option<Engine>,
    /// Whether each packet is scheduled by itself and leaves no connection.
    pub one_packet: bool,
    /// What MSS (RFC 9293, section 3.7.1) the ends of its TCP connections may at most learn; none
    /// for what they say.
    pub mss: Option<Mss>,
}

impl ServiceOptions {
    /// A scheduler and nothing else.
    pub const fn of(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            flags: SchedFlags::NONE,
            persistence: None,
            engine: None,
            one_packet: false,
            mss: None,
        }
    }
}

/// The three flags that a scheduler gives its own meaning (`IP_VS_SVC_F_SCHED1` to `3`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SchedFlags(u8);

impl SchedFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// How many flags there are.
    pub const COUNT: u8 = 3;

    /// These flags and flag `number`, 1..=[`Self::COUNT`].
    #[must_use]
    pub const fn with(self, number: u8) -> Self {
        debug_assert!(1 <= number && number <= Self::COUNT);
        Self(self.0 | 1 << (number - 1))
    }

    /// Whether flag `number` is set, 1..=[`Self::COUNT`].
    #[inline]
    pub const fn has(self, number: u8) -> bool {
        self.0 & 1 << (number - 1) != 0
    }

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers of the flags that are set.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (1..=Self::COUNT).filter(move |number| self.has(*number))
    }
}

/// How a client stays with its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Seconds after its last new connection, 1 or more.
    pub timeout_s: u32,
    /// How much of a client's address counts.
    pub mask: ClientMask,
}

/// Which part of a client's address counts for persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientMask {
    /// Any bits of an IPv4 address.
    V4(u32),
    /// The first bits of an IPv6 address, 0..=128.
    V6(u8),
}

impl ClientMask {
    /// All of an IPv4 address.
    pub const V4_ALL: Self = Self::V4(u32::MAX);
    /// All of an IPv6 address.
    pub const V6_ALL: Self = Self::V6(128);

    /// Whether all of the address counts.
    pub fn is_all(self) -> bool {
        matches!(self, Self::V4_ALL | Self::V6_ALL)
    }
}

impl From<Ipv4Addr> for ClientMask {
    fn from(mask: Ipv4Addr) -> Self {
        Self::V4(mask.to_bits())
    }
}

/// What beside its address makes a client (`--pe`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The Call-ID of SIP (RFC 3261) over UDP.
    Sip,
}

impl Engine {
    /// The engine of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::Sip.name()).then_some(Self::Sip)
    }

    /// The name in `--pe` and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sip => "sip",
        }
    }
}

/// A bound on the MSS that the ends of a connection learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mss {
    /// What fits the way to the server, tunnel included.
    Auto,
    /// This many bytes.
    Bytes(u16),
}

/// What of a real server can be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// How packets reach it.
    pub mode: ForwardMode,
    /// Its share of new connections, 0..=[`Self::COUNT_MAX`]; 0 keeps old connections only.
    pub weight: u32,
    /// Connections from which it takes no new ones, at most [`Self::COUNT_MAX`]; 0 for no limit.
    pub upper: u32,
    /// Connections below which it takes new ones again, at most `upper`; 0 for three quarters.
    pub lower: u32,
    /// The encapsulation, where `mode` is [`ForwardMode::Tunnel`].
    pub tunnel: Tunnel,
}

impl ServerOptions {
    /// The largest weight and threshold, as the kernel's `int`.
    pub const COUNT_MAX: u32 = i32::MAX as u32;

    /// A mode and a weight, without thresholds; a tunnel is IP in IP.
    pub const fn of(mode: ForwardMode, weight: u32) -> Self {
        Self { mode, weight, upper: 0, lower: 0, tunnel: Tunnel::Ipip }
    }

    /// When it takes no new connections.
    pub const fn thresholds(&self) -> Thresholds {
        Thresholds { upper: self.upper, lower: self.lower }
    }
}

/// The encapsulation of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// IP in IP, RFC 2003, RFC 2473 and RFC 4213.
    #[default]
    Ipip,
    /// Generic UDP Encapsulation (draft-ietf-intarea-gue).
    Gue {
        /// UDP destination port, 1..=65535.
        port: u16,
        /// What protects the header.
        checksum: TunnelChecksum,
    },
    /// Generic Routing Encapsulation, RFC 2784.
    Gre {
        /// What protects the header; never [`TunnelChecksum::Remote`].
        checksum: TunnelChecksum,
    },
}

/// The checksum of an encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelChecksum {
    /// None.
    None,
    /// The protocol's own.
    Plain,
    /// Remote checksum offload (draft-herbert-remotecsumoffload).
    Remote,
}
