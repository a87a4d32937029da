// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGHUP: the configuration read again, and what of it can change without a restart.

use std::path::{Path, PathBuf};

use control::apply::{Director, Plane};
use control::config::Config;
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
        match self.take_over(newer, director).join(", ").as_str() {
            "" => info!("[timeouts], [ipvs] read again; nothing there has changed"),
            changed => info!("[timeouts], [ipvs] read again; in force: {changed}"),
        }
        if !restart.is_empty() {
            warn!("{restart}: changed in {file}, and in force after a restart");
        }
    }

    /// Takes over the timeouts and settings that changed in the file; those that were set by
    /// `--set` and `--sysctl` stay. Returns what is in force now, as lines of the file.
    fn take_over<P: Plane>(&mut self, newer: Config, director: &mut Director<P>) -> Vec<String> {
        let (timed, set) = (self.last.changed_timeouts(&newer), self.last.changed_knobs(&newer));
        self.last = newer;
        let (mut timeouts, mut knobs) =
            (*director.catalog().timeouts(), *director.catalog().knobs());
        timed.iter().for_each(|new| timeouts.set(new.state, new.seconds));
        set.iter().for_each(|new| knobs.set(new.knob, new.value));
        if !timed.is_empty() {
            director.set_all_timeouts(timeouts);
        }
        if !set.is_empty() {
            director.set_all_knobs(knobs);
        }
        let timed = timed.iter().map(|new| format!("{} = {}", new.key, new.seconds));
        let set = set.iter().map(|new| format!("{} = {}", new.knob.name(), new.value));
        timed.chain(set).collect()
    }
}
