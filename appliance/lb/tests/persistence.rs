// SPDX-License-Identifier: MIT OR Apache-2.0
//! Persistence as recorded of the kernel's IPVS (Linux 6.1): which server a client is kept with,
//! and the lines of `-L -n -c` and `-L -n --persistent-conn`, through packets and virtual time.

mod kernel;
mod lab;

use std::net::SocketAddr;

use control::apply::Outcome;
use control::listing;
use control::names::NumbersOnly;
use kernel::{LAN, WAN, flags};
use lab::{Lab, Plan, mac_of, prefix};
use lb::ids::{NicId, Tick};
use lb::limits::Limits;
use lb::marks::MarkRule;
use wire::{L4, VecFrame, build};

const INVITE: &[u8] = b"INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nCall-ID: abc123@host\r\n\
    CSeq: 1 INVITE\r\n\r\n";

/// What the recording has and we have otherwise, by design.
const DEVIATIONS: [(&str, &str); 1] = [(
    "10.1.0.80:65535",
    "the template of a removed server is given another server in its place; the kernel leaves it \
     behind, with a port that no packet has, until its time is up",
)];

/// Before a listing of the recording: which packets came, and when. Moments are milliseconds from
/// the first packet, as the timers in the recording have them.
#[rustfmt::skip]
const PACKETS: &[(&str, &[(u64, &str)])] = &[
    ("syn", &[(0, "c 10.1.0.2:1000 10.1.0.80:9002 S")]),
    ("established", &[(200, "s 10.2.0.13:9002 10.1.0.2:1000 SA"),
                      (300, "c 10.1.0.2:1000 10.1.0.80:9002 A")]),
    ("same net", &[(500, "c 10.1.0.100:1001 10.1.0.80:9002 S")]),
    ("udp request", &[(2600, "c 10.1.0.2:2000 10.1.0.80:9003 datagram")]),
    ("udp reply", &[(3300, "s 10.2.0.12:9003 10.1.0.2:2000 datagram")]),
    ("mark conns", &[(3600, "c 10.1.0.2:3000 10.1.0.82:9000 S"),
                     (3700, "c 10.1.0.2:3001 10.1.0.82:9001 S")]),
    ("port 0 conns", &[(5600, "c 10.1.0.2:4000 10.1.0.80:7777 S"),
                       (5600, "s 10.2.0.12:7777 10.1.0.2:4000 RA"),
                       (5600, "c 10.1.0.2:4001 10.1.0.80:8888 S"),
                       (5600, "s 10.2.0.12:8888 10.1.0.2:4001 RA")]),
    ("sip", &[(6800, "c 10.1.0.2:5060 10.1.0.80:5060 invite"),
              (6800, "c 10.1.0.2:5061 10.1.0.80:5060 datagram"),
              (6800, "c 10.1.0.3:5062 10.1.0.80:5060 invite")]),
    ("v6 conns", &[(7700, "c [fd00:1::2]:6000 [fd00:1::82]:9100 S"),
                   (7700, "s [fd00:2::12]:9100 [fd00:1::2]:6000 RA"),
                   (7700, "c [fd00:1::2]:6001 [fd00:1::82]:9101 S"),
                   (7700, "s [fd00:2::12]:9101 [fd00:1::2]:6001 RA")]),
    ("after removal", &[(11_600, "c 10.1.0.2:1005 10.1.0.80:9002 S")]),
];

/// When a listing was made, and the text that its lines were chosen by.
#[rustfmt::skip]
const LISTINGS: &[(&str, u64, &str)] = &[
    ("syn", 150, ""), ("established", 400, ""), ("same net", 1400, ""),
    ("udp request", 2700, ":9003"), ("udp reply", 3400, ":9003"),
    ("mark conns", 3900, ":300"), ("mark template", 4500, "IP "),
    ("port 0 conns", 5700, ":400"), ("port 0 template", 6200, "80:0 "),
    ("sip", 7000, "5060"),
    ("v6 conns", 8400, "fd00"), ("v6 mark template", 8900, "IP "),
    ("server removed", 11_200, ""), ("after removal", 12_000, ":9002"), ("all", 14_000, ""),
];

/// The recorded listing that a command makes.
const COMMANDS: [(&str, &str); 2] =
    [("-Lnc --persistent-conn | grep -e 5060 -e pe_", "sip"), ("-Lnc", "all")];

struct Replayed {
    lab: Lab,
    checked: usize,
    deviations: Vec<&'static str>,
}

impl Replayed {
    fn new() -> Self {
        let mark = |to: &str, mark| MarkRule {
            protocol: Some(L4::Tcp),
            source: None,
            destination: Some(prefix(to)),
            ports: 0..=u16::MAX,
            nic: None,
            mark,
        };
        let v4 = MarkRule { ports: 9000..=9001, ..mark("10.1.0.82", 5) };
        let marks = vec![v4, mark("fd00:1::82", 6)];
        Self::of(Plan { marks, ..Plan::default() })
    }

    fn of(plan: Plan) -> Self {
        let mut lab = kernel::lab_of(plan);
        let others = ["10.1.0.3", "10.1.0.100", "fd00:1::2", "fd00:2::11", "fd00:2::12"];
        lab.know_all(others.map(|address| address.parse().unwrap()));
        Self { lab, checked: 0, deviations: Vec::new() }
    }

    /// `SIDE FROM TO CONTENT`.
    fn packet(&mut self, now_ms: u64, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        let [side, from, to, content] = words[..] else { panic!("{text}") };
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let nic: NicId = if side == "c" { WAN } else { LAN };
        let ether = build::eth().src(mac_of(from.ip()));
        let packet = ether.dst(self.lab.plan().nics[nic.index()].mac).ip(from.ip(), to.ip());
        let bytes = match content {
            "datagram" => packet.udp(from.port(), to.port()).payload(b"a"),
            "invite" => packet.udp(from.port(), to.port()).payload(INVITE),
            letters => packet.tcp(from.port(), to.port()).flags(flags(letters)).payload(b""),
        };
        self.lab.receive([(nic, VecFrame::new(&bytes))], Tick::from_millis(now_ms));
    }

    /// The lines of `-L -n -c --persistent-conn`, which are those of `-L -n -c` but for Call-IDs.
    fn connections(&mut self, now_ms: u64, with_calls: bool) -> Vec<String> {
        let now = Tick::from_millis(now_ms);
        self.lab.tick(now);
        let records = self.lab.ensemble().connections(now);
        let columns = if with_calls { "--persistent-conn" } else { "--nosort" };
        let Outcome::Connections(_, format) = self.execute(&format!("-L -n -c {columns}")) else {
            panic!("-c lists connections");
        };
        let director = self.lab.director();
        let (templates, catalog) = (director.figures().counts().templates(), director.catalog());
        let mut page =
            if with_calls { listing::connections_heading(format) } else { String::new() };
        records.iter().for_each(|record| listing::put_connection(&mut page, record, catalog));
        templates.list(0, u32::MAX, now, |record| {
            listing::put_template(&mut page, &record, catalog, format);
        });
        page.lines().map(str::to_owned).collect()
    }

    fn execute(&mut self, line: &str) -> Outcome {
        let words = control::words::split_rule(line);
        let command = control::parse::parse(&words, &NumbersOnly).unwrap();
        self.lab.execute(&command)
    }

    /// The recorded lines and ours are the same, in any order; times to the second.
    fn compare(&mut self, label: &str, recorded: &[&str]) {
        for (_, packets) in PACKETS.iter().filter(|(before, _)| *before == label) {
            packets.iter().for_each(|(at, packet)| self.packet(*at, packet));
        }
        if label == "invalid" {
            return recorded.iter().for_each(|line| self.deviates(line));
        }
        let listing = LISTINGS.iter().find(|(name, ..)| *name == label);
        let (_, at, chosen_by) = listing.unwrap_or_else(|| panic!("an unknown listing: {label}"));
        let mut ours = self.connections(*at, label == "sip");
        ours.retain(|line| line.contains(chosen_by) || label == "sip" && line.contains("pe_"));
        for line in recorded {
            match ours.iter().position(|our| is_as(our, line)) {
                Some(found) => {
                    ours.swap_remove(found);
                    self.checked += 1;
                }
                None if label == "sip" && line.starts_with("pro ") => {
                    panic!("the heading is not {line}")
                }
                None => self.deviates_or(line, &ours, label),
            }
        }
        assert!(ours.is_empty(), "{label}: not in the recording: {ours:#?}");
    }

    fn deviates(&mut self, line: &str) {
        self.deviates_or(line, &[], "");
    }

    fn deviates_or(&mut self, line: &str, ours: &[String], label: &str) {
        let known = DEVIATIONS.iter().find(|(text, _)| line.contains(text));
        let (_, reason) = known.unwrap_or_else(|| panic!("{label}: no {line}\n in {ours:#?}"));
        self.deviations.push(reason);
    }

    /// The recorded listing of services and ours are the same, letter by letter.
    fn services(&mut self, command: &str, recorded: &[&str]) {
        let Outcome::Reply(reply) = self.execute(command) else { panic!("{command}") };
        let ours: Vec<&str> = reply.body.lines().collect();
        let is_version = |line: &&str| line.starts_with("IP Virtual Server version");
        let without = |lines: &[&str]| -> Vec<String> {
            lines.iter().filter(|line| !is_version(line)).map(|line| (*line).to_owned()).collect()
        };
        assert_eq!(without(&ours), without(recorded), "{command}");
        self.checked += without(recorded).len();
    }

    fn block(&mut self, head: &str, lines: &[&str]) {
        let Some(command) = head.strip_prefix("$ ") else {
            return self.compare(head.trim_end_matches(':'), lines);
        };
        let Some(line) = command.strip_prefix("ipvsadm ") else {
            return;
        };
        match COMMANDS.iter().find(|(text, _)| *text == line) {
            Some((_, label)) => {
                let is_heading = |line: &&&str| {
                    line.starts_with("IPVS connection")
                        || line.starts_with("pro expire state  ") && *label == "all"
                };
                let lines: Vec<&str> =
                    lines.iter().filter(|line| !is_heading(line)).copied().collect();
                self.compare(label, &lines);
            }
            None if line.starts_with("-L") => self.services(line, lines),
            None => self.lab.rules(line),
        }
    }
}

/// Whether two lines of `-L -n -c` say the same; the second column is time, which may be off by a
/// second.
fn is_as(ours: &str, recorded: &str) -> bool {
    let parts = |line: &str| {
        let rest = line.get(4..).unwrap_or_default().trim_start().to_owned();
        let (time, rest) = rest.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        Some((line.get(..4)?.to_owned(), time, rest.trim().to_owned()))
    };
    let (Some((protocol, time, rest)), Some((as_protocol, as_time, as_rest))) =
        (parts(ours), parts(recorded))
    else {
        return ours == recorded;
    };
    let near = match (seconds(&time), seconds(&as_time)) {
        (Some(ours), Some(recorded)) => ours.abs_diff(recorded) <= 1,
        _ => time == as_time,
    };
    (protocol, rest) == (as_protocol, as_rest) && near
}

fn seconds(time: &str) -> Option<u32> {
    let (minutes, seconds) = time.split_once(':')?;
    Some(minutes.parse::<u32>().ok()? * 60 + seconds.parse::<u32>().ok()?)
}

/// Splits the output into what heads a listing or is a command, and the lines under it.
fn blocks(lines: &[String]) -> Vec<(String, Vec<&str>)> {
    let mut blocks: Vec<(String, Vec<&str>)> = Vec::new();
    for line in lines {
        let labelled = line.split_once(": ").filter(|(label, _)| {
            label.starts_with(|first: char| first.is_ascii_lowercase()) && !label.contains(':')
        });
        match labelled {
            _ if line.starts_with("$ ") => blocks.push((line.clone(), Vec::new())),
            Some((label, rest)) => {
                let rest = Some(rest).filter(|rest| !rest.is_empty());
                blocks.push((label.to_owned(), rest.into_iter().collect()));
            }
            None => blocks.last_mut().unwrap().1.push(line.strip_prefix("    ").unwrap_or(line)),
        }
    }
    blocks
}

#[test]
fn clients_stay_with_their_servers_as_with_the_kernel() {
    let recording = include_str!("recordings/persistence.jsonl");
    for (title, lines) in kernel::sections(recording) {
        let mut replayed = Replayed::new();
        for (head, lines) in blocks(&lines) {
            replayed.block(&head, &lines);
        }
        let Replayed { checked, deviations, .. } = replayed;
        println!("{title}: {checked} of {} lines are reproduced", checked + deviations.len());
        deviations.iter().for_each(|reason| println!("  otherwise: {reason}"));
        assert_eq!((checked, deviations.len()), (115, 2), "lines were not read");
    }
}

#[test]
fn random_drops_take_templates_of_half_open_connections_along() {
    let plan = Plan::default();
    let limits = Limits { connections: 3, ..plan.limits };
    let mut replayed = Replayed::of(Plan { limits, ..plan });
    replayed.lab.rules(
        "-A -t 10.1.0.80:80 -s rr -p 300
         -a -t 10.1.0.80:80 -r 10.2.0.11:80 -m
         -a -t 10.1.0.80:80 -r 10.2.0.12:80 -m",
    );
    for (at, packet) in [
        (0, "c 10.1.0.2:1000 10.1.0.80:80 S"),
        (0, "c 10.1.0.2:1000 10.1.0.80:80 A"),
        (0, "c 10.1.0.2:1001 10.1.0.80:80 S"),
        (0, "c 10.1.0.3:1000 10.1.0.80:80 S"),
    ] {
        replayed.packet(at, packet);
    }
    assert_eq!(replayed.connections(0, false).len(), 5);
    replayed.lab.rules("--sysctl drop_entry=3");
    let moments = (1..59).map(|second| second * 1000);
    let lines = moments.map(|now_ms| replayed.connections(now_ms, false)).last().unwrap();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let has = |state: &str, client: &str| {
        lines.iter().any(|line| line.contains(state) && line.contains(client))
    };
    assert!(has("ESTABLISHED", "10.1.0.2:1000") && has("ASSURED", "10.1.0.2:0"), "{lines:#?}");
}
