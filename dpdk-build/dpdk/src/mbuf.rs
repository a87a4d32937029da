// SPDX-License-Identifier: MIT OR Apache-2.0
//! An owned frame in DPDK's memory: a chain of `rte_mbuf` segments.
//!
//! The only file that reads and writes members of `rte_mbuf`. What it relies on, and keeps: the
//! chain has one owner; the data of each segment lies within its buffer; `pkt_len` is the sum of
//! the segments' `data_len`. Drivers promise the same of what they receive (`rte_mbuf.h`).

use std::fmt;
use std::hint;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::slice;

use dpdk_sys as sys;
use wire::frame::Frame;

use crate::NicId;

/// Bytes kept free in front of a new or received frame.
#[expect(clippy::cast_possible_truncation, reason = "128")]
pub const HEADROOM: u16 = sys::RTE_PKTMBUF_HEADROOM as u16;

/// A frame: one or more segments, given back to their pools when dropped.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: a chain has one owner, and pools take buffers back from any thread.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes ownership of a chain.
    ///
    /// # Safety
    ///
    /// `raw` is a valid chain that nobody else owns, and its pools outlive it.
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Self {
        Self(raw)
    }

    /// Gives up ownership: the receiver of the pointer frees the chain.
    pub(crate) fn into_raw(self) -> NonNull<sys::rte_mbuf> {
        ManuallyDrop::new(self).0
    }

    /// Adds bytes at the end of the last segment; false and unchanged if it has no room for them.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let segment = self.last_mut();
        let end = usize::from(segment.data_off) + usize::from(segment.data_len);
        let room = usize::from(segment.buf_len).saturating_sub(end);
        let Ok(added) = u16::try_from(bytes.len()) else {
            return false;
        };
        if usize::from(added) > room {
            return false;
        }
        // SAFETY: `end..end + added` lies within the buffer and holds no data; `bytes`, borrowed,
        // cannot be in it.
        unsafe {
            let to = segment.buf_addr.cast::<u8>().add(end);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        segment.data_len += added;
        self.first_mut().pkt_len += u32::from(added);
        true
    }

    /// Bytes that [`Self::append`] has room for.
    #[must_use]
    pub fn tailroom(&self) -> usize {
        let segment = self.last();
        let end = usize::from(segment.data_off) + usize::from(segment.data_len);
        usize::from(segment.buf_len).saturating_sub(end)
    }

    /// Puts `tail` behind the last segment; both together have fewer than 2^16 segments.
    pub(crate) fn chain(&mut self, tail: Self) {
        let (segments, bytes) = (tail.first().nb_segs, tail.first().pkt_len);
        self.last_mut().next = tail.into_raw().as_ptr();
        let first = self.first_mut();
        first.nb_segs += segments;
        first.pkt_len += bytes;
    }

    /// The NIC that received the frame, or what [`Mbuf::set_nic`] put there.
    #[must_use]
    pub fn nic(&self) -> NicId {
        NicId::new(self.first().port)
    }

    /// Notes the NIC this frame counts as received from.
    pub fn set_nic(&mut self, nic: NicId) {
        self.first_mut().port = nic.index();
    }

    /// Number of segments, empty ones included.
    #[must_use]
    pub fn segment_count(&self) -> u16 {
        self.first().nb_segs
    }

    /// The bytes of the chain, segment by segment, without empty ones.
    #[must_use]
    pub fn segments(&self) -> Segments<'_> {
        Segments { next: self.0.as_ptr(), _chain: PhantomData }
    }

    fn first(&self) -> &sys::rte_mbuf {
        // SAFETY: valid and ours, by `from_raw`.
        unsafe { self.0.as_ref() }
    }

    fn first_mut(&mut self) -> &mut sys::rte_mbuf {
        // SAFETY: valid and ours alone, by `from_raw`.
        unsafe { self.0.as_mut() }
    }

    fn last(&self) -> &sys::rte_mbuf {
        let mut last = self.first();
        // SAFETY: the chain is ours alone, and each `next` is null or a valid segment of it.
        while let Some(next) = unsafe { last.next.as_ref() } {
            last = next;
        }
        last
    }

    fn last_mut(&mut self) -> &mut sys::rte_mbuf {
        let mut last = self.0;
        // SAFETY: the chain is ours alone, and each `next` is null or a valid segment of it.
        unsafe {
            while let Some(next) = NonNull::new(last.as_ref().next) {
                last = next;
            }
            last.as_mut()
        }
    }
}

impl Frame for Mbuf {
    fn head(&self) -> &[u8] {
        data(self.first())
    }

    fn head_mut(&mut self) -> &mut [u8] {
        data_mut(self.first_mut())
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        Segments { next: self.first().next, _chain: PhantomData }
    }

    fn len(&self) -> usize {
        self.first().pkt_len as usize
    }

    #[inline]
    fn push_front(&mut self, n: usize) -> Option<&mut [u8]> {
        let n = u16::try_from(n).ok()?;
        let first = self.first_mut();
        first.data_off = first.data_off.checked_sub(n)?;
        // The data ends within the buffer, whose length is an u16 too.
        first.data_len += n;
        first.pkt_len += u32::from(n);
        Some(data_mut(first))
    }

    fn pull_front(&mut self, n: usize) -> bool {
        let Ok(n) = u16::try_from(n) else {
            return false;
        };
        let first = self.first_mut();
        let Some(data_len) = first.data_len.checked_sub(n) else {
            return false;
        };
        first.data_len = data_len;
        first.data_off += n;
        first.pkt_len -= u32::from(n);
        true
    }

    fn truncate(&mut self, len: usize) -> bool {
        let first = self.first_mut();
        let Ok(len) = u16::try_from(len) else {
            return false;
        };
        if len > first.data_len {
            return false;
        }
        let tail = std::mem::replace(&mut first.next, ptr::null_mut());
        first.nb_segs = 1;
        first.data_len = len;
        first.pkt_len = len.into();
        if let Some(tail) = NonNull::new(tail) {
            // SAFETY: the tail was this chain's and is linked from nowhere now; freeing follows
            // the links and does not look at the counts of the first segment.
            unsafe { sys::shim_mbuf_free(tail.as_ptr()) };
        }
        true
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: the chain is ours alone; its pools outlive it, by `from_raw`.
        unsafe { sys::shim_mbuf_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("nic", &self.nic())
            .field("len", &self.len())
            .field("segments", &self.segment_count())
            .finish_non_exhaustive()
    }
}

/// The non-empty segments of a frame, from the first on.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    next: *const sys::rte_mbuf,
    _chain: PhantomData<&'a Mbuf>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            // SAFETY: null or a segment of the chain that is borrowed for `'a`.
            let segment = unsafe { self.next.as_ref() }?;
            self.next = segment.next;
            if segment.data_len > 0 {
                return Some(data(segment));
            }
        }
    }
}

/// The data of a segment, to be written.
#[inline(always)]
fn data_mut(segment: &mut sys::rte_mbuf) -> &mut [u8] {
    // SAFETY: the data lies within the buffer, which is somewhere, and bytes have no invalid
    // values; who borrows the segment alone borrows the chain alone.
    unsafe {
        let start = segment.buf_addr.cast::<u8>().add(segment.data_off.into());
        hint::assert_unchecked(!start.is_null());
        slice::from_raw_parts_mut(start, segment.data_len.into())
    }
}

/// The data of one segment.
fn data(segment: &sys::rte_mbuf) -> &[u8] {
    // SAFETY: the data lies within the buffer, which is somewhere, and bytes have no invalid
    // values; who borrows the segment borrows the chain.
    unsafe {
        let start = segment.buf_addr.cast::<u8>().add(segment.data_off.into());
        hint::assert_unchecked(!start.is_null());
        slice::from_raw_parts(start, segment.data_len.into())
    }
}
