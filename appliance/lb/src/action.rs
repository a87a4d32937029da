// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is done to the packets of a connection, decided once.
//!
//! Here is the only `match` on the forwarding mode: it turns a mode and the ends of a new
//! connection into one action per direction. The packet path applies actions.

use wire::csum::Delta;
use wire::{Endpoint, Family, L4, TTL_DELTA, Tuple};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::conn::{Conn, ConnFamily, Traits};
use crate::ids::ServerId;
use crate::network::NextHopId;
use crate::service::ForwardMode;

/// What is done to the packets of one direction of a connection.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Action<F: Family> {
    /// Addresses and ports that packets leave with.
    pub tuple: Tuple<F>,
    /// What that, and the hop taken off the TTL, does to the IPv4 header checksum.
    pub header_delta: Delta,
    /// What that does to the TCP or UDP checksum.
    pub l4_delta: Delta,
    /// Where packets go next.
    pub next_hop: NextHopId,
}

/// The actions of both directions: requests that arrive with one tuple leave with another, and
/// replies to it with the first one mirrored, which changes their checksums back.
fn rewrites<F: Family>(arriving: Tuple<F>, leaving: Tuple<F>) -> [Action<F>; 2] {
    let between = |old: &[u8], new: &[u8]| Delta::between(old, new);
    let addresses = |tuple: &Tuple<F>| [tuple.src, tuple.dst];
    let (old, new) = (addresses(&arriving), addresses(&leaving));
    let header = between(old.as_bytes(), new.as_bytes());
    let ports = |tuple: &Tuple<F>| [tuple.sport, tuple.dport];
    let (old, new) = (ports(&arriving), ports(&leaving));
    let l4 = header.combine(between(old.as_bytes(), new.as_bytes()));
    let action = |tuple, header: Delta, l4_delta| Action {
        tuple,
        header_delta: header.combine(TTL_DELTA),
        l4_delta,
        next_hop: NextHopId::UNRESOLVED,
    };
    [action(leaving, header, l4), action(arriving.mirror(), header.inverse(), l4.inverse())]
}

/// The ends of a new connection.
#[derive(Clone, Copy, Debug)]
pub struct Ends<F: Family> {
    /// The client.
    pub client: Endpoint<F>,
    /// The virtual address and port it speaks to.
    pub vip: Endpoint<F>,
    /// The real server's address and port.
    pub server: Endpoint<F>,
    /// The source that a FULLNAT server sees; the client itself in the other modes.
    pub local: Endpoint<F>,
}

/// A new connection: the mode becomes two actions.
pub fn connect<F: ConnFamily>(
    protocol: L4,
    mode: ForwardMode,
    server: ServerId,
    ends: &Ends<F>,
) -> Conn<F> {
    let arriving = Tuple::new(ends.client, ends.vip);
    let leaving = match mode {
        ForwardMode::Masquerade => Tuple::new(ends.client, ends.server),
        ForwardMode::FullNat => Tuple::new(ends.local, ends.server),
        ForwardMode::Tunnel | ForwardMode::Direct => arriving,
    };
    let traits = Traits {
        sees_replies: mode.sees_replies(),
        tunnel: mode == ForwardMode::Tunnel,
        fills_checksum: mode == ForwardMode::Masquerade,
    };
    Conn::new(protocol, server, rewrites(arriving, leaving), traits)
}
