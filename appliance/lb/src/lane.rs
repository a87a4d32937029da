// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packets of one family in a batch, in the order in which they came.

use std::ops::Range;

use wire::parse::plain::TcpRest;
use wire::{Family, Frame, L4, Parsed, Plain, parse_whole};
use zerocopy::FromBytes;

use crate::batch::Batch;
use crate::conn::table::Probe;
use crate::family::Balanced;
use crate::fate::Fates;
use crate::ids::NicId;
use crate::sort::Sorted;

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
    places: u64,
    /// Which of these are plain and steady.
    steady: u64,
    /// All frames of the batch.
    pub(crate) frames: &'b mut [B],
    /// By which NIC each of them came.
    pub(crate) nics: &'b [NicId],
    /// Where those that are such packets are looked up.
    pub(crate) probes: &'b [Probe],
    pub(crate) fates: &'b mut Fates,
}

impl<'b, B: Frame> Lane<'b, B> {
    /// The packets of a batch that are in these places.
    pub(crate) fn of(batch: &'b mut Batch<B>, places: u64) -> Self {
        let Batch { frames, nics, sorted: Sorted { probes, fates, steady, .. }, .. } = batch;
        Self { places, steady: places & *steady, frames, nics, probes: &probes.0, fates }
    }

    /// The places with a packet of the family, from `at` on.
    pub(crate) fn places_from(&self, at: usize) -> impl Iterator<Item = usize> {
        let next = |at: usize| next(self.places, at);
        std::iter::successors(next(at), move |at| next(at + 1))
    }

    /// The first packet of the family from `at` on, and those behind it as far as all are steady;
    /// none if it is not steady itself.
    #[inline]
    pub(crate) fn run(&self, at: usize) -> Option<Range<usize>> {
        let first = next(self.places, at)?;
        let steady = run(self.steady, first).filter(|run| run.start == first);
        Some(steady.unwrap_or(first..first))
    }

    /// Whether the packet in a place is a steady one of TCP, which opens no connection.
    #[inline]
    pub(crate) fn is_amid_tcp<F: Balanced>(&self, at: usize) -> bool {
        let frame = self.frames.get(at).filter(|_| self.steady >> at & 1 != 0);
        frame.is_some_and(|frame| is_tcp::<F>(frame.head()))
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

/// The first of some places, a bit for each, from `at` on.
#[inline]
pub(crate) fn next(places: u64, at: usize) -> Option<usize> {
    let left = places.checked_shr(at as u32).unwrap_or(0);
    (left != 0).then(|| at + left.trailing_zeros() as usize)
}

/// The first of some places, a bit for each, from `at` on, that have no others between them.
#[inline]
pub(crate) fn run(places: u64, at: usize) -> Option<Range<usize>> {
    let start = next(places, at)?;
    let others = !(places >> start);
    Some(start..start + others.trailing_zeros() as usize)
}

/// Whether a plain packet is one of TCP.
#[inline(always)]
pub(crate) fn is_tcp<F: Balanced>(head: &[u8]) -> bool {
    Plain::<F>::ref_from_prefix(head).is_ok_and(|(plain, rest)| {
        rest.len() >= size_of::<TcpRest>() && F::said(&plain.front).protocol == L4::Tcp.number()
    })
}
