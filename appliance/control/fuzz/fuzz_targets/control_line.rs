// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes on the control socket: no panic, and what was understood survives being written down.
#![no_main]

use control::apply::{Director, Outcome, Pace, Plane};
use control::names::NumbersOnly;
use control::parse::parse;
use control::session::{Progress, Session};
use control::{render, rules, words};
use lb::catalog::Catalog;
use lb::counters::{Figures, ServerCounts};
use lb::limits::Limits;
use libfuzzer_sys::fuzz_target;

struct Nowhere;

impl Plane for Nowhere {
    fn publish(&mut self, _: &Catalog, _: Pace) {}

    fn local_ports_conflict(&self) -> Option<String> {
        None
    }
}

fn director() -> Director<Nowhere> {
    let limits = Limits { services: 16, servers: 32, connections: 16, ..Limits::DEFAULT };
    let figures = Figures::new(Vec::new(), ServerCounts::new(&limits), &limits);
    Director::new(Catalog::new(&limits), figures, Nowhere)
}

fuzz_target!(|bytes: &[u8]| {
    let mut director = director();
    let mut session = Session::new();
    let mut rest = bytes;
    let mut written = Vec::new();
    while !rest.is_empty() {
        let taken = session.feed(rest);
        rest = &rest[taken..];
        loop {
            match session.advance(&mut director) {
                Progress::NeedsInput => break,
                Progress::Outcome(Outcome::Reply(reply)) => {
                    written.extend(reply.body.bytes().chain(reply.end().bytes()));
                }
                Progress::Outcome(_) | Progress::Continues => {}
            }
        }
    }
    for line in String::from_utf8_lossy(bytes).lines() {
        let Ok(words) = words::split(line) else { continue };
        assert_eq!(words::split(&words::join(&words)).as_ref(), Ok(&words));
        let Ok(command) = parse(&words, &NumbersOnly) else { continue };
        let again = words::split(&render::line(&command)).expect("words");
        assert_eq!(parse(&again, &NumbersOnly).as_ref(), Ok(&command));
    }
    let saved = rules::write(director.catalog());
    let mut loaded = self::director();
    loaded.load(&rules::read(&saved).expect("what is saved can be read")).expect("and loaded");
    assert_eq!(rules::write(loaded.catalog()), saved);
});
