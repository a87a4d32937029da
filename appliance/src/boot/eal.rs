// SPDX-License-Identifier: MIT OR Apache-2.0
//! DPDK's command line and packet buffers, from the configuration.

use control::config::{self, Config, Hugepages};
use dpdk::{Eal, Pool, PoolConfig};
use lb::limits::HELD_MAX;
use tracing::warn;

use super::{BootError, RING_SLOTS};
use crate::cpus::Cpus;

/// Memory that one packet buffer takes, its headers and headroom included, in bytes.
const MBUF_BYTES: u64 = 2560;
/// Buffers that threads keep for themselves, and that are on their way, per worker.
const IN_FLIGHT: u64 = 1024;

/// DPDK's arguments.
pub(super) fn arguments(config: &Config, cpus: &Cpus) -> Result<Vec<String>, BootError> {
    let eal = &config.eal;
    let mut args = vec![
        "--lcores".to_owned(),
        format!("0@{}", cpus.management),
        "--no-telemetry".to_owned(),
        "--file-prefix".to_owned(),
        format!("pointsman-{}", std::process::id()),
        "-m".to_owned(),
        eal.memory_mb.to_string(),
    ];
    let free_mb = free_hugepages_mb();
    let enough = free_mb >= u64::from(eal.memory_mb);
    let huge = match eal.hugepages {
        Hugepages::Off => false,
        Hugepages::Auto => enough,
        Hugepages::On if enough => true,
        Hugepages::On => {
            let pages = eal.memory_mb.div_ceil(2);
            return Err(BootError::Hugepages { free_mb, wanted_mb: eal.memory_mb, pages });
        }
    };
    if huge {
        args.push("--in-memory".to_owned());
    } else {
        if eal.hugepages == Hugepages::Auto {
            warn!("packet buffers lie in normal pages: {free_mb} MiB of hugepages are free");
        }
        args.extend(["--no-huge", "--no-shconf"].map(str::to_owned));
    }
    let pci: Vec<_> = config.nics.iter().filter(|nic| !nic.device.is_virtual()).collect();
    if pci.is_empty() {
        args.push("--no-pci".to_owned());
    }
    for nic in pci {
        args.extend(["-a".to_owned(), nic.device.to_string()]);
    }
    args.extend(eal.args.iter().cloned());
    Ok(args)
}

fn free_hugepages_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    field("HugePages_Free:") * field("Hugepagesize:") / 1024
}

/// Packet buffers for everything that can hold some at once.
pub(super) fn pool(eal: &Eal, config: &Config) -> Result<Pool, BootError> {
    let workers = u64::from(config.workers.count);
    let queues = |nic: &config::Nic| {
        let tx = u64::from(nic.queues.max(config.workers.count));
        (u64::from(nic.queues) + tx) * u64::from(nic.descriptors)
    };
    let per_worker = 3 * u64::from(RING_SLOTS) / 4 + HELD_MAX as u64 + IN_FLIGHT;
    let needed = config.nics.iter().map(queues).sum::<u64>()
        + workers * per_worker
        + u64::from(config.host.vital_ring + config.host.other_ring);
    let memory_mb = config.eal.memory_mb;
    let room = u64::from(memory_mb) * 1024 * 1024 * 7 / 8 / MBUF_BYTES;
    if needed > room {
        let enough_mb = (needed * MBUF_BYTES * 8 / 7).div_ceil(1024 * 1024);
        return Err(BootError::MemoryTooSmall { memory_mb, room, needed, enough_mb });
    }
    let mbufs = u32::try_from(needed).unwrap_or(u32::MAX).next_power_of_two() - 1;
    let mbufs = if u64::from(mbufs) <= room { mbufs } else { needed as u32 };
    Ok(Pool::new(eal, &PoolConfig::new("frames", mbufs))?)
}

