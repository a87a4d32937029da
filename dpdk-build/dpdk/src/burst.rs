// SPDX-License-Identifier: MIT OR Apache-2.0
//! Up to 64 frames that move together, in place, without heap.
//!
//! What is left in a burst when it is dropped or cleared goes back to the pools in one call.

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::Mbuf;

/// Frames a burst holds at most.
pub const BURST_MAX: usize = 64;

/// A first-in-first-out array of frames.
#[derive(Debug, Default)]
pub struct Burst(ArrayVec<Mbuf, BURST_MAX>);

impl Burst {
    /// A burst without frames.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame at the end; gives it back if the burst is full.
    pub fn push(&mut self, frame: Mbuf) -> Result<(), Mbuf> {
        self.0.try_push(frame).map_err(|full| full.element())
    }

    /// Moves all frames of an array behind the last, at once; false and unchanged if there is no
    /// room for all of them.
    pub fn append<const N: usize>(&mut self, frames: &mut ArrayVec<Mbuf, N>) -> bool {
        let (len, added) = (self.0.len(), frames.len());
        if added > self.0.remaining_capacity() {
            return false;
        }
        // SAFETY: there is room for `added` frames, which the other array, being another object,
        // holds and then no longer owns.
        unsafe {
            frames.set_len(0);
            self.0.as_mut_ptr().add(len).copy_from_nonoverlapping(frames.as_ptr(), added);
            self.0.set_len(len + added);
        }
        true
    }

    /// Takes the last frame.
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.0.pop()
    }

    /// Takes all frames, first to last; those not taken are freed with the iterator.
    pub fn drain(&mut self) -> impl DoubleEndedIterator<Item = Mbuf> + ExactSizeIterator + '_ {
        self.0.drain(..)
    }

    /// The frame that is taken last.
    #[must_use]
    pub fn last(&self) -> Option<&Mbuf> {
        self.0.last()
    }

    /// Frees all frames, in one call.
    pub fn clear(&mut self) {
        // SAFETY: the frames are valid, distinct and owned here, and all of them are given away.
        unsafe {
            self.give(|frames, count| {
                sys::rte_pktmbuf_free_bulk(frames, count.into());
                count
            });
        }
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is no room for another frame.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// The frames, first to last.
    #[must_use]
    pub fn as_slice(&self) -> &[Mbuf] {
        &self.0
    }

    /// The frames, to be changed.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [Mbuf] {
        &mut self.0
    }

    /// Lets `source` write frames behind the last, at most `max`; returns how many it wrote.
    ///
    /// # Safety
    ///
    /// `source(slots, room)` writes at most `room` valid chains without another owner to `slots`,
    /// from the first slot on, and returns their number.
    pub(crate) unsafe fn take<S>(&mut self, max: usize, source: S) -> usize
    where
        S: FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
    {
        // SAFETY: as promised by the caller.
        unsafe { take(&mut self.0, max, source) }
    }

    /// Lets `sink` take frames from the front; the rest moves up. Returns how many it took.
    ///
    /// # Safety
    ///
    /// `sink(frames, count)` takes ownership of the first frames and returns their number, at most
    /// `count`; it leaves the pointers of the others in place.
    pub(crate) unsafe fn give<S>(&mut self, sink: S) -> usize
    where
        S: FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
    {
        let len = self.0.len();
        let frames = self.0.as_mut_ptr();
        // SAFETY: `len` frames are valid. The given ones are overwritten or cut off without being
        // dropped; the burst is empty meanwhile, so that a panic in `sink` frees nothing twice.
        unsafe {
            self.0.set_len(0);
            let given = usize::from(sink(frames.cast(), count(len)));
            debug_assert!(given <= len, "more frames were taken than there were");
            if given > 0 && given < len {
                frames.add(given).copy_to(frames, len - given);
            }
            self.0.set_len(len - given);
            given
        }
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Lets `source` write frames behind the last of an array, at most `max`; returns how many it did.
///
/// # Safety
///
/// `source(slots, room)` writes at most `room` valid chains without another owner to `slots`, from
/// the first slot on, and returns their number.
pub(crate) unsafe fn take<const N: usize, S>(
    frames: &mut ArrayVec<Mbuf, N>,
    max: usize,
    source: S,
) -> usize
where
    S: FnOnce(*mut *mut sys::rte_mbuf, u16) -> u16,
{
    const { assert!(N <= BURST_MAX) };
    let len = frames.len();
    let room = max.min(frames.remaining_capacity());
    // SAFETY: `len + room` is within the array. `Mbuf` is transparent over a non-null pointer, so
    // that what `source` wrote are `taken` initialised frames.
    unsafe {
        let slots = frames.as_mut_ptr().add(len).cast();
        let taken = usize::from(source(slots, count(room)));
        debug_assert!(taken <= room, "more frames came than there was room for");
        frames.set_len(len + taken);
        taken
    }
}

/// A number of frames as DPDK takes it.
#[expect(clippy::cast_possible_truncation, reason = "at most BURST_MAX")]
fn count(frames: usize) -> u16 {
    frames as u16
}

const _: () = assert!(BURST_MAX <= u16::MAX as usize);
