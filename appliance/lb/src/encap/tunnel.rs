// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tunnel to a server: how much fits into it, and a packet's way in.

use wire::{Delta, Eth, FlowKey, Frame, Tuple, U16};
use zerocopy::{FromBytes, IntoBytes};

use crate::encap::{Choose, Inner, Outer, WayIn};
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

    /// Puts the plain packet of a whole frame into a tunnel; none, and nothing is changed, if it
    /// does not fit or has no room for the headers. What was learned of the way counts if anything
    /// was learned of `any` way.
    #[inline(always)]
    pub(crate) fn enter<F: Balanced, B: Frame>(
        &mut self,
        frame: &mut B,
        outer: &Option<Outer>,
        way: WayIn<'_>,
        any: bool,
    ) -> Option<()> {
        let Some(outer) = outer.as_ref().filter(|outer| outer.is_one_header_of(F::ID)) else {
            let WayIn { hop, delta, copies_dont_fragment } = way;
            return self.enter_other::<F, B>(frame, outer, hop, delta, copies_dont_fragment);
        };
        if !self.fits_tunnel(frame.len() + F::HEADER_LEN, outer, way.hop, any) {
            return None;
        }
        unchanged_or_whole(outer.double::<F>(frame, way, || self.next_ip_id()))
    }

    #[inline(never)]
    fn enter_other<F: Balanced, B: Frame>(
        &mut self,
        frame: &mut B,
        outer: &Option<Outer>,
        hop: &NextHop,
        delta: Delta,
        copies_dont_fragment: bool,
    ) -> Option<()> {
        let outer = outer.as_ref()?;
        let any = self.counts.paths().any();
        if !self.fits_tunnel(frame.len() + outer.overhead(), outer, hop, any) {
            return None;
        }
        let way = WayIn { hop, delta, copies_dont_fragment };
        unchanged_or_whole(outer.wrap_plain::<F>(frame, way, self))
    }

    /// Whether a frame that has its outer headers fits the way on; what was learned of it counts if
    /// anything was learned of `any` way.
    #[inline(always)]
    fn fits_tunnel(&self, len: usize, outer: &Outer, hop: &NextHop, any: bool) -> bool {
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
        let copied = self.snapshot.knobs.is_on(Knob::PmtuDisc);
        let inner = Inner::new(&header.ok_or(DropReason::Bug)?, len, copied);
        outer.wrap(frame, &inner, &flow.tuple, self).map(|_| ())
    }

    fn next_ip_id(&mut self) -> u16 {
        // Each worker has ids of its own.
        *self.ip_id = self.ip_id.wrapping_add(self.wiring.workers);
        *self.ip_id
    }
}

impl<F: Balanced, W: Witness> Choose<F> for Stage<'_, W> {
    fn id(&mut self) -> u16 {
        self.next_ip_id()
    }

    fn port(&self, flow: &Tuple<F>) -> u16 {
        GUE_PORTS | (self.keyed.bytes(flow.as_bytes()) >> 50) as u16
    }
}

/// What became of a packet on its way in, which must not end halfway.
#[inline(always)]
fn unchanged_or_whole(entered: Result<(), DropReason>) -> Option<()> {
    debug_assert_ne!(entered, Err(DropReason::Bug));
    entered.ok()
}

/// Writes the EtherType, which an outer header may have moved the front to.
pub(crate) fn set_ethertype(frame: &mut impl Frame, ethertype: u16) -> Result<(), DropReason> {
    let Ok((eth, _)) = Eth::mut_from_prefix(frame.head_mut()) else {
        return Err(DropReason::Bug);
    };
    eth.ethertype = U16::new(ethertype);
    Ok(())
}
