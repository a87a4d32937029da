// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--capture`: the reply's body becomes a file.
//!
//! The first SIGINT or SIGTERM only says that there is enough: the director ends the capture, and
//! the file is whole. A second one ends the program.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use control::capture;
use control::reply::{self, Ending};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::{CtlError, read_line};

/// Writes what comes in to `file`, `-` being stdout, and returns the reply's status.
pub(super) fn receive(stream: &UnixStream, file: &str) -> Result<u8, CtlError> {
    let named = |error| CtlError::File(file.to_owned(), error);
    let mut reply = BufReader::new(stream);
    let mut line = Vec::new();
    // A capture that is refused leaves no file.
    read_line(&mut reply, &mut line)?;
    let is_refused = str::from_utf8(&line).ok().and_then(reply::ending);
    let Ending { status, errors } = match is_refused {
        Some(ending) => ending,
        None => {
            let mut out: Box<dyn Write> = match file {
                "-" => Box::new(io::stdout().lock()),
                path => Box::new(BufWriter::new(File::create(path).map_err(named)?)),
            };
            stop_on_signal(stream).map_err(named)?;
            let ending = copy(&mut reply, &mut line, &mut out, named)?;
            out.flush().map_err(named)?;
            ending
        }
    };
    for _ in 0..errors {
        line.clear();
        read_line(&mut reply, &mut line)?;
        line.push(b'\n');
        // There is nobody to tell that stderr is closed.
        let _ = io::stderr().write_all(&line);
    }
    Ok(status)
}

/// Copies lines, the first of which was read, up to the reply's end.
fn copy(
    reply: &mut BufReader<&UnixStream>,
    line: &mut Vec<u8>,
    out: &mut dyn Write,
    named: impl Fn(io::Error) -> CtlError,
) -> Result<Ending, CtlError> {
    loop {
        if let Some(ending) = str::from_utf8(line).ok().and_then(reply::ending) {
            return Ok(ending);
        }
        let bytes = capture::read_line(line).ok_or(CtlError::Unanswered)?;
        out.write_all(&bytes).map_err(&named)?;
        if reply.buffer().is_empty() {
            // Whoever looks on sees each frame as it comes.
            out.flush().map_err(&named)?;
        }
        line.clear();
        read_line(reply, line)?;
    }
}

/// From the first signal on, the director hears that there is enough.
fn stop_on_signal(stream: &UnixStream) -> io::Result<()> {
    let stream = stream.try_clone()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _within = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            for sends_on in [true, false] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if sends_on {
                    // The director may be gone already.
                    let _ = stream.shutdown(Shutdown::Write);
                } else {
                    std::process::exit(super::NO_DIRECTOR.into());
                }
            }
        });
    });
    Ok(())
}
