// SPDX-License-Identifier: MIT OR Apache-2.0
//! One worker against two, with and without frames handed from one to the other.
//!
//! Each thread feeds its own worker and takes what it sends. Without hand-off it feeds frames of
//! flows that its worker owns, as a NIC does whose hashing agrees with ours; with hand-off, frames
//! of all flows, so that half of them change hands. The cost is the processor time of both threads
//! over the packets that left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use dpdk::{Cpu, Eal};
use lb::conn::tcp_state::Timeouts;
use lb::service::ForwardMode;
use wire::{FamilyId, Frame};

use crate::cost::{Lap, Spread, thread_ns};
use crate::plan::{Group, Plan, WAN, mac};
use crate::reference::{BURST, Reference, Work};
use crate::rig::{Rig, Side, split};
use crate::row::{Failure, Row};
use crate::site::Site;
use crate::stand::{Stand, cpus};
use crate::traffic::{Flow, Kind, Segment, Traffic, flow_of};

/// Connections per worker.
const CONNECTIONS: u32 = 50_000;
/// Frames under way from one worker to the other at most, over both.
const UNDER_WAY: u64 = 1024;

/// How much is measured: windows of wall-clock time, since threads must run side by side.
#[derive(Clone, Copy, Debug)]
pub struct Sitting {
    /// Windows.
    pub windows: usize,
    /// How long each is.
    pub window: Duration,
}

/// Rows for one worker, two workers, and two workers with hand-off, each beside as many threads of
/// the reference loop.
///
/// # Errors
/// A packet was lost, or there are not two CPUs.
pub fn rows(stand: &mut Stand, sitting: Sitting, tsc_hz: u64) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let cases = [
        (1, Spreading::Owned, "1 worker"),
        (2, Spreading::Owned, "2 workers, no hand-off"),
        (2, Spreading::All, "2 workers, half of the frames handed off"),
    ];
    for (workers, spreading, name) in cases {
        let subject = product(stand, workers, spreading)?;
        let traffic = Arc::clone(&subject.traffic);
        let costs = side_by_side(&stand.eal, subject.laps, sitting)?;
        let swaps = references(stand, workers, &traffic)?;
        let reference_costs = side_by_side(&stand.eal, swaps, sitting)?;
        let mut row = Row::new("workers", name).packets((costs, reference_costs), tsc_hz);
        row.connections = Some(CONNECTIONS * u32::from(workers));
        (row.mode, row.family) = (Some("NAT"), Some(4));
        rows.push(row);
    }
    Ok(rows)
}

/// Which frames a worker receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spreading {
    /// Those of flows that it owns.
    Owned,
    /// Those of all flows in turn.
    All,
}

type Laps = Vec<Box<dyn Lap + Send>>;

struct Product {
    laps: Laps,
    traffic: Arc<Traffic>,
    _site: Site,
}

fn product(stand: &mut Stand, workers: u16, spreading: Spreading) -> Result<Product, Failure> {
    let capacity = CONNECTIONS * 2;
    let plan = Plan { workers, ..Plan::new(FamilyId::V4, ForwardMode::Masquerade, capacity) };
    let kind = Kind { family: plan.family, protocol: plan.protocol, to: mac(WAN), sizes: &[60] };
    let mut all = Traffic::new(kind);
    for number in 0..CONNECTIONS * u32::from(workers) {
        let src = plan.client(Group::Established, number);
        all.push(Flow { src, dst: plan.vip(0) });
    }
    let blanks = stand.blanks(all.frame_bytes(), workers)?;
    let wires = stand.director_wires(workers)?;
    let (loop_ends, bench_ends): (Vec<_>, Vec<_>) = wires.into_iter().map(split).unzip();
    let (site, loops) = Site::new(&stand.eal, &plan, Timeouts::default(), loop_ends)?;
    let parts = loops.into_iter().zip(bench_ends).zip(blanks);
    let mut rigs: Vec<Rig> =
        parts.map(|((poll, ends), blanks)| Rig::new(poll, ends, blanks)).collect();
    let mut owned: Vec<Traffic> = rigs.iter().map(|_| Traffic::new(kind)).collect();
    open(&mut rigs, &plan, &all, &mut owned)?;
    all.shuffle(1);
    let all = Arc::new(all);
    let books: Arc<[Books]> = rigs.iter().map(|_| Books::default()).collect();
    let mut laps: Laps = Vec::new();
    for (number, (rig, mut own)) in rigs.into_iter().zip(owned).enumerate() {
        own.shuffle(2);
        let (own, books) = (Arc::new(own), Arc::clone(&books));
        let traffic = if spreading == Spreading::All { Arc::clone(&all) } else { own };
        let next = number * traffic.len() / usize::from(workers);
        laps.push(Box::new(Half { rig, traffic, next, number, books }));
    }
    Ok(Product { laps, traffic: all, _site: site })
}

/// Opens all connections through the first worker, and notes who owns which.
fn open(
    rigs: &mut [Rig],
    plan: &Plan,
    all: &Traffic,
    owned: &mut [Traffic],
) -> Result<(), Failure> {
    let mut next = 0;
    while next < all.len() {
        let count = BURST.min(all.len() - next);
        for segment in [Segment::Open, Segment::Data] {
            if let Some(first) = rigs.first_mut() {
                first.send(Side::Wan, all, next, count, segment)?;
            }
            for (rig, own) in rigs.iter_mut().zip(owned.iter_mut()) {
                rig.turn_through();
                rig.drain(Side::Lan, |frame| {
                    if segment == Segment::Open
                        && let Some(flow) = flow_of(frame.head(), plan.family)
                    {
                        own.push(Flow { src: flow.src, dst: plan.vip(0) });
                    }
                });
            }
        }
        next += count;
    }
    let live: u32 = rigs.iter().map(Rig::live).sum();
    rigs.iter_mut().for_each(Rig::forget);
    let wanted = all.len() as u32;
    if live == wanted { Ok(()) } else { Err(Failure::Connections { wanted, live }) }
}

fn references(stand: &mut Stand, workers: u16, traffic: &Arc<Traffic>) -> Result<Laps, Failure> {
    let blanks = stand.blanks(traffic.frame_bytes(), workers)?;
    let wires = stand.reference_wires(workers)?;
    let laps = wires.into_iter().zip(blanks).map(|(wire, blanks)| {
        let traffic = Arc::clone(traffic);
        Box::new(Reference::new(wire, blanks, traffic, Work::FiveTupleSwap)) as Box<dyn Lap + Send>
    });
    Ok(laps.collect())
}

/// Runs each lap in a thread of its own; nanoseconds of all threads' processor time per packet.
fn side_by_side(eal: &Eal, laps: Laps, sitting: Sitting) -> Result<Spread, Failure> {
    let barrier = Arc::new(Barrier::new(laps.len()));
    let cpus: Vec<Cpu> = cpus();
    let mut threads = Vec::new();
    for (number, mut lap) in laps.into_iter().enumerate() {
        let (barrier, cpu) = (Arc::clone(&barrier), cpus.get(number).copied());
        let name = format!("bench-{number}");
        threads.push(eal.spawn(&name, cpu, move |_| {
            let mut windows = Vec::new();
            for _ in 0..=sitting.windows {
                barrier.wait();
                let (end, before, mut units) = (Instant::now() + sitting.window, thread_ns(), 0);
                while Instant::now() < end {
                    for _ in 0..16 {
                        units += lap.lap()?;
                    }
                }
                windows.push((units, thread_ns() - before));
            }
            barrier.wait();
            lap.check().map(|()| windows)
        })?);
    }
    let mut all: Vec<Vec<(u64, u64)>> = Vec::new();
    for thread in threads {
        all.push(thread.join().map_err(|_| Failure::Thread)??);
    }
    let windows = (1..=sitting.windows).map(|window| {
        let sum = |part: fn((u64, u64)) -> u64| {
            all.iter().filter_map(|thread| thread.get(window)).map(|w| part(*w)).sum::<u64>()
        };
        sum(|(_, ns)| ns) as f64 / sum(|(units, _)| units).max(1) as f64
    });
    Ok(Spread::of(windows.collect()))
}

/// Frames that went into and came out of one worker, for the others to see.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Books {
    fed: AtomicU64,
    left: AtomicU64,
}

/// One of the workers that run side by side.
struct Half {
    rig: Rig,
    traffic: Arc<Traffic>,
    next: usize,
    number: usize,
    books: Arc<[Books]>,
}

impl Half {
    fn under_way(&self) -> u64 {
        let sum = |of: fn(&Books) -> &AtomicU64| {
            self.books.iter().map(|books| of(books).load(Ordering::Relaxed)).sum::<u64>()
        };
        let left = sum(|books| &books.left);
        sum(|books| &books.fed).saturating_sub(left)
    }

    fn turn(&mut self) -> u64 {
        self.rig.turn();
        let left = self.rig.drain(Side::Lan, |_| ());
        let (fed, all_left) = self.rig.books();
        self.books[self.number].fed.store(fed, Ordering::Relaxed);
        self.books[self.number].left.store(all_left, Ordering::Relaxed);
        left
    }
}

impl Lap for Half {
    fn lap(&mut self) -> Result<u64, Failure> {
        if self.under_way() < UNDER_WAY {
            let next = self.next;
            self.next = self.rig.send(Side::Wan, &self.traffic, next, BURST, Segment::Data)?;
            return Ok(self.turn());
        }
        let left = self.turn();
        if left == 0 {
            // The other worker has lost its CPU.
            thread::sleep(Duration::from_micros(50));
        }
        Ok(left)
    }

    fn check(&mut self) -> Result<(), Failure> {
        let give_up = Instant::now() + Duration::from_secs(1);
        while self.under_way() > 0 && Instant::now() < give_up {
            self.turn();
        }
        let (fed, left) = self.rig.books();
        let drops = self.rig.drops();
        if self.under_way() == 0 { Ok(()) } else { Err(Failure::Lost { fed, left, drops }) }
    }
}
