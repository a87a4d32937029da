// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration to running appliance: the only place where parts are joined.

mod assembly;
mod eal;
mod error;
mod port;
mod rss;
mod secrets;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use control::config::{self, Config};
use dpdk::Eal;
use tracing::{info, warn};

use crate::cpus::Cpus;
use crate::host::HostInterface;
use crate::manage::{Core, Doors, Management};
use assembly::Assembly;
use eal::Pages;
pub use error::BootError;
use port::Port;
use secrets::Secrets;

/// Frames that wait in a ring between two threads.
const RING_SLOTS: u32 = 2048;

/// Runs the appliance until it is told to stop.
///
/// # Errors
/// Why it did not start; everything that was made is undone.
pub fn run(path: &Path) -> Result<(), BootError> {
    // First of all: a signal of the first moments must not leave a socket behind.
    let core = Core::start()?;
    let plan = Plan::new(path)?;
    let eal = Eal::init(&eal::arguments(&plan.config, &plan.cpus, plan.pages))?;
    info!("{} is up", dpdk::release());
    let outcome = serve(&eal, core, plan);
    if let Err(error) = eal.cleanup() {
        warn!("DPDK did not end cleanly: {error}");
    }
    outcome
}

/// What is settled before DPDK starts.
struct Plan<'a> {
    config_path: &'a Path,
    config: Config,
    doors: Doors,
    /// Of each NIC.
    host_interfaces: Vec<Option<HostInterface>>,
    cpus: Cpus,
    pages: Pages,
}

impl<'a> Plan<'a> {
    fn new(config_path: &'a Path) -> Result<Self, BootError> {
        let config = Config::load(config_path)?;
        // A second start must not touch what the first uses, NICs included.
        let doors = Doors::claim(&config)?;
        let claim = |nic: &config::Nic| nic.host_interface.as_deref().map(HostInterface::claim);
        let claimed = config.nics.iter().map(|nic| claim(nic).transpose());
        let host_interfaces = claimed.collect::<Result<_, _>>()?;
        let cpus = Cpus::assign(config.eal.lcores.as_deref(), config.workers.count)?;
        let pages = Pages::choose(&config.eal)?;
        Ok(Self { config_path, config, doors, host_interfaces, cpus, pages })
    }
}

fn serve(eal: &Eal, core: Core, plan: Plan<'_>) -> Result<(), BootError> {
    let Plan { config_path, config, doors, host_interfaces, cpus, pages } = plan;
    let pool = eal::pool(eal, &config, pages)?;
    let secrets = Secrets::new(&config);
    let mut ports = Vec::new();
    for (nic, host) in config.nics.iter().zip(host_interfaces) {
        ports.push(Port::open(eal, &pool, nic, host, &config, &secrets.rss_key)?);
    }
    let (assembly, links) = Assembly::new(eal, &pool, &config, ports, secrets)?;
    let management = Management::new(core, &config, config_path, links)?;
    let stop = Arc::new(AtomicBool::new(false));
    let threads = assembly.start(eal, &cpus, &stop)?;
    let outcome = management.run(doors);
    stop.store(true, Ordering::Relaxed);
    let died = threads.into_iter().filter_map(|thread| thread.join().err()).count();
    outcome?;
    if died == 0 { Ok(()) } else { Err(BootError::WorkerEnded) }
}
