// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last frame that a worker dropped for each reason.
//!
//! A worker copies the beginning of a dropped frame into the reason's slot with plain stores, at
//! most once a millisecond and reason, so that a flood of drops stays cheap. A reader takes a
//! slot's version before and after it copies it: it sees a whole frame or none, and never holds up
//! the worker.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use wire::Frame;

use crate::ids::{NicId, Tick};
use crate::verdict::DropReason;

/// Bytes that are kept of a frame: all headers of most.
pub const KEPT: usize = 104;

const WORDS: usize = KEPT / 8;
/// Attempts of a reader before it does without.
const ATTEMPTS: usize = 8;
/// The bits of a slot's second word, from the lowest: length of the frame, bytes kept, NIC.
const LENGTH_BITS: u32 = 32;
const KEPT_BITS: u32 = 16;

/// A frame that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastDrop {
    /// When.
    pub at: Tick,
    /// The NIC that it came by or, where that was not known any more, was to leave by.
    pub nic: NicId,
    /// Length of the whole frame in bytes.
    pub length: usize,
    head: [u8; KEPT],
    kept: usize,
}

impl LastDrop {
    /// The beginning of the frame.
    pub fn head(&self) -> &[u8] {
        self.head.get(..self.kept).unwrap_or_default()
    }
}

/// The last frame dropped for each reason; one writer.
#[derive(Debug)]
pub struct LastDrops(Box<[Slot]>);

impl Default for LastDrops {
    fn default() -> Self {
        Self((0..DropReason::COUNT).map(|_| Slot::default()).collect())
    }
}

impl LastDrops {
    /// Notes a dropped frame, unless one was noted for the same reason this very millisecond; only
    /// the one writer may call this.
    pub fn note(&self, reason: DropReason, nic: NicId, now: Tick, frame: &impl Frame) {
        let Some(slot) = self.0.get(reason.index()) else {
            return;
        };
        let at = now.millis() + 1;
        if slot.at.load(Ordering::Relaxed) != at {
            slot.write(at, nic, frame.head(), frame.len());
        }
    }

    /// The last frame dropped for a reason.
    pub fn last(&self, reason: DropReason) -> Option<LastDrop> {
        let slot = self.0.get(reason.index())?;
        (0..ATTEMPTS).find_map(|_| slot.read())
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Slot {
    /// Odd while the slot is written.
    version: AtomicU64,
    /// Milliseconds and one; 0 before the first frame.
    at: AtomicU64,
    facts: AtomicU64,
    head: [AtomicU64; WORDS],
}

const _: () = assert!(size_of::<Slot>() == 128);

impl Slot {
    #[cold]
    fn write(&self, at: u64, nic: NicId, head: &[u8], length: usize) {
        let kept = head.len().min(KEPT);
        let facts = (length as u64 & (u64::MAX >> (64 - LENGTH_BITS)))
            | (kept as u64) << LENGTH_BITS
            | u64::from(nic.0) << (LENGTH_BITS + KEPT_BITS);
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.at.store(at, Ordering::Relaxed);
        self.facts.store(facts, Ordering::Relaxed);
        for (word, bytes) in self.head.iter().zip(head.chunks(8)) {
            let mut padded = [0; 8];
            padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    fn read(&self) -> Option<LastDrop> {
        let before = self.version.load(Ordering::Acquire);
        let at = self.at.load(Ordering::Relaxed);
        let facts = self.facts.load(Ordering::Relaxed);
        let mut head = [0; KEPT];
        for (bytes, word) in head.chunks_mut(8).zip(&self.head) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        fence(Ordering::Acquire);
        let is_whole = before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before;
        (is_whole && at != 0).then(|| LastDrop {
            at: Tick::from_millis(at - 1),
            nic: NicId((facts >> (LENGTH_BITS + KEPT_BITS)) as u16),
            length: facts as u32 as usize,
            head,
            kept: usize::from((facts >> LENGTH_BITS) as u16).min(KEPT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use wire::VecFrame;

    #[test]
    fn the_first_frame_of_the_latest_millisecond_is_kept_by_reason() {
        let drops = LastDrops::default();
        assert_eq!(drops.last(DropReason::NoRoute), None);
        let note = |at, nic, bytes: &[u8]| {
            let frame = VecFrame::new(bytes);
            drops.note(DropReason::NoRoute, NicId(nic), Tick::from_millis(at), &frame);
        };
        note(0, 1, &[1; 60]);
        note(0, 2, &[2; 60]);
        let last = drops.last(DropReason::NoRoute).unwrap();
        assert_eq!((last.at, last.nic, last.length), (Tick::default(), NicId(1), 60));
        assert_eq!(last.head(), [1; 60]);
        note(7, 3, &[3; 2000]);
        let last = drops.last(DropReason::NoRoute).unwrap();
        assert_eq!((last.at, last.nic, last.length), (Tick::from_millis(7), NicId(3), 2000));
        assert_eq!(last.head(), [3; KEPT]);
        assert_eq!(drops.last(DropReason::TooBig), None);
    }

    #[test]
    fn a_reader_never_sees_half_a_frame() {
        let drops = LastDrops::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..20_000_u64 {
                    let frame = VecFrame::new(&[at as u8; KEPT]);
                    drops.note(
                        DropReason::Bug,
                        NicId(at as u8 as u16),
                        Tick::from_millis(at),
                        &frame,
                    );
                }
            });
            for _ in 0..20_000 {
                let Some(last) = drops.last(DropReason::Bug) else { continue };
                let byte = last.at.millis() as u8;
                assert_eq!((last.head(), last.nic), (&[byte; KEPT][..], NicId(byte.into())));
            }
        });
    }
}
