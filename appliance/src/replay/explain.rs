// SPDX-License-Identifier: MIT OR Apache-2.0
//! `replay --explain`: the story of each frame, one line per decision.
//!
//! The workers tell a [`Witness`] what they decide; this one writes it down with what follows from
//! the frame's own bytes: what it was, what it became, and whether its checksums are right. Frames
//! go through the workers one by one, so that no two stories mix.

use std::fmt::{Display, Write as _};
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use lb::batch::Origin;
use lb::conn::Direction;
use lb::ids::{NicId, WorkerId};
use lb::network::{Neighbour, NextHop};
use lb::snapshot::Candidate;
use lb::verdict::{DropReason, Verdict};
use lb::witness::{Arrival, Choice, End, Fact, Matched, Meeting, WayOn, Witness};
use wire::glance::{IpGlance, Transport};
use wire::icmp_error::is_error;
use wire::{Eth, Fragment, Frame, Glance, Outcome, VecFrame, glance, parse, verify};

use super::ReplayError;
use crate::tell;

/// Writes the story of each frame.
pub(super) struct Explainer<'w> {
    out: &'w mut dyn Write,
    nics: Vec<String>,
    /// Frames told of so far.
    count: u64,
    at: Duration,
    text: String,
    /// The worker that has the frame.
    worker: WorkerId,
    /// The frame as it came.
    before: Option<VecFrame>,
    /// The connection that it is of.
    meeting: Option<Meeting>,
    /// Whether the way on was told.
    found_way: bool,
    /// Whether the frame is for a service.
    is_for_service: bool,
    /// What the way on carries, in bytes.
    mtu: Option<u16>,
    /// Why another worker is to have the frame.
    sought: Sought,
}

/// What a frame is handed to another worker for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sought {
    /// It owns the flow.
    Owner,
    /// It knows where the packet's fragments go.
    Keeper,
    /// It may know the flow, which was not found here.
    Connection,
}

impl<'w> Explainer<'w> {
    /// Stories go to `out`, with these names of NICs.
    pub(super) fn new(out: &'w mut dyn Write, nics: Vec<String>) -> Self {
        Self {
            out,
            nics,
            count: 0,
            at: Duration::ZERO,
            text: String::new(),
            worker: WorkerId(0),
            before: None,
            meeting: None,
            found_way: false,
            is_for_service: false,
            mtu: None,
            sought: Sought::Owner,
        }
    }

    /// The next frame, or the end of waiting, is at this time since the first frame.
    pub(super) fn begin(&mut self, at: Duration) {
        self.at = at;
    }

    /// Writes down what was told since.
    pub(super) fn write(&mut self) -> Result<(), ReplayError> {
        let written = self.out.write_all(self.text.as_bytes());
        self.text.clear();
        written.map_err(|error| ReplayError::Unexplained(error.kind()))
    }

    fn line(&mut self, step: &str, what: impl Display) {
        let written = writeln!(self.text, "  {step:<10} {what}");
        debug_assert!(written.is_ok(), "a String takes all text");
    }

    fn head(&mut self, what: impl Display) {
        let written = writeln!(self.text, "{what}");
        debug_assert!(written.is_ok(), "a String takes all text");
    }

    fn nic(&self, nic: NicId) -> String {
        self.nics.get(nic.index()).cloned().unwrap_or_else(|| format!("NIC {}", nic.0))
    }

    fn tell_service(&mut self, matched: Option<Matched>) {
        self.is_for_service = matched.is_some();
        let Some(Matched { key, scheduler, rule }) = matched else {
            return self.line("service", "none for this destination");
        };
        let asked = self.before.as_ref().and_then(|frame| match glance(frame.head()) {
            Glance::Ip(IpGlance { transport: Transport::Ports(_, to, _), .. }) => Some(to),
            _ => None,
        });
        let how = match rule {
            Some(number) => format!(": {}", tell::rule(number)),
            None if key.takes_all_ports() => ": it has all ports".to_owned(),
            None if Some(key.port()) != asked => ": this may be data of FTP".to_owned(),
            None => String::new(),
        };
        self.line("service", format_args!("{key}, scheduler {}{how}", scheduler.name()));
    }

    fn tell_choice(&mut self, choice: &Choice<'_>) {
        let service = choice.service;
        if service.candidates.is_empty() {
            self.line("choice", "the service has no server");
        } else if service.key.takes_all_ports() && service.options.persistence.is_none() {
            return self.line("choice", "none: a service of all ports needs persistence");
        }
        for candidate in &service.candidates {
            self.line("choice", candidate_line(candidate, choice));
        }
    }

    fn tell_way_on(&mut self, way: &WayOn) {
        let text = match way {
            WayOn { to: None, .. } => "the server was removed".to_owned(),
            WayOn { to: Some(to), neighbour: None, .. } => format!("no route to {to}"),
            WayOn { to: Some(to), neighbour: Some(neighbour), hop } => {
                let Neighbour { nic, address } = neighbour;
                let nic = self.nic(*nic);
                let route = if address == to {
                    format!("{to} is on the segment of {nic}")
                } else {
                    format!("{to} by the gateway {address} on {nic}")
                };
                match hop {
                    Some(NextHop { link, mtu, .. }) => {
                        format!("{route}, at {}, MTU {mtu}", link.dst)
                    }
                    None => format!("{route}, its link-layer address is not known"),
                }
            }
        };
        self.line("way on", text);
    }

    /// What was done to the frame, by comparing what came with what leaves.
    fn tell_change(&mut self, after: &impl Frame) {
        let Some(before) = self.before.take() else { return };
        let (Glance::Ip(came), Glance::Ip(leaves)) = (glance(before.head()), glance(after.head()))
        else {
            return;
        };
        let longer = after.len().checked_sub(before.len()).filter(|_| came.source != leaves.source);
        match longer.filter(|bytes| *bytes > 0) {
            Some(bytes) => self.line("outer", format_args!("{leaves}: {bytes} bytes more")),
            None if came == leaves => self.line("change", "none but the link layer"),
            None => self.line("change", format_args!("{came}\n{:12} becomes {leaves}", "")),
        }
        let was = verify(before.bytes()).err().filter(|_| before.len() == before.head().len());
        match verify(after.head()) {
            Ok(()) => self.line("checksums", "right"),
            Err(fault) if was == Some(fault) => {
                self.line("checksums", format_args!("{fault}; it came so, the receiver will see"));
            }
            Err(fault) => self.line("checksums", format_args!("WRONG: {fault}")),
        }
    }

    fn tell_verdict(&mut self, verdict: Verdict, frame: &impl Frame) {
        match verdict {
            Verdict::Transmit(nic) => {
                self.tell_change(frame);
                let nic = self.nic(nic);
                let fits = |mtu: u16| frame.len() <= usize::from(mtu) + size_of::<Eth>();
                let parts = if self.mtu.is_none_or(fits) { "" } else { ", in fragments" };
                self.line("verdict", format_args!("sent by {nic}, {} bytes{parts}", frame.len()));
            }
            Verdict::Punt(nic) => {
                let nic = self.nic(nic);
                self.line("verdict", format_args!("for the host, by the host interface of {nic}"));
            }
            Verdict::HandOff(worker, _) => {
                let why = match self.sought {
                    Sought::Owner => "which owns the flow",
                    Sought::Keeper => "where the packet's fragments meet",
                    Sought::Connection => "which may know the flow",
                };
                self.line("verdict", format_args!("handed to worker {worker}, {why}"));
            }
            Verdict::Drop(reason) => self.tell_drop(reason),
        }
    }

    fn tell_drop(&mut self, reason: DropReason) {
        if reason == DropReason::NoRoute {
            let to = self.meeting.and_then(|meeting| destination(&meeting));
            match to {
                Some(to) if self.found_way => self.line(
                    "outer",
                    format_args!("no source address towards {to}: its route needs `src`"),
                ),
                Some(to) => self.line("way on", format_args!("no route to {to}")),
                None => {}
            }
        }
        self.line("verdict", format_args!("dropped: {}. {}", reason.name(), reason.meaning()));
        self.line("remedy", reason.remedy());
    }
}

impl Witness for Explainer<'_> {
    fn arrived(&mut self, _: u8, arrival: impl FnOnce() -> Arrival, frame: &impl Frame) {
        let Arrival { worker, nic, origin, .. } = arrival();
        self.worker = worker;
        (self.before, self.meeting) = (Some(VecFrame::new(frame.head())), None);
        (self.found_way, self.is_for_service, self.mtu) = (false, false, None);
        self.sought = Sought::Owner;
        match origin {
            // What becomes of them is told as `answered`.
            Origin::Wire | Origin::Undelivered => {}
            Origin::Worker => return self.line("worker", format_args!("{worker} has it now")),
            Origin::Waited => {
                let seen = glance(frame.head());
                return self.head(format_args!("a fragment that waited: {seen}"));
            }
        }
        self.count += 1;
        let (count, at, nic) = (self.count, self.at.as_secs_f64(), self.nic(nic));
        let (seen, length) = (glance(frame.head()), frame.len());
        self.head(format_args!("frame {count} at {at:.6} s by {nic}, {length} bytes: {seen}"));
        self.line("worker", worker);
        match parse(frame.head(), frame.len()) {
            Outcome::V4(_) | Outcome::V6(_) => self.line("read", "a whole packet"),
            Outcome::Fragment(Fragment::V4(piece)) => self.line("read", part(piece.is_first())),
            Outcome::Fragment(Fragment::V6(piece)) => self.line("read", part(piece.is_first())),
            Outcome::NotOurs if is_error(frame.head()) => self.line("read", "an ICMP error"),
            Outcome::NotOurs => self.line("read", "of no protocol that is balanced"),
            Outcome::Bad(malformed) => self.line("read", format_args!("malformed: {malformed}")),
        }
    }

    fn note(&mut self, _: u8, fact: impl FnOnce() -> Fact) {
        match fact() {
            Fact::Owner(owner) => {
                self.sought = Sought::Owner;
                self.line("owner", format_args!("worker {owner}"));
            }
            Fact::Keeper(keeper) => {
                self.sought = if keeper == self.worker { Sought::Owner } else { Sought::Keeper };
                self.line(
                    "keeper",
                    format_args!("worker {keeper}: the packet's fragments meet there"),
                );
            }
            Fact::Found(meeting) => {
                self.meeting = Some(meeting);
                let (connection, state) = (tell::connection(&meeting), meeting.state.name());
                self.line("look-up", format_args!("{connection}, {state}"));
            }
            Fact::NotFound => {
                self.sought = Sought::Connection;
                self.line("look-up", "of no connection");
            }
            Fact::Outlived(meeting) => {
                let (connection, state) = (tell::connection(&meeting), meeting.state.name());
                self.line("look-up", format_args!("{connection}, {state}: it ends"));
            }
            Fact::Service(matched) => self.tell_service(matched),
            Fact::NotOurs if self.is_for_service => {
                self.line("admission", "this packet opens no connection");
            }
            Fact::NotOurs => {}
            Fact::Refused(reason) => {
                self.line("admission", format_args!("refused: {}", reason.name()));
            }
            Fact::Persisted(how) => self.line("template", tell::persisted(how)),
            Fact::Recycled => self.line("half-open", tell::RECYCLED),
            Fact::Clamped(most) => self.line("MSS", tell::clamped(most)),
            Fact::Opened(meeting) => {
                self.meeting = Some(meeting);
                self.line("opened", tell::connection(&meeting));
            }
            Fact::Tracked(after) => {
                let before = self.meeting.map_or(after.state, |before| before.state).name();
                let (state, expires) = (after.state.name(), after.expires_s);
                self.line("state", format_args!("{before} -> {state}, expires in {expires} s"));
                self.meeting = Some(after);
            }
            Fact::WayOn(way) => {
                self.found_way = true;
                self.mtu = way.hop.map(|hop| hop.mtu);
                self.tell_way_on(&way);
            }
        }
    }

    fn chose<'s>(&mut self, _: u8, choice: impl FnOnce() -> Option<Choice<'s>>) {
        if let Some(choice) = choice() {
            self.tell_choice(&choice);
        }
    }

    fn settled(&mut self, _: u8, end: End, frame: &impl Frame) {
        match end {
            End::Verdict(verdict) => self.tell_verdict(verdict, frame),
            End::Answered(nic, reason) => {
                self.tell_drop(reason);
                let (nic, answer) = (self.nic(nic), glance(frame.head()));
                self.line("answer", format_args!("sent by {nic}: {answer}"));
            }
            End::Held(neighbour) => {
                self.tell_change(frame);
                let (address, nic) = (neighbour.address, self.nic(neighbour.nic));
                self.line("verdict", format_args!("waits until {address} answers on {nic}"));
            }
            End::AwaitsFirst => {
                self.line("verdict", "waits for the first fragment, which has the ports");
            }
        }
    }

    fn released(&mut self, _: NicId, verdict: Verdict, frame: &impl Frame) {
        let (at, seen) = (self.at.as_secs_f64(), glance(frame.head()));
        self.before = None;
        self.head(format_args!("a frame that waited, at {at:.6} s: {seen}"));
        self.tell_verdict(verdict, frame);
    }

    fn answered(&mut self, nic: NicId, _: DropReason, answer: &impl Frame) {
        let (at, seen, nic) = (self.at.as_secs_f64(), glance(answer.head()), self.nic(nic));
        self.head(format_args!("the answer about a frame that waited, at {at:.6} s: {seen}"));
        self.line("verdict", format_args!("sent by {nic}, {} bytes", answer.len()));
    }
}

fn part(is_first: bool) -> &'static str {
    if is_first { "the first fragment of a packet" } else { "a later fragment of a packet" }
}

fn destination(meeting: &Meeting) -> Option<IpAddr> {
    match meeting.direction {
        Direction::Request => meeting.server.map(|server| server.ip()),
        Direction::Reply => Some(meeting.client.ip()),
    }
}

/// A server with what the scheduler looks at, and what became of it.
fn candidate_line(candidate: &Candidate, choice: &Choice<'_>) -> String {
    let Candidate { id, weight, .. } = *candidate;
    let view = choice.servers.get(id.slot as usize);
    let name = view.map_or_else(String::new, |view| {
        let port = if view.port == 0 { String::new() } else { format!(" port {}", view.port) };
        format!("{}{port} {}", view.address, tell::mode(Some(view.mode)))
    });
    let (active, inactive) = (choice.counts.active(id.slot), choice.counts.inactive(id.slot));
    let outcome = match choice.chosen {
        Some(chosen) if chosen == id => "chosen",
        _ if weight == 0 => "takes no new connections",
        _ if choice.counts.is_overloaded(id.slot) => "has reached its upper threshold",
        _ => "not this time",
    };
    format!("{name}, weight {weight}, {active} active, {inactive} inactive: {outcome}")
}
