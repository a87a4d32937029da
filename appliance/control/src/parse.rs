// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words → [`Command`], as ipvsadm 1.31 reads them.
//!
//! The first option is the verb. Each option is read in the order in which it was given, since
//! some change the meaning of those that follow (`-r` takes the port of a `-t` before it, `-M` is
//! read by the family of a `-t` before it). Then [`crate::options`] says whether all of them go
//! together, and the command is built.

mod draft;
mod error;

pub use crate::scan::ScanError;
pub use error::ParseError;

use crate::capture;
use crate::command::{Columns, Command, DaemonRole, DaemonSpec, Format, Subject, VirtualService};
use crate::names::Names;
use crate::options::{self, CONNECTION_OPTIONS, Given, Opt, Token, Verb};
use crate::scan::Scanner;
use crate::sysctl::Request;
use crate::values;
use draft::Draft;

/// The largest timeout that an option takes, in seconds: 31 days.
const TIMEOUT_MAX_S: i64 = 31 * 86_400;

/// Reads the words of one command, the name of the program not among them.
///
/// # Errors
/// What ipvsadm prints, with its exit status.
pub fn parse(words: &[String], names: &dyn Names) -> Result<Command, ParseError> {
    if words.is_empty() {
        return Ok(Command::List(Subject::All, Format::default()));
    }
    if let Some((first, rest)) = words.split_first()
        && first == capture::OPTION
    {
        return capture::read(rest, names).map(Command::Capture);
    }
    let mut scanner = Scanner::new(words);
    let mut draft = Draft::new(names);
    let mut first = scanner.next(None);
    if let Ok(Some((atomic @ Token::Option(Opt::Atomic), value))) = first {
        draft.take(atomic, value)?;
        first = scanner.next(None);
    }
    let Ok(Some((Token::Verb(verb), value))) = first else {
        return Err(ParseError::TryHelp);
    };
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        Verb::StartDaemon => draft.role = role(value).ok_or(ParseError::StartDaemon)?,
        Verb::StopDaemon => draft.role = role(value).ok_or(ParseError::StopDaemon)?,
        Verb::Sysctl => draft.sysctl = Request::read(value)?,
        _ => {}
    }
    loop {
        match scanner.next(Some(verb)) {
            Ok(None) => break,
            Ok(Some((Token::Verb(_), _))) => {
                return Err(ParseError::NotAnOption(scanner.last_word().to_owned()));
            }
            Ok(Some((token, value))) => draft.take(token, value)?,
            Err(reason) => {
                return Err(ParseError::Scan { word: scanner.last_word().to_owned(), reason });
            }
        }
    }
    finish(verb, draft, &scanner.leftovers())
}

fn finish(verb: Verb, mut draft: Draft<'_>, leftovers: &[&str]) -> Result<Command, ParseError> {
    let mut leftovers = leftovers.iter().copied().peekable();
    let mut timeouts = [0; 3];
    if verb == Verb::Set {
        let values: Vec<&str> = leftovers.by_ref().take(timeouts.len()).collect();
        if values.len() < timeouts.len() {
            return Err(ParseError::SetValues);
        }
        for (timeout, value) in timeouts.iter_mut().zip(values) {
            *timeout = seconds(value, 0)?;
        }
    }
    let cause = leftovers.next_if(|_| verb == Verb::Drops).map(str::to_owned);
    if let Some(word) = leftovers.next() {
        return Err(ParseError::Unexpected(word.to_owned()));
    }
    draft.read_scheduler_flags()?;
    check(verb, draft.given)?;
    build(verb, draft, timeouts, cause)
}

/// Whether the options go with the verb.
fn check(verb: Verb, given: Given) -> Result<(), ParseError> {
    let Some(legality) = options::legality(verb) else {
        return Ok(());
    };
    let mut exclusive = None;
    for option in Opt::all() {
        let (is_given, is_needed) = (given.contains(option), legality.needs.contains(&option));
        if !is_given {
            if is_needed {
                let option = option.name();
                return Err(ParseError::Missing { option, verb: legality.name });
            }
        } else if legality.one_of.contains(&option) {
            if let Some(with) = exclusive {
                let (option, verb) = (option.name(), legality.name);
                return Err(ParseError::Conflict { option, with, verb });
            }
            exclusive = Some(option.name());
        } else if !is_needed && !legality.takes.contains(&option) {
            return Err(ParseError::Illegal { option: option.name(), verb: legality.name });
        }
    }
    Ok(())
}

fn build(
    verb: Verb,
    draft: Draft<'_>,
    timeouts: [u32; 3],
    cause: Option<String>,
) -> Result<Command, ParseError> {
    let service = draft.service();
    // Whatever a verb needs is there: `check` has seen to it.
    let the_service = || service.ok_or(ParseError::TryHelp);
    let the_server = || draft.server.ok_or(ParseError::TryHelp);
    let the_local = || draft.local.ok_or(ParseError::TryHelp);
    Ok(match verb {
        Verb::AddService => {
            let service = the_service()?;
            Command::AddService(service, draft.service_spec(service)?)
        }
        Verb::EditService => {
            let service = the_service()?;
            Command::EditService(service, draft.service_spec(service)?)
        }
        Verb::DeleteService => Command::DeleteService(the_service()?),
        Verb::Clear => Command::Clear,
        Verb::List => list(service, &draft)?,
        Verb::AddServer => {
            let (server, spec) = draft.server_spec(the_service()?, the_server()?)?;
            Command::AddServer(the_service()?, server, spec)
        }
        Verb::EditServer => {
            let (server, spec) = draft.server_spec(the_service()?, the_server()?)?;
            Command::EditServer(the_service()?, server, spec)
        }
        Verb::DeleteServer => Command::DeleteServer(the_service()?, the_server()?),
        Verb::Set => {
            let [tcp, tcp_fin, udp] = timeouts;
            Command::SetTimeouts { tcp, tcp_fin, udp }
        }
        Verb::StartDaemon => Command::StartDaemon(daemon(&draft)),
        Verb::StopDaemon => Command::StopDaemon { role: draft.role, sync_id: draft.sync_id },
        Verb::Restore => Command::Restore { atomic: draft.given.contains(Opt::Atomic) },
        Verb::Save => Command::Save { numeric: draft.given.contains(Opt::Numeric) },
        Verb::Zero => Command::Zero(service),
        Verb::AddLocal => Command::AddLocal(the_service()?, the_local()?),
        Verb::DeleteLocal => Command::DeleteLocal(the_service()?, the_local()?),
        Verb::ListLocals => Command::ListLocals(service),
        Verb::Drops => Command::Drops(cause),
        Verb::Sysctl => Command::Sysctl(draft.sysctl),
        Verb::Help => Command::Help,
        Verb::Version => Command::Version,
    })
}

fn list(service: Option<VirtualService>, draft: &Draft<'_>) -> Result<Command, ParseError> {
    let given = draft.given;
    let no_table = [Opt::Connection, Opt::Timeout, Opt::Daemon];
    let figures = [Opt::Stats, Opt::Rate, Opt::Thresholds];
    if given.any(&no_table) && given.any(&figures)
        || given.any(&[Opt::Timeout, Opt::Daemon]) && given.contains(Opt::PersistentConn)
    {
        return Err(ParseError::ListConflict);
    }
    if given.any(&CONNECTION_OPTIONS) && !given.contains(Opt::Connection) {
        return Err(ParseError::NoConnections);
    }
    let subject = if given.contains(Opt::Connection) {
        Subject::Connections(draft.connections)
    } else if let Some(service) = service {
        Subject::Service(service)
    } else if given.contains(Opt::Timeout) {
        Subject::Timeouts
    } else if given.contains(Opt::Daemon) {
        Subject::Daemons
    } else {
        Subject::All
    };
    let columns = [
        (Opt::Stats, Columns::Stats),
        (Opt::Rate, Columns::Rate),
        (Opt::Thresholds, Columns::Thresholds),
        (Opt::PersistentConn, Columns::PersistentConn),
        (Opt::TunnelInfo, Columns::TunnelInfo),
    ];
    let chosen = columns.into_iter().find(|(option, _)| given.contains(*option));
    let format = Format {
        numeric: given.contains(Opt::Numeric),
        exact: given.contains(Opt::Exact),
        unsorted: given.contains(Opt::NoSort),
        columns: chosen.map_or(Columns::Plain, |(_, columns)| columns),
    };
    Ok(Command::List(subject, format))
}

fn daemon(draft: &Draft<'_>) -> DaemonSpec {
    let interface = draft.mcast_interface.filter(|name| !name.is_empty());
    DaemonSpec {
        role: draft.role,
        interface: interface.unwrap_or(DaemonSpec::DEFAULT_INTERFACE).to_owned(),
        sync_id: draft.sync_id,
        group: draft.mcast_group,
        port: draft.mcast_port,
        ttl: draft.mcast_ttl,
        message_max: draft.message_max,
    }
}

fn role(value: Option<&str>) -> Option<DaemonRole> {
    match value {
        Some("master") => Some(DaemonRole::Master),
        Some("backup") => Some(DaemonRole::Backup),
        _ => None,
    }
}

/// Reads a timeout of at least `min` seconds.
fn seconds(text: &str, min: i64) -> Result<u32, ParseError> {
    let value = values::number(text, min, TIMEOUT_MAX_S).and_then(|n| u32::try_from(n).ok());
    value.ok_or_else(|| ParseError::Timeout(text.to_owned()))
}
