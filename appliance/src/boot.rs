// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration to running appliance: the only place where parts are joined.

mod assembly;
mod eal;
mod error;
mod port;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use control::config::Config;
use dpdk::Eal;
use tracing::{info, warn};

use crate::cpus::Cpus;
use crate::listen::{ClaimedSocket, claim_socket};
use crate::manage::Management;
use assembly::Assembly;
pub use error::BootError;
use port::Port;

/// Frames that wait in a ring between two threads.
const RING_SLOTS: u32 = 4096;

/// Runs the appliance until it is told to stop.
///
/// # Errors
/// Why it did not start; everything that was made is undone.
pub fn run(path: &Path) -> Result<(), BootError> {
    let config = Config::load(path)?;
    // First of all: a second start must not touch what the first uses.
    let socket = claim_socket(&config.control.socket)?;
    let cpus = Cpus::assign(config.eal.lcores.as_deref(), config.workers.count)?;
    let eal = Eal::init(&eal::arguments(&config, &cpus)?)?;
    info!("{} is up", dpdk::release());
    let outcome = serve(&eal, &config, path, &cpus, socket);
    if let Err(error) = eal.cleanup() {
        warn!("DPDK did not end cleanly: {error}");
    }
    outcome
}

fn serve(
    eal: &Eal,
    config: &Config,
    config_path: &Path,
    cpus: &Cpus,
    socket: ClaimedSocket,
) -> Result<(), BootError> {
    let pool = eal::pool(eal, config)?;
    let mut ports = Vec::new();
    for nic in &config.nics {
        ports.push(Port::open(eal, &pool, nic, config)?);
    }
    let (assembly, links) = Assembly::new(eal, &pool, config, ports)?;
    let management = Management::new(config, config_path, links)?;
    let stop = Arc::new(AtomicBool::new(false));
    let threads = assembly.start(eal, cpus, &stop)?;
    let outcome = management.run(socket);
    stop.store(true, Ordering::Relaxed);
    let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
    outcome?;
    if ended.iter().all(Result::is_ok) { Ok(()) } else { Err(BootError::WorkerEnded) }
}
