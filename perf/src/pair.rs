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

use crate::cost::{Effort, Lap, in_turn, thread_ns};
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

/// Rows for one worker, two workers, and two workers with hand-off, each beside as many threads of
/// the reference loop. Windows are of wall-clock time, since threads must run side by side.
///
/// # Errors
/// A packet was lost, or there are not two CPUs.
pub fn rows(
    stand: &mut Stand,
    effort: Effort,
    window: Duration,
    tsc_hz: u64,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let cases = [
        (1, Spreading::Owned, "1 worker"),
        (2, Spreading::Owned, "2 workers, no hand-off"),
        (2, Spreading::All, "2 workers, half of the frames handed off"),
    ];
    for (workers, spreading, name) in cases {
        let (mut subject, mut reference) = both(stand, workers, spreading)?;
        let costs = in_turn(
            effort,
            || subject.laps.run(&stand.eal, window),
            || reference.run(&stand.eal, window),
        )?;
        let mut row = Row::new("workers", name).packets(costs, tsc_hz);
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

/// Loops that run side by side.
#[derive(Default)]
struct Laps(Vec<Box<dyn Lap + Send>>);

struct Product {
    laps: Laps,
    _site: Site,
}

/// The workers, and as many threads of the reference loop over the same traffic.
fn both(stand: &mut Stand, workers: u16, spreading: Spreading) -> Result<(Product, Laps), Failure> {
    let capacity = CONNECTIONS * 2;
    let plan = Plan { workers, ..Plan::new(FamilyId::V4, ForwardMode::Masquerade, capacity) };
    let kind = Kind { family: plan.family, protocol: plan.protocol, to: mac(WAN), sizes: &[60] };
    let mut all = Traffic::new(kind);
    for number in 0..CONNECTIONS * u32::from(workers) {
        let src = plan.client(Group::Established, number);
        all.push(Flow { src, dst: plan.vip(0) });
    }
    let mut blanks = stand.blanks(all.frame_bytes(), workers)?;
    let reference_blanks = blanks.split_off(workers.into());
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
    let mut laps = Laps::default();
    for (number, (rig, mut own)) in rigs.into_iter().zip(owned).enumerate() {
        own.shuffle(2);
        let (own, books) = (Arc::new(own), Arc::clone(&books));
        let traffic = if spreading == Spreading::All { Arc::clone(&all) } else { own };
        let next = number * traffic.len() / usize::from(workers);
        laps.0.push(Box::new(Half { rig, traffic, next, number, books }));
    }
    let wires = stand.reference_wires(workers)?.into_iter().zip(reference_blanks);
    let swaps = wires.map(|(wire, blanks)| {
        let traffic = Arc::clone(&all);
        Box::new(Reference::new(wire, blanks, traffic, Work::FiveTupleSwap)) as Box<dyn Lap + Send>
    });
    Ok((Product { laps, _site: site }, Laps(swaps.collect())))
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

impl Laps {
    /// Runs each in a thread of its own for a while; nanoseconds of all threads' processor time per
    /// packet.
    fn run(&mut self, eal: &Eal, window: Duration) -> Result<f64, Failure> {
        let barrier = Arc::new(Barrier::new(self.0.len()));
        let cpus: Vec<Cpu> = cpus();
        let mut threads = Vec::new();
        for (number, mut lap) in self.0.drain(..).enumerate() {
            let (barrier, cpu) = (Arc::clone(&barrier), cpus.get(number).copied());
            let name = format!("bench-{number}");
            threads.push(eal.spawn(&name, cpu, move |_| {
                barrier.wait();
                let before = thread_ns();
                let units = laps_until(lap.as_mut(), Instant::now() + window);
                let spent_ns = thread_ns() - before;
                // The others wait here, also for one that failed.
                barrier.wait();
                let units = units?;
                lap.check().map(|()| (lap, units, spent_ns))
            })?);
        }
        let (mut all_units, mut all_ns) = (0, 0);
        for thread in threads {
            let (lap, units, spent_ns) = thread.join().map_err(|_| Failure::Thread)??;
            self.0.push(lap);
            (all_units, all_ns) = (all_units + units, all_ns + spent_ns);
        }
        Ok(all_ns as f64 / all_units.max(1) as f64)
    }
}

/// Does laps until a moment; returns how many units they were.
fn laps_until(lap: &mut dyn Lap, end: Instant) -> Result<u64, Failure> {
    let mut units = 0;
    while Instant::now() < end {
        for _ in 0..16 {
            units += lap.lap()?;
        }
    }
    Ok(units)
}

/// Frames that went into and came out of one worker, for the others to see.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Books {
    fed: AtomicU64,
    left: AtomicU64,
}

/// One of the workers that run side by side; no two share a cache line, nor a pair of lines.
#[repr(align(128))]
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
