// SPDX-License-Identifier: MIT OR Apache-2.0
//! How packets leave, and what becomes of those that are longer than their way on allows.
//!
//! Of these one that may be fragmented leaves in fragments, in a tunnel its outer packet; the
//! sender of another learns by ICMP how long it may be (RFC 1191, RFC 8201).

use wire::{Family, FamilyId, Frame, Parsed, ipv6};

use crate::action::Action;
use crate::conn::Direction;
use crate::encap::Outer;
use crate::family::Balanced;
use crate::fate::Fate;
use crate::fragments::split;
use crate::icmp::error::Error;
use crate::knobs::Knob;
use crate::lane::Item;
use crate::rewrite::rewrite;
use crate::stage::{Stage, Way};
use crate::verdict::{DropReason, Verdict};
use crate::witness::Witness;

/// How a packet leaves: what is done to it, the tunnel it takes, and the way on.
pub(crate) struct Leaving<'a, F: Family> {
    pub(crate) action: Action<F>,
    pub(crate) fills: bool,
    pub(crate) outer: Option<Outer>,
    pub(crate) hop: Way<'a>,
}

impl<W: Witness> Stage<'_, W> {
    /// What becomes of a packet for which there are only `room` bytes on the way on. The sender of
    /// one that must not be fragmented gets it back as it would have left: a hop shorter.
    #[cold]
    pub(crate) fn too_big<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        frame: &mut B,
        direction: Direction,
        room: usize,
        tunnels: bool,
    ) -> Result<bool, Fate> {
        if !item.parsed.dont_fragment() || tunnels && self.may_split_outer(&item.parsed) {
            return Ok(false);
        }
        let l3 = frame.head_mut().get_mut(item.parsed.l3()..);
        if !l3.is_some_and(F::decrement_ttl) {
            return Err(DropReason::TooBig.into());
        }
        let error = Error::TooBig(room as u16);
        Err(self.answer(item, frame, direction, DropReason::TooBig, error))
    }

    /// Whether the outer packet of a tunnel may be fragmented though the inner one may not: where
    /// the operator says so (`pmtu_disc`), and where an IPv6 sender cannot send less (RFC 8200 §5).
    fn may_split_outer<F: Family>(&self, parsed: &Parsed<F>) -> bool {
        match F::ID {
            FamilyId::V4 => !self.snapshot.knobs.is_on(Knob::PmtuDisc),
            FamilyId::V6 => parsed.ip_len() <= ipv6::MTU_MIN.into(),
        }
    }

    /// Makes a packet what its connection's action says, and sends it on its way.
    #[inline]
    pub(crate) fn leave<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        leaving: &Leaving<'_, F>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let Leaving { action, fills, outer, hop } = leaving;
        if !rewrite(frame.head_mut(), &item.parsed, action, *fills) {
            return Err(DropReason::Bug.into());
        }
        if let Some(outer) = outer {
            self.encapsulate(frame, item.parsed.ip_len(), &item.parsed.key(), outer)?;
        }
        self.depart(frame, *hop, action.next_hop)
    }

    /// As `leave`, of a packet that is longer than its way on allows.
    #[cold]
    pub(crate) fn leave_in_parts<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        leaving: &Leaving<'_, F>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let fate = self.leave(item, leaving, frame)?;
        if leaving.action.tuple.src != item.parsed.key().tuple.src {
            let id = self.next_id();
            split::identify(frame.head_mut(), id);
        }
        match (fate, leaving.hop) {
            (Fate::Settled(Verdict::Transmit(nic)), Ok(hop)) => Ok(Fate::InParts(nic, hop.mtu)),
            _ => Ok(fate),
        }
    }

    /// An identification for a packet of ours; its upper half, which IPv4 has not, is the time.
    pub(crate) fn next_id(&mut self) -> u32 {
        // Each worker has ids of its own.
        *self.ip_id = self.ip_id.wrapping_add(self.wiring.workers);
        (self.now.millis() as u32) << 16 | u32::from(*self.ip_id)
    }
}

/// Takes off what follows a packet in its frame, where that is longer than the way on allows.
#[cold]
pub(crate) fn without_trailer<F: Family, B: Frame>(
    parsed: &Parsed<F>,
    frame: &mut B,
) -> Result<(), Fate> {
    if frame.truncate(parsed.l3() + parsed.ip_len()) {
        return Ok(());
    }
    Err(DropReason::BadIpLength.into())
}
