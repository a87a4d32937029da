// SPDX-License-Identifier: MIT OR Apache-2.0
//! `-L -c`: the connections of all workers, one worker after the other, piece by piece.
//!
//! The workers' readers are held for one piece, never while a client reads: however slow a client
//! is, the others' listings go on between its pieces.

use std::io;
use std::time::{Duration, Instant};

use control::apply::Plane;
use control::command::Format;
use control::listing as text;
use control::reply::Reply;
use lb::conn_filter::ConnFilter;
use lb::pipeline::ListCursor;
use tokio::time::sleep;

use super::{Client, Desk, TOO_MUCH_UNREAD, WRITE_BYTES};
use crate::listing::Next;

/// How long a worker may take for a piece.
const PIECE_WITHIN: Duration = Duration::from_secs(2);
/// How often the answer is looked for.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);
/// What a listing keeps in memory, in bytes: a piece as text, and what was gathered before.
const LISTING_BYTES: usize = 256 * 1024;

impl<P: Plane> Desk<P> {
    /// Appends the piece of a worker's connections `from` a place on; none if the worker did not
    /// answer in time.
    async fn piece(
        &self,
        worker: usize,
        from: (ListCursor, ConnFilter),
        page: &mut String,
    ) -> Option<Next> {
        let mut readers = self.readers.lock().await;
        let reader = readers.get_mut(worker)?;
        reader.ask(from);
        let asked = Instant::now();
        loop {
            {
                let director = self.director.borrow();
                let put = |record| text::put_connection(page, &record, director.catalog());
                if let Some(next) = reader.answer(put) {
                    return Some(next);
                }
            }
            if asked.elapsed() > PIECE_WITHIN {
                return None;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl<P: Plane> Client<P> {
    /// Streams the connections of all workers.
    pub(super) async fn list_connections(
        &mut self,
        filter: ConnFilter,
        format: Format,
    ) -> io::Result<()> {
        let desk = self.desk.clone();
        let Some(_unread) = desk.unread.admit(LISTING_BYTES) else {
            return self.answer(Reply::error(255, TOO_MUCH_UNREAD)).await;
        };
        let mut page = text::connections_heading(format);
        let mut written = Instant::now();
        let workers = desk.readers.lock().await.len();
        for worker in 0..workers {
            let mut cursor = ListCursor::default();
            loop {
                let next = desk.piece(worker, (cursor, filter), &mut page).await;
                if page.len() >= WRITE_BYTES || written.elapsed() > GATHER {
                    self.write(page.as_bytes()).await?;
                    page.clear();
                    written = Instant::now();
                }
                cursor = match next {
                    Some(Next::Piece(cursor)) => cursor,
                    Some(Next::End) => break,
                    None => {
                        self.write(page.as_bytes()).await?;
                        let reason = format!(
                            "worker {worker} did not list its connections within {} s; try again, \
                             and if it goes on, look for its load in the metrics",
                            PIECE_WITHIN.as_secs()
                        );
                        return self.answer(Reply::error(255, &reason)).await;
                    }
                };
            }
        }
        self.write(page.as_bytes()).await?;
        self.answer(Reply::done()).await
    }
}
