// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tunnel to a server: how much fits into it, and a packet's way in.

use wire::{Delta, Eth, FlowKey, Frame, Tuple, U16};
use zerocopy::{FromBytes, IntoBytes};

use crate::encap::{Inner, Outer, PerPacket};
use crate::family::Balanced;
use crate::hash::Keyed;
use crate::knobs::Knob;
use crate::network::NextHop;
use crate::snapshot::ServerView;
use crate::stage::{Stage, Way};
use crate::verdict::DropReason;
use crate::witness::Witness;

/// The first source port of GUE, of 2^14: the dynamic ports of RFC 6335.
const GUE_PORTS: u16 = 49152;

/// The way into the tunnel to a server.
pub(crate) fn outer(server: Option<&ServerView>) -> Result<Outer, DropReason> {
    server.ok_or(DropReason::Bug)?.outer.ok_or(DropReason::NoRoute)
}

/// A plain packet's way into a tunnel.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) outer: &'a Outer,
    pub(crate) hop: &'a NextHop,
    /// What the hop taken off the packet's life does to its header checksum.
    pub(crate) delta: Delta,
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
        let paths = self.counts.paths();
        let told = outer.server().filter(|_| paths.any());
        let learned = told.and_then(|to| paths.mtu(self.keyed, to, self.now));
        let mtu = mtu.into_iter().chain(learned).min();
        mtu.map(|mtu| usize::from(mtu).saturating_sub(outer.overhead()))
    }

    /// Whether a whole frame fits a tunnel and the way on from it; what was learned of the way
    /// counts if anything was learned of `any` way.
    #[inline(always)]
    pub(crate) fn fits_tunnel(
        &self,
        frame_len: usize,
        outer: &Outer,
        hop: &NextHop,
        any: bool,
    ) -> bool {
        let len = frame_len + outer.overhead();
        len <= size_of::<Eth>() + usize::from(hop.mtu) && (!any || self.fits_path(len, outer))
    }

    #[inline(never)]
    fn fits_path(&self, len: usize, outer: &Outer) -> bool {
        let paths = self.counts.paths();
        let learned = outer.server().and_then(|to| paths.mtu(self.keyed, to, self.now));
        learned.is_none_or(|mtu| len <= size_of::<Eth>() + usize::from(mtu))
    }

    /// Puts the outer headers of a tunnel before the packet of a flow, which is `len` bytes long.
    pub(crate) fn encapsulate<F: Balanced, B: Frame>(
        &mut self,
        frame: &mut B,
        len: usize,
        flow: &FlowKey<F>,
        outer: &Outer,
    ) -> Result<(), DropReason> {
        let header = frame.head().get(size_of::<Eth>()..).and_then(F::header);
        let inner = Inner::new(&header.ok_or(DropReason::Bug)?, len);
        let choice = self.choose(source_port(self.keyed, &flow.tuple, outer));
        outer.wrap::<F>(frame, &inner, &choice).map(|_| ())
    }

    /// Puts plain packets into their tunnels, in whose frames there is room for the outer headers.
    #[inline(never)]
    pub(crate) fn enter<F: Balanced, B: Frame>(&mut self, frames: &mut [B], ways: &[Entry<'_>]) {
        let (keyed, mut choice) = (self.keyed, self.chosen());
        for (frame, Entry { outer, hop, delta }) in frames.iter_mut().zip(ways) {
            choice.id = choice.id.wrapping_add(self.wiring.workers);
            let port = |tuple: &Tuple<F>| source_port(keyed, tuple, outer);
            outer.fill(frame.head_mut(), (*delta, hop), &choice, port);
        }
        *self.ip_id = choice.id;
    }

    /// What the next packet has that others into the same tunnel have not.
    fn choose(&mut self, port: u16) -> PerPacket {
        // Each worker has ids of its own.
        *self.ip_id = self.ip_id.wrapping_add(self.wiring.workers);
        PerPacket { port, ..self.chosen() }
    }

    /// What the last packet into a tunnel had.
    fn chosen(&self) -> PerPacket {
        let copies_dont_fragment = self.snapshot.knobs.is_on(Knob::PmtuDisc);
        PerPacket { id: *self.ip_id, port: 0, copies_dont_fragment }
    }
}

/// A port that is the same for all packets of a flow, where flows show in the outer headers.
fn source_port<F: Balanced>(keyed: &Keyed, flow: &Tuple<F>, outer: &Outer) -> u16 {
    match outer.shows_flow() {
        true => GUE_PORTS | (keyed.bytes(flow.as_bytes()) >> 50) as u16,
        false => 0,
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
