// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames on their way through a worker, and where they go afterwards.

use std::ops::Range;

use arrayvec::ArrayVec;

use crate::ids::NicId;
use crate::limits::BATCH;
use crate::network::Neighbour;
use crate::sort::Sorted;
use crate::verdict::Verdict;

/// Frames that go through the phases together, each with the NIC it arrived by.
#[derive(Debug)]
pub struct Batch<B> {
    pub(crate) frames: ArrayVec<B, BATCH>,
    /// That of each frame, in their order; what is behind them says nothing.
    pub(crate) nics: [NicId; BATCH],
    /// The NIC by which all of them arrived, or none.
    common: NicId,
    pub(crate) progress: Progress,
    pub(crate) sorted: Sorted,
}

/// How far a batch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// Nothing is known of its frames.
    #[default]
    Received,
    /// They are sorted, and the cache was asked for where their connections are looked up.
    Sorted,
    /// It was asked for the connections.
    Pointed,
}

impl<B> Default for Batch<B> {
    fn default() -> Self {
        Self {
            frames: ArrayVec::new(),
            nics: [NicId::NONE; BATCH],
            common: NicId::NONE,
            progress: Progress::default(),
            sorted: Sorted::default(),
        }
    }
}

impl<B> Batch<B> {
    /// Adds a frame that arrived by `nic`.
    ///
    /// # Errors
    /// Gives the frame back if the batch is full.
    pub fn push(&mut self, frame: B, nic: NicId) -> Result<(), B> {
        let at = self.frames.len();
        self.frames.try_push(frame).map_err(|full| full.element())?;
        self.note(nic, at..at + 1);
        Ok(())
    }

    /// Lets `receive` add frames that arrived by `nic` behind the others; returns how many came.
    pub fn receive(
        &mut self,
        nic: NicId,
        receive: impl FnOnce(&mut ArrayVec<B, BATCH>) -> usize,
    ) -> usize {
        let before = self.frames.len();
        let came = receive(&mut self.frames);
        if came > 0 {
            self.note(nic, before..self.frames.len());
        }
        came
    }

    /// Notes that the frames in these places, which are the last ones, arrived by `nic`.
    #[inline]
    fn note(&mut self, nic: NicId, places: Range<usize>) {
        self.progress = Progress::Received;
        if places.start == 0 {
            (self.common, self.nics) = (nic, [nic; BATCH]);
        } else if self.common != nic {
            self.common = NicId::NONE;
        }
        if let Some(nics) = self.nics.get_mut(places).filter(|_| self.common != nic) {
            nics.fill(nic);
        }
    }

    /// The frames, to be taken.
    #[inline]
    pub fn frames_mut(&mut self) -> &mut ArrayVec<B, BATCH> {
        &mut self.frames
    }

    /// By which NIC each frame arrived.
    #[inline]
    pub(crate) fn nics(&self) -> &[NicId] {
        self.nics.get(..self.frames.len()).unwrap_or_default()
    }

    /// Whether all frames arrived by the same NIC.
    #[inline]
    pub(crate) fn is_of_one_nic(&self) -> bool {
        self.common != NicId::NONE
    }

    /// Frames in the batch.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is no frame in the batch.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// Where the frames of a batch come from; decides who counts them and whether they are steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Received from NICs: their owner is still to be found.
    Wire,
    /// Handed in by another worker, which found that we own them.
    Worker,
    /// Fragments that waited here for the first of their packet.
    Waited,
    /// Frames that waited here, complete, for a next hop that did not answer.
    Undelivered,
}

/// Takes what leaves a worker. Frames that could not leave as told are the sink's to count, with
/// the reason, in the worker's [`crate::counters::FrameCounters`]; so are those that did.
pub trait Sink<B> {
    /// Takes a frame with its verdict; a dropped one is counted already and only to be freed.
    fn take(&mut self, frame: B, verdict: Verdict);

    /// Takes all frames of a batch, which are sent from the same NIC.
    fn send(&mut self, nic: NicId, batch: &mut Batch<B>) {
        batch.frames.drain(..).for_each(|frame| self.take(frame, Verdict::Transmit(nic)));
    }

    /// Makes a frame of `headers` and then `len` bytes of another frame, from byte `start` on; none
    /// if there is no buffer for it.
    fn piece(&mut self, of: &B, headers: &[u8], start: usize, len: usize) -> Option<B>;

    /// Learns that a neighbour's link-layer address is needed.
    fn want(&mut self, neighbour: Neighbour);
}
