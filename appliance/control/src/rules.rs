// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules files: what `-S -n` prints, read at the start and saved after a change.
//!
//! A rule a line: `-A`, `-a` and `-P`, numbers only. Unlike `ipvsadm -R`, empty lines and lines
//! that start with `#` are allowed, and a file counts as a whole: a line that is wrong keeps all
//! others from being loaded.

use lb::catalog::Catalog;

use crate::command::Command;
use crate::listing;
use crate::names::{Names, NumbersOnly};
use crate::parse::{self, ParseError};
use crate::{render, words};

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
        let command = parse::parse(&words, &NumbersOnly)
            .map_err(|reason| RulesError::NoCommand { line, reason })?;
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
