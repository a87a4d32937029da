// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tunnel to a server: how much fits into it, and a packet's way in.

use wire::{Eth, FlowKey, Frame, U16};
use zerocopy::{FromBytes, IntoBytes};

use crate::encap::{Outer, PerPacket};
use crate::family::Balanced;
use crate::knobs::Knob;
use crate::service::Tunnel;
use crate::snapshot::ServerView;
use crate::stage::{Stage, Way};
use crate::verdict::DropReason;
use crate::witness::Witness;

/// The first source port of GUE, of 2^14: the dynamic ports of RFC 6335.
const GUE_PORTS: u16 = 49152;

/// The way into the tunnel to a server.
pub(crate) fn outer(server: Option<&ServerView>) -> Result<Outer, DropReason> {
    let server = server.ok_or(DropReason::Bug)?;
    let source = server.tunnel_source.ok_or(DropReason::NoRoute)?;
    Ok(Outer { source, server: server.address, tunnel: server.tunnel })
}

impl<W: Witness> Stage<'_, W> {
    /// Largest packet that fits the way on, in bytes; none if nothing is known about it.
    #[inline]
    pub(crate) fn room(&self, way: &Way<'_>, outer: Option<&Outer>) -> Option<usize> {
        let mtu = match way {
            Ok(hop) => Some(hop.mtu),
            Err(wait) => self.snapshot.network.mtu(wait.neighbour.nic),
        };
        let Some(outer) = outer else {
            return mtu.map(usize::from);
        };
        let learned = self.counts.paths().mtu(self.keyed, outer.server, self.now);
        let mtu = mtu.into_iter().chain(learned).min();
        mtu.map(|mtu| usize::from(mtu).saturating_sub(outer.overhead()))
    }

    /// Puts the outer headers of a tunnel before the packet of a flow.
    pub(crate) fn encapsulate<F: Balanced, B: Frame>(
        &mut self,
        frame: &mut B,
        ip_len: usize,
        flow: &FlowKey<F>,
        outer: &Outer,
    ) -> Result<(), DropReason> {
        // Each worker has ids of its own.
        *self.ip_id = self.ip_id.wrapping_add(self.wiring.workers);
        let port = match outer.tunnel {
            Tunnel::Gue { .. } => {
                GUE_PORTS | (self.keyed.bytes(flow.tuple.as_bytes()) >> 50) as u16
            }
            Tunnel::Ipip | Tunnel::Gre { .. } => 0,
        };
        let choice = PerPacket {
            id: *self.ip_id,
            port,
            copies_dont_fragment: self.snapshot.knobs.is_on(Knob::PmtuDisc),
        };
        outer.wrap::<F>(frame, ip_len, &choice)?;
        set_ethertype(frame, outer.ethertype())
    }
}

/// Writes the EtherType, which an outer header may have moved the front to.
pub(crate) fn set_ethertype(frame: &mut impl Frame, ethertype: u16) -> Result<(), DropReason> {
    let Ok((eth, _)) = Eth::mut_from_prefix(frame.head_mut()) else {
        return Err(DropReason::Bug);
    };
    eth.ethertype = U16::new(ethertype);
    Ok(())
}
