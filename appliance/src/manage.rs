// SPDX-License-Identifier: MIT OR Apache-2.0
//! The management core: commands, snapshots, the kernel's network, metrics, signals.
//!
//! One thread and one task at a time, so that nothing here is shared or locked. What may wait
//! (a client, the kernel, the disk) waits in a task of its own.

mod doors;
mod reload;
mod saver;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::apply::{Director, Pace};
use control::config::Config;
use control::metrics;
use control::publish::Publisher;
use control::rules::{self, RulesFileError};
use crossbeam::queue::ArrayQueue;
use lb::catalog::Catalog;
use lb::counters::{ESTIMATE_MS, Figures};
use lb::ids::{NicId, Tick};
use lb::limits::Limits;
use lb::network::{Neighbour, Network};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::capture;
use crate::host::{Mirror, MirrorError, NetworkChange};
use crate::http;
use crate::listen::{self, Allowance, Cameras, Desk};
use crate::listing;
use crate::plane::{Constraints, DataPlane};
use crate::wires::Wires;
pub use doors::{DoorError, Doors};
use reload::Readings;
use saver::Saver;

/// How often changes that may wait are published, and wishes of the workers are heard.
const SOON: Duration = Duration::from_millis(1);
/// How often removed servers are swept, drops noted, and neighbours in use named.
const SWEEP: Duration = Duration::from_secs(2);

/// Why the management side does not start.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// The rules file is wrong or cannot be read.
    #[error(transparent)]
    Rules(#[from] RulesFileError),
    /// The kernel's network cannot be mirrored.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// No runtime or no signals.
    #[error("the management core does not start: {0}")]
    Runtime(#[from] io::Error),
}

/// The runtime of the management core; from here on signals are heard.
#[derive(Debug)]
pub struct Core {
    runtime: Runtime,
    signals: Signals,
}

impl Core {
    /// Starts the runtime. A signal that comes before [`Management::run`] takes effect there.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start() -> Result<Self, ManageError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _within = runtime.enter();
            Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hang_up: signal(SignalKind::hangup())?,
            }
        };
        Ok(Self { runtime, signals })
    }
}

#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What management holds of the rest.
pub struct Links {
    /// The services.
    pub catalog: Catalog,
    /// The counters of all workers.
    pub figures: Figures,
    /// Routes and neighbours.
    pub network: Network,
    /// The way of snapshots.
    pub publisher: Publisher,
    /// Neighbours that workers need.
    pub wanted: Arc<ArrayQueue<Neighbour>>,
    /// Listings of the workers' connections.
    pub readers: Vec<listing::Reader>,
    /// Captures of the workers' frames.
    pub cameras: Vec<capture::Reader>,
    /// The NICs, and what the host thread counts.
    pub wires: Wires,
    /// The sizes of the tables.
    pub limits: Limits,
    /// When time began.
    pub start: Instant,
}

/// What the tasks of the management core share.
struct Shared {
    desk: Rc<Desk<DataPlane>>,
    wires: Rc<Wires>,
    wanted: Arc<ArrayQueue<Neighbour>>,
    mirror: Option<Mirror>,
    saver: Option<Saver>,
    limits: Limits,
    start: Instant,
}

/// The management core, ready to serve.
pub struct Management {
    shared: Rc<Shared>,
    core: Core,
    changes: Option<mpsc::Receiver<NetworkChange>>,
    readings: Readings,
}

impl Management {
    /// Reads the kernel's network and the rules, and publishes both: workers that start now have
    /// them before their first frame.
    ///
    /// # Errors
    /// As [`ManageError`] says.
    pub fn new(
        core: Core,
        config: &Config,
        config_path: &Path,
        links: Links,
    ) -> Result<Self, ManageError> {
        let numbered = (0..).map(NicId).zip(&config.nics);
        let interfaces: Vec<_> =
            numbered.filter_map(|(id, nic)| Some((nic.host_interface.clone()?, id))).collect();
        let (mirror, mut changes) = if interfaces.is_empty() {
            (None, None)
        } else {
            let (mirror, changes) = core.runtime.block_on(Mirror::start(interfaces))?;
            (Some(mirror), Some(changes))
        };
        let Links { catalog, figures, network, publisher, wanted, .. } = links;
        let wires = Rc::new(links.wires);
        let constraints =
            Constraints { local_ports: config.local_ports.clone(), owner: config.workers.owner };
        let plane = DataPlane::new(publisher, network, Rc::clone(&wires), constraints);
        let mut director = Director::new(catalog, figures, plane);
        if let Some(first) = changes.as_mut().and_then(|changes| changes.try_recv().ok()) {
            director.plane().adopt(first);
        }
        load_rules(&mut director, config)?;
        director.republish(Pace::Now);
        director.plane().take_rules_changed();
        director.plane().set_running();
        let cameras = Cameras { readers: links.cameras, start: links.start };
        let saved_rules = config.rules.file.clone().filter(|_| config.rules.persist);
        let shared = Rc::new(Shared {
            desk: Rc::new(Desk::new(director, links.readers, cameras, Allowance::default())),
            wires,
            wanted,
            mirror,
            saver: saved_rules.map(Saver::new),
            limits: links.limits,
            start: links.start,
        });
        listen::make_room_for(Allowance::default().clients);
        let readings = Readings::new(config_path.to_owned(), config.clone());
        Ok(Self { shared, core, changes, readings })
    }

    /// Serves until SIGTERM or SIGINT, then saves what is not saved yet.
    ///
    /// # Errors
    /// The runtime refuses a door; nothing was served then.
    pub fn run(self, doors: Doors) -> Result<(), ManageError> {
        let Self { shared, core, changes, readings } = self;
        let Core { runtime, signals } = core;
        let local = LocalSet::new();
        let served = local.block_on(&runtime, async {
            let listener = doors.socket.listen()?;
            if let Some(metrics) = &doors.metrics {
                let metrics = tokio::net::TcpListener::from_std(metrics.try_clone()?)?;
                let shared = Rc::clone(&shared);
                spawn_local(http::serve(metrics, move || shared.metrics()));
            }
            spawn_local(listen::serve(listener, Rc::clone(&shared.desk)));
            if let Some(changes) = changes {
                spawn_local(follow(Rc::clone(&shared), changes));
            }
            spawn_local(save_rules(Rc::clone(&shared)));
            spawn_local(publish_soon(Rc::clone(&shared)));
            spawn_local(sweep(Rc::clone(&shared)));
            spawn_local(estimate(Rc::clone(&shared)));
            info!(socket = %readings.socket().display(), "ready");
            until_told_to_stop(&shared, signals, readings).await;
            shared.save_the_last_changes().await;
            Ok(())
        });
        drop(doors);
        served
    }
}

impl Shared {
    fn metrics(&self) -> String {
        let director = self.desk.director.borrow();
        metrics::render(&metrics::Readings {
            catalog: director.catalog(),
            figures: director.figures(),
            limits: &self.limits,
            nics: &self.wires.nic_stats(),
            host: self.wires.host_stats(),
        })
    }

    fn now(&self) -> Tick {
        Tick::from_millis(self.start.elapsed().as_millis() as u64)
    }

    fn rules(&self) -> String {
        rules::write(self.desk.director.borrow().catalog())
    }

    fn note_changed_rules(&self) {
        let changed = self.desk.director.borrow_mut().plane().take_rules_changed();
        if let Some(saver) = self.saver.as_ref().filter(|_| changed) {
            saver.note_change();
        }
    }

    async fn save_the_last_changes(&self) {
        self.note_changed_rules();
        let Some(saver) = &self.saver else { return };
        if let Err(error) = saver.save(|| self.rules()).await {
            warn!("the last changes of rules were not saved: {error}");
        }
    }
}

fn load_rules(director: &mut Director<DataPlane>, config: &Config) -> Result<(), RulesFileError> {
    let rules = rules::of(&config.rules)?;
    let Some(path) = &config.rules.file else { return Ok(()) };
    let loaded = director.load(&rules);
    loaded.map_err(|reason| RulesFileError::Wrong { path: path.clone(), reason })?;
    info!("{} rules loaded from {}", rules.len(), path.display());
    Ok(())
}

/// Takes over what changes in the kernel's network.
async fn follow(shared: Rc<Shared>, mut changes: mpsc::Receiver<NetworkChange>) {
    while let Some(change) = changes.recv().await {
        let mut director = shared.desk.director.borrow_mut();
        director.plane().adopt(change);
        director.with_plane(|plane, catalog, _| plane.flush(catalog));
    }
}

async fn save_rules(shared: Rc<Shared>) {
    if let Some(saver) = &shared.saver {
        saver.run(|| shared.rules()).await;
    }
}

/// Publishes what may wait a moment, and hears what neighbours workers need.
async fn publish_soon(shared: Rc<Shared>) {
    let mut soon = interval(SOON);
    soon.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        soon.tick().await;
        {
            let mut director = shared.desk.director.borrow_mut();
            if director.plane().is_due() {
                director.with_plane(|plane, catalog, _| plane.flush(catalog));
            }
        }
        shared.note_changed_rules();
        let wanted: HashSet<Neighbour> = std::iter::from_fn(|| shared.wanted.pop()).collect();
        if let Some(mirror) = &shared.mirror {
            wanted.into_iter().for_each(|neighbour| mirror.ask(neighbour));
        }
    }
}

/// Keeps the rates up to date.
async fn estimate(shared: Rc<Shared>) {
    let mut every = interval(Duration::from_millis(ESTIMATE_MS));
    // The length of a turn is part of the reckoning: those that were missed are made up for.
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        every.tick().await;
        shared.desk.director.borrow_mut().estimate();
    }
}

/// Frees what is not needed any more, and keeps alive the neighbours that are.
async fn sweep(shared: Rc<Shared>) {
    let mut every = interval(SWEEP);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let now = shared.now();
        let mut director = shared.desk.director.borrow_mut();
        director.sweep(now);
        let Some(mirror) = &shared.mirror else { continue };
        let in_use = director.with_plane(|plane, catalog, figures| {
            let in_use = plane.neighbours_in_use(catalog, figures);
            let unknown = in_use.iter().filter(|neighbour| !plane.knows(neighbour));
            unknown.for_each(|neighbour| mirror.ask(*neighbour));
            in_use
        });
        mirror.keep_alive(in_use.into_iter().collect());
    }
}

async fn until_told_to_stop(shared: &Shared, mut signals: Signals, mut readings: Readings) {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.hang_up.recv() => {
                readings.read_again(&mut shared.desk.director.borrow_mut());
            }
        }
    }
}
