// SPDX-License-Identifier: MIT OR Apache-2.0
//! Recordings of frames on both sides of the kernel's IPVS, with the connections listed after
//! them.
//!
//! `-- TITLE @SECONDS` begins a case at a moment of the kernel's; `director/dc in ...` and
//! `director/ds out ...` tell of a frame, whose bytes are in the next line; then come the
//! connections of the client's port, or `none`. Between cases there are commands (`$ ipvsadm ...`)
//! and settings (`# KEY = VALUE`).
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::IpAddr;

use lb::ensemble::Outlet;
use lb::ids::{NicId, Tick};
use lb::marks::MarkRule;
use wire::gre::PROTOCOL_GRE;
use wire::ipv4::PROTOCOL_IPIP;
use wire::{Eth, Family, Frame, Ipv4, Mac, U16, V4, V6, VecFrame};
use zerocopy::FromBytes;

use crate::kernel::{LAN, WAN};
use crate::lab::{Lab, Nic, Plan};

/// How long after the frames of a case connections were listed, in the recording.
const STEP_MS: u64 = 400;
/// By how much times of the recording may be off, in seconds.
const TOLERANCE_S: u32 = 2;
/// The ports of marked services, and their marks.
const MARKS: [(u16, u32); 3] = [(9600, 7), (9800, 8), (9801, 9)];

/// A recording on its way through a director.
pub struct Replayed {
    lab: Lab,
    deviations: &'static [(&'static str, &'static str)],
    now_ms: u64,
    case_began_ms: u64,
    case: Case,
    /// The cases that went otherwise than the kernel's.
    differ: Vec<String>,
    cases: usize,
}

/// What is known of the case that is read.
#[derive(Default)]
struct Case {
    title: String,
    client_port: u16,
    /// The NIC and the direction of the frame whose bytes are to come.
    next: Option<(NicId, bool)>,
    arrived: Vec<(NicId, VecFrame)>,
    expected: Vec<(NicId, Vec<u8>)>,
    complaints: Vec<String>,
    is_played: bool,
}

impl Replayed {
    /// A director in the recorded set-up, without services.
    pub fn new(deviations: &'static [(&'static str, &'static str)]) -> Self {
        let mark = |(port, mark)| MarkRule {
            protocol: None,
            source: None,
            destination: None,
            ports: port..=port,
            nic: Some(WAN),
            mark,
        };
        let nics = [("wan", 1, "1"), ("lan", 2, "2")].map(|(name, last, segment)| Nic {
            mac: Mac([2, 0, 0, 0, last, 1]),
            ..Nic::new(name, last, &[&format!("10.{segment}.0.1/24"), &v6_segment(segment)])
        });
        let marks = MARKS.map(mark).into();
        let mut lab = Lab::new(Plan { nics: nics.into(), marks, ..Plan::default() });
        let mut know = |nic: NicId, address: &str, last: u8| {
            let mac = Mac([2, 0, 0, 0, nic.0 as u8 + 1, last]);
            lab.know(nic, address.parse::<IpAddr>().unwrap(), Some(mac));
        };
        for server in 1..=3 {
            know(LAN, &format!("10.2.0.1{server}"), 0x10 + server);
            know(LAN, &format!("fd00:2::1{server}"), 0x10 + server);
        }
        for client in ["10.1.0.2", "fd00:1::2"] {
            know(WAN, client, 2);
        }
        let case = Case { is_played: true, ..Case::default() };
        Self { lab, deviations, now_ms: 0, case_began_ms: 0, case, differ: Vec::new(), cases: 0 }
    }

    /// Takes the next line of the recording.
    pub fn line(&mut self, line: &str) {
        if let Some(title) = line.strip_prefix("-- ") {
            self.end_case();
            let (title, at) = title.rsplit_once(" @").unwrap();
            self.case = Case { title: title.to_owned(), ..Case::default() };
            let at_ms = (at.parse::<f64>().unwrap() * 1000.0) as u64;
            self.now_ms = self.now_ms.max(at_ms);
            self.lab.tick(Tick::from_millis(self.now_ms));
        } else if line.starts_with("director/") {
            self.case.frame(line);
        } else if let Some((nic, arrives)) = self.case.next.take() {
            let bytes = hex(line.trim());
            match arrives {
                true => self.case.arrived.push((nic, VecFrame::new(&bytes))),
                false => self.case.expected.push((nic, bytes)),
            }
        } else {
            self.play();
            self.after_frames(line);
        }
    }

    /// Ends the last case, and tells how many of the recorded ones are reproduced.
    pub fn finish(mut self, cases: usize) {
        self.end_case();
        let reproduced = self.cases - self.differ.len();
        println!("{reproduced} of {} recorded cases are reproduced; otherwise:", self.cases);
        for title in &self.differ {
            let (_, why) = self.deviations.iter().find(|(known, _)| known == title).unwrap();
            println!("  {title}: {why}");
        }
        assert_eq!(self.cases, cases, "cases were not read");
        assert_eq!(self.differ.len(), self.deviations.len(), "{:?}", self.differ);
    }

    fn after_frames(&mut self, line: &str) {
        let (label, rest) = match line.split_once(": ") {
            Some((label, rest)) if !label.contains(['$', '>']) => (label, rest),
            _ => ("", line),
        };
        if let Some(seconds) = label.strip_suffix(" s later") {
            let after = (seconds.parse::<f64>().unwrap() * 1000.0) as u64;
            self.now_ms = self.case_began_ms + after;
            self.lab.tick(Tick::from_millis(self.now_ms));
        }
        if let Some(command) = line.strip_prefix("$ ipvsadm ") {
            for rule in command.split("; ipvsadm ").filter(|rule| !rule.starts_with("-L")) {
                self.lab.rules(rule);
            }
        } else if let Some(setting) = line.strip_prefix("# ") {
            let setting = setting.split(" (").next().unwrap_or_default().replace(' ', "");
            self.lab.rules(&format!("--sysctl {setting}"));
        } else if rest == "none" {
            let port = self.case.client_port;
            if self.connections().iter().any(|conn| conn.contains(&format!(":{port} "))) {
                self.case.complaints.push(format!("{line}: there is a connection"));
            }
        } else if let Some(listed) = Listed::read(rest).filter(|listed| !listed.is_bypass()) {
            let conns = self.connections();
            if !conns.iter().any(|conn| Listed::read(conn).is_some_and(|c| c.is_as(&listed))) {
                self.case.complaints.push(format!("{line}: not in {conns:#?}"));
            }
        }
    }

    /// Puts the case's frames through the director, and compares what leaves.
    fn play(&mut self) {
        if std::mem::replace(&mut self.case.is_played, true) {
            return;
        }
        self.cases += 1;
        let arrived = std::mem::take(&mut self.case.arrived);
        self.case_began_ms = self.now_ms;
        let Outlet { mut sent, punted, .. } =
            self.lab.receive(arrived, Tick::from_millis(self.now_ms));
        let mut routed: Vec<VecFrame> =
            punted.into_iter().filter_map(|(_, frame)| routed(frame)).collect();
        for (nic, expected) in &self.case.expected {
            let found =
                sent.iter().position(|(by, frame)| by == nic && same(frame.bytes(), expected));
            match found {
                Some(found) => drop(sent.remove(found)),
                None if is_taken(&mut routed, expected) => {}
                None => self.case.complaints.push(format!("not sent: {expected:02x?}")),
            }
        }
        let more = sent.iter().map(|(_, frame)| format!("sent: {:02x?}", frame.bytes()));
        self.case.complaints.extend(more);
        self.now_ms += STEP_MS;
        self.lab.tick(Tick::from_millis(self.now_ms));
    }

    fn end_case(&mut self) {
        self.play();
        let Case { title, complaints, .. } = &self.case;
        let is_known = self.deviations.iter().any(|(known, _)| known == title);
        match (complaints.is_empty(), is_known) {
            (true, false) => {}
            (false, true) => self.differ.push(title.clone()),
            (true, true) => panic!("{title}: no deviation any more"),
            (false, false) => panic!("{title}: {}", complaints.join("\n")),
        }
    }

    /// Lines of `-L -n -c`.
    fn connections(&mut self) -> Vec<String> {
        let now = Tick::from_millis(self.now_ms);
        let records = self.lab.ensemble().connections(now);
        let mut page = String::new();
        let director = self.lab.director();
        let (templates, catalog) = (director.figures().counts().templates(), director.catalog());
        for record in &records {
            control::listing::put_connection(&mut page, record, catalog);
        }
        let format = control::command::Format::default();
        templates.list(0, u32::MAX, now, |record| {
            control::listing::put_template(&mut page, &record, catalog, format);
        });
        page.lines().map(str::to_owned).collect()
    }
}

impl Case {
    /// `director/NIC DIRECTION DESCRIPTION`.
    fn frame(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let nic = if words.next() == Some("director/dc") { WAN } else { LAN };
        let arrives = words.next() == Some("in");
        self.next = Some((nic, arrives));
        if !arrives || self.client_port != 0 {
            return;
        }
        // `CLIENT>VIP`, or inside braces what the error quotes: `VIP>CLIENT`.
        let is_error = line.contains('{');
        let ports = line.split(" TCP ").last().unwrap().split(" UDP ").last().unwrap();
        if let Some((from, to)) = ports.split(' ').next().unwrap().split_once('>') {
            self.client_port = if is_error { to } else { from }.parse().unwrap_or(0);
        }
    }
}

/// A line of `-L -n -c` without its time, and its time.
#[derive(Debug)]
struct Listed {
    seconds: u32,
    rest: Vec<String>,
}

impl Listed {
    fn read(line: &str) -> Option<Self> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words.len() != 6 || !["TCP", "UDP", "IP"].contains(&words[0]) {
            return None;
        }
        let (minutes, seconds) = words.remove(1).split_once(':')?;
        let seconds = minutes.parse::<u32>().ok()? * 60 + seconds.parse::<u32>().ok()?;
        Some(Self { seconds, rest: words.into_iter().map(str::to_owned).collect() })
    }

    /// Whether it has no server; here no connection is kept for what the host sends on.
    fn is_bypass(&self) -> bool {
        self.rest.last().is_some_and(|server| server == "0.0.0.0:0" || server == "[::]:0")
    }

    fn is_as(&self, other: &Self) -> bool {
        self.rest == other.rest && self.seconds.abs_diff(other.seconds) <= TOLERANCE_S
    }
}

/// What the host, as a router, makes of a frame that it is given; none if it has no hops left.
fn routed(mut frame: VecFrame) -> Option<VecFrame> {
    let is_v4 = is_ipv4(frame.bytes());
    let l3 = frame.head_mut().get_mut(size_of::<Eth>()..)?;
    let goes_on = if is_v4 { V4::decrement_ttl(l3) } else { V6::decrement_ttl(l3) };
    goes_on.then_some(frame)
}

/// Takes the frame that carries the packet of a recorded one away, if there is one.
fn is_taken(frames: &mut Vec<VecFrame>, recorded: &[u8]) -> bool {
    let packet = |frame: &[u8]| frame[size_of::<Eth>()..].to_vec();
    let found = frames.iter().position(|frame| packet(frame.bytes()) == packet(recorded));
    found.map(|found| frames.remove(found)).is_some()
}

fn is_ipv4(frame: &[u8]) -> bool {
    Eth::ref_from_prefix(frame).is_ok_and(|(eth, _)| eth.ethertype == wire::eth::IPV4)
}

fn v6_segment(segment: &str) -> String {
    format!("fd00:{segment}::1/64")
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// Whether two frames are the same but for the identification of a fragmentable IPv4 packet, which
/// is the director's own in an outer header.
fn same(ours: &[u8], recorded: &[u8]) -> bool {
    let without = |frame: &[u8]| {
        let mut frame = frame.to_vec();
        if is_ipv4(&frame) {
            let (ip, _) = Ipv4::mut_from_prefix(&mut frame[size_of::<Eth>()..]).unwrap();
            if [PROTOCOL_IPIP, PROTOCOL_GRE].contains(&ip.protocol) {
                (ip.id, ip.csum) = (U16::ZERO, U16::ZERO);
            }
        }
        frame
    };
    without(ours) == without(recorded)
}
