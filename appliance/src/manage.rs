// SPDX-License-Identifier: MIT OR Apache-2.0
//! The management core: commands, snapshots, the kernel's network, metrics, signals.
//!
//! One thread and one task at a time, so that nothing here is shared or locked. What may wait
//! (a client, the kernel) waits in a task of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::apply::{Director, Pace};
use control::config::Config;
use control::metrics::{self, HostStats, NicStats, Readings};
use control::publish::Publisher;
use control::rules;
use crossbeam::queue::ArrayQueue;
use dpdk::Nic;
use lb::catalog::Catalog;
use lb::counters::Figures;
use lb::ids::{NicId, Tick};
use lb::limits::Limits;
use lb::network::{Neighbour, Network};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::host::{Mirror, MirrorError, NetworkChange};
use crate::host_thread::HostCounters;
use crate::http;
use crate::listen::{self, ClaimedSocket};
use crate::listing;
use crate::plane::DataPlane;

/// How often changes that may wait are published, and wishes of the workers are heard.
const SOON: Duration = Duration::from_millis(1);
/// How often rules are saved at most.
const SAVE_EVERY: Duration = Duration::from_millis(5);
/// How long to wait after rules could not be saved.
const SAVE_AGAIN: Duration = Duration::from_secs(1);
/// How often removed servers are swept and neighbours in use are named.
const SWEEP: Duration = Duration::from_secs(2);

/// Why the management side does not start.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// The control socket cannot be had.
    #[error(transparent)]
    Socket(#[from] listen::SocketError),
    /// The metrics port cannot be had.
    #[error("[metrics] listen = \"{0}\": {1}")]
    Metrics(SocketAddr, io::Error),
    /// The rules file is wrong or cannot be read.
    #[error("{path}:{reason}")]
    Rules {
        /// Its path.
        path: PathBuf,
        /// The line and what is wrong with it.
        reason: String,
    },
    /// The kernel's network cannot be mirrored.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// No runtime or no signals.
    #[error("the management core does not start: {0}")]
    Runtime(#[from] io::Error),
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
    /// What the host thread counts.
    pub host_counters: Arc<HostCounters>,
    /// The NICs with their names.
    pub nics: Vec<(String, Nic)>,
    /// The sizes of the tables.
    pub limits: Limits,
    /// When time began.
    pub start: Instant,
}

/// What the tasks of the management core share.
pub struct Shared {
    /// The services, the counters, and the way to the workers.
    pub director: RefCell<Director<DataPlane>>,
    /// Listings of connections, one client at a time.
    pub readers: Mutex<Vec<listing::Reader>>,
    nics: Vec<(String, Nic)>,
    host_counters: Arc<HostCounters>,
    wanted: Arc<ArrayQueue<Neighbour>>,
    mirror: Option<Mirror>,
    limits: Limits,
    start: Instant,
    /// Whether there are rules that were not saved yet.
    unsaved: Cell<bool>,
}

/// The management core, ready to serve.
pub struct Management {
    shared: Rc<Shared>,
    runtime: Runtime,
    changes: Option<mpsc::Receiver<NetworkChange>>,
    config: Config,
    config_path: PathBuf,
}

impl Management {
    /// Reads the kernel's network and the rules, and publishes both: workers that start now have
    /// them before their first frame.
    ///
    /// # Errors
    /// As [`ManageError`] says.
    pub fn new(config: &Config, config_path: &Path, links: Links) -> Result<Self, ManageError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let numbered = (0..).map(NicId).zip(&config.nics);
        let interfaces: Vec<_> =
            numbered.filter_map(|(id, nic)| Some((nic.host_interface.clone()?, id))).collect();
        let (mirror, changes) = if interfaces.is_empty() {
            (None, None)
        } else {
            let (mirror, changes) = runtime.block_on(Mirror::start(interfaces))?;
            (Some(mirror), Some(changes))
        };
        if config.control.netlink.is_some() {
            warn!("[control] netlink: this release serves no netlink socket; use the line socket");
        }
        let Links { catalog, figures, network, publisher, wanted, .. } = links;
        let (ports, owner) = (config.local_ports.clone(), config.workers.owner);
        let plane = DataPlane::new(publisher, network, ports, owner);
        let mut director = Director::new(catalog, figures, plane);
        let mut changes = changes;
        if let Some(first) = changes.as_mut().and_then(|changes| changes.try_recv().ok()) {
            director.plane().adopt(first);
        }
        load_rules(&mut director, config)?;
        director.republish(Pace::Now);
        director.plane().take_rules_changed();
        director.plane().set_running();
        let shared = Rc::new(Shared {
            director: RefCell::new(director),
            readers: Mutex::new(links.readers),
            nics: links.nics,
            host_counters: links.host_counters,
            wanted,
            mirror,
            limits: links.limits,
            start: links.start,
            unsaved: Cell::new(false),
        });
        let (config, config_path) = (config.clone(), config_path.to_owned());
        Ok(Self { shared, runtime, changes, config, config_path })
    }

    /// Serves until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// A socket cannot be had; nothing was served then.
    pub fn run(self, socket: ClaimedSocket) -> Result<(), ManageError> {
        let Self { shared, runtime, changes, config, config_path } = self;
        let local = LocalSet::new();
        let served = local.block_on(&runtime, async {
            let listener = socket.listen()?;
            if let Some(address) = config.metrics {
                let metrics = tokio::net::TcpListener::bind(address).await;
                let metrics = metrics.map_err(|error| ManageError::Metrics(address, error))?;
                let shared = Rc::clone(&shared);
                spawn_local(http::serve(metrics, move || shared.metrics()));
            }
            spawn_local(listen::serve(listener, Rc::clone(&shared)));
            if let Some(changes) = changes {
                spawn_local(follow(Rc::clone(&shared), changes));
            }
            let saved_rules = config.rules.file.clone().filter(|_| config.rules.persist);
            spawn_local(publish_soon(Rc::clone(&shared), saved_rules.clone()));
            spawn_local(sweep(Rc::clone(&shared)));
            info!(socket = %config.control.socket.display(), "ready");
            until_told_to_stop(&shared, &config_path).await?;
            if let Some(path) = saved_rules {
                shared.save_rules(&path);
            }
            Ok(())
        });
        drop(socket);
        served
    }
}

impl Shared {
    fn metrics(&self) -> String {
        let stats = |(name, nic): &(String, Nic)| {
            let stats = nic.stats().ok()?;
            Some(NicStats {
                name: name.clone(),
                rx_packets: stats.rx_frames,
                rx_bytes: stats.rx_bytes,
                tx_packets: stats.tx_frames,
                tx_bytes: stats.tx_bytes,
                rx_missed: stats.rx_missed,
                rx_errors: stats.rx_errors,
                tx_errors: stats.tx_errors,
                rx_nombuf: stats.rx_no_mbuf,
            })
        };
        let nics: Vec<_> = self.nics.iter().filter_map(stats).collect();
        let director = self.director.borrow();
        let counted = &self.host_counters;
        metrics::render(&Readings {
            catalog: director.catalog(),
            figures: director.figures(),
            limits: &self.limits,
            nics: &nics,
            host: HostStats {
                to_host: counted.to_host.value(),
                to_host_lost: counted.to_host_refused.value(),
                from_host: counted.from_host.value(),
                from_host_lost: counted.from_host_lost.value(),
            },
        })
    }

    fn now(&self) -> Tick {
        Tick::from_millis(self.start.elapsed().as_millis() as u64)
    }

    /// Saves the rules if they changed since they were saved; says whether they are safe.
    fn save_rules(&self, path: &Path) -> bool {
        let mut director = self.director.borrow_mut();
        let changed = director.plane().take_rules_changed() || self.unsaved.get();
        if !changed {
            return true;
        }
        let saved = replace_file(path, &rules::write(director.catalog()));
        if let Err(error) = &saved {
            warn!("rules were not saved to {}, which is tried again: {error}", path.display());
        }
        self.unsaved.set(saved.is_err());
        saved.is_ok()
    }
}

/// Writes a file beside another, and puts it in the other's place.
fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&beside, path)
}

fn load_rules(director: &mut Director<DataPlane>, config: &Config) -> Result<(), ManageError> {
    let Some(path) = &config.rules.file else { return Ok(()) };
    let failed = |reason: String| ManageError::Rules { path: path.clone(), reason };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        // The first start of an appliance that saves its rules.
        Err(error) if error.kind() == io::ErrorKind::NotFound && config.rules.persist => {
            return Ok(());
        }
        Err(error) => return Err(failed(format!(" {error}"))),
    };
    let rules = rules::read(&text).map_err(|error| failed(error.to_string()))?;
    director.load(&rules).map_err(|error| failed(error.to_string()))?;
    info!("{} rules loaded from {}", rules.len(), path.display());
    Ok(())
}

/// Takes over what changes in the kernel's network.
async fn follow(shared: Rc<Shared>, mut changes: mpsc::Receiver<NetworkChange>) {
    while let Some(change) = changes.recv().await {
        let mut director = shared.director.borrow_mut();
        director.plane().adopt(change);
        director.with_plane(|plane, catalog, _| plane.flush(catalog));
    }
}

/// Publishes what may wait a moment, saves rules, and hears what neighbours workers need.
async fn publish_soon(shared: Rc<Shared>, saved_rules: Option<PathBuf>) {
    let mut soon = interval(SOON);
    soon.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut saved, mut pause) = (Instant::now(), SAVE_EVERY);
    loop {
        soon.tick().await;
        {
            let mut director = shared.director.borrow_mut();
            if director.plane().is_pending() {
                director.with_plane(|plane, catalog, _| plane.flush(catalog));
            }
        }
        if let Some(path) = saved_rules.as_deref().filter(|_| saved.elapsed() >= pause) {
            let is_safe = shared.save_rules(path);
            pause = if is_safe { SAVE_EVERY } else { SAVE_AGAIN };
            saved = Instant::now();
        }
        let wanted: HashSet<Neighbour> = std::iter::from_fn(|| shared.wanted.pop()).collect();
        if let Some(mirror) = &shared.mirror {
            wanted.into_iter().for_each(|neighbour| mirror.ask(neighbour));
        }
    }
}

/// Frees what is not needed any more, and keeps alive the neighbours that are.
async fn sweep(shared: Rc<Shared>) {
    let mut every = interval(SWEEP);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let now = shared.now();
        let mut director = shared.director.borrow_mut();
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

async fn until_told_to_stop(shared: &Shared, config_path: &Path) -> Result<(), ManageError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => reload(shared, config_path),
        }
    }
}

/// Reads the configuration again and takes over what can change without a restart.
fn reload(shared: &Shared, config_path: &Path) {
    match Config::load(config_path) {
        Ok(config) => {
            shared.director.borrow_mut().set_all_timeouts(config.timeouts);
            info!("[timeouts] read again; every other section needs a restart");
        }
        Err(error) => warn!("nothing was changed: {error}"),
    }
}
