// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packets of one family in a batch, in the order in which they came.

use std::ops::Range;

use wire::{Family, Frame, Parsed, parse_whole};

use crate::batch::Batch;
use crate::conn::table::{ConnTable, Probe};
use crate::family::Balanced;
use crate::fate::Fates;
use crate::ids::NicId;

/// A packet on its way through the phases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<F: Family> {
    pub(crate) index: u8,
    pub(crate) nic: NicId,
    pub(crate) parsed: Parsed<F>,
    pub(crate) probe: Probe,
}

impl<F: Family> Item<F> {
    pub(crate) fn new(index: u8, nic: NicId, parsed: Parsed<F>, probe: Probe) -> Self {
        Self { index, nic, parsed, probe }
    }

    /// The NIC that it came by.
    pub(crate) fn nic(&self) -> NicId {
        self.nic
    }

    /// Its frame's place in the batch.
    #[inline]
    pub(crate) fn index(&self) -> u8 {
        self.index
    }
}

/// The packets of one family in a batch.
#[derive(Debug)]
pub(crate) struct Lane<'b, B> {
    /// Which frames of the batch are such packets, a bit for each.
    pub(crate) places: u32,
    /// All frames of the batch.
    pub(crate) frames: &'b mut [B],
    /// By which NIC each of them came.
    pub(crate) nics: &'b [NicId],
    /// Where those that are such packets are looked up.
    pub(crate) probes: &'b mut [Probe],
    pub(crate) fates: &'b mut Fates,
}

impl<'b, B: Frame> Lane<'b, B> {
    pub(crate) fn new(
        places: u32,
        batch: &'b mut Batch<B>,
        probes: &'b mut [Probe],
        fates: &'b mut Fates,
    ) -> Self {
        let Batch { frames, nics, .. } = batch;
        Self { places, frames, nics, probes, fates }
    }

    /// The first place, from `at` on, with a packet of the family.
    #[inline]
    pub(crate) fn next(&self, at: usize) -> Option<usize> {
        let left = u64::from(self.places) >> at;
        (left != 0).then(|| at + left.trailing_zeros() as usize)
    }

    /// The places with a packet of the family, from `at` on.
    pub(crate) fn places_from(&self, at: usize) -> impl Iterator<Item = usize> {
        let next = |at: usize| self.next(at);
        std::iter::successors(next(at), move |at| next(at + 1))
    }

    /// The first places, from `at` on, with packets of the family and no others between them.
    #[inline]
    pub(crate) fn run(&self, at: usize) -> Option<Range<usize>> {
        let start = self.next(at)?;
        let others = !(u64::from(self.places) >> start);
        Some(start..start + others.trailing_zeros() as usize)
    }

    /// Goes on with all look-ups, so that each points at a connection or at none.
    #[inline(always)]
    pub(crate) fn point<F: Balanced>(&mut self, conns: &ConnTable<'_, F>) {
        let mut at = 0;
        while let Some(run) = self.run(at) {
            at = run.end;
            let probes = self.probes.get_mut(run).unwrap_or_default();
            probes.iter_mut().for_each(|probe| conns.prefetch(probe));
        }
    }

    /// The look-up of the packet in a place.
    #[inline]
    pub(crate) fn probe(&self, at: usize) -> Probe {
        self.probes.get(at).copied().unwrap_or_default()
    }

    /// The packet in a place, with what its headers say; none if it is of the other family.
    pub(crate) fn item<F: Balanced>(&self, at: usize) -> Option<Item<F>> {
        let (frame, nic) = self.frames.get(at).zip(self.nics.get(at))?;
        let parsed = parse_whole(frame.head(), frame.len())?;
        Some(Item::new(at as u8, *nic, parsed, self.probe(at)))
    }
}
