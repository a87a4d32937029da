// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions per packet of the whole path, by stage: what must not change unseen.
//!
//! Counts repeat on any machine to a fraction of an instruction, other than times. They are of a
//! turn of the poll loop with a burst of 64 over [`CONNECTIONS`] connections: receive, balance,
//! transmit on an in-memory NIC. `instructions.toml` holds what was counted last.

use std::collections::BTreeMap;
use std::hint::black_box;

use lb::service::ForwardMode;
use serde::{Deserialize, Serialize};
use wire::FamilyId;

use crate::callgrind::Stages;
use crate::established::{Established, Way};
use crate::opening::fresh;
use crate::plan::{Group, Plan, family_number, mode_name};
use crate::reference::{BURST, Reference, Work};
use crate::rig::{Rig, Side};
use crate::row::Failure;
use crate::run::MODES;
use crate::stand::Stand;
use crate::traffic::{Segment, Traffic};

/// Connections in the table, and packets that are counted.
pub const CONNECTIONS: u32 = 4096;
/// Connections that fill a table: with those of both directions three quarters of its index.
const FULL: u32 = CONNECTIONS * 3 / 4;
/// Relative change of a count that is not a change.
const MARGIN: f64 = 0.03;
/// Instructions that a stage may change by, however small it is.
const SLACK: f64 = 2.0;

/// Stages whose code is the distribution's: it chooses by the processor how to copy bytes.
const NOT_OURS: [&str; 3] = ["driver", "libc", "other"];

/// What is counted, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// testpmd's 5tswap.
    Swap(FamilyId),
    /// Packets of established connections.
    Packets(FamilyId, ForwardMode, Way),
    /// Requests by NAT while a table is full, and its index as full as it gets: some keys are not
    /// in their first bucket.
    Full(FamilyId),
    /// First packets of connections.
    Opening(FamilyId, ForwardMode),
}

impl Scenario {
    /// Every scenario.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for family in [FamilyId::V4, FamilyId::V6] {
            all.push(Self::Swap(family));
            for mode in MODES {
                let ways = Way::of(&Plan::new(family, mode, CONNECTIONS)).iter();
                let ways = ways.filter(|way| **way != Way::Both);
                all.extend(ways.map(|way| Self::Packets(family, mode, *way)));
                all.push(Self::Opening(family, mode));
            }
            all.push(Self::Full(family));
        }
        all
    }

    /// Its name in the record.
    pub fn name(self) -> String {
        match self {
            Self::Swap(family) => format!("5tswap IPv{}", family_number(family)),
            Self::Packets(family, mode, way) => {
                format!("{} {} IPv{}", mode_name(mode), way.name(), family_number(family))
            }
            Self::Full(family) => format!("NAT request, full table IPv{}", family_number(family)),
            Self::Opening(family, mode) => {
                format!("{} SYN IPv{}", mode_name(mode), family_number(family))
            }
        }
    }

    fn plan(self) -> Plan {
        let (family, mode) = match self {
            Self::Swap(family) => (family, ForwardMode::Direct),
            Self::Packets(family, mode, _) | Self::Opening(family, mode) => (family, mode),
            Self::Full(family) => (family, ForwardMode::Masquerade),
        };
        Plan::new(family, mode, if matches!(self, Self::Full(_)) { FULL } else { 4 * CONNECTIONS })
    }
}

/// Goes through all scenarios once; to be run under callgrind.
///
/// # Errors
/// A packet was lost.
pub fn run(mut stand: Stand) -> Result<(), Failure> {
    for scenario in Scenario::all() {
        let plan = scenario.plan();
        let mut established =
            Established::new(&mut stand, &plan, CONNECTIONS.min(plan.capacity), &[60])?;
        match scenario {
            Scenario::Swap(_) => {
                let mut swap = established.reference(Work::FiveTupleSwap)?;
                for _ in 0..CONNECTIONS as usize / BURST {
                    swap.feed()?;
                    counted(Counted::Swap(&mut swap));
                    swap.drain();
                }
            }
            Scenario::Packets(_, _, Way::Replies) => {
                let replies = established.replies.clone();
                pass(&mut established.rig, Side::Lan, &replies, Segment::Data)?;
            }
            Scenario::Packets(..) | Scenario::Full(_) => {
                let requests = established.requests.clone();
                pass(&mut established.rig, Side::Wan, &requests, Segment::Data)?;
            }
            Scenario::Opening(..) => {
                let clients = fresh(&plan, Group::Fresh, CONNECTIONS);
                pass(&mut established.rig, Side::Wan, &clients, Segment::Open)?;
            }
        }
        scenario_done(scenario);
    }
    Ok(())
}

fn pass(rig: &mut Rig, side: Side, traffic: &Traffic, segment: Segment) -> Result<(), Failure> {
    let mut next = 0;
    for _ in 0..CONNECTIONS as usize / BURST {
        next = rig.send(side, traffic, next, BURST, segment)?;
        counted(Counted::Turn(rig));
        rig.drain(side.opposite(), |_| ());
    }
    // It serves what the last one received.
    counted(Counted::Turn(rig));
    rig.check_all_left()
}

enum Counted<'a> {
    Turn(&'a mut Rig),
    Swap(&'a mut Reference),
}

/// What callgrind counts: its name is known there.
#[inline(never)]
fn counted(what: Counted<'_>) {
    let frames = match what {
        Counted::Turn(rig) => rig.turn(),
        Counted::Swap(swap) => swap.forward() as usize,
    };
    black_box(frames);
}

/// Where callgrind begins anew: its name is known there.
#[inline(never)]
fn scenario_done(scenario: Scenario) {
    black_box(scenario);
}

/// Instructions per packet of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerPacket {
    /// All of them.
    pub total: f64,
    /// By stage.
    pub stages: BTreeMap<String, f64>,
}

impl From<Stages> for PerPacket {
    fn from(stages: Stages) -> Self {
        let each = |sum: u64| (sum as f64 / f64::from(CONNECTIONS) * 10.0).round() / 10.0;
        let total = each(stages.values().sum());
        let stages = stages.into_iter().map(|(stage, sum)| (stage, each(sum)));
        Self { total, stages: stages.filter(|(_, count)| *count >= 0.5).collect() }
    }
}

impl PerPacket {
    /// What is ours of the total.
    fn ours(&self) -> f64 {
        let others = NOT_OURS.iter().filter_map(|stage| self.stages.get(*stage));
        self.total - others.sum::<f64>()
    }
}

/// What was counted last, as `instructions.toml` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The compiler, which has its share in every count.
    pub rustc: String,
    /// By scenario.
    pub packet: BTreeMap<String, PerPacket>,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}; record anew: make bench-instructions RECORD=1")]
pub struct BadRecord(#[from] toml::de::Error);

impl Recorded {
    /// Reads a record.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, BadRecord> {
        Ok(toml::from_str(text)?)
    }

    /// The most that a packet of an established connection takes, in any mode and family.
    pub fn most_per_packet(&self) -> Option<f64> {
        let packets = self
            .packet
            .iter()
            .filter(|(name, _)| name.contains("request") || name.contains("reply"));
        packets.map(|(_, counts)| counts.total).reduce(f64::max)
    }

    /// What differs from `now` by more than the margin, a sentence each.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, counts) in &now.packet {
            let Some(before) = self.packet.get(name) else {
                found.push(format!("{name}: {:.1} instructions, none recorded", counts.total));
                continue;
            };
            if is_change(before.ours(), counts.ours()) {
                found.push(format!("{name}: {}", change(before.ours(), counts.ours())));
            }
            let mut stages: Vec<&String> =
                before.stages.keys().chain(counts.stages.keys()).collect();
            stages.sort_unstable();
            stages.dedup();
            for stage in stages.into_iter().filter(|stage| !NOT_OURS.contains(&stage.as_str())) {
                let of = |counts: &PerPacket| counts.stages.get(stage).copied().unwrap_or(0.0);
                let (before, after) = (of(before), of(counts));
                if is_change(before, after) {
                    found.push(format!("{name}, {stage}: {}", change(before, after)));
                }
            }
        }
        let gone = self.packet.keys().filter(|name| !now.packet.contains_key(*name));
        found.extend(gone.map(|name| format!("{name}: recorded, but not counted any more")));
        found
    }
}

fn is_change(before: f64, after: f64) -> bool {
    (after - before).abs() > (before * MARGIN).max(SLACK)
}

fn change(before: f64, after: f64) -> String {
    let percent = (after / before.max(0.1) - 1.0) * 100.0;
    format!("{before:.1} recorded, {after:.1} now ({percent:+.1} %)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(parse: f64, find: f64) -> Recorded {
        let stages = [("parse".to_owned(), parse), ("conn_table".to_owned(), find)];
        let counts = PerPacket { total: parse + find, stages: stages.into() };
        let packet = [("NAT request IPv4".to_owned(), counts)].into();
        Recorded { rustc: "rustc 1.95.0".to_owned(), packet }
    }

    #[test]
    fn a_stage_that_grew_is_named_even_if_another_shrank_as_much() {
        let (before, after) = (record(100.0, 100.0), record(110.0, 90.0));
        let found = before.differences(&after);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with("NAT request IPv4, parse: 100.0 recorded, 110.0 now"));
    }

    #[test]
    fn a_stage_that_became_slower_is_named_though_the_whole_hardly_changed() {
        let before = Recorded::parse(include_str!("../instructions.toml")).unwrap();
        let mut after = before.clone();
        for counts in after.packet.values_mut() {
            if let Some(hash) = counts.stages.get_mut("hash") {
                *hash += 6.0;
                counts.total += 6.0;
            }
        }
        let found = before.differences(&after);
        let named = |what: &str| found.iter().any(|line| line.starts_with(what));
        assert!(named("NAT request IPv4, hash: "), "{found:?}");
        assert!(!named("NAT request IPv4: "), "{found:?}");
    }

    #[test]
    fn noise_is_no_change_and_neither_is_a_small_stage() {
        assert!(record(100.0, 20.0).differences(&record(102.5, 21.0)).is_empty());
    }

    #[test]
    fn what_the_distribution_compiled_may_differ_by_processor() {
        let (mut before, mut after) = (record(100.0, 20.0), record(100.0, 20.0));
        for (record, count) in [(&mut before, 10.0), (&mut after, 90.0)] {
            for counts in record.packet.values_mut() {
                counts.stages.insert("other".to_owned(), count);
                counts.total += count;
            }
        }
        assert!(before.differences(&after).is_empty());
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record(1.5, 2.0);
        let text = toml::to_string(&record).unwrap();
        assert_eq!(Recorded::parse(&text).unwrap(), record);
        assert_eq!(record.most_per_packet(), Some(3.5));
    }
}
