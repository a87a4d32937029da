// SPDX-License-Identifier: MIT OR Apache-2.0
//! `-R`: rules from a stream, sent without waiting, since the director replies at the end only.
//!
//! The outcome is what `ipvsadm -R` would give line by line: the status is the last rule's, and a
//! rule that is no command ends it. A rule whose names were resolved and that is wrong all the same
//! is judged here; the director never sees it.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use control::parse::ParseError;
use control::render;
use control::words::{self, LINE_MAX};

use super::names::SystemNames;
use super::{CtlError, Resolved, report, resolve};

/// Sends the rules and the line that ends them. Returns the error of the last rule if it was judged
/// here, and whether all could be sent.
pub(super) fn send(
    mut rules: BufReader<impl Read>,
    mut director: BufWriter<impl Write>,
    names: &SystemNames,
    atomic: bool,
) -> Result<(Option<ParseError>, io::Result<()>), CtlError> {
    let mut last_error = None;
    let mut line = Vec::new();
    while read_rule(&mut rules, &mut line)? {
        let rule = match judge(&line, names) {
            Judged::Nothing => continue,
            Judged::AsWritten => &line,
            // Rules that count together are judged together.
            Judged::Wrong(_) if atomic => &line,
            Judged::Rule(rule) => &rule.into_bytes(),
            Judged::Wrong(error) => {
                let ends = error.ends_restore();
                if let Some(earlier) = last_error.replace(error) {
                    report(&earlier);
                }
                if ends {
                    break;
                }
                continue;
            }
        };
        if let Some(earlier) = last_error.take() {
            report(&earlier);
        }
        let mut sent = send_rule(rule, &mut director);
        if rules.buffer().is_empty() {
            // Whoever writes the rules may wait for something before the next one.
            sent = sent.and_then(|()| director.flush());
        }
        if sent.is_err() {
            return Ok((last_error, sent));
        }
    }
    let sent = director.write_all(b".\n").and_then(|()| director.flush());
    Ok((last_error, sent))
}

enum Judged {
    Nothing,
    AsWritten,
    Rule(String),
    Wrong(ParseError),
}

fn judge(line: &[u8], names: &SystemNames) -> Judged {
    let Some(text) = str::from_utf8(line).ok().filter(|text| text.len() <= LINE_MAX) else {
        return Judged::AsWritten;
    };
    let words = words::split_rule(text);
    if words.is_empty() {
        return Judged::Nothing;
    }
    match resolve(&words, names) {
        Resolved::Command(command) => Judged::Rule(render::rule(&command)),
        Resolved::AsWritten(_) => Judged::AsWritten,
        Resolved::Wrong(error) => Judged::Wrong(error),
    }
}

/// Reads a line without its end; false after the last. Of a line that is too long as much is kept
/// as makes the director say so.
fn read_rule(rules: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, CtlError> {
    line.clear();
    let count = rules
        .by_ref()
        .take(LINE_MAX as u64 + 2)
        .read_until(b'\n', line)
        .map_err(CtlError::Rules)?;
    let ended = line.pop_if(|last| *last == b'\n').is_some();
    if !ended && line.len() > LINE_MAX {
        rules.skip_until(b'\n').map_err(CtlError::Rules)?;
    }
    Ok(count > 0)
}

fn send_rule(rule: &[u8], director: &mut impl Write) -> io::Result<()> {
    if rule.trim_ascii_end() == b"." {
        // A rule of one dot is wrong, and only a space tells it from the end.
        director.write_all(b" ")?;
    }
    director.write_all(rule)?;
    director.write_all(b"\n")
}
