// SPDX-License-Identifier: MIT OR Apache-2.0
//! `bench`: measures what packets cost and prints one table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use perf::compare::Recorded;
use perf::plot;
use perf::row::{Failure, Row};
use perf::run::{Measured, Pace, Run};
use perf::stand::{Pages, Stand, cpus};
use perf::table;
use perf::targets::{Target, targets};
use serde::Serialize;

/// Measures what packets cost, beside reference loops in the same seconds.
#[derive(Debug, Parser)]
struct Options {
    /// Two minutes instead of ten; up to a million connections.
    #[arg(long)]
    quick: bool,
    /// The pages under packet buffers.
    #[arg(long, value_enum, default_value = "normal")]
    pages: Pages,
    /// Measures only groups of rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Writes everything as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws cost against connections, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measures nothing: says which ratios of two runs that --json wrote differ by more than
    /// --within, and exits with 1 if any does.
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"])]
    compare: Vec<PathBuf>,
    /// Percent that ratios may differ by.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, requires = "compare")]
    within: f64,
}

/// Everything that a reader needs to judge the figures.
#[derive(Serialize)]
struct Report<'a> {
    machine: &'a Machine,
    rows: &'a [Row],
    targets: &'a [Target],
}

#[derive(Serialize)]
struct Machine {
    processor: String,
    cpus: usize,
    tsc_hz: u64,
    dpdk: &'static str,
    pages: String,
    commit: String,
    load_before: String,
    load_after: String,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let [first, second] = options.compare.as_slice() {
        return match compare(first, second, options.within) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(words) => {
                eprintln!("bench: {words}");
                ExitCode::from(2)
            }
        };
    }
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether two runs agree; prints what does not.
fn compare(first: &Path, second: &Path, percent: f64) -> Result<bool, String> {
    let read = |path: &Path| {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        Recorded::parse(&text, &shown).map_err(|error| error.to_string())
    };
    let found = read(first)?.compare(&read(second)?, percent / 100.0);
    for difference in &found.differences {
        println!("{difference}");
    }
    println!(
        "{} ratios compared, {} rows beyond {percent} %, the largest change {:.1} %",
        found.compared,
        found.differences.len(),
        found.largest * 100.0
    );
    Ok(found.differences.is_empty())
}

fn measure(options: &Options) -> Result<(), Failure> {
    let stand = Stand::new(options.pages)?;
    let mut machine = Machine::new(&stand);
    println!("{machine}\n\n{}", table::heading());
    let (eal, only) = (stand.eal.clone(), options.only.clone());
    let pace = if options.quick { Pace::Quick } else { Pace::Full };
    // Rows with several threads use all CPUs; the others the last, away from interrupts.
    let thread = eal.spawn("bench", cpus().last().copied(), move |_| {
        Run::new(stand, pace, &only, &mut |row| println!("{}", table::line(row))).all()
    })?;
    let measured: Measured = thread.join().map_err(|_| Failure::Thread)?;
    machine.load_after = load();
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
    let targets = targets(&measured, &record);
    println!("\nload afterwards: {}\n\n{}", machine.load_after, table::targets(&targets));
    let rows = &measured.rows;
    if let Some(path) = &options.json {
        let report = Report { machine: &machine, rows, targets: &targets };
        let json = serde_json::to_string_pretty(&report).map_err(std::io::Error::other);
        write(path, json.map_err(|error| file(path, error))?)?;
    }
    if let Some(path) = &options.svg {
        write(path, plot::svg(rows))?;
    }
    Ok(())
}

fn write(path: &Path, text: String) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| file(path, error))
}

fn file(path: &Path, error: std::io::Error) -> Failure {
    Failure::File { path: path.display().to_string(), error }
}

impl Machine {
    fn new(stand: &Stand) -> Self {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("model name"));
        let git = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
            .output();
        let commit = git.map(|git| String::from_utf8_lossy(&git.stdout).trim().to_owned());
        Self {
            processor: model.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']).to_owned(),
            cpus: cpus().len(),
            tsc_hz: stand.eal.tsc_hz(),
            dpdk: dpdk::release(),
            pages: format!("{:?}", stand.pages).to_lowercase(),
            commit: commit.unwrap_or_default(),
            load_before: load(),
            load_after: String::new(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} x {}, TSC {:.3} GHz, {}, {} pages, commit {}, load {}",
            self.cpus,
            self.processor,
            self.tsc_hz as f64 / 1e9,
            self.dpdk,
            self.pages,
            self.commit,
            self.load_before
        )
    }
}

/// The load averages of 1, 5 and 15 minutes.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
