// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator configures: services, their real servers, and how packets reach them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use wire::L4;

use crate::ids::{ServerId, ServiceId};
use crate::sched::Scheduler;

/// What names a service: protocol, virtual address (VIP) and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Transport protocol.
    pub protocol: L4,
    /// The virtual address that clients speak to.
    pub address: IpAddr,
    /// The virtual port, 1..65535.
    pub port: u16,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, SocketAddr::new(self.address, self.port))
    }
}

/// What of a service can be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceOptions {
    /// How a server is chosen for a new connection.
    pub scheduler: Scheduler,
}

/// What names a real server within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey {
    /// The server's own address.
    pub address: IpAddr,
    /// The server's port; the service's own for [`ForwardMode::Direct`] and
    /// [`ForwardMode::Tunnel`], and 0 for the one that the client speaks to.
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

/// What of a real server can be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// How packets reach it.
    pub mode: ForwardMode,
    /// Its share of new connections, 0..=[`Self::WEIGHT_MAX`]; 0 keeps old connections only.
    pub weight: u32,
}

impl ServerOptions {
    /// The largest weight, as the kernel's `int`.
    pub const WEIGHT_MAX: u32 = i32::MAX as u32;
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
