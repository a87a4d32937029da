// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was aimed at, what was reached, and whether that is enough; no line is ever left out.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::change::Disturbance;
use crate::instructions::Recorded;
use crate::row::Row;
use crate::run::Measured;

/// One line of the table of targets.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What is measured.
    pub quantity: &'static str,
    /// What is wanted.
    pub target: &'static str,
    /// What was measured; none if it was not.
    pub reached: Option<String>,
    /// Whether that is enough; none if it was not measured.
    pub met: Option<bool>,
}

impl Target {
    fn at_most(quantity: &'static str, target: &'static str, limit: f64, got: Option<f64>) -> Self {
        let reached =
            got.map(|got| if got < 10.0 { format!("{got:.2}") } else { format!("{got:.0}") });
        Self { quantity, target, reached, met: got.map(|got| got <= limit) }
    }
}

/// The whole table; `record` is the file of instruction counts.
pub fn targets(measured: &Measured, record: &Path) -> Vec<Target> {
    let rows = &measured.rows;
    let established = |count| worst_ratio(rows, count);
    vec![
        Target::at_most(
            "established, any mode, IPv4, 1 k connections",
            "<= 2.0 x 5tswap",
            2.0,
            established(1000),
        ),
        Target::at_most(
            "the same, 1 M connections, random order",
            "<= 3.0 x",
            3.0,
            established(1_000_000),
        ),
        Target::at_most("the same, 10 M connections", "<= 4.0 x", 4.0, established(10_000_000)),
        Target::at_most("IPv6 against IPv4, any mode", "<= 1.25 x", 1.25, worst_family_ratio(rows)),
        Target::at_most(
            "instructions per established packet (recorded)",
            "<= 460",
            460.0,
            most_instructions(record),
        ),
        Target::at_most(
            "new connection: SYN, schedule, insert; any mode",
            "<= 1000 cycles",
            1000.0,
            worst_opening(rows),
        ),
        Target::at_most(
            "bytes per connection, IPv4, index included",
            "<= 160",
            160.0,
            most_bytes(rows),
        ),
        Target::at_most(
            "two workers over one, over the same of 5tswap",
            "<= 1.05",
            1.05,
            scaling(rows),
        ),
        load(measured),
        Target {
            quantity: "changes of rules under load",
            target: "0 packets lost, 0 connections moved",
            reached: measured.disturbance.map(|d| format!("{} lost, {} moved", d.lost, d.moved)),
            met: measured.disturbance.map(|d| d.lost == 0 && d.moved == 0),
        },
        Target {
            quantity: "SYN flood at 10 x the good load",
            target: ">= 99 % unharmed",
            reached: measured.unharmed.map(|u| {
                format!("{:.2} % established, {:.2} % new", 100.0 * u.established, 100.0 * u.new)
            }),
            met: measured.unharmed.map(|u| u.established.min(u.new) >= 0.99),
        },
    ]
}

fn load(measured: &Measured) -> Target {
    Target {
        quantity: "10000 services x 10 servers loaded under load",
        target: "<= 2 s, no turn > 100 us",
        reached: measured.disturbance.map(|d| {
            let Disturbance { load_s, turn_us, at_rest_us, .. } = d;
            format!("{load_s:.2} s, {turn_us:.0} us (at rest {at_rest_us:.0} us)")
        }),
        met: measured.disturbance.map(|d| d.load_s <= 2.0 && d.turn_us <= 100.0),
    }
}

/// Rows over TCP in frames of 64 bytes to one service.
fn usual(rows: &[Row], family: u8) -> impl Iterator<Item = &Row> {
    rows.iter().filter(move |row| {
        row.group == "established"
            && row.family == Some(family)
            && ["request", "reply", "both ways"].contains(&row.name.as_str())
    })
}

fn worst_ratio(rows: &[Row], count: u32) -> Option<f64> {
    let counted = usual(rows, 4).filter(|row| row.connections == Some(count));
    worst(counted.map(|row| row.ratio))
}

fn worst_family_ratio(rows: &[Row]) -> Option<f64> {
    let ratios = usual(rows, 6).map(|six| {
        let four = usual(rows, 4).find(|four| {
            (four.mode, &four.name, four.connections) == (six.mode, &six.name, six.connections)
        });
        Some(six.cycles?.median / four?.cycles?.median)
    });
    worst(ratios)
}

fn worst_opening(rows: &[Row]) -> Option<f64> {
    let openings = rows.iter().filter(|row| {
        row.group == "new connections"
            && row.family == Some(4)
            && row.name == "SYN, schedule, insert"
    });
    worst(openings.map(|row| row.cycles.map(|cycles| cycles.median)))
}

fn most_bytes(rows: &[Row]) -> Option<f64> {
    worst(usual(rows, 4).map(|row| row.bytes_per_connection))
}

fn scaling(rows: &[Row]) -> Option<f64> {
    let mut workers = rows.iter().filter(|row| row.group == "workers");
    let (one, two) = (workers.next()?, workers.next()?);
    Some(two.ratio? / one.ratio?)
}

fn most_instructions(record: &Path) -> Option<f64> {
    let recorded = Recorded::parse(&fs::read_to_string(record).ok()?).ok()?;
    recorded.most_per_packet()
}

/// The largest; none if one is missing or there is none.
fn worst(figures: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    figures.reduce(|a, b| Some(a?.max(b?))).flatten()
}
