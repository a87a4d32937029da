// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman`: from arguments to an exit status.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use appliance::cli::Command;
use appliance::{boot, ctl, doctor};
use control::config::Config;

fn main() -> ExitCode {
    let command = Command::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match command {
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
        Command::Doctor { config } => doctor::run(config.as_deref()),
        Command::Ctl { socket, words } => ctl::run(&ctl::socket_path(socket), &words),
        Command::Replay(_) => finish(Err("replay is not part of this build")),
        Command::Version => {
            println!("pointsman {}, {}", env!("CARGO_PKG_VERSION"), dpdk::release());
            ExitCode::SUCCESS
        }
    }
}

fn run(config: &Path) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    finish(boot::run(config))
}

fn check(config: &Path) -> ExitCode {
    finish(Config::load(config).map(|_| println!("{}: ok", config.display())))
}

fn finish(outcome: Result<(), impl std::fmt::Display>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pointsman: {error}");
            ExitCode::FAILURE
        }
    }
}
