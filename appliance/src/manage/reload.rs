// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGHUP: the configuration read again, and what of it can change without a restart.

use std::path::{Path, PathBuf};

use control::apply::{Director, Plane};
use control::config::{ChangedTimeout, Config};
use tracing::{info, warn};

/// The configuration as it is in force, and as it was read last.
#[derive(Debug)]
pub(super) struct Readings {
    path: PathBuf,
    running: Config,
    last: Config,
}

impl Readings {
    /// The director runs by `config`, read from `path`.
    pub(super) fn new(path: PathBuf, config: Config) -> Self {
        Self { path, last: config.clone(), running: config }
    }

    /// The control socket in use.
    pub(super) fn socket(&self) -> &Path {
        &self.running.control.socket
    }

    /// Reads the file again, and says in the log what came of it.
    pub(super) fn read_again<P: Plane>(&mut self, director: &mut Director<P>) {
        let file = self.path.display().to_string();
        let newer = match Config::load(&self.path) {
            Ok(newer) => newer,
            Err(error) => return warn!("nothing was changed: {error}"),
        };
        let restart = self.running.changed_sections(&newer).join(", ");
        let timeouts = self.take_over(newer, director);
        let shown = timeouts.iter().map(|new| format!("{} = {}", new.key, new.seconds));
        match shown.collect::<Vec<_>>().join(", ").as_str() {
            "" => info!("[timeouts] read again; nothing there has changed"),
            changed => info!("[timeouts] read again; in force: {changed}"),
        }
        if !restart.is_empty() {
            warn!("{restart}: changed in {file}, and in force after a restart");
        }
    }

    /// Takes over the timeouts that changed in the file; those that were set by `--set` stay.
    fn take_over<P: Plane>(
        &mut self,
        newer: Config,
        director: &mut Director<P>,
    ) -> Vec<ChangedTimeout> {
        let changed = self.last.changed_timeouts(&newer);
        self.last = newer;
        let mut timeouts = *director.catalog().timeouts();
        for new in &changed {
            timeouts.set(new.state, new.seconds);
        }
        if !changed.is_empty() {
            director.set_all_timeouts(timeouts);
        }
        changed
    }
}
