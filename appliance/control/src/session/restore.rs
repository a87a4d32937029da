// SPDX-License-Identifier: MIT OR Apache-2.0
//! `-R`: rules as they come in, carried out one by one, or kept until all are there.

use crate::apply::{Director, Outcome, Pace, Plane};
use crate::command::Command;
use crate::names::NumbersOnly;
use crate::parse::{self, ParseError};
use crate::reply::Reply;
use crate::words::{self, BadLine};

/// The lines for stderr that one `-R` keeps; how many more there were is said in one line.
pub const RESTORE_ERRORS_MAX: usize = 1000;
/// The bytes of those lines.
pub const RESTORE_ERROR_BYTES_MAX: usize = 64 * 1024;
/// The bytes of listings between the rules of one `-R`.
pub const RESTORE_BODY_MAX: usize = 256 * 1024;
/// The bytes of the rules that one `--atomic -R` keeps.
pub const ATOMIC_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An `-R` whose rules are coming in.
#[derive(Debug)]
pub(super) enum Restore {
    OneByOne(OneByOne),
    Atomic(Atomic),
}

impl Restore {
    pub(super) fn new(atomic: bool) -> Self {
        if atomic { Self::Atomic(Atomic::default()) } else { Self::OneByOne(OneByOne::default()) }
    }

    /// Takes one line; the reply comes with the line `.`.
    pub(super) fn line<P: Plane>(
        &mut self,
        line: Result<String, BadLine>,
        director: &mut Director<P>,
    ) -> Option<Reply> {
        if line.as_deref().is_ok_and(|line| line.trim_end() == ".") {
            return Some(match self {
                Self::OneByOne(restore) => restore.reply(),
                Self::Atomic(restore) => restore.carry_out(director),
            });
        }
        match self {
            Self::OneByOne(restore) => restore.line(line, director),
            Self::Atomic(restore) => restore.line(line),
        }
        None
    }
}

/// Rules that take effect as they come.
#[derive(Debug, Default)]
pub(super) struct OneByOne {
    /// What was asked between the rules.
    body: String,
    /// Of the last rule.
    status: u8,
    errors: Vec<String>,
    error_bytes: usize,
    errors_left_out: usize,
    /// A rule was no command: those that follow are not carried out.
    ended: bool,
}

impl OneByOne {
    fn line<P: Plane>(&mut self, line: Result<String, BadLine>, director: &mut Director<P>) {
        if self.ended {
            return;
        }
        let reply = match read(line) {
            None => return,
            Some(Ok(command)) if command.is_query() => self.answer(director.execute(&command)),
            Some(Ok(command)) => director.change(&command, Pace::Soon),
            Some(Err((reply, ends))) => {
                self.ended = ends;
                reply
            }
        };
        self.status = reply.status;
        for error in reply.errors {
            let bytes = self.error_bytes + error.len();
            if self.errors.len() < RESTORE_ERRORS_MAX && bytes <= RESTORE_ERROR_BYTES_MAX {
                self.error_bytes = bytes;
                self.errors.push(error);
            } else {
                self.errors_left_out += 1;
            }
        }
    }

    /// Keeps a listing until the end; whether it could be.
    fn answer(&mut self, outcome: Outcome) -> Reply {
        let reason = match outcome {
            Outcome::Reply(reply) if self.body.len() + reply.body.len() <= RESTORE_BODY_MAX => {
                self.body.push_str(&reply.body);
                return reply;
            }
            Outcome::Reply(_) => "too much is listed between rules; ask with a command of its own",
            Outcome::Connections(..) | Outcome::Locals(_) => {
                "connections are not listed between rules; ask with a command of its own"
            }
            Outcome::Capture(_) => "frames are not captured between rules; --capture stands alone",
        };
        self.ended = true;
        Reply::error(2, reason)
    }

    fn reply(&mut self) -> Reply {
        let mut errors = std::mem::take(&mut self.errors);
        if self.errors_left_out > 0 {
            errors.push(format!("{} more errors are not shown", self.errors_left_out));
        }
        Reply { body: std::mem::take(&mut self.body), status: self.status, errors }
    }
}

/// Rules that take effect together, or not at all.
#[derive(Debug, Default)]
pub(super) struct Atomic {
    /// Each with its line, counted from 1.
    rules: Vec<(usize, Command)>,
    lines: usize,
    bytes: usize,
    /// The first rule that is none.
    wrong: Option<Reply>,
}

impl Atomic {
    fn line(&mut self, line: Result<String, BadLine>) {
        self.lines += 1;
        if self.wrong.is_some() {
            return;
        }
        self.bytes += line.as_ref().map_or(0, String::len);
        if self.bytes > ATOMIC_BYTES_MAX {
            let most = ATOMIC_BYTES_MAX >> 20;
            let reason = format!("more than {most} MiB of rules; leave --atomic out");
            self.refuse(self.lines, Reply::error(2, &reason));
            return;
        }
        match read(line) {
            None => {}
            Some(Ok(command)) if command.is_query() => {
                let reason = "a rule must change something; ask with a command of its own";
                self.refuse(self.lines, Reply::error(2, reason));
            }
            Some(Ok(command)) => self.rules.push((self.lines, command)),
            Some(Err((reply, _))) => self.refuse(self.lines, reply),
        }
    }

    fn refuse(&mut self, line: usize, reply: Reply) {
        self.wrong = Some(nothing_changed(line, reply));
        self.rules = Vec::new();
    }

    fn carry_out<P: Plane>(&mut self, director: &mut Director<P>) -> Reply {
        if let Some(wrong) = self.wrong.take() {
            return wrong;
        }
        let rules = std::mem::take(&mut self.rules).into_iter();
        let (lines, commands): (Vec<_>, Vec<_>) = rules.unzip();
        match director.change_all(&commands) {
            Ok(()) => Reply::done(),
            Err((place, reply)) => nothing_changed(lines.get(place).copied().unwrap_or(0), reply),
        }
    }
}

/// The reply to rules of which the one in `line` is wrong.
fn nothing_changed(line: usize, reply: Reply) -> Reply {
    let reason = reply.errors.join(" ");
    let reason = format!("line {line}: {}; nothing was changed", reason.trim_end());
    Reply { errors: vec![reason], ..reply }
}

/// A rule: none for an empty line, or why it is none, and whether that ends an `-R`.
fn read(line: Result<String, BadLine>) -> Option<Result<Command, (Reply, bool)>> {
    let line = match line {
        Ok(line) => line,
        Err(error) => return Some(Err((error.into(), true))),
    };
    let words = words::split_rule(&line);
    if words.is_empty() {
        return None;
    }
    Some(match parse::parse(&words, &NumbersOnly) {
        Err(error) => {
            let ends = error.ends_restore();
            Err((error.into(), ends))
        }
        Ok(Command::Restore { .. }) => Err((ParseError::TryHelp.into(), true)),
        Ok(command) => Ok(command),
    })
}
