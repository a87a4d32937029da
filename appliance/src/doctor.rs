// SPDX-License-Identifier: MIT OR Apache-2.0
//! `doctor`: what of this machine would be in the way of a start, and how to mend it.
//!
//! Each check is a function from what the system says (the text of a file below `/proc` or `/sys`,
//! an answer of the kernel) to findings; only the `examine` functions look at the machine. Nothing
//! is changed: no driver is bound, no page reserved, no interface made. What can be seen only by a
//! start, or was left alone because a director runs, is said to be unseen, never to be right.

mod abilities;
mod devices;
mod host;
mod memory;
mod privileges;
mod processors;
mod sockets;
mod steering;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use control::config::{Config, ConfigError};
use control::rules;

/// What a machine is held against without a configuration: the default of every key.
const DEFAULTS: &str = "[[nic]]\nname = \"none\"\ndevice = \"net_null0\"\n";

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Ok,
    /// The director runs, but slower or other than one may think.
    Warn,
    /// The director does not start, or not as configured.
    Fail,
    /// Nobody looked.
    Unseen,
}

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    what: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self { level: Level::Ok, what: what.into(), remedy: None }
    }

    fn unseen(what: impl Into<String>) -> Self {
        Self { level: Level::Unseen, what: what.into(), remedy: None }
    }

    fn warn(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn fail(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, what: what.into(), remedy: Some(remedy.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
            Level::Unseen => "unseen",
        };
        write!(f, "{level:<7} {}", self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n{:<7} to mend: {remedy}", ""),
            None => Ok(()),
        }
    }
}

/// Whether a configuration is right, and the rules that it starts with.
///
/// # Errors
/// What is wrong, with the file and line, and what would be right.
pub fn check(path: &Path) -> Result<(), String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    rules::rehearse(&config).map(drop).map_err(|error| error.to_string())
}

/// Prints the findings for a configuration, or for the defaults; failure if one is in the way.
pub fn run(config: Option<&Path>) -> ExitCode {
    let loaded = match config {
        Some(path) => Config::load(path),
        None => defaults(),
    };
    let findings = match loaded {
        Ok(config) => examine(&config),
        Err(error @ ConfigError::Missing(_)) => {
            vec![Finding::fail(error.to_string(), "name a file that is there")]
        }
        Err(error) => vec![Finding::fail(error.to_string(), "correct that line")],
    };
    let mut report: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let failures = count(Level::Fail);
    report += &format!(
        "{failures} in the way of a start, {} to think about, {} unseen, {} ok\n",
        count(Level::Warn),
        count(Level::Unseen),
        count(Level::Ok)
    );
    if config.is_none() {
        report += "NICs, their host interfaces and local ports need --config FILE\n";
    }
    // Whoever closed stdout does not want to know.
    let _ = io::stdout().write_all(report.as_bytes());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn defaults() -> Result<Config, ConfigError> {
    let mut config = Config::parse(DEFAULTS, "defaults")?;
    config.nics.clear();
    Ok(config)
}

fn examine(config: &Config) -> Vec<Finding> {
    let (socket_findings, director) = sockets::examine(config);
    let mut findings = vec![devices::release(dpdk::release())];
    findings.extend(privileges::examine(config));
    findings.extend(processors::examine(config));
    findings.extend(memory::examine(config, director));
    findings.extend(devices::examine(config));
    findings.extend(host::examine(config, director));
    findings.extend(socket_findings);
    findings.extend(steering::wiring(config));
    let in_the_way = findings.iter().any(|finding| finding.level == Level::Fail);
    findings.extend(abilities::examine(config, director, in_the_way));
    findings
}

/// Whether a director answers at the control socket of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Director {
    Runs,
    IsAbsent,
}

/// The text of a file of the system; none if it cannot be read.
fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// The first number after `name` in a file of such lines: `/proc/meminfo`, `/proc/self/status`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_comes_with_its_remedy() {
        assert_eq!(Finding::ok("2 CPUs").to_string(), "ok      2 CPUs");
        let finding = Finding::fail("no tun", "modprobe tun");
        assert_eq!(finding.to_string(), "FAIL    no tun\n        to mend: modprobe tun");
    }

    #[test]
    fn the_defaults_are_a_configuration_without_nics() {
        assert!(defaults().expect("right by itself").nics.is_empty());
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "HugePages_Total:      7\nHugePages_Free:       3\n";
        assert_eq!(field(text, "HugePages_Free"), Some("3"));
        assert_eq!(field(text, "HugePages"), None);
    }
}
