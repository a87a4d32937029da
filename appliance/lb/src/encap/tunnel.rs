// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tunnel to a server: how much fits into it, and a packet's way in.

use wire::{Eth, FlowKey, Frame, IpHeader, Parsed, PlainFamily, U16};
use zerocopy::{FromBytes, IntoBytes};

use crate::action::Action;
use crate::encap::{Inner, Outer, PerPacket};
use crate::family::Balanced;
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

    /// Whether a whole frame fits a tunnel and the way on from it.
    #[inline(always)]
    pub(crate) fn fits_tunnel(&self, frame_len: usize, outer: &Outer, hop: &NextHop) -> bool {
        let len = frame_len + outer.overhead();
        len <= size_of::<Eth>() + usize::from(hop.mtu)
            && (!self.counts.paths().any() || self.fits_path(len, outer))
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
        let choice = self.choose(self.source_port(flow, outer));
        outer.wrap::<F>(frame, &inner, &choice).map(|_| ())
    }

    /// Puts a plain packet into a tunnel, takes a hop off its life, and addresses it to a next hop;
    /// false leaves it as it was.
    #[inline(never)]
    pub(crate) fn encapsulate_plain<F: Balanced, B: Frame>(
        &mut self,
        frame: &mut B,
        parsed: &Parsed<F>,
        action: &Action<F>,
        outer: &Outer,
        hop: &NextHop,
    ) -> bool {
        if !outer.is_bare() {
            return self.encapsulate_shimmed(frame, parsed, action, outer, hop);
        }
        let choice = self.choose(0);
        outer.wrap_plain(frame, parsed, (action.header_delta, hop), &choice)
    }

    #[inline(never)]
    fn encapsulate_shimmed<F: Balanced, B: Frame>(
        &mut self,
        frame: &mut B,
        parsed: &Parsed<F>,
        action: &Action<F>,
        outer: &Outer,
        hop: &NextHop,
    ) -> bool {
        let header = frame.head().get(size_of::<Eth>()..).and_then(F::header);
        let Some(header) = header else { return false };
        let forwarded = IpHeader { ttl: parsed.ttl().wrapping_sub(1), ..header };
        let choice = self.choose(self.source_port(&parsed.key(), outer));
        let inner = Inner::new(&forwarded, parsed.ip_len());
        // The tunnel's checksum is over the packet as it leaves.
        let Some(arrived) = replace_front::<F>(frame, |front| {
            F::forward_plain(front, action.header_delta);
        }) else {
            return false;
        };
        let wrapped = outer.wrap::<F>(frame, &inner, &choice);
        let has_left = wrapped.map(|(eth, _)| eth.set_link(hop.link)).is_ok();
        if !has_left {
            replace_front::<F>(frame, |front| *front = arrived);
        }
        has_left
    }

    /// What the next packet has that others into the same tunnel have not.
    #[inline(always)]
    fn choose(&mut self, port: u16) -> PerPacket {
        // Each worker has ids of its own.
        *self.ip_id = self.ip_id.wrapping_add(self.wiring.workers);
        let copies_dont_fragment = self.snapshot.knobs.is_on(Knob::PmtuDisc);
        PerPacket { id: *self.ip_id, port, copies_dont_fragment }
    }

    fn source_port<F: Balanced>(&self, flow: &FlowKey<F>, outer: &Outer) -> u16 {
        match outer.shows_flow() {
            true => GUE_PORTS | (self.keyed.bytes(flow.tuple.as_bytes()) >> 50) as u16,
            false => 0,
        }
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

/// Changes the front of a frame's IP header, and returns what it was.
fn replace_front<F: PlainFamily>(
    frame: &mut impl Frame,
    change: impl FnOnce(&mut F::Front),
) -> Option<F::Front> {
    let ip = frame.head_mut().get_mut(size_of::<Eth>()..)?;
    let (front, _) = F::Front::mut_from_prefix(ip).ok()?;
    let before = *front;
    change(front);
    Some(before)
}
