// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two runs of the bench side by side: do their ratios agree?
//!
//! Only ratios are compared: cycles and latencies are of the machine and the minute. A row that one
//! run has and the other has not, or could not measure, is a difference.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is read of a run's JSON.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    rows: Vec<Line>,
}

/// What is read of a row: its name and its ratio.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    group: String,
    name: String,
    mode: Option<String>,
    family: Option<u8>,
    connections: Option<u32>,
    ratio: Option<f64>,
}

/// A file that is no run of the bench.
#[derive(Debug, thiserror::Error)]
#[error("{path} is no result of the bench ({error}); write one with --json FILE")]
pub struct NotAResult {
    path: String,
    error: serde_json::Error,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Rows that both runs measured.
    pub compared: usize,
    /// The largest change among them, as a share.
    pub largest: f64,
    /// Rows that differ by more than the margin, a sentence each.
    pub differences: Vec<String>,
}

impl Recorded {
    /// Reads a run that `--json` wrote; `path` is for the error.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str, path: &str) -> Result<Self, NotAResult> {
        serde_json::from_str(text).map_err(|error| NotAResult { path: path.to_owned(), error })
    }

    /// What differs from `other` by more than `margin`, a share of the smaller ratio.
    #[must_use]
    pub fn compare(&self, other: &Self, margin: f64) -> Comparison {
        let (first, second) = (self.ratios(), other.ratios());
        let mut found = Comparison { compared: 0, largest: 0.0, differences: Vec::new() };
        for (key, (name, before)) in &first {
            match (*before, second.get(key).map(|(_, after)| *after)) {
                (_, None) => found.differences.push(format!("{name}: only in the first run")),
                (Some(before), Some(Some(after))) => {
                    found.compared += 1;
                    let change = (before - after).abs() / before.min(after);
                    found.largest = found.largest.max(change);
                    if change > margin {
                        let percent = (after / before - 1.0) * 100.0;
                        found.differences.push(format!(
                            "{name}: {before:.2} x 5tswap, then {after:.2} ({percent:+.1} %)"
                        ));
                    }
                }
                (None, Some(None)) => {}
                (before, _) => {
                    let which = if before.is_some() { "first" } else { "second" };
                    found.differences.push(format!("{name}: measured in the {which} run only"));
                }
            }
        }
        let new = second.iter().filter(|(key, _)| !first.contains_key(*key));
        let only = |(_, (name, _)): (_, &(String, _))| format!("{name}: only in the second run");
        found.differences.extend(new.map(only));
        found
    }

    /// Titles and ratios. How many connections there were at the end is a result of some rows, so
    /// rows are matched by its order of magnitude.
    fn ratios(&self) -> BTreeMap<(String, Option<u32>), (String, Option<f64>)> {
        let magnitude = |line: &Line| line.connections.and_then(u32::checked_ilog10);
        let key = |line: &Line| (line.title(None), magnitude(line));
        let value = |line: &Line| (line.title(line.connections), line.ratio);
        self.rows.iter().map(|line| (key(line), value(line))).collect()
    }
}

impl Line {
    fn title(&self, connections: Option<u32>) -> String {
        let mode = self.mode.as_deref().map(|mode| format!(" {mode}")).unwrap_or_default();
        let family = self.family.map(|family| format!(" IPv{family}")).unwrap_or_default();
        let connections = connections.map(|count| format!(" {count}")).unwrap_or_default();
        format!("{}{mode}{family}{connections} {}", self.group, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Spread;
    use crate::row::Row;

    fn run(rows: &[(&str, Option<f64>)]) -> Recorded {
        let rows: Vec<Row> = rows
            .iter()
            .map(|(name, ratio)| {
                let row = Row { mode: Some("NAT"), family: Some(4), ..Row::new("g", *name) };
                let spread = |median| Spread { windows: 5, median, min: median, max: median };
                match ratio {
                    Some(ratio) => row.packets((spread(*ratio), spread(1.0)), 1_000_000_000),
                    None => row,
                }
            })
            .collect();
        let text = serde_json::json!({ "machine": {}, "rows": rows, "targets": [] }).to_string();
        Recorded::parse(&text, "a.json").unwrap()
    }

    #[test]
    fn ratios_within_the_margin_agree() {
        let found = run(&[("a", Some(2.0)), ("b", None)])
            .compare(&run(&[("a", Some(2.19)), ("b", None)]), 0.1);
        assert_eq!((found.compared, found.differences.len()), (1, 0), "{found:?}");
        assert!((found.largest - 0.095).abs() < 1e-9);
    }

    #[test]
    fn rows_are_the_same_though_other_connections_were_left() {
        let run = |connections: u32| {
            let lines = [1000, connections].map(|connections| Line {
                group: "mixed".into(),
                name: "a".into(),
                mode: None,
                family: Some(4),
                connections: Some(connections),
                ratio: Some(f64::from(connections.ilog10())),
            });
            Recorded { rows: lines.to_vec() }
        };
        let found = run(165_706).compare(&run(165_547), 0.1);
        assert_eq!((found.compared, found.differences.len()), (2, 0), "{found:?}");
    }

    #[test]
    fn a_ratio_beyond_the_margin_is_named_in_either_direction() {
        let (slow, fast) = (run(&[("a", Some(2.3))]), run(&[("a", Some(2.0))]));
        assert_eq!(
            fast.compare(&slow, 0.1).differences,
            ["g NAT IPv4 a: 2.00 x 5tswap, then 2.30 (+15.0 %)"]
        );
        assert_eq!(slow.compare(&fast, 0.1).differences.len(), 1);
    }

    #[test]
    fn a_row_that_one_run_lacks_is_a_difference() {
        let found = run(&[("a", Some(1.0)), ("b", None), ("c", Some(1.0))])
            .compare(&run(&[("b", Some(1.0)), ("c", None), ("d", None)]), 0.1);
        assert_eq!(
            found.differences,
            [
                "g NAT IPv4 a: only in the first run",
                "g NAT IPv4 b: measured in the second run only",
                "g NAT IPv4 c: measured in the first run only",
                "g NAT IPv4 d: only in the second run",
            ]
        );
        assert!(Recorded::parse("{}", "x.json").unwrap_err().to_string().contains("--json"));
    }
}
