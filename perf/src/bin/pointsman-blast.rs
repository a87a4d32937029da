// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman-blast`: load for a director, and what came of it.

use std::fs;
use std::process::ExitCode;

use clap::Parser;
use perf::blast::options::Options;
use perf::blast::report::Report;
use perf::blast::trials::{self, BlastError};
use perf::row::Failure;

/// Exit status of a run that lost something, with `--no-loss`.
const LOSS: u8 = 1;
/// Exit status of a run that did not take place.
const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match blast(&options) {
        Ok(report) if options.no_loss && !report.is_whole() => ExitCode::from(LOSS),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pointsman-blast: {error}");
            ExitCode::from(TROUBLE)
        }
    }
}

fn blast(options: &Options) -> Result<Report, BlastError> {
    let report = trials::run(options)?;
    if let Some(path) = &options.json {
        let file =
            |error| BlastError::File(Failure::File { path: path.display().to_string(), error });
        let json = serde_json::to_string_pretty(&report).map_err(|error| file(error.into()))?;
        fs::write(path, json + "\n").map_err(file)?;
    }
    Ok(report)
}
