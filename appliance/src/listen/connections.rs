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
use control::locals::LocalConns;
use control::reply::Reply;
use lb::catalog::Catalog;
use lb::conn::ConnRecord;
use lb::conn::filter::ConnFilter;
use lb::ids::Tick;
use lb::pipeline::ListCursor;
use lb::service::ServiceKey;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::{Client, Desk, TOO_MUCH_UNREAD, WRITE_BYTES};
use crate::listing::Next;

/// How long a worker may take for a piece.
const PIECE_WITHIN: Duration = Duration::from_secs(2);
/// How often the answer is looked for.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);
/// Places of the table of templates that are looked at in one go.
const TEMPLATES_PER_PIECE: u32 = 1024;
/// What a listing keeps in memory, in bytes: a piece as text, and what was gathered before.
const LISTING_BYTES: usize = 256 * 1024;

impl<P: Plane> Desk<P> {
    /// Gives `take` the piece of a worker's connections `from` a place on; none if the worker did
    /// not answer in time.
    async fn piece(
        &self,
        worker: usize,
        from: (ListCursor, ConnFilter),
        mut take: impl FnMut(&ConnRecord, &Catalog),
    ) -> Option<Next> {
        let mut readers = self.readers.lock().await;
        let reader = readers.get_mut(worker)?;
        reader.ask(from);
        let asked = Instant::now();
        loop {
            {
                let director = self.director.borrow();
                let catalog = director.catalog();
                if let Some(next) = reader.answer(|record| take(&record, catalog)) {
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
                let put = |record: &ConnRecord, catalog: &Catalog| {
                    if text::wants_connection(&filter, record, catalog) {
                        text::put_connection(&mut page, record, catalog);
                    }
                };
                let next = desk.piece(worker, (cursor, filter), put).await;
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
                        return self.answer(hangs(worker)).await;
                    }
                };
            }
        }
        self.list_templates(&filter, format, &mut page).await?;
        self.write(page.as_bytes()).await?;
        self.answer(Reply::done()).await
    }

    /// Lists the persistence templates, which all workers share.
    async fn list_templates(
        &mut self,
        filter: &ConnFilter,
        format: Format,
        page: &mut String,
    ) -> io::Result<()> {
        let desk = self.desk.clone();
        let mut from = Some(0);
        while let Some(at) = from {
            {
                let director = desk.director.borrow();
                let templates = director.figures().counts().templates();
                let now = Tick::from_millis(desk.start.elapsed().as_millis() as u64);
                from = templates.list(at, TEMPLATES_PER_PIECE, now, |record| {
                    let catalog = director.catalog();
                    if text::wants_template(filter, &record, catalog) {
                        text::put_template(page, &record, catalog, format);
                    }
                });
            }
            if page.len() >= WRITE_BYTES {
                self.write(page.as_bytes()).await?;
                page.clear();
            }
            // Others' requests come between two pieces.
            yield_now().await;
        }
        Ok(())
    }

    /// Counts the connections of local addresses, and lists these.
    pub(super) async fn list_locals(&mut self, of: Option<ServiceKey>) -> io::Result<()> {
        let desk = self.desk.clone();
        let mut conns = LocalConns::default();
        let workers = desk.readers.lock().await.len();
        for worker in 0..workers {
            let mut from = (ListCursor::default(), ConnFilter::default());
            loop {
                let count = |record: &ConnRecord, catalog: &Catalog| conns.count(record, catalog);
                from.0 = match desk.piece(worker, from, count).await {
                    Some(Next::Piece(cursor)) => cursor,
                    Some(Next::End) => break,
                    None => return self.answer(hangs(worker)).await,
                };
            }
        }
        let body = conns.listing(desk.director.borrow().catalog(), of);
        self.answer(Reply::body(body)).await
    }
}

/// What is said of a worker that does not answer.
fn hangs(worker: usize) -> Reply {
    let reason = format!(
        "worker {worker} did not list its connections within {} s; try again, and if it goes on, \
         look for its load in the metrics",
        PIECE_WITHIN.as_secs()
    );
    Reply::error(255, &reason)
}
