// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket: clients in tasks of their own, none of which can hold up another.
//!
//! A client's memory is bounded by its session, and what it does not read it does not get: while a
//! reply waits to be written, nothing more is read from that client.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use control::apply::Outcome;
use control::command::Format;
use control::listing as text;
use control::reply::Reply;
use control::session::{Progress, Session};
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::listing::{Read, Reader};
use crate::manage::Shared;

/// Bytes read from a client at once.
const READ_BYTES: usize = 16 * 1024;
/// Bytes of a listing that are gathered before they are written.
const WRITE_BYTES: usize = 32 * 1024;
/// How long a client may leave a reply unread.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// Lines carried out for a client before the others get their turn.
const LINES_PER_TURN: usize = 16;
/// How long workers may take for the next piece of a listing.
const PIECE_WITHIN: Duration = Duration::from_secs(30);
/// How often a listing looks for more.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers on it.
    #[error(
        "control socket {0}: another instance is serving it; stop that one, or set [control] \
         socket to another path"
    )]
    InUse(PathBuf),
    /// The system refuses.
    #[error("control socket {path}: {error}; its folder must exist and be writable")]
    Refused {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is something else.
    #[error("control socket {0}: there is a file that is no socket; move it away")]
    NoSocket(PathBuf),
}

/// A control socket that is ours from here on; its file is removed in the end.
#[derive(Debug)]
pub struct ClaimedSocket {
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
}

/// Binds the control socket, unless somebody serves it; one left behind by a crash is replaced.
/// Clients that come early wait.
///
/// # Errors
/// As [`SocketError`] says.
pub fn claim_socket(path: &Path) -> Result<ClaimedSocket, SocketError> {
    use std::os::unix::fs::FileTypeExt;
    let refused = |error| SocketError::Refused { path: path.to_owned(), error };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(refused)?;
    }
    match fs::symlink_metadata(path) {
        Err(_) => {}
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        Ok(_) if BlockingStream::connect(path).is_ok() => {
            return Err(SocketError::InUse(path.to_owned()));
        }
        Ok(_) => fs::remove_file(path).map_err(refused)?,
    }
    let before = umask(Mode::from_bits_truncate(0o117));
    let bound = std::os::unix::net::UnixListener::bind(path);
    umask(before);
    let listener = bound.map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(ClaimedSocket { path: path.to_owned(), listener })
}

impl ClaimedSocket {
    /// The socket as the runtime listens on it.
    ///
    /// # Errors
    /// The runtime refuses it.
    pub fn listen(&self) -> io::Result<UnixListener> {
        UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for ClaimedSocket {
    fn drop(&mut self) {
        // It may have been removed by hand; nothing is lost then.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves clients for ever.
pub async fn serve(listener: UnixListener, shared: Rc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Rc::clone(&shared);
                spawn_local(async move {
                    // A client that went away has nobody to be told about it.
                    let _ = converse(stream, &shared).await;
                });
            }
            Err(error) => {
                warn!("control socket: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Talks to one client until it leaves.
async fn converse(mut stream: UnixStream, shared: &Shared) -> io::Result<()> {
    let mut session = Session::new();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = bytes.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            let taken = session.feed(rest);
            rest = rest.get(taken..).unwrap_or_default();
            carry_out(&mut session, &mut stream, shared).await?;
        }
    }
}

/// Carries out the lines that came in.
async fn carry_out(
    session: &mut Session,
    stream: &mut UnixStream,
    shared: &Shared,
) -> io::Result<()> {
    for turn in 1_usize.. {
        let progress = session.advance(&mut shared.director.borrow_mut());
        match progress {
            Progress::NeedsInput => break,
            Progress::Continues => {}
            Progress::Outcome(Outcome::Reply(reply)) => write_reply(stream, &reply).await?,
            Progress::Outcome(Outcome::Connections(format)) => {
                let mut readers = shared.readers.lock().await;
                let listed = list_connections(stream, shared, &mut readers, format).await;
                readers.iter_mut().for_each(Reader::give_up);
                listed?;
            }
        }
        if turn % LINES_PER_TURN == 0 {
            yield_now().await;
        }
    }
    Ok(())
}

async fn write_reply(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    write(stream, &bytes).await
}

async fn write(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    timeout(UNREAD_MAX, stream.write_all(bytes)).await?
}

/// Streams the connections of all workers, one worker after the other.
async fn list_connections(
    stream: &mut UnixStream,
    shared: &Shared,
    readers: &mut [Reader],
    format: Format,
) -> io::Result<()> {
    let mut page = text::connections_heading(format);
    for reader in readers {
        reader.begin();
        let mut waited = Duration::ZERO;
        loop {
            match reader.read() {
                Read::End => break,
                Read::Record(record) => {
                    waited = Duration::ZERO;
                    text::put_connection(&mut page, &record, shared.director.borrow().catalog());
                }
                Read::Waiting if waited > PIECE_WITHIN => {
                    let reason = "a worker did not list its connections in time; try again";
                    write(stream, page.as_bytes()).await?;
                    return write_reply(stream, &Reply::error(255, reason)).await;
                }
                Read::Waiting => {
                    sleep(LOOK_EVERY).await;
                    waited += LOOK_EVERY;
                }
            }
            if page.len() >= WRITE_BYTES {
                write(stream, page.as_bytes()).await?;
                page.clear();
            }
        }
    }
    write(stream, page.as_bytes()).await?;
    write_reply(stream, &Reply::done()).await
}
