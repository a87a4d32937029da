// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test stand: EAL, a pool, and NICs in memory.
//!
//! Each NIC is a `net_ring` device: what is sent by one of its queues is received by the queue of
//! the same number. A worker has two queues of each, one that it receives from and one that it
//! sends by; the bench has the other ends. Blank buffers come from `net_null` devices, in bursts, as
//! a driver takes them from the pool.

use std::collections::BTreeMap;
use std::fs;

use dpdk::{Burst, Cpu, Eal, Mbuf, Nic, NicConfig, Pool, PoolConfig, RxQueue, TxQueue};

use crate::row::Failure;

/// Workers that there can be.
pub const WORKERS_MAX: u16 = 2;

const POOL: u32 = 16_383;
const MEMORY_MB: u64 = 256;

/// Everything that outlives a row.
pub struct Stand {
    /// DPDK's environment.
    pub eal: Eal,
    pool: Pool,
    wan: Nic,
    lan: Nic,
    reference: Nic,
    blanks: BTreeMap<u16, Nic>,
}

/// The ends of a NIC that a forwarding loop holds.
#[derive(Debug)]
pub struct LoopEnds {
    /// Receives what the bench feeds.
    pub rx: RxQueue,
    /// Sends to the bench.
    pub tx: TxQueue,
}

/// The ends of a NIC that the bench holds.
#[derive(Debug)]
pub struct BenchEnds {
    feed: TxQueue,
    drain: RxQueue,
}

/// One NIC's queues for one loop.
pub type Wire = (LoopEnds, BenchEnds);

impl Stand {
    /// Starts EAL and opens the NICs; once per process.
    ///
    /// # Errors
    /// EAL or a device refused.
    pub fn new() -> Result<Self, Failure> {
        let eal = Eal::init(&arguments())?;
        let pool = Pool::new(&eal, &PoolConfig::new("bench", POOL))?;
        let open = |name| Nic::open(&eal, name);
        let (wan, lan) = (open("net_ring_wan")?, open("net_ring_lan")?);
        let reference = open("net_ring_swap")?;
        Ok(Self { eal, pool, wan, lan, reference, blanks: BTreeMap::new() })
    }

    /// Both NICs of a director, for each of `workers` workers.
    ///
    /// # Errors
    /// The queues of the last row are still held.
    pub fn director_wires(&mut self, workers: u16) -> Result<Vec<(Wire, Wire)>, Failure> {
        let wan = wires(&mut self.wan, &self.pool, workers)?;
        let lan = wires(&mut self.lan, &self.pool, workers)?;
        Ok(wan.into_iter().zip(lan).collect())
    }

    /// The NIC of the reference loops.
    ///
    /// # Errors
    /// The queues of the last row are still held.
    pub fn reference_wires(&mut self, workers: u16) -> Result<Vec<Wire>, Failure> {
        wires(&mut self.reference, &self.pool, workers)
    }

    /// Queues that give blank frames of `bytes` bytes.
    ///
    /// # Errors
    /// The queues of the last row are still held.
    pub fn blanks(&mut self, bytes: u16, workers: u16) -> Result<Vec<Blanks>, Failure> {
        if !self.blanks.contains_key(&bytes) {
            let device = format!("net_null_{bytes},size={bytes},copy=0");
            self.blanks.insert(bytes, Nic::open(&self.eal, &device)?);
        }
        let Some(nic) = self.blanks.get_mut(&bytes) else {
            return Ok(Vec::new());
        };
        // A loop of the product and the reference loop beside it.
        let queues = 2 * workers;
        let rx = start(nic, &self.pool, queues, 1)?.0;
        Ok(rx.into_iter().map(Blanks).collect())
    }

    /// Opens a device with one queue each way, receiving into the stand's pool.
    ///
    /// # Errors
    /// The device refused.
    pub fn open(&self, device: &str) -> Result<(Nic, RxQueue, TxQueue), Failure> {
        let mut nic = Nic::open(&self.eal, device)?;
        let (mut rx, mut tx) = start(&mut nic, &self.pool, 1, 1)?;
        match (rx.pop(), tx.pop()) {
            (Some(rx), Some(tx)) => Ok((nic, rx, tx)),
            _ => Err(Failure::Buffers { wanted: 1, got: 0 }),
        }
    }
}

/// Gives frames whose content is still to be written.
#[derive(Debug)]
pub struct Blanks(RxQueue);

impl Blanks {
    /// Adds `count` blank frames to a burst.
    ///
    /// # Errors
    /// The pool is empty.
    #[inline]
    pub fn take(&mut self, burst: &mut Burst, count: usize) -> Result<(), Failure> {
        let got = self.0.receive(burst, count);
        if got == count { Ok(()) } else { Err(Failure::Buffers { wanted: count, got }) }
    }
}

impl BenchEnds {
    /// Sends frames to the loop.
    ///
    /// # Errors
    /// The loop left frames there.
    #[inline]
    pub fn feed(&mut self, burst: &mut Burst) -> Result<(), Failure> {
        let wanted = burst.len();
        let got = self.feed.send(burst);
        if got == wanted { Ok(()) } else { Err(Failure::Buffers { wanted, got }) }
    }

    /// Takes everything that the loop sent, shows it to `look`, and frees it; returns how much it
    /// was.
    #[inline]
    pub fn drain(&mut self, burst: &mut Burst, mut look: impl FnMut(&Mbuf)) -> u64 {
        let mut frames = 0;
        loop {
            let got = self.drain.receive(burst, dpdk::BURST_MAX);
            burst.as_slice().iter().for_each(&mut look);
            burst.clear();
            frames += got as u64;
            if got < dpdk::BURST_MAX {
                return frames;
            }
        }
    }

    /// Takes up to a burst of what the loop sent.
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        self.drain.receive(burst, dpdk::BURST_MAX)
    }
}

fn wires(nic: &mut Nic, pool: &Pool, workers: u16) -> Result<Vec<Wire>, Failure> {
    let queues = 2 * workers;
    let (rx, tx) = start(nic, pool, queues, queues)?;
    let (mut rx, mut tx) = (rx.into_iter(), tx.into_iter());
    let wire = || {
        let (feed, send) = (tx.next()?, tx.next()?);
        let (receive, drain) = (rx.next()?, rx.next()?);
        Some((LoopEnds { rx: receive, tx: send }, BenchEnds { feed, drain }))
    };
    Ok(std::iter::from_fn(wire).collect())
}

fn start(
    nic: &mut Nic,
    pool: &Pool,
    rx_queues: u16,
    tx_queues: u16,
) -> Result<(Vec<RxQueue>, Vec<TxQueue>), Failure> {
    nic.stop()?;
    nic.configure(&NicConfig { rx_queues, tx_queues, ..NicConfig::default() }, pool)?;
    let queues = nic.start()?;
    Ok((queues.rx, queues.tx))
}

/// EAL's arguments: hugepages where enough are free, one lcore of its own that sleeps.
fn arguments() -> Vec<String> {
    let mut args = vec![
        "--no-pci".to_owned(),
        "--no-telemetry".to_owned(),
        "--log-level=error".to_owned(),
        format!("--file-prefix=pointsman-bench-{}", std::process::id()),
        format!("--lcores=0@{}", cpus().first().map_or(0, |cpu| cpu.0)),
        "-m".to_owned(),
        MEMORY_MB.to_string(),
    ];
    if free_hugepages_mb() >= MEMORY_MB {
        args.push("--in-memory".to_owned());
    } else {
        args.extend(["--no-huge", "--no-shconf"].map(str::to_owned));
    }
    args
}

/// CPUs that this process may use.
pub fn cpus() -> Vec<Cpu> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = list.unwrap_or("0").trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    });
    ranges.flatten().map(Cpu).collect()
}

/// MiB of hugepages that are free.
pub fn free_hugepages_mb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    field("HugePages_Free:") * field("Hugepagesize:") / 1024
}
