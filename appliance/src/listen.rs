// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket: clients in tasks of their own, none of which can hold up another.
//!
//! Everything about a client is limited: how many there are at once, how long it may be silent, the
//! bytes of its session, and what it does not read. While a reply waits to be written, nothing more
//! is read from that client. [`claim_socket`] has the place of the socket itself.

mod capture;
mod claim;
mod connections;
mod descriptors;
mod unread;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use control::apply::{Director, Outcome, Plane};
use control::reply::Reply;
use control::session::{Awaited, Progress, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;

use crate::listing::Reader;
pub use capture::Cameras;
pub use claim::{ClaimedSocket, SocketError, claim_socket};
pub use descriptors::make_room_for;
use unread::Unread;

/// Bytes read from a client at once.
const READ_BYTES: usize = 16 * 1024;
/// Bytes of a reply that are written at once.
const WRITE_BYTES: usize = 32 * 1024;
/// Lines carried out for a client before the others get their turn.
const LINES_PER_TURN: usize = 16;
/// How long to wait when the system has no room for a client.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How often that is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// What a client is told whose reply finds no room in memory.
const TOO_MUCH_UNREAD: &str =
    "too many listings wait for clients that do not read them; end those clients, or try again";

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Clients at once.
    pub clients: usize,
    /// How long a client may be silent between two lines.
    pub silence: Duration,
    /// How long a line may take from its first byte to its end.
    pub line: Duration,
    /// How long a client may read nothing of a reply.
    pub unread: Duration,
    /// Bytes of replies that wait to be read, of all clients together.
    pub unread_bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            clients: 1024,
            silence: Duration::from_secs(600),
            line: Duration::from_secs(60),
            unread: Duration::from_secs(30),
            unread_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What clients are served from.
#[derive(Debug)]
pub struct Desk<P> {
    /// The services, the counters, and the way to the workers.
    pub director: RefCell<Director<P>>,
    /// The connections of each worker, for one piece of a listing at a time.
    readers: Mutex<Vec<Reader>>,
    /// The recorders of each worker, for one capture at a time.
    cameras: Mutex<Cameras>,
    unread: Unread,
    allowance: Allowance,
    /// The origin of the workers' time.
    start: std::time::Instant,
}

impl<P: Plane> Desk<P> {
    /// Clients are served from these, within their allowance.
    pub fn new(
        director: Director<P>,
        readers: Vec<Reader>,
        cameras: Cameras,
        allowance: Allowance,
    ) -> Self {
        Self {
            start: cameras.start,
            director: RefCell::new(director),
            readers: Mutex::new(readers),
            cameras: Mutex::new(cameras),
            unread: Unread::new(allowance.unread_bytes),
            allowance,
        }
    }
}

/// Serves clients for ever; to be spawned within a `LocalSet`.
pub async fn serve<P: Plane + 'static>(listener: UnixListener, desk: Rc<Desk<P>>) {
    let places = Arc::new(Semaphore::new(desk.allowance.clients));
    let mut logged: Option<Instant> = None;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if logged.is_none_or(|at| at.elapsed() > LOG_EVERY) {
                    warn!("control socket: {error}; clients wait");
                    logged = Some(Instant::now());
                }
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            turn_away(stream, desk.allowance.clients);
            continue;
        };
        let mut client = Client { session: Session::new(), stream, desk: Rc::clone(&desk) };
        spawn_local(async move {
            // A client that went away has nobody to be told about it.
            let _ = client.converse().await;
            drop(place);
        });
    }
}

fn turn_away(stream: UnixStream, clients: usize) {
    let reason = format!("{clients} clients are connected, which is the limit; end one of them");
    let reply = Reply::error(255, &reason).end();
    // It may be gone already.
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(reply.as_bytes()));
}

/// A client and what it is in the middle of.
struct Client<P> {
    session: Session,
    stream: UnixStream,
    desk: Rc<Desk<P>>,
}

impl<P: Plane> Client<P> {
    /// Talks to the client until it leaves, or is silent for too long.
    async fn converse(&mut self) -> io::Result<()> {
        let Allowance { silence, line, .. } = self.desk.allowance;
        let mut bytes = vec![0; READ_BYTES];
        let mut line_until = None;
        loop {
            let until = match self.session.awaits() {
                Awaited::LineEnd => *line_until.get_or_insert_with(|| Instant::now() + line),
                Awaited::Request | Awaited::Rule => Instant::now() + silence,
            };
            let Ok(count) = timeout_at(until, self.stream.read(&mut bytes)).await else {
                return self.part().await;
            };
            let mut rest = bytes.get(..count?).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            while !rest.is_empty() {
                let taken = self.session.feed(rest);
                rest = rest.get(taken..).unwrap_or_default();
                if self.carry_out().await? > 0 {
                    line_until = None;
                }
            }
        }
    }

    /// Carries out the lines that came in; returns how many.
    async fn carry_out(&mut self) -> io::Result<usize> {
        let mut lines = 0;
        loop {
            let progress = self.session.advance(&mut self.desk.director.borrow_mut());
            match progress {
                Progress::NeedsInput => return Ok(lines),
                Progress::Continues => {}
                Progress::Outcome(Outcome::Reply(reply)) => self.answer(reply).await?,
                Progress::Outcome(Outcome::Capture(order)) => self.capture(order).await?,
                Progress::Outcome(Outcome::Locals(of)) => self.list_locals(of).await?,
                Progress::Outcome(Outcome::Connections(filter, format)) => {
                    self.list_connections(filter, format).await?;
                }
            }
            lines += 1;
            if lines % LINES_PER_TURN == 0 {
                yield_now().await;
            }
        }
    }

    /// Takes leave of a client that is silent for too long, with a word if it waits for an answer.
    async fn part(&mut self) -> io::Result<()> {
        let Allowance { silence, line, .. } = self.desk.allowance;
        let reason = match self.session.awaits() {
            Awaited::Request => return Ok(()),
            Awaited::LineEnd => format!("the line did not end within {} s", line.as_secs()),
            Awaited::Rule => {
                format!("no rule came for {} s; those before it are in force", silence.as_secs())
            }
        };
        self.answer(Reply::error(255, &reason)).await
    }

    async fn answer(&mut self, mut reply: Reply) -> io::Result<()> {
        let desk = Rc::clone(&self.desk);
        let mut end = reply.end();
        let waiting = desk.unread.admit(reply.body.len() + end.len());
        if waiting.is_none() {
            reply = Reply::error(255, TOO_MUCH_UNREAD);
            end = reply.end();
        }
        self.write(reply.body.as_bytes()).await?;
        self.write(end.as_bytes()).await?;
        if !reply.body.is_empty() {
            yield_now().await;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let within = self.desk.allowance.unread;
        for piece in bytes.chunks(WRITE_BYTES) {
            timeout(within, self.stream.write_all(piece)).await??;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
