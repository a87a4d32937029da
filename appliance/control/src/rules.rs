// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules files: what `-S -n` prints, read at the start and saved after a change.
//!
//! A rule a line: `-A`, `-a` and `-P`, numbers only. Unlike `ipvsadm -R`, empty lines and lines
//! that start with `#` are allowed, and a file counts as a whole: a line that is wrong keeps all
//! others from being loaded.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lb::catalog::Catalog;
use lb::counters::{Figures, ServerCounts};
use lb::limits::Limits;

use crate::apply::{Director, Pace, Plane};
use crate::command::Command;
use crate::config::{self, Config};
use crate::names::{Names, NumbersOnly};
use crate::parse::{self, ParseError};
use crate::{listing, render, text, words};

/// A line of a rules file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its line, counted from 1.
    pub line: usize,
    /// What it does.
    pub command: Command,
}

/// Why a rules file was not loaded; the text starts with the line, so that `FILE:` can precede it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// A line is no command.
    #[error("{line}: {reason}")]
    NoCommand {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: ParseError,
    },
    /// A line does not start like a command.
    #[error("{line}: a rule starts with -A, -P or -a")]
    NoVerb {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line is a command that does not belong in the file.
    #[error("{line}: no rule; rules add services (-A), local addresses (-P) and servers (-a)")]
    NoRule {
        /// The line, counted from 1.
        line: usize,
    },
    /// A rule was refused.
    #[error("{line}: {reason}")]
    Refused {
        /// The line, counted from 1.
        line: usize,
        /// Why.
        reason: String,
    },
}

/// Why the rules that a configuration names are not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesFileError {
    /// There is no file.
    #[error(
        "{0}: no such file; write it with `ipvsadm -S -n`, set [rules] file to where it is, or let \
         [rules] persist = true make it"
    )]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("{path}: cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: ErrorKind,
    },
    /// The file holds other bytes than text.
    #[error("{path}:{line}: not UTF-8 text; rules are what `ipvsadm -S -n` prints")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A line is wrong.
    #[error("{path}:{reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        reason: RulesError,
    },
}

/// Reads the rules that a director starts with; a file that is to be saved may not be there yet.
///
/// # Errors
/// Why not, with the file and line.
pub fn of(config: &config::Rules) -> Result<Vec<Rule>, RulesFileError> {
    let Some(path) = config.file.clone() else { return Ok(Vec::new()) };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && config.persist => Vec::new(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(RulesFileError::Missing(path));
        }
        Err(error) => return Err(RulesFileError::Unreadable { path, reason: error.kind() }),
    };
    match text::utf8(&bytes) {
        Ok(text) => read(text).map_err(|reason| RulesFileError::Wrong { path, reason }),
        Err(line) => Err(RulesFileError::NotText { path, line }),
    }
}

/// Reads the rules that a director starts with, and loads them into one that does not run.
///
/// # Errors
/// Why they could not be read, or the first one that is refused.
pub fn rehearse(config: &Config) -> Result<Vec<Rule>, RulesFileError> {
    let rules = of(&config.rules)?;
    let nothing_counted = Limits { services: 0, servers: 0, connections: 0, ..Limits::DEFAULT };
    let counts = ServerCounts::new(&nothing_counted);
    let figures = Figures::new(Vec::new(), counts, &nothing_counted);
    let catalog = Catalog::new(&config.limits());
    let mut director = Director::new(catalog, figures, Rehearsal(config.workers.owner));
    director.load(&rules).map_err(|reason| {
        let path = config.rules.file.as_deref().unwrap_or(Path::new("")).to_owned();
        RulesFileError::Wrong { path, reason }
    })?;
    Ok(rules)
}

/// A director without workers.
struct Rehearsal(config::Owner);

impl Plane for Rehearsal {
    fn publish(&mut self, _: &Catalog, _: Pace) {}

    /// The host's ports are not the rules' fault.
    fn local_ports_conflict(&self) -> Option<String> {
        None
    }

    fn nat_conflict(&self) -> Option<&'static str> {
        self.0.nat_conflict()
    }
}

/// Reads the text of a rules file.
///
/// # Errors
/// The first line that is no rule.
pub fn read(text: &str) -> Result<Vec<Rule>, RulesError> {
    let mut rules = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        let words = words::split_rule(text);
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let command = parse::parse(&words, &NumbersOnly).map_err(|reason| match reason {
            ParseError::TryHelp => RulesError::NoVerb { line },
            reason => RulesError::NoCommand { line, reason },
        })?;
        if !command.is_rule() {
            return Err(RulesError::NoRule { line });
        }
        rules.push(Rule { line, command });
    }
    Ok(rules)
}

/// What a client sends for a line of its `-R`: the rule with names resolved, or the line itself if
/// it is no rule, so that the appliance says so when its turn comes.
pub fn to_send(text: &str, names: &dyn Names) -> String {
    let words = words::split_rule(text);
    match parse::parse(&words, names) {
        // An empty line is not a rule, whatever it means as a command.
        _ if words.is_empty() => String::new(),
        Ok(command) => render::rule(&command),
        Err(_) if words == ["."] => "-".to_owned(),
        Err(_) => words.join(" "),
    }
}

/// The text of the rules file that restores this catalog.
pub fn write(catalog: &Catalog) -> String {
    listing::rules(catalog)
}
