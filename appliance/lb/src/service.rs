// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator configures: services, their real servers, and how packets reach them.

mod options;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use wire::{FamilyId, L4};

use crate::ids::{ServerId, ServiceId};

pub use options::{
    ClientMask, Engine, Mss, Persistence, SchedFlags, ServerOptions, ServiceOptions, Tunnel,
    TunnelChecksum,
};

/// What names a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKey {
    /// Packets to a virtual address.
    Endpoint {
        /// Transport protocol.
        protocol: L4,
        /// The virtual address (VIP) that clients speak to.
        address: IpAddr,
        /// The virtual port; 0 for every port that has no service of its own.
        port: u16,
    },
    /// Packets that carry a firewall mark.
    Mark {
        /// The mark, 1 or more.
        mark: u32,
        /// Address family of the packets.
        family: FamilyId,
    },
}

/// The port of FTP, whose data may come to any other one.
pub const FTP: u16 = 21;

impl ServiceKey {
    /// Whether it is for all ports of an address.
    pub fn takes_all_ports(&self) -> bool {
        matches!(self, Self::Endpoint { port: 0, .. })
    }

    /// The address family of its clients.
    pub fn family(&self) -> FamilyId {
        match self {
            Self::Endpoint { address, .. } => family(*address),
            Self::Mark { family, .. } => *family,
        }
    }

    /// Transport protocol; none for a mark, which has all.
    pub fn protocol(&self) -> Option<L4> {
        match self {
            Self::Endpoint { protocol, .. } => Some(*protocol),
            Self::Mark { .. } => None,
        }
    }

    /// The virtual address; none for a mark.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Endpoint { address, .. } => Some(*address),
            Self::Mark { .. } => None,
        }
    }

    /// The virtual port; 0 for every port, and for a mark.
    pub fn port(&self) -> u16 {
        match self {
            Self::Endpoint { port, .. } => *port,
            Self::Mark { .. } => 0,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Endpoint { protocol, address, port } => {
                write!(f, "{protocol} {}", SocketAddr::new(address, port))
            }
            Self::Mark { mark, family: FamilyId::V4 } => write!(f, "FWM {mark}"),
            Self::Mark { mark, family: FamilyId::V6 } => write!(f, "FWM {mark} IPv6"),
        }
    }
}

/// The address family of an address.
pub fn family(address: IpAddr) -> FamilyId {
    if address.is_ipv4() { FamilyId::V4 } else { FamilyId::V6 }
}

/// What names a real server within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey {
    /// The server's own address.
    pub address: IpAddr,
    /// The server's port: for [`ForwardMode::Direct`] and [`ForwardMode::Tunnel`] that of the
    /// service, unless a mark names that; 0 for the one that the client speaks to.
    pub port: u16,
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// How packets reach a real server and how its replies find the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardMode {
    /// NAT: destination rewritten; replies come back through the director.
    Masquerade,
    /// NAT of both ends: the server sees a local address of the director.
    FullNat,
    /// The packet travels inside IP-in-IP (RFC 2003); the server answers the client itself.
    Tunnel,
    /// Direct routing: only the link-layer address changes; the server answers the client itself.
    Direct,
}

impl ForwardMode {
    /// Whether the server's replies come back through the director.
    pub fn sees_replies(self) -> bool {
        matches!(self, Self::Masquerade | Self::FullNat)
    }
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its place in the tables.
    pub id: ServerId,
    /// Its name within the service.
    pub key: ServerKey,
    /// What can be edited.
    pub options: ServerOptions,
    /// Its weight when that last was above 0: mh keeps the places of a server that is drained.
    pub last_weight: u32,
}

impl Server {
    /// The same server with other options.
    pub(crate) fn with(self, options: ServerOptions) -> Self {
        let last_weight = if options.weight == 0 { self.last_weight } else { options.weight };
        Self { options, last_weight, ..self }
    }
}

/// A service with its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its place in the tables.
    pub id: ServiceId,
    /// Its name.
    pub key: ServiceKey,
    /// What can be edited.
    pub options: ServiceOptions,
    /// Real servers, the last added first, as the kernel keeps them.
    pub servers: Vec<Server>,
    /// Source addresses for FULLNAT in the order they were added.
    pub locals: Vec<IpAddr>,
}
