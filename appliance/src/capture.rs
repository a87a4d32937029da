// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames as they come and go, with what became of them, copied while traffic flows.
//!
//! A worker that captures serves its batches before a [`Recorder`], which copies the beginning of
//! each wanted frame with the facts into a bounded queue, made at the start. It never waits: what
//! finds no room is counted. The management side takes the records out, puts them in order of time
//! and makes them a file ([`pcapng`]). While nobody captures, a batch costs a worker one test.

mod late;
pub mod pcapng;
mod recorder;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use control::capture::Filter;
use crossbeam::queue::ArrayQueue;
use lb::ids::{NicId, WorkerId};
use lb::verdict::DropReason;
use lb::witness::{End, Meeting, Persisted};

pub use late::{LateDrops, Wanted};
pub use recorder::Recorder;

/// Bytes that are kept of a frame at most: all headers of any.
pub const SNAP: usize = 256;
/// Records of a worker that wait to be taken.
const RECORDS: usize = 1024;
/// Nobody captures.
const OFF: u64 = 0;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It came in.
    In,
    /// It left.
    Out,
}

/// A frame as it came or left.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// When, in nanoseconds since the start.
    pub at_ns: u64,
    /// The worker that had it.
    pub worker: WorkerId,
    /// The NIC that it came or left by.
    pub nic: NicId,
    /// Which way it went.
    pub way: Way,
    /// What became of it; none of a frame of the host's.
    pub end: Option<End>,
    /// The connection that it is of.
    pub meeting: Option<Meeting>,
    /// What else was decided about it.
    pub asides: Asides,
    /// Its length in bytes.
    pub length: usize,
    head: [u8; SNAP],
    kept: usize,
    /// The capture that it is for.
    number: u64,
}

/// What is decided about few frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asides {
    /// The rule that marked it, the first being 1.
    pub rule: Option<u32>,
    /// What persistence had to do with its server.
    pub persisted: Option<Persisted>,
    /// Whether the oldest half-open connection gave way to it.
    pub recycled: bool,
    /// The MSS that it was made to tell, in bytes.
    pub mss: Option<u16>,
}

impl Record {
    /// The beginning of the frame.
    pub fn head(&self) -> &[u8] {
        self.head.get(..self.kept).unwrap_or_default()
    }

    /// Why it was dropped, if it was.
    pub fn reason(&self) -> Option<DropReason> {
        match self.end? {
            End::Verdict(lb::verdict::Verdict::Drop(reason)) | End::Answered(_, reason) => {
                Some(reason)
            }
            End::Verdict(_) | End::Held(_) | End::AwaitsFirst => None,
        }
    }
}

/// What a worker and the management side share.
#[derive(Debug)]
struct Shared {
    /// The number of the capture that is on, or [`OFF`].
    asked: AtomicU64,
    orders: ArrayQueue<(u64, Filter)>,
    records: ArrayQueue<Record>,
    missed: AtomicU64,
}

impl Shared {
    /// Keeps a record, or counts that there was no room.
    fn put(&self, record: Record) {
        if self.records.push(record).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The management side of one worker.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    number: u64,
}

/// Both sides for one worker.
pub fn pair() -> (Reader, Recorder) {
    let shared = Arc::new(Shared {
        asked: AtomicU64::new(OFF),
        orders: ArrayQueue::new(1),
        records: ArrayQueue::new(RECORDS),
        missed: AtomicU64::new(0),
    });
    (Reader { shared: Arc::clone(&shared), number: OFF }, Recorder::new(shared))
}

impl Reader {
    /// Begins a capture.
    pub fn begin(&mut self, filter: Filter) {
        self.number += 1;
        while self.shared.records.pop().is_some() {}
        self.shared.missed.store(0, Ordering::Relaxed);
        self.shared.orders.force_push((self.number, filter));
        self.shared.asked.store(self.number, Ordering::Release);
    }

    /// Takes out what was recorded since the last call.
    pub fn take(&mut self, records: &mut Vec<Record>) {
        for _ in 0..RECORDS {
            let Some(record) = self.shared.records.pop() else { return };
            if record.number == self.number {
                records.push(record);
            }
        }
    }

    /// How many frames found no room so far.
    pub fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Relaxed)
    }

    /// Ends the capture; returns how many frames found no room.
    pub fn end(&mut self) -> u64 {
        self.shared.asked.store(OFF, Ordering::Release);
        self.missed()
    }
}

#[cfg(test)]
mod tests;
