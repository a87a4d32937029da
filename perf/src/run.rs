// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which rows there are, and in which order they are measured.

use std::cell::RefCell;
use std::fs;
use std::time::Duration;

use lb::service::ForwardMode;
use wire::{FamilyId, L4};

use crate::change::{self, Disturbance};
use crate::cost::{Effort, Span, in_turn, window};
use crate::established::{Established, Way};
use crate::flood::{self, Unharmed};
use crate::opening::{self, Life};
use crate::pair;
use crate::plan::{Plan, family_number, mode_name};
use crate::reference::Work;
use crate::row::{Failure, Row};
use crate::site::table_bytes;
use crate::stand::Stand;
use crate::testpmd;

/// The four modes, in the order of tables.
pub const MODES: [ForwardMode; 4] =
    [ForwardMode::Masquerade, ForwardMode::FullNat, ForwardMode::Direct, ForwardMode::Tunnel];
/// Seven short, four middling and one full frame, FCS apart.
const IMIX: [u16; 12] = [60, 566, 60, 60, 566, 60, 1514, 60, 566, 60, 60, 566];
const MANY_SERVICES: u32 = 10_000;

/// How long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Two minutes: up to a million connections.
    Quick,
    /// Ten minutes: up to ten million.
    Full,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// The table.
    pub rows: Vec<Row>,
    /// What of the good traffic a flood left unharmed.
    pub unharmed: Option<Unharmed>,
    /// What changes of rules did.
    pub disturbance: Option<Disturbance>,
}

/// Measures the rows whose group contains `only`, and shows each when it is there.
pub struct Run<'a> {
    stand: Stand,
    pace: Pace,
    only: &'a str,
    show: &'a mut dyn FnMut(&Row),
    measured: Measured,
    tsc_hz: u64,
    /// Windows that may still be added to rows that other work of the machine disturbs.
    spare: usize,
}

impl<'a> Run<'a> {
    /// A run on a stand.
    pub fn new(stand: Stand, pace: Pace, only: &'a str, show: &'a mut dyn FnMut(&Row)) -> Self {
        let tsc_hz = stand.eal.tsc_hz();
        // Half a minute of windows in a quick run, three minutes in a whole one.
        let spare = if pace == Pace::Quick { 500 } else { 1000 };
        Self { stand, pace, only, show, measured: Measured::default(), tsc_hz, spare }
    }

    /// Measures everything that is asked for.
    pub fn all(mut self) -> Measured {
        self.group("reference", Self::references);
        self.group("reference on net_pcap", Self::net_pcap);
        self.group("established", Self::established);
        self.group("new connections", Self::openings);
        self.group("mixed", Self::mixed);
        self.group("flood", Self::flood);
        self.group("workers", Self::workers);
        self.group("rules", Self::rules);
        self.measured
    }

    fn group(&mut self, name: &str, measure: fn(&mut Self)) {
        if name.contains(self.only) {
            measure(self);
        }
    }

    fn put(&mut self, row: Row) {
        let windows = row.ns.map_or(0, |ns| ns.windows);
        self.spare = self.spare.saturating_sub(windows.saturating_sub(self.effort().windows));
        (self.show)(&row);
        self.measured.rows.push(row);
    }

    fn put_all(&mut self, group: &str, rows: Result<Vec<Row>, Failure>) {
        match rows {
            Ok(rows) => rows.into_iter().for_each(|row| self.put(row)),
            Err(failure) => self.put(Row::new(group, "").failed(&failure)),
        }
    }

    fn effort(&self) -> Effort {
        let (windows, window_ns) = match self.pace {
            Pace::Quick => (5, 30_000_000),
            Pace::Full => (9, 80_000_000),
        };
        let spare = self.spare.min(15 * windows);
        Effort { windows, spare, span: Span::Nanoseconds(window_ns) }
    }

    fn references(&mut self) {
        let rows = self.reference_rows();
        self.put_all("reference", rows);
    }

    /// The source and sink alone, and with the swap: what is in every other figure.
    fn reference_rows(&mut self) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::new();
        for (family, count) in
            [(FamilyId::V4, 1000), (FamilyId::V4, 1_000_000), (FamilyId::V6, 1000)]
        {
            let plan = Plan::new(family, ForwardMode::Direct, count);
            let (effort, tsc_hz) = (self.effort(), self.tsc_hz);
            let mut established = Established::new(&mut self.stand, &plan, count, &[60])?;
            let reference = RefCell::new(established.reference(Work::Io)?);
            let cost = |work| {
                let mut reference = reference.borrow_mut();
                reference.set_work(work);
                window(&mut *reference, effort.span)
            };
            let (io, swap) = in_turn(effort, || cost(Work::Io), || cost(Work::FiveTupleSwap))?;
            for (name, cost) in [("io: generate, forward, free", io), ("5tswap", swap)] {
                let mut row = Row::new("reference", name).packets((cost, swap), tsc_hz);
                row.connections = Some(count);
                row.family = Some(family_number(family));
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn net_pcap(&mut self) {
        let rows = testpmd::rows(&self.stand, self.effort(), self.tsc_hz);
        self.put_all("reference on net_pcap", rows);
    }

    fn established(&mut self) {
        let v4 = |mode, count| Plan::new(FamilyId::V4, mode, count);
        let v6 = |mode, count| Plan::new(FamilyId::V6, mode, count);
        let udp = |plan: Plan| Plan { protocol: L4::Udp, ..plan };
        let full: &[u32] = if self.pace == Pace::Full { &[10_000_000] } else { &[] };
        for count in [1000, 100_000, 1_000_000].iter().chain(full) {
            for mode in MODES {
                self.packets(&v4(mode, *count), &[60], "");
            }
        }
        for count in [1000, 1_000_000] {
            for mode in MODES {
                self.packets(&v6(mode, count), &[60], "");
            }
        }
        for mode in MODES {
            self.packets(&udp(v4(mode, 1000)), &[60], "UDP");
            if self.pace == Pace::Full {
                self.packets(&udp(v4(mode, 1_000_000)), &[60], "UDP");
                self.packets(&udp(v6(mode, 1000)), &[60], "UDP");
            }
        }
        let nat = v4(ForwardMode::Masquerade, 1000);
        self.packets(&nat, &IMIX, "IMIX");
        self.packets(&nat, &[508], "512 bytes");
        self.packets(&nat, &[1514], "1518 bytes");
        let many = Plan { services: MANY_SERVICES, ..v4(ForwardMode::Masquerade, 100_000) };
        self.packets(&many, &[60], "10000 services");
    }

    /// The rows of one plan; what is not the usual is named.
    fn packets(&mut self, plan: &Plan, sizes: &[u16], unusual: &str) {
        let (effort, tsc_hz) = (self.effort(), self.tsc_hz);
        let named = |way: Way| format!("{} {unusual}", way.name()).trim_end().to_owned();
        let failed = |way: Way, failure: &Failure| Row {
            mode: Some(mode_name(plan.mode)),
            family: Some(family_number(plan.family)),
            connections: Some(plan.capacity),
            ..Row::new("established", named(way)).failed(failure)
        };
        let made = enough_memory(plan)
            .and_then(|()| Established::new(&mut self.stand, plan, plan.capacity, sizes));
        match made {
            Err(failure) => {
                for way in Way::of(plan) {
                    self.put(failed(*way, &failure));
                }
            }
            Ok(mut established) => {
                for way in Way::of(plan) {
                    let row = established.row(*way, effort, tsc_hz);
                    let row = row.map(|row| Row { name: named(*way), ..row });
                    self.put(row.unwrap_or_else(|failure| failed(*way, &failure)));
                }
            }
        }
    }

    fn openings(&mut self) {
        let plan = |family, mode| Plan::new(family, mode, 1 << 19);
        for mode in MODES {
            self.opening(&plan(FamilyId::V4, mode), Life::First, "");
            self.opening(&plan(FamilyId::V4, mode), Life::Whole, "");
        }
        for mode in MODES {
            self.opening(&plan(FamilyId::V6, mode), Life::First, "");
        }
        let nat = plan(FamilyId::V4, ForwardMode::Masquerade);
        self.opening(&Plan { protocol: L4::Udp, ..nat }, Life::First, "");
        self.opening(&Plan { protocol: L4::Udp, ..nat }, Life::Whole, "");
        let many = Plan { services: MANY_SERVICES, ..nat };
        self.opening(&many, Life::First, "10000 services");
    }

    fn mixed(&mut self) {
        for mode in MODES {
            self.opening(&Plan::new(FamilyId::V4, mode, 1 << 19), Life::Mixed, "");
        }
    }

    fn opening(&mut self, plan: &Plan, life: Life, unusual: &str) {
        let (effort, tsc_hz) = (self.effort(), self.tsc_hz);
        let row = opening::row(&mut self.stand, plan, life, effort, tsc_hz);
        let group = if life == Life::Mixed { "mixed" } else { "new connections" };
        let row = row.unwrap_or_else(|failure| Row {
            mode: Some(mode_name(plan.mode)),
            family: Some(family_number(plan.family)),
            ..Row::new(group, format!("{life:?}")).failed(&failure)
        });
        let name = format!("{} {unusual}", row.name).trim_end().to_owned();
        self.put(Row { name, ..row });
    }

    fn flood(&mut self) {
        let plan = Plan::new(FamilyId::V4, ForwardMode::Masquerade, 1 << 18);
        let flood_ms = if self.pace == Pace::Quick { 3000 } else { 10_000 };
        match flood::row(&mut self.stand, &plan, flood_ms, self.tsc_hz) {
            Ok((row, unharmed)) => {
                self.measured.unharmed = Some(unharmed);
                self.put(row);
            }
            Err(failure) => self.put(Row::new("flood", "SYN flood").failed(&failure)),
        }
    }

    fn workers(&mut self) {
        let window_ms = if self.pace == Pace::Quick { 100 } else { 300 };
        let mut effort = self.effort();
        effort.spare = effort.spare.min(3 * effort.windows);
        let window = Duration::from_millis(window_ms);
        let rows = pair::rows(&mut self.stand, effort, window, self.tsc_hz);
        self.put_all("workers", rows);
    }

    fn rules(&mut self) {
        let churn = if self.pace == Pace::Quick { 1 } else { 5 };
        match change::rows(&mut self.stand, Duration::from_secs(churn)) {
            Ok((rows, disturbance)) => {
                self.measured.disturbance = Some(disturbance);
                self.put_all("rules", Ok(rows));
            }
            Err(failure) => self.put_all("rules", Err(failure)),
        }
    }
}

/// Refuses what would make the machine swap: the table, the flows of both directions, and as much
/// again.
fn enough_memory(plan: &Plan) -> Result<(), Failure> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = line.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    let size_bytes = 2 * table_bytes(plan);
    if available.is_some_and(|kb| kb * 1024 < size_bytes) {
        return Err(dpdk::RegionError::NoMemory { size_bytes }.into());
    }
    Ok(())
}
