// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman`: from arguments to an exit status.

use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use appliance::cli::{Command, Replay};
use appliance::{boot, ctl, doctor, replay};
use control::config::Config;

fn main() -> ExitCode {
    let command = Command::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match command {
        Command::Run { config } => run(&config),
        Command::Check { config } => {
            finish(doctor::check(&config).map(|()| println!("{}: ok", config.display())))
        }
        Command::Doctor { config } => doctor::run(config.as_deref()),
        Command::Ctl { socket, words } => ctl::run(&ctl::socket_path(socket), &words),
        Command::Replay(asked) => finish(balance(&asked)),
        Command::Version => {
            println!("pointsman {}, {}", env!("CARGO_PKG_VERSION"), dpdk::release());
            ExitCode::SUCCESS
        }
    }
}

fn run(config: &Path) -> ExitCode {
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false);
    log.with_ansi(io::stderr().is_terminal()).init();
    finish(boot::run(config))
}

fn balance(asked: &Replay) -> Result<(), String> {
    let config = Config::load(&asked.config).map_err(|error| error.to_string())?;
    let rules = match asked.rules.as_ref().or(config.rules.file.as_ref()) {
        Some(file) => fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?,
        None => String::new(),
    };
    let workers = asked.workers.unwrap_or(config.workers.count);
    let summary = if asked.explain {
        let mut out = io::BufWriter::new(io::stdout().lock());
        replay::explain(&config, &rules, [&asked.inputs, &asked.outputs], workers, &mut out)
    } else {
        replay::replay(&config, &rules, &asked.inputs, &asked.outputs, workers)
    };
    summary.map(|summary| print!("{summary}")).map_err(|error| error.to_string())
}

fn finish(outcome: Result<(), impl Display>) -> ExitCode {
    outcome.map_or_else(
        |error| {
            eprintln!("pointsman: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}
