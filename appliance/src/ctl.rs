// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client of the control socket: what is called `ipvsadm`.
//!
//! The words of the command line become one line, the reply's body goes to stdout as it comes in,
//! its other lines to stderr, and its status is the exit status. Names of hosts and ports are
//! this side's business: they are resolved before a line is sent, and put in place of numbers in a
//! listing without `-n`. What has no names in it is passed on as it was written, so that the
//! director finds the mistakes. A director that says nothing for half a minute hangs, and is not
//! waited for.

mod capture;
mod connect;
mod names;
mod restore;
mod services;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use control::command::Command;
use control::config;
use control::help;
use control::names::{Localizer, NumbersOnly};
use control::parse::{self, ParseError};
use control::render;
use control::reply::{self, Ending};
use control::words::{self, BadLine};

use names::SystemNames;

/// The variable that names another socket.
const SOCKET_VARIABLE: &str = "POINTSMAN_SOCKET";

/// The exit status when there is no director to ask: ipvsadm's where the kernel has no IPVS.
const NO_DIRECTOR: u8 = 2;
/// How long the director may take to accept, to read on, or to send the next byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// The exit status when nobody reads stdout any more: what a shell shows for SIGPIPE.
const NO_READER: u8 = 128 + 13;

/// The control socket: the given one, else the environment's, else the default.
pub fn socket_path(given: Option<PathBuf>) -> PathBuf {
    let named = || std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
    given
        .or_else(|| named().map(PathBuf::from))
        .unwrap_or_else(|| config::Control::default().socket)
}

/// Has the director behind `socket` carry out a command, with this process's stdin, stdout and
/// stderr.
pub fn run(socket: &Path, words: &[OsString]) -> ExitCode {
    let status = converse(socket, words, PATIENCE).unwrap_or_else(|error| {
        if error.is_silent() {
            return NO_READER;
        }
        if let Some(answer) = own_answer(words).filter(|_| error.means_no_director()) {
            print!("{answer}");
            return 0;
        }
        eprintln!("{error}");
        NO_DIRECTOR
    });
    ExitCode::from(status)
}

/// Why a command was not carried out, or its reply not shown.
#[derive(Debug, thiserror::Error)]
enum CtlError {
    #[error(
        "no director answers at {0}; start one with `pointsman run --config FILE`, or name its \
         control socket with --socket or in {SOCKET_VARIABLE}"
    )]
    NoDirector(PathBuf),
    #[error("{0}: permission denied; be root or in the group that owns the control socket")]
    Denied(PathBuf),
    #[error("{0}: cannot connect: {1}")]
    Unreachable(PathBuf, io::Error),
    #[error(
        "the director is there but has said nothing for {} s; its log, or the load of its \
         management CPU, may tell why",
        PATIENCE.as_secs()
    )]
    Silent,
    #[error("the director closed the connection before it had answered; its log says why")]
    Unanswered,
    #[error("the director stopped; the rules sent so far may be in force")]
    StoppedInRestore,
    #[error("{0}")]
    Line(#[from] BadLine),
    #[error("stdin: {0}; the rules before that are in force")]
    Rules(io::Error),
    #[error("--capture NIC|drops|SERVICE needs a FILE to write, or - for stdout")]
    NoFile,
    #[error("{0}: {1}; the capture was ended")]
    File(String, io::Error),
    #[error("stdout: {0}")]
    Output(io::Error),
}

impl CtlError {
    fn connect(socket: &Path, error: io::Error) -> Self {
        let path = socket.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NoDirector(path),
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            io::ErrorKind::WouldBlock => Self::Silent,
            _ => Self::Unreachable(path, error),
        }
    }

    /// Whether nobody said anything about the command.
    fn means_no_director(&self) -> bool {
        use CtlError::{Denied, NoDirector, Silent, Unanswered, Unreachable};
        matches!(self, NoDirector(_) | Denied(_) | Unreachable(..) | Silent | Unanswered)
    }

    /// Whether it is no mistake but a reader that has seen enough (`| head`).
    fn is_silent(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The answer to `-h` and `-v`, which needs no director.
fn own_answer(words: &[OsString]) -> Option<String> {
    let words = texts(words).ok()?;
    help::answer(&parse::parse(&words, &NumbersOnly).ok()?)
}

fn texts(words: &[OsString]) -> Result<Vec<String>, BadLine> {
    let text = |word: &OsString| word.clone().into_string().map_err(|_| BadLine::NotText);
    words.iter().map(text).collect()
}

fn converse(socket: &Path, words: &[OsString], patience: Duration) -> Result<u8, CtlError> {
    let stream = connect::connect(socket, patience).map_err(|e| CtlError::connect(socket, e))?;
    let words = texts(words)?;
    let names = SystemNames::default();
    let (line, command) = match resolve(&words, &names) {
        Resolved::Command(command) => (render::line(&command), Some(command)),
        Resolved::AsWritten(command) => (words::join(&words), command),
        Resolved::Wrong(error) => return Ok(report(&error)),
    };
    let file = match &command {
        Some(Command::Capture(request)) => Some(request.file.as_deref().ok_or(CtlError::NoFile)?),
        _ => None,
    };
    let mut own_error = None;
    let mut requests = BufWriter::new(&stream);
    // A director that reads no more has said why: the reply tells.
    let mut sent = writeln!(requests, "{line}").and_then(|()| requests.flush());
    let restores = matches!(command, Some(Command::Restore { .. }));
    let atomic = command == Some(Command::Restore { atomic: true });
    if sent.is_ok() && restores {
        let rules = BufReader::new(io::stdin().lock());
        (own_error, sent) = restore::send(rules, requests, &names, atomic)?;
    }
    if let Some(file) = file {
        return capture::receive(&stream, file);
    }
    let localizer = command.as_ref().map(Localizer::new);
    let stdout = BufWriter::new(io::stdout().lock());
    let status = show(BufReader::new(&stream), localizer, &names, stdout);
    match (status, sent, own_error) {
        (Err(CtlError::Unanswered), ..) if restores => Err(CtlError::StoppedInRestore),
        (Err(CtlError::Unanswered), Err(error), _) => {
            Err(CtlError::Unreachable(socket.to_owned(), error))
        }
        (Ok(_), _, Some(error)) => Ok(report(&error)),
        (status, ..) => status,
    }
}

/// A command after a look for names.
enum Resolved {
    /// It had names, and this is what they mean.
    Command(Command),
    /// It has none, or is wrong without them: the director is told the words themselves.
    AsWritten(Option<Command>),
    /// It is wrong, which the director, not knowing the names, would say differently.
    Wrong(ParseError),
}

fn resolve(words: &[String], names: &SystemNames) -> Resolved {
    let parsed = parse::parse(words, names);
    match (parsed, names.take_used()) {
        (Ok(command), true) => Resolved::Command(command),
        (Err(error), true) => Resolved::Wrong(error),
        (parsed, false) => Resolved::AsWritten(parsed.ok()),
    }
}

fn report(error: &ParseError) -> u8 {
    eprintln!("{error}");
    error.status()
}

/// Shows a reply as it comes in, and returns its status.
fn show(
    mut reply: impl BufRead,
    mut localizer: Option<Localizer>,
    names: &SystemNames,
    mut body: impl Write,
) -> Result<u8, CtlError> {
    let mut line = Vec::new();
    let Ending { status, errors } = loop {
        line.clear();
        read_line(&mut reply, &mut line)?;
        let text = str::from_utf8(&line).ok();
        if let Some(ending) = text.and_then(reply::ending) {
            break ending;
        }
        let written = match (text, localizer.as_mut()) {
            (Some(text), Some(localizer)) => body.write_all(localizer.line(text, names).as_bytes()),
            _ => body.write_all(&line),
        };
        written.and_then(|()| body.write_all(b"\n")).map_err(CtlError::Output)?;
    };
    body.flush().map_err(CtlError::Output)?;
    for _ in 0..errors {
        line.clear();
        read_line(&mut reply, &mut line)?;
        line.push(b'\n');
        // There is nobody to tell that stderr is closed.
        let _ = io::stderr().write_all(&line);
    }
    Ok(status)
}

/// Reads a line without its end; one that the director did not end is no line.
fn read_line(reply: &mut impl BufRead, line: &mut Vec<u8>) -> Result<(), CtlError> {
    match reply.read_until(b'\n', line) {
        Ok(_) if line.pop_if(|last| *last == b'\n').is_some() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(CtlError::Silent),
        _ => Err(CtlError::Unanswered),
    }
}

#[cfg(test)]
mod tests;
