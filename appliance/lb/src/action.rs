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

impl<F: Family> Action<F> {
    /// Rewrites packets that arrive with one tuple so that they leave with another.
    fn rewrite(arriving: Tuple<F>, leaving: Tuple<F>) -> Self {
        let addresses = |tuple: &Tuple<F>| [tuple.src, tuple.dst];
        let (old, new) = (addresses(&arriving), addresses(&leaving));
        Self {
            tuple: leaving,
            header_delta: Delta::between(old.as_bytes(), new.as_bytes()).combine(TTL_DELTA),
            l4_delta: Delta::between(arriving.as_bytes(), leaving.as_bytes()),
            next_hop: NextHopId::UNRESOLVED,
        }
    }
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
    let actions =
        [Action::rewrite(arriving, leaving), Action::rewrite(leaving.mirror(), arriving.mirror())];
    let traits = Traits {
        sees_replies: mode.sees_replies(),
        tunnel: mode == ForwardMode::Tunnel,
        fills_checksum: mode == ForwardMode::Masquerade,
    };
    Conn::new(protocol, server, actions, traits)
}
