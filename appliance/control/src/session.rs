// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client of the control socket: bytes in, commands carried out, outcomes out.
//!
//! No I/O: whoever owns the socket feeds what was read, writes what [`Session::advance`] gives,
//! and reads no more while the client does not take its replies. Memory is bounded: one line of
//! [`LINE_MAX`] bytes, and what [`restore`] keeps of an `-R`. A line that is too long is dropped
//! as it comes and answered with an error at its end; the next one is understood again. A line that
//! the client did not end is never carried out.

mod restore;

use crate::apply::{Director, Outcome, Plane};
use crate::command::Command;
use crate::names::NumbersOnly;
use crate::parse;
use crate::words::{self, BadLine, LINE_MAX};
use restore::Restore;
pub use restore::{
    ATOMIC_BYTES_MAX, RESTORE_BODY_MAX, RESTORE_ERROR_BYTES_MAX, RESTORE_ERRORS_MAX,
};

/// One connection to the control socket.
#[derive(Debug, Default)]
pub struct Session {
    buffer: Vec<u8>,
    start: usize,
    /// The line that is coming in is too long.
    skipping: bool,
    restore: Option<Restore>,
}

/// What to do next for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every whole line was carried out: feed more.
    NeedsInput,
    /// A line was carried out that has no answer of its own.
    Continues,
    /// Write this.
    Outcome(Outcome),
}

/// What a client is to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A request, or nothing: the client may leave.
    Request,
    /// A rule of its `-R`, or the line that ends it.
    Rule,
    /// The rest of a line.
    LineEnd,
}

impl Session {
    /// A client that has sent nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the client; returns how many, which is fewer only if there are whole lines
    /// to carry out first.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        self.buffer.drain(..self.start);
        self.start = 0;
        let room = (LINE_MAX + 1).saturating_sub(self.buffer.len());
        let (taken, _) = bytes.split_at(room.min(bytes.len()));
        self.buffer.extend_from_slice(taken);
        taken.len()
    }

    /// What is to come, once every whole line was carried out.
    pub fn awaits(&self) -> Awaited {
        match &self.restore {
            _ if self.skipping || self.start < self.buffer.len() => Awaited::LineEnd,
            Some(_) => Awaited::Rule,
            None => Awaited::Request,
        }
    }

    /// Carries out the next line.
    pub fn advance<P: Plane>(&mut self, director: &mut Director<P>) -> Progress {
        let Some(line) = self.take_line() else {
            return Progress::NeedsInput;
        };
        match self.restore.as_mut() {
            None => self.request(line, director),
            Some(restore) => match restore.line(line, director) {
                None => Progress::Continues,
                Some(reply) => {
                    self.restore = None;
                    Progress::Outcome(Outcome::Reply(reply))
                }
            },
        }
    }

    fn request<P: Plane>(
        &mut self,
        line: Result<String, BadLine>,
        director: &mut Director<P>,
    ) -> Progress {
        let reply = match line.and_then(|line| words::split(&line)) {
            Err(error) => error.into(),
            Ok(words) => match parse::parse(&words, &NumbersOnly) {
                Err(error) => error.into(),
                Ok(Command::Restore { atomic }) => {
                    self.restore = Some(Restore::new(atomic));
                    return Progress::Continues;
                }
                Ok(command) => return Progress::Outcome(director.execute(&command)),
            },
        };
        Progress::Outcome(Outcome::Reply(reply))
    }

    fn take_line(&mut self) -> Option<Result<String, BadLine>> {
        let waiting = self.buffer.get(self.start..).unwrap_or_default();
        let Some(end) = waiting.iter().position(|byte| *byte == b'\n') else {
            if self.skipping || waiting.len() > LINE_MAX {
                self.skipping = true;
                self.buffer.clear();
                self.start = 0;
            }
            return None;
        };
        let line = waiting.get(..end).unwrap_or_default().to_vec();
        self.start += end + 1;
        if std::mem::take(&mut self.skipping) {
            return Some(Err(BadLine::TooLong));
        }
        Some(String::from_utf8(line).map_err(|_| BadLine::NotText))
    }
}
