// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test stand: EAL, a pool, and NICs in memory.
//!
//! Each NIC is a `net_ring` device: what is sent by one of its queues is received by the queue of
//! the same number. A worker has two queues of each, one that it receives from and one that it
//! sends by; the bench has the other ends. Blank buffers come from `net_null` devices, in bursts,
//! as a driver takes them from the pool.
//!
//! On normal pages DPDK gives each buffer of 2 KiB a page of its own, all at the same offset, so
//! that a burst of them competes for a few sets of the L1 cache. That makes every loop dearer, the
//! reference most, and would flatter the ratio; so short frames lie in small buffers there.

use std::collections::BTreeMap;
use std::fs;

use dpdk::{Burst, Cpu, Eal, Mbuf, Nic, NicConfig, Pool, PoolConfig, RxQueue, TxQueue};

use crate::row::Failure;

/// Workers that there can be.
pub const WORKERS_MAX: u16 = 2;

const POOL: u32 = 8191;
const MEMORY_MB: u64 = 128;
/// Bytes of small buffers: with their headers nine lie on a page.
pub const SMALL: u16 = 128;
/// Bytes of Ethernet header and FCS, which an MTU leaves out.
const FRAME_OVERHEAD: u16 = 18;
/// RFC 791: every link carries packets of 68 bytes.
const MTU_MIN: u16 = 68;

/// Everything that outlives a row.
pub struct Stand {
    /// DPDK's environment.
    pub eal: Eal,
    /// The pages under the buffers.
    pub pages: Pages,
    pool: Pool,
    /// Buffers for short frames, on normal pages.
    small: Pool,
    wan: Nic,
    lan: Nic,
    reference: Nic,
    blanks: BTreeMap<u16, Nic>,
}

/// The pages under the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pages {
    /// Pages of 4 KiB: any machine has them.
    Normal,
    /// Reserved hugepages: `sysctl vm.nr_hugepages=128`.
    Huge,
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
    pub fn new(pages: Pages) -> Result<Self, Failure> {
        let eal = Eal::init(&arguments(pages))?;
        let pool = Pool::new(&eal, &PoolConfig::new("bench", POOL))?;
        let config = PoolConfig { segment_bytes: SMALL, ..PoolConfig::new("bench-small", POOL) };
        let small = Pool::new(&eal, &config)?;
        let open = |name| Nic::open(&eal, name);
        let (wan, lan) = (open("net_ring_wan")?, open("net_ring_lan")?);
        let reference = open("net_ring_swap")?;
        Ok(Self { eal, pages, pool, small, wan, lan, reference, blanks: BTreeMap::new() })
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
        let config = NicConfig { mtu: bytes.clamp(MTU_MIN, 1500), ..config(queues, 1) };
        let is_small = self.pages == Pages::Normal && bytes <= SMALL - FRAME_OVERHEAD;
        let pool = if is_small { &self.small } else { &self.pool };
        let rx = start(nic, pool, &config)?.0;
        Ok(rx.into_iter().map(Blanks).collect())
    }

    /// Opens a device with one queue each way, which receives short frames.
    ///
    /// # Errors
    /// The device refused.
    pub fn open(&self, device: &str) -> Result<(Nic, RxQueue, TxQueue), Failure> {
        let mut nic = Nic::open(&self.eal, device)?;
        let (pool, mtu) = match self.pages {
            Pages::Normal => (&self.small, SMALL - FRAME_OVERHEAD),
            Pages::Huge => (&self.pool, 1500),
        };
        let config = NicConfig { mtu, ..config(1, 1) };
        let (mut rx, mut tx) = start(&mut nic, pool, &config)?;
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
    let (rx, tx) = start(nic, pool, &config(queues, queues))?;
    let (mut rx, mut tx) = (rx.into_iter(), tx.into_iter());
    let wire = || {
        let (feed, send) = (tx.next()?, tx.next()?);
        let (receive, drain) = (rx.next()?, rx.next()?);
        Some((LoopEnds { rx: receive, tx: send }, BenchEnds { feed, drain }))
    };
    Ok(std::iter::from_fn(wire).collect())
}

fn config(rx_queues: u16, tx_queues: u16) -> NicConfig {
    NicConfig { rx_queues, tx_queues, ..NicConfig::default() }
}

fn start(
    nic: &mut Nic,
    pool: &Pool,
    config: &NicConfig,
) -> Result<(Vec<RxQueue>, Vec<TxQueue>), Failure> {
    nic.stop()?;
    nic.configure(config, pool)?;
    let queues = nic.start()?;
    Ok((queues.rx, queues.tx))
}

/// EAL's arguments for memory, which testpmd takes too.
pub fn memory_arguments(pages: Pages) -> Vec<String> {
    let pages: &[&str] = match pages {
        Pages::Huge => &["--in-memory"],
        Pages::Normal => &["--no-huge", "--no-shconf"],
    };
    let memory = ["-m".to_owned(), MEMORY_MB.to_string()];
    pages.iter().map(|word| (*word).to_owned()).chain(memory).collect()
}

/// EAL's arguments: one lcore of its own, which sleeps.
fn arguments(pages: Pages) -> Vec<String> {
    let own = [
        "--no-pci".to_owned(),
        "--no-telemetry".to_owned(),
        "--log-level=error".to_owned(),
        format!("--file-prefix=pointsman-bench-{}", std::process::id()),
        format!("--lcores=0@{}", cpus().first().map_or(0, |cpu| cpu.0)),
    ];
    own.into_iter().chain(memory_arguments(pages)).collect()
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
