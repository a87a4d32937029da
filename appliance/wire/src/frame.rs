// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame as the balancer sees it: a chain of segments of which only the first is read.
//!
//! Headers lie in the first segment; the length is the whole chain's. A device driver implements
//! [`Frame`] over its buffers, [`VecFrame`] over plain memory for replay and tests.

use std::fmt;

/// A received or to-be-sent Ethernet frame, possibly of several segments.
pub trait Frame {
    /// The first segment, from the Ethernet header on.
    fn head(&self) -> &[u8];

    /// The first segment, to be written.
    fn head_mut(&mut self) -> &mut [u8];

    /// The segments behind the first; empty ones may be left out.
    fn tail(&self) -> impl Iterator<Item = &[u8]>;

    /// Length of the whole chain in bytes.
    fn len(&self) -> usize;

    /// Whether the chain holds no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `n` bytes of unspecified content at the front, and gives the first segment; none and
    /// unchanged without headroom.
    fn push_front(&mut self, n: usize) -> Option<&mut [u8]>;

    /// Removes `n` bytes at the front; false and unchanged if the first segment is shorter.
    fn pull_front(&mut self, n: usize) -> bool;

    /// Keeps the first `len` bytes as a single segment; false and unchanged if the first segment
    /// is shorter.
    fn truncate(&mut self, len: usize) -> bool;
}

/// Bytes a [`VecFrame`] keeps free in front, as DPDK's default mbuf does.
pub const HEADROOM: usize = 128;

/// A frame in plain memory, for replay and tests.
#[derive(Clone)]
pub struct VecFrame {
    /// Headroom, first segment and the rest of the chain.
    memory: Vec<u8>,
    start: usize,
    head_end: usize,
}

impl VecFrame {
    /// A frame of one segment.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self::chained(bytes, 0)
    }

    /// A chain of two segments: the last `tail_len` of `bytes` cannot be read through `head`.
    #[must_use]
    pub fn chained(bytes: &[u8], tail_len: usize) -> Self {
        let mut memory = vec![0; HEADROOM];
        memory.extend_from_slice(bytes);
        let head_end = HEADROOM + bytes.len().saturating_sub(tail_len);
        Self { memory, start: HEADROOM, head_end }
    }

    /// A frame of `headers` and then `len` bytes of this one, from byte `start` on; none if it is
    /// shorter.
    #[must_use]
    pub fn piece(&self, headers: &[u8], start: usize, len: usize) -> Option<Self> {
        let bytes = self.bytes().get(start..start.checked_add(len)?)?;
        Some(Self::new(&[headers, bytes].concat()))
    }

    /// The bytes of the whole chain.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..).unwrap_or_default()
    }
}

impl Frame for VecFrame {
    fn head(&self) -> &[u8] {
        self.memory.get(self.start..self.head_end).unwrap_or_default()
    }

    fn head_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.head_end).unwrap_or_default()
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        self.memory.get(self.head_end..).into_iter()
    }

    fn len(&self) -> usize {
        self.memory.len() - self.start
    }

    fn push_front(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_sub(n)?;
        Some(self.head_mut())
    }

    fn pull_front(&mut self, n: usize) -> bool {
        if n > self.head_end - self.start {
            return false;
        }
        self.start += n;
        true
    }

    fn truncate(&mut self, len: usize) -> bool {
        if len > self.head_end - self.start {
            return false;
        }
        self.head_end = self.start + len;
        self.memory.truncate(self.head_end);
        true
    }
}

/// Frames are equal if they hold the same bytes in the same segments; headroom does not count.
impl PartialEq for VecFrame {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes() && self.head().len() == other.head().len()
    }
}

impl Eq for VecFrame {}

impl fmt::Debug for VecFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VecFrame({}+{}:", self.head().len(), self.len() - self.head().len())?;
        self.bytes().iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushing_takes_headroom_until_none_is_left() {
        let mut frame = VecFrame::new(&[1, 2, 3]);
        assert!(frame.push_front(HEADROOM).is_some());
        assert_eq!(frame.len(), HEADROOM + 3);
        assert!(frame.push_front(1).is_none());
        assert_eq!(frame.len(), HEADROOM + 3);
        assert!(frame.pull_front(HEADROOM));
        assert_eq!(frame, VecFrame::new(&[1, 2, 3]));
    }

    #[test]
    fn a_chain_shows_only_its_first_segment() {
        let mut frame = VecFrame::chained(&[1, 2, 3, 4, 5], 2);
        assert_eq!((frame.head(), frame.len()), (&[1, 2, 3][..], 5));
        assert!(!frame.pull_front(4), "pulled into the second segment");
        assert!(!frame.truncate(4), "truncated into the second segment");
        assert_ne!(frame, VecFrame::new(&[1, 2, 3, 4, 5]));
        assert!(frame.truncate(2));
        assert_eq!(frame, VecFrame::new(&[1, 2]));
    }
}
