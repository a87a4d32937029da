// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of the frames of a batch, kept until it is done to all of them.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::ids::NicId;
use crate::limits::BATCH;
use crate::network::Neighbour;
use crate::steer::Wiring;
use crate::verdict::{DropReason, Verdict};

/// What becomes of a frame, as the phases see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It leaves the worker.
    Settled(Verdict),
    /// It was dropped for the reason and became the answer that leaves by the NIC.
    Answered(NicId, DropReason),
    /// It waits for a link-layer address: the one that stands at this place in [`Waits`].
    Held(u8),
    /// A fragment, it waits for the first of its packet.
    AwaitsFirst,
    /// It leaves by the NIC in fragments of so many bytes at most.
    InParts(NicId, u16),
}

/// What a frame waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// Where the frame goes.
    pub(crate) to: IpAddr,
    /// Whose link-layer address is not known.
    pub(crate) neighbour: Neighbour,
}

/// The waits of one batch.
pub(crate) type Waits = ArrayVec<Wait, BATCH>;

impl From<DropReason> for Fate {
    fn from(reason: DropReason) -> Self {
        Self::Settled(Verdict::Drop(reason))
    }
}

/// What becomes of each frame of a batch, by place. Nearly all just leave, and of those there is
/// only the NIC, so that a look at a few words tells whether all leave together.
#[derive(Debug)]
pub(crate) struct Fates {
    leave_by: [NicId; BATCH],
    others: [Option<Fate>; BATCH],
}

impl Default for Fates {
    fn default() -> Self {
        Self { leave_by: [NicId::NONE; BATCH], others: [None; BATCH] }
    }
}

impl Fates {
    /// Decides what becomes of the frame in a place.
    #[inline]
    pub(crate) fn set(&mut self, index: u8, fate: Fate) {
        let at = usize::from(index);
        if let Some((leaves_by, other)) = self.leave_by.get_mut(at).zip(self.others.get_mut(at)) {
            debug_assert!(*leaves_by == NicId::NONE && other.is_none(), "decided twice");
            match fate {
                Fate::Settled(Verdict::Transmit(nic)) => *leaves_by = nic,
                fate => *other = Some(fate),
            }
        }
    }

    /// Where frames that just leave do so, from place `from` on.
    #[inline]
    pub(crate) fn leave_by(&mut self, from: usize) -> &mut [NicId] {
        self.leave_by.get_mut(from..).unwrap_or_default()
    }

    /// The NIC by which all of the first `count` frames leave, if they do; forgets that.
    #[inline]
    pub(crate) fn take_together(&mut self, count: usize) -> Option<NicId> {
        let all = self.leave_by.get_mut(..count)?;
        let nic = *all.first()?;
        let differences = all.iter().fold(0, |sum, other| sum | (other.0 ^ nic.0));
        if differences != 0 || nic == NicId::NONE {
            return None;
        }
        all.fill(NicId::NONE);
        Some(nic)
    }

    /// What becomes of the frame in a place; forgets it.
    #[inline]
    pub(crate) fn take(&mut self, index: u8) -> Fate {
        let at = usize::from(index);
        let leaves_by = self.leave_by.get_mut(at);
        let leaves_by = leaves_by.map_or(NicId::NONE, |nic| std::mem::replace(nic, NicId::NONE));
        if leaves_by != NicId::NONE {
            return Fate::Settled(Verdict::Transmit(leaves_by));
        }
        let other = self.others.get_mut(at).and_then(Option::take);
        debug_assert!(other.is_some(), "a frame went through all phases without a fate");
        other.unwrap_or(DropReason::Bug.into())
    }
}

/// What a frame that is not load-balanced becomes.
pub(crate) fn punt(wiring: &Wiring, nic: NicId) -> Fate {
    match wiring.nic(nic) {
        Some(facts) if facts.has_host => Fate::Settled(Verdict::Punt(nic)),
        _ => DropReason::NoHostInterface.into(),
    }
}
