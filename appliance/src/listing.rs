// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections of a worker, listed without stopping it: bounded work per turn, bounded memory.
//!
//! A listing goes piece by piece. The management side asks for the piece from a cursor on; the
//! worker walks its tables, some entries per turn, until the piece is full or many entries were
//! seen, and answers with the cursor of the next one. Between two pieces nothing is held, so any
//! number of listings take turns, and a piece of an empty table is answered as soon as one that is
//! full of connections. A piece that nobody waits for any more is overruled by the next question.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use lb::conn::ConnRecord;
use lb::conn::filter::ConnFilter;
use lb::ids::Tick;
use lb::pipeline::{ListCursor, Worker};
use wire::Frame;

/// Table entries that a worker looks at per turn.
const ENTRIES_PER_TURN: usize = 64;
/// Turns that a piece takes at most.
const TURNS_PER_PIECE: u32 = 4096;
/// Connections of a piece at most.
const RECORDS_PER_PIECE: usize = 2048;

/// No question was asked yet.
const NONE: u64 = 0;

#[derive(Debug)]
struct Shared {
    /// The number of the question that holds.
    asked: AtomicU64,
    questions: ArrayQueue<(u64, (ListCursor, ConnFilter))>,
    records: ArrayQueue<(u64, ConnRecord)>,
    answers: ArrayQueue<(u64, Option<ListCursor>)>,
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
    /// The rest of the piece that is walked now.
    piece: Option<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    cursor: ListCursor,
    filter: ConnFilter,
    records: usize,
    turns: u32,
}

/// Both sides for one worker.
pub fn pair() -> (Reader, Lister) {
    let shared = Arc::new(Shared {
        asked: AtomicU64::new(NONE),
        questions: ArrayQueue::new(1),
        // What is left of a piece that was overruled, and a whole one.
        records: ArrayQueue::new(2 * RECORDS_PER_PIECE),
        answers: ArrayQueue::new(1),
    });
    let reader = Reader { shared: Arc::clone(&shared), number: NONE };
    (reader, Lister { shared, number: NONE, piece: None })
}

/// What follows a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another piece, from here on.
    Piece(ListCursor),
    /// Nothing: all connections were listed.
    End,
}

impl Reader {
    /// Asks for the piece of the wanted connections `from` a place on; whatever was asked before is
    /// overruled.
    pub fn ask(&mut self, from: (ListCursor, ConnFilter)) {
        while self.shared.records.pop().is_some() {}
        self.number += 1;
        self.shared.questions.force_push((self.number, from));
        self.shared.asked.store(self.number, Ordering::Release);
    }

    /// What follows the piece, once `put` was given all its connections; none if the worker is not
    /// there yet.
    pub fn answer(&mut self, mut put: impl FnMut(ConnRecord)) -> Option<Next> {
        let (_, next) =
            std::iter::from_fn(|| self.shared.answers.pop()).find(|(n, _)| *n == self.number)?;
        while let Some((number, record)) = self.shared.records.pop() {
            if number == self.number {
                put(record);
            }
        }
        Some(next.map_or(Next::End, Next::Piece))
    }
}

impl Lister {
    /// Does a turn's work for the piece that is asked for, if one is.
    #[inline]
    pub fn turn<B: Frame>(&mut self, worker: &Worker<'_, B>, now: Tick) {
        if self.shared.asked.load(Ordering::Acquire) != self.number {
            self.begin();
        }
        if let Some(piece) = self.piece {
            self.walk(worker, piece, now);
        }
    }

    /// Whether a piece is being walked, so that the worker should not rest.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.piece.is_some()
    }

    fn begin(&mut self) {
        if let Some((number, (cursor, filter))) = self.shared.questions.pop() {
            self.number = number;
            self.piece = Some(Piece { cursor, filter, records: 0, turns: 0 });
        }
    }

    fn walk<B: Frame>(&mut self, worker: &Worker<'_, B>, mut piece: Piece, now: Tick) {
        let (number, records) = (self.number, &self.shared.records);
        let next = worker.list(piece.cursor, ENTRIES_PER_TURN, now, |record| {
            if !piece.filter.wants(&record) {
                return;
            }
            piece.records += 1;
            // The reader made room for a piece before it asked.
            let kept = records.push((number, record));
            debug_assert!(kept.is_ok(), "there is room for a piece");
        });
        piece.turns += 1;
        let is_full = piece.records + ENTRIES_PER_TURN > RECORDS_PER_PIECE;
        self.piece = match next {
            Some(cursor) if !is_full && piece.turns < TURNS_PER_PIECE => {
                Some(Piece { cursor, ..piece })
            }
            _ => {
                self.shared.answers.force_push((number, next));
                None
            }
        };
    }
}

#[cfg(test)]
mod tests;
