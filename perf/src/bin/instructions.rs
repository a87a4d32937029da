// SPDX-License-Identifier: MIT OR Apache-2.0
//! `instructions`: counts the instructions of the packet path and compares them with the record.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser;
use perf::callgrind;
use perf::instructions::{self, CONNECTIONS, PerPacket, Recorded, Scenario};
use perf::reference::BURST;
use perf::row::Failure;
use perf::stand::{Pages, Stand};

/// Counts the instructions of the packet path, and fails if they are not those recorded.
#[derive(Debug, Parser)]
struct Options {
    /// Records what is counted instead of comparing.
    #[arg(long)]
    record: bool,
    /// Runs the scenarios and counts nothing: what valgrind is given.
    #[arg(long, hide = true)]
    scenarios: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = if options.scenarios {
        scenarios().map_err(|failure| failure.to_string())
    } else {
        compare(options.record)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("instructions: {words}");
            ExitCode::FAILURE
        }
    }
}

fn scenarios() -> Result<(), Failure> {
    let stand = Stand::new(Pages::Normal)?;
    let eal = stand.eal.clone();
    let thread = eal.spawn("instructions", None, move |_| instructions::run(stand))?;
    thread.join().map_err(|_| Failure::Thread)?
}

fn compare(is_recording: bool) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let all = Scenario::all();
    let counted = callgrind::count(&program, "--scenarios", all.len());
    let counted = counted.map_err(|error| error.to_string())?;
    let packet = all.iter().map(|scenario| scenario.name());
    let packet = packet.zip(counted.into_iter().map(PerPacket::from)).collect();
    let now = Recorded { rustc: rustc(), packet };
    print(&all, &now);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
    if is_recording {
        return record(&path, &now);
    }
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let before = Recorded::parse(&text).map_err(|error| error.to_string())?;
    let found = before.differences(&now);
    if found.is_empty() {
        println!("\nas recorded, within 3 %");
        return Ok(());
    }
    let compilers = if before.rustc == now.rustc {
        String::new()
    } else {
        format!("\n(recorded with {}, counted with {})", before.rustc, now.rustc)
    };
    Err(format!(
        "{} counts changed; if that is meant, record them: make bench-instructions RECORD=1\n  \
         {}{compilers}",
        found.len(),
        found.join("\n  ")
    ))
}

fn record(path: &Path, now: &Recorded) -> Result<(), String> {
    let text = toml::to_string(now).map_err(|error| error.to_string())?;
    let text = format!(
        "# SPDX-License-Identifier: MIT OR Apache-2.0\n# Instructions per packet; written by make \
         bench-instructions RECORD=1.\n{text}"
    );
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A line per scenario: the total, then the stages from the dearest on.
fn print(all: &[Scenario], now: &Recorded) {
    println!("instructions per packet, {BURST} in a burst, {CONNECTIONS} connections");
    for name in all.iter().map(|scenario| scenario.name()) {
        let Some(counts) = now.packet.get(&name) else {
            continue;
        };
        let mut stages: Vec<_> = counts.stages.iter().collect();
        stages.sort_by(|a, b| b.1.total_cmp(a.1));
        let stages: Vec<String> =
            stages.iter().map(|(stage, count)| format!("{stage} {count:.0}")).collect();
        println!("{name:<22}{:>8.1}  {}", counts.total, stages.join(", "));
    }
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(
        |_| "an unknown compiler".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
