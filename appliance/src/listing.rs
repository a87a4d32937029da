// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections of a worker, listed without stopping it: bounded work per turn, bounded memory.
//!
//! One listing at a time per worker. The management side writes its number; the worker walks its
//! tables a piece per turn, as long as there is room in the queue, and writes the number back when
//! it has walked them all. A listing that nobody reads is given up by writing another number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use lb::conn::ConnRecord;
use lb::ids::Tick;
use lb::pipeline::{ListCursor, Worker};
use wire::Frame;

/// Table entries that a worker looks at per turn: some 20 us, also in an empty table.
const PIECE: usize = 1024;
/// Records that wait to be read.
const WAITING: usize = 4096;

/// No listing.
const NONE: u64 = 0;

#[derive(Debug)]
struct Shared {
    wanted: AtomicU64,
    finished: AtomicU64,
    records: ArrayQueue<(u64, ConnRecord)>,
}

/// The management side.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    number: u64,
}

/// The worker's side.
#[derive(Debug)]
pub struct Lister {
    shared: Arc<Shared>,
    number: u64,
    cursor: ListCursor,
}

/// Both sides for one worker.
pub fn pair() -> (Reader, Lister) {
    let shared = Arc::new(Shared {
        wanted: AtomicU64::new(NONE),
        finished: AtomicU64::new(NONE),
        records: ArrayQueue::new(WAITING),
    });
    let reader = Reader { shared: Arc::clone(&shared), number: NONE };
    (reader, Lister { shared, number: NONE, cursor: ListCursor::default() })
}

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A connection.
    Record(ConnRecord),
    /// None now; ask again soon.
    Waiting,
    /// All connections were read.
    End,
}

impl Reader {
    /// Begins a listing; one that was not read to its end is given up.
    pub fn begin(&mut self) {
        self.number += 1;
        self.shared.wanted.store(self.number, Ordering::Release);
    }

    /// Gives the listing up.
    pub fn give_up(&mut self) {
        self.shared.wanted.store(NONE, Ordering::Release);
    }

    /// The next connection of the listing.
    pub fn read(&mut self) -> Read {
        let finished = self.shared.finished.load(Ordering::Acquire) == self.number;
        loop {
            match self.shared.records.pop() {
                Some((number, record)) if number == self.number => return Read::Record(record),
                Some(_) => {}
                None if finished => return Read::End,
                None => return Read::Waiting,
            }
        }
    }
}

impl Lister {
    /// Does a piece of the listing that is wanted, if one is.
    #[inline]
    pub fn turn<B: Frame>(&mut self, worker: &Worker<'_, B>, now: Tick) {
        let wanted = self.shared.wanted.load(Ordering::Acquire);
        if wanted != NONE {
            self.list(worker, wanted, now);
        }
    }

    fn list<B: Frame>(&mut self, worker: &Worker<'_, B>, wanted: u64, now: Tick) {
        if wanted != self.number {
            (self.number, self.cursor) = (wanted, ListCursor::default());
        }
        let records = &self.shared.records;
        let done = self.shared.finished.load(Ordering::Relaxed) == wanted;
        if done || records.capacity() - records.len() < PIECE {
            return;
        }
        let next = worker.list(self.cursor, PIECE, now, |record| {
            let kept = records.push((wanted, record));
            debug_assert!(kept.is_ok(), "there was room for a piece");
        });
        match next {
            Some(cursor) => self.cursor = cursor,
            None => self.shared.finished.store(wanted, Ordering::Release),
        }
    }
}
