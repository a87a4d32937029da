// SPDX-License-Identifier: MIT OR Apache-2.0
//! DPDK's command line and packet buffers, from the configuration.

use control::config::{self, Config, Hugepages};
use dpdk::{Eal, Pool, PoolConfig};
use lb::limits::{BATCH, FRAGMENTS_WAITING, HELD_MAX};
use tracing::warn;

use super::{BootError, RING_SLOTS};
use crate::cpus::Cpus;

/// The memory that packet buffers lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// Hugepages, of 2 MiB or 1 GiB.
    Huge,
    /// Pages of 4 KiB.
    Normal,
}

impl Pages {
    /// Those that the configuration asks for, where they are there.
    pub(super) fn choose(eal: &config::Eal) -> Result<Self, BootError> {
        let free_mb = free_hugepages_mb();
        let enough = free_mb >= u64::from(eal.memory_mb);
        match eal.hugepages {
            Hugepages::On if !enough => {
                let pages = eal.memory_mb.div_ceil(2);
                Err(BootError::Hugepages { free_mb, wanted_mb: eal.memory_mb, pages })
            }
            Hugepages::Auto if !enough => {
                warn!("packet buffers lie in normal pages: {free_mb} MiB of hugepages are free");
                Ok(Self::Normal)
            }
            Hugepages::Off => Ok(Self::Normal),
            Hugepages::On | Hugepages::Auto => Ok(Self::Huge),
        }
    }

    /// Memory that one packet buffer takes, its headers and headroom included. DPDK lets none lie
    /// across two pages: a normal one holds one buffer, and what is left of it is lost.
    fn bytes_per_buffer(self) -> u64 {
        match self {
            Self::Huge => 2560,
            Self::Normal => 4096,
        }
    }
}

/// Buffers that threads keep for themselves, in their caches and while they send, per worker.
const IN_FLIGHT: u64 = 1024;
/// Buffers in the two batches of a receive queue.
const IN_BATCHES: u64 = 2 * BATCH as u64;

/// DPDK's arguments.
pub(super) fn arguments(config: &Config, cpus: &Cpus, pages: Pages) -> Vec<String> {
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
    match pages {
        Pages::Huge => args.push("--in-memory".to_owned()),
        Pages::Normal => args.extend(["--no-huge", "--no-shconf"].map(str::to_owned)),
    }
    let pci: Vec<_> = config.nics.iter().filter(|nic| !nic.device.is_virtual()).collect();
    if pci.is_empty() {
        args.push("--no-pci".to_owned());
    }
    for nic in pci {
        args.extend(["-a".to_owned(), nic.device.to_string()]);
    }
    args.extend(eal.args.iter().cloned());
    args
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
pub(super) fn pool(eal: &Eal, config: &Config, pages: Pages) -> Result<Pool, BootError> {
    Ok(Pool::new(eal, &PoolConfig::new("frames", buffers(config, pages)?))?)
}

/// How many there are to be: a power of two less one, which wastes nothing, where it fits.
fn buffers(config: &Config, pages: Pages) -> Result<u32, BootError> {
    let workers = u64::from(config.workers.count);
    let queues = |nic: &config::Nic| {
        let tx = u64::from(nic.queues.max(config.workers.count));
        (u64::from(nic.queues) + tx) * u64::from(nic.descriptors)
            + u64::from(nic.queues) * IN_BATCHES
    };
    let per_worker = 3 * u64::from(RING_SLOTS) + (HELD_MAX + FRAGMENTS_WAITING) as u64 + IN_FLIGHT;
    let needed = config.nics.iter().map(queues).sum::<u64>()
        + workers * per_worker
        + u64::from(config.host.vital_ring + config.host.other_ring);
    let (memory_mb, each) = (config.eal.memory_mb, pages.bytes_per_buffer());
    let room = u64::from(memory_mb) * 1024 * 1024 * 7 / 8 / each;
    if needed > room {
        let enough_mb = (needed * each * 8).div_ceil(7 * 1024 * 1024);
        return Err(BootError::MemoryTooSmall { memory_mb, room, needed, enough_mb });
    }
    let round = (needed + 1).next_power_of_two() - 1;
    let count = if round <= room { round } else { needed };
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(memory_mb: u32) -> Config {
        let nic = |name: &str, device: &str| {
            format!("[[nic]]\nname = \"{name}\"\ndevice = \"{device}\"\nqueues = 4\n")
        };
        let text = format!(
            "[eal]\nmemory_mb = {memory_mb}\n[workers]\ncount = 4\n{}{}",
            nic("wan", "net_null0"),
            nic("lan", "net_null1"),
        );
        Config::parse(&text, "test.toml").unwrap()
    }

    #[test]
    fn packet_buffers_fit_the_memory_whatever_its_pages_are() {
        for pages in [Pages::Huge, Pages::Normal] {
            let bytes =
                |mb| u64::from(buffers(&config(mb), pages).unwrap()) * pages.bytes_per_buffer();
            for memory_mb in [256, 512, 2048] {
                assert!(bytes(memory_mb) < u64::from(memory_mb) << 20, "{memory_mb} {pages:?}");
            }
        }
    }

    #[test]
    fn too_little_memory_is_said_with_what_would_do() {
        let refused = buffers(&config(128), Pages::Normal);
        let Err(BootError::MemoryTooSmall { enough_mb, needed, .. }) = refused else {
            panic!("{refused:?}");
        };
        let enough = buffers(&config(enough_mb as u32), Pages::Normal).unwrap();
        assert!(u64::from(enough) >= needed);
        assert!(buffers(&config(enough_mb as u32 - 1), Pages::Normal).is_err());
    }
}
