// SPDX-License-Identifier: MIT OR Apache-2.0
//! A director without workers, and a client that talks to it as `ctl` does.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use control::apply::{Director, Outcome, Pace, Plane};
use control::command::{Command, Transport};
use control::listing;
use control::locals::LocalConns;
use control::names::{Localizer, Names};
use control::parse::parse;
use control::reply::{self, Reply};
use control::session::{Progress, Session};
use control::{render, words};
use lb::catalog::Catalog;
use lb::counters::{Figures, ServerCounts, WorkerCounters};
use lb::ids::WorkerId;
use lb::limits::Limits;

/// Counts what is published.
#[derive(Debug, Default)]
pub struct Counted {
    /// Catalogs published.
    pub published: usize,
    /// Whether FULLNAT local ports are refused.
    pub conflict: bool,
}

impl Plane for Counted {
    fn publish(&mut self, _: &Catalog, _: Pace) {
        self.published += 1;
    }

    fn interface_mtu(&self, interface: &str) -> Option<u16> {
        (interface == "dummy0").then_some(1500)
    }

    fn local_ports_conflict(&self) -> Option<String> {
        self.conflict.then(|| "local ports collide with the host's; lower its range".to_owned())
    }
}

/// Small tables, so that their limits can be met.
pub const LIMITS: Limits =
    Limits { services: 64, servers: 256, connections: 16, ..Limits::DEFAULT };

/// A director with no services and one idle worker.
pub fn director() -> Director<Counted> {
    let worker = WorkerCounters::new(WorkerId(0), &LIMITS);
    director_with(vec![worker])
}

/// A director that reads these workers' counters.
pub fn director_with(workers: Vec<Arc<WorkerCounters>>) -> Director<Counted> {
    let figures = Figures::new(workers, ServerCounts::new(&LIMITS), &LIMITS);
    Director::new(Catalog::new(&LIMITS), figures, Counted::default())
}

/// The names of the machine on which the recordings were made.
pub struct Hosts;

const HOSTS: [(&str, &str); 3] = [
    ("vip.example", "192.0.2.10"),
    ("rs1.example", "192.0.2.20"),
    ("vip6.example", "2001:db8::10"),
];
const PORTS: [(&str, u16); 4] = [("http", 80), ("https", 443), ("http-alt", 8080), ("domain", 53)];

impl Names for Hosts {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        HOSTS.iter().find(|(name, _)| *name == host)?.1.parse().ok()
    }

    fn port(&self, service: &str, transport: Transport) -> Option<u16> {
        let known = PORTS.iter().find(|(name, _)| *name == service)?;
        (transport != Transport::Sctp).then_some(known.1)
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        let text = address.to_string();
        Some(HOSTS.iter().find(|(_, address)| *address == text)?.0.to_owned())
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        let known = PORTS.iter().find(|(_, number)| *number == port)?;
        (transport != Transport::Sctp).then(|| known.0.to_owned())
    }
}

/// Runs one command line as `ctl` does: parsed with the names known here, sent as its canonical
/// line through a session, names put into the reply.
pub fn ctl(director: &mut Director<Counted>, words: &[String], names: &dyn Names) -> Reply {
    let command = match parse(words, names) {
        Ok(command) => command,
        Err(error) => return error.into(),
    };
    let reply = send(director, &format!("{}\n", render::line(&command)));
    let mut localizer = Localizer::new(&command);
    let localized = reply.body.lines().map(|line| format!("{}\n", localizer.line(line, names)));
    Reply { body: localized.collect(), ..reply }
}

/// Runs a line with numbers only.
pub fn run(director: &mut Director<Counted>, line: &str) -> Reply {
    let words = words::split(line).expect("a line of words");
    ctl(director, &words, &control::names::NumbersOnly)
}

/// Sends bytes through a session of their own, and reads the only reply from the bytes written.
pub fn send(director: &mut Director<Counted>, text: &str) -> Reply {
    let mut replies = exchange(director, text);
    assert_eq!(replies.len(), 1, "{text}");
    replies.remove(0)
}

/// Sends bytes through a session of their own, and reads the replies from the bytes written.
pub fn exchange(director: &mut Director<Counted>, text: &str) -> Vec<Reply> {
    let mut session = Session::new();
    let mut written = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        let taken = session.feed(rest);
        rest = &rest[taken..];
        loop {
            match session.advance(director) {
                Progress::NeedsInput => break,
                Progress::Continues => {}
                Progress::Outcome(Outcome::Reply(reply)) => {
                    written.extend(reply.body.bytes().chain(reply.end().bytes()));
                }
                Progress::Outcome(Outcome::Capture(_)) => {
                    written.extend(Reply::done().end().bytes());
                }
                Progress::Outcome(Outcome::Locals(of)) => {
                    let body = LocalConns::default().listing(director.catalog(), of);
                    written.extend(body.bytes().chain(Reply::done().end().bytes()));
                }
                Progress::Outcome(Outcome::Connections(_, format)) => {
                    written.extend(listing::connections_heading(format).bytes());
                    written.extend(Reply::done().end().bytes());
                }
            }
        }
        if rest.is_empty() {
            return decode(&String::from_utf8(written).expect("text"));
        }
    }
}

/// Reads replies as a client does.
fn decode(text: &str) -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut body = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match reply::ending(line) {
            None => {
                body.push_str(line);
                body.push('\n');
            }
            Some(ending) => {
                let errors: Vec<_> =
                    lines.by_ref().take(ending.errors).map(str::to_owned).collect();
                assert_eq!(errors.len(), ending.errors);
                let status = ending.status;
                replies.push(Reply { body: std::mem::take(&mut body), status, errors });
            }
        }
    }
    assert_eq!(body, "", "the last reply has no end");
    replies
}

/// Reads a line with numbers only.
pub fn command(line: &str) -> Result<Command, control::parse::ParseError> {
    parse(&words::split(line).expect("a line of words"), &control::names::NumbersOnly)
}
