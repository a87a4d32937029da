// SPDX-License-Identifier: MIT OR Apache-2.0
//! The place of the control socket: one director at a time, and nothing left behind.
//!
//! Whoever wants to serve a path locks a file beside it first, so that nobody else looks at the
//! path or binds it in between. The lock goes with the process, however it ends; the files go in an
//! orderly end only, and each only if it is still the one that was made.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener as BlockingListener, UnixStream as BlockingStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use rustix::process::umask;
use tokio::net::UnixListener;

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another director serves it, or is about to.
    #[error(
        "control socket {0}: another instance is serving it; stop that one, or set [control] \
         socket to another path"
    )]
    InUse(PathBuf),
    /// The folder is not there and cannot be made.
    #[error(
        "control socket {path}: its folder {folder} is missing and cannot be made ({error}); make \
         it, or set [control] socket to another path"
    )]
    NoFolder {
        /// The path.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The folder is there, but nothing can be made in it.
    #[error(
        "control socket {path}: {error}; run as a user who may write to its folder, or set \
         [control] socket to another path"
    )]
    Refused {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is a symbolic link.
    #[error(
        "control socket {0}: there is a symbolic link; remove it, or set [control] socket to the \
         path that it points to"
    )]
    Link(PathBuf),
    /// There is something else.
    #[error(
        "control socket {0}: there is a file that is no socket; move it away, or set [control] \
         socket to another path"
    )]
    NoSocket(PathBuf),
}

/// A control socket that is ours from here on; its file is removed in the end.
#[derive(Debug)]
pub struct ClaimedSocket {
    path: PathBuf,
    listener: BlockingListener,
    made: Identity,
    /// Released after the socket is removed.
    _lock: Lock,
}

/// Binds the control socket, unless somebody serves it; one left behind by a crash is replaced.
/// Clients that come early wait.
///
/// # Errors
/// As [`SocketError`] says.
pub fn claim_socket(path: &Path) -> Result<ClaimedSocket, SocketError> {
    let refused = |error| SocketError::Refused { path: path.to_owned(), error };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| {
            let (path, folder) = (path.to_owned(), folder.to_owned());
            SocketError::NoFolder { path, folder, error }
        })?;
    }
    let lock = Lock::take(path).map_err(refused)?;
    let Some(lock) = lock else { return Err(SocketError::InUse(path.to_owned())) };
    match fs::symlink_metadata(path) {
        Err(_) => {}
        Ok(found) if found.is_symlink() => return Err(SocketError::Link(path.to_owned())),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        Ok(_) if BlockingStream::connect(path).is_ok() => {
            return Err(SocketError::InUse(path.to_owned()));
        }
        Ok(_) => fs::remove_file(path).map_err(refused)?,
    }
    let before = umask(Mode::from_bits_truncate(0o117));
    let bound = BlockingListener::bind(path);
    umask(before);
    let listener = bound.map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let made = Identity::of(&fs::symlink_metadata(path).map_err(refused)?);
    Ok(ClaimedSocket { path: path.to_owned(), listener, made, _lock: lock })
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
        self.made.remove(&self.path);
    }
}

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }

    fn is_at(self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| Self::of(&found) == self)
    }

    /// Removes the file if it is still at `path`.
    fn remove(self, path: &Path) {
        if self.is_at(path) {
            // It may be gone by now; nothing is lost then.
            let _ = fs::remove_file(path);
        }
    }
}

/// The file `PATH.lock`, locked by this process alone.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    made: Identity,
    /// Closing it releases the lock.
    _file: File,
}

impl Lock {
    /// Takes the lock of `socket`; none if somebody has it.
    fn take(socket: &Path) -> io::Result<Option<Self>> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            let file = options.custom_flags(libc::O_NOFOLLOW).open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Ok(None),
                locked => locked?,
            }
            let made = Identity::of(&file.metadata()?);
            // Whoever had it may have removed it between our open and our lock.
            if made.is_at(&path) {
                return Ok(Some(Self { path, made, _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.made.remove(&self.path);
    }
}

#[cfg(test)]
mod tests;
