// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tables as text.

use crate::row::Row;
use crate::targets::Target;

/// The heading of the table of rows.
pub fn heading() -> String {
    format!(
        "{:<8}{:>2} {:>9}  {:<34}{:>20} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6}  {:<20} {}",
        "mode",
        "ip",
        "conns",
        "what",
        "cycles (min-max)",
        "ns",
        "5tswap",
        "ratio",
        "Mpps",
        "kconn/s",
        "B/conn",
        "p50/p99/p99.9 us",
        "note"
    )
}

/// A row under that heading.
pub fn line(row: &Row) -> String {
    let optional = |figure: Option<f64>, decimals: usize| {
        figure.map_or(String::new(), |figure| format!("{figure:.decimals$}"))
    };
    let cycles = row.cycles.map_or(String::new(), |cycles| {
        format!("{:.0} ({:.0}-{:.0})", cycles.median, cycles.min, cycles.max)
    });
    let latency = row.latency.map_or(String::new(), |latency| {
        let [a, b, c] = [latency.p50_ns, latency.p99_ns, latency.p999_ns]
            .map(|ns| format!("{:.1}", ns as f64 / 1000.0));
        format!("{a}/{b}/{c}")
    });
    let text = format!(
        "{:<8}{:>2} {:>9}  {:<34}{:>20} {:>7} {:>7} {:>6} {:>6} {:>7} {:>6}  {:<20} {}",
        row.mode.unwrap_or_default(),
        row.family.map_or(String::new(), |family| family.to_string()),
        row.connections.map_or(String::new(), |count| count.to_string()),
        row.name,
        cycles,
        optional(row.ns.map(|ns| ns.median), 1),
        optional(row.reference_cycles.map(|cycles| cycles.median), 0),
        optional(row.ratio, 2),
        optional(row.mpps, 2),
        optional(row.connections_per_s.map(|rate| rate / 1000.0), 0),
        optional(row.bytes_per_connection, 0),
        latency,
        row.note
    );
    text.trim_end().to_owned()
}

/// The table of targets.
pub fn targets(targets: &[Target]) -> String {
    let mut text = format!("{:<50} {:<37} {:<32} {}\n", "quantity", "target", "reached", "");
    for target in targets {
        let verdict = match target.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        let reached = target.reached.as_deref().unwrap_or("-");
        text += &format!("{:<50} {:<37} {reached:<32} {verdict}\n", target.quantity, target.target);
    }
    text
}
