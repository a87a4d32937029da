// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules saved back to their file after changes: whole or not at all, and tried again if it fails.
//!
//! The text is written beside the file, made durable, and renamed over it (rename(2)), on a thread
//! that may wait for the disk. A text that takes long to make makes the next one wait longer.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

/// The shortest time between two saves.
const SAVE_EVERY: Duration = Duration::from_millis(5);
/// How many times longer than it took to make a text the time until the next one is.
const PAUSE: u32 = 10;
/// How long to wait after a save that failed.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Saves rules when they changed.
#[derive(Debug)]
pub(super) struct Saver {
    file: PathBuf,
    unsaved: Cell<bool>,
    changed: Notify,
    writing: Mutex<()>,
}

impl Saver {
    /// Saves to this file; its present content is taken to be right.
    pub(super) fn new(file: PathBuf) -> Self {
        let (unsaved, changed, writing) = (Cell::new(false), Notify::new(), Mutex::new(()));
        Self { file, unsaved, changed, writing }
    }

    /// Notes that rules changed.
    pub(super) fn note_change(&self) {
        self.unsaved.set(true);
        self.changed.notify_one();
    }

    /// Saves what `text` gives after each change, for ever.
    pub(super) async fn run(&self, text: impl Fn() -> String) {
        let took = Cell::new(Duration::ZERO);
        let text = || {
            let begun = Instant::now();
            let made = text();
            took.set(begun.elapsed());
            made
        };
        loop {
            self.changed.notified().await;
            let mut failed = false;
            while let Err(error) = self.save(&text).await {
                if !failed {
                    let file = self.file.display();
                    warn!("rules were not saved to {file}: {error}; tried again every second");
                }
                failed = true;
                sleep(TRY_AGAIN).await;
            }
            if failed {
                info!("rules were saved to {}", self.file.display());
            }
            sleep((took.get() * PAUSE).max(SAVE_EVERY)).await;
        }
    }

    /// Saves what is not saved yet.
    pub(super) async fn save(&self, text: impl Fn() -> String) -> io::Result<()> {
        let _alone = self.writing.lock().await;
        if !self.unsaved.take() {
            return Ok(());
        }
        let (file, text) = (self.file.clone(), text());
        let saved = spawn_blocking(move || replace(&file, &text)).await;
        let saved = saved.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.unsaved.set(self.unsaved.get() || saved.is_err());
        saved
    }
}

/// Replaces the text of a file, or of the one that a link points to. Owner and mode stay; a file
/// `NAME.new` beside it, left by an end in the middle, is removed.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = resolved(path)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write(&beside, &path, text).and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        // What is left of it may be in the way of nothing.
        let _ = fs::remove_file(&beside);
    }
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write(beside: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o644).open(beside)?;
    if let Ok(before) = fs::metadata(path) {
        // Only root may give files away; for others the file becomes their own.
        let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
        file.set_permissions(before.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The file that a path leads to through links, whether or not it is there.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => resolved(&path.parent().unwrap_or(Path::new("")).join(target)),
            Err(_) => Ok(path.to_owned()),
        },
        found => found,
    }
}

#[cfg(test)]
mod tests;
