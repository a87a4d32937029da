// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long lblc and lblcr remember a destination's servers, as recorded of the kernel's IPVS
//! (Linux 6.1) behind firewall marks: `LABEL PORT at SECONDS: SERVER...` in virtual time.

mod kernel;
mod lab;

use std::net::{Ipv4Addr, SocketAddrV4};

use kernel::{CLIENT, Content, WAN, flags, send};
use lab::{Lab, Plan, mac_of};
use lb::ids::Tick;
use lb::marks::MarkRule;
use wire::Eth;
use zerocopy::FromBytes;

/// The destinations asked for on lines with these labels, in order; `10.3.0.N`.
#[rustfmt::skip]
const DESTINATIONS: &[(&str, &[u8])] = &[
    ("first 9", &[1, 2, 3, 4, 5, 6]),
    ("again", &[1, 2, 3, 4, 5, 6]),
    ("one", &[1; 12]),
    ("after 28 minutes", &[6, 5, 4, 3, 2, 1]),
    ("before the check", &[6, 5]),
    ("after the check", &[6, 5, 4, 3, 2, 1]),
    ("idle", &[6, 5]),
    ("after the second check", &[6, 5, 4, 3, 2, 1]),
];
/// The destination of every other line.
const ONE: u8 = 9;

/// What a connection takes, in the recording.
const STEP_MS: u64 = 30;

struct Replayed {
    lab: Lab,
    now_ms: u64,
    /// The moment that the recording calls 0.
    start_ms: u64,
    client_port: u16,
    checked: usize,
}

impl Replayed {
    fn new() -> Self {
        let mark = |port, mark| MarkRule {
            protocol: None,
            source: None,
            destination: None,
            ports: port..=port,
            nic: None,
            mark,
        };
        let marks = vec![mark(9900, 11), mark(9901, 12)];
        let lab = kernel::lab_of(Plan { marks, ..Plan::default() });
        Self { lab, now_ms: 0, start_ms: 0, client_port: 20000, checked: 0 }
    }

    fn line(&mut self, line: &str) {
        if let Some(rule) = line.strip_prefix("$ ipvsadm ").filter(|rule| !rule.starts_with("-L")) {
            self.lab.rules(rule);
        } else if let Some((key, value)) =
            line.strip_prefix("# ").and_then(|set| set.split_once(" = "))
        {
            self.lab.rules(&format!("--sysctl {key}={value}"));
        } else if let Some((label, (at, servers))) =
            line.split_once(" at ").and_then(|(label, rest)| Some((label, rest.split_once(": ")?)))
        {
            self.wait_until(self.start_ms + (at.parse::<f64>().unwrap() * 1000.0) as u64);
            let port = label.rsplit(' ').next().unwrap().parse().unwrap_or(9901);
            let mut known = DESTINATIONS.iter().filter(|(begin, _)| label.starts_with(begin));
            let all = vec![ONE; servers.split(' ').count()];
            let destinations =
                known.next_back().map_or(all, |(_, destinations)| destinations.to_vec());
            let found: Vec<String> = destinations.iter().map(|to| self.open(*to, port)).collect();
            assert_eq!(found.join(" "), servers, "{label} at {at}");
            self.checked += 1;
        }
    }

    fn wait_until(&mut self, moment_ms: u64) {
        while self.now_ms < moment_ms {
            self.now_ms = (self.now_ms + 500).min(moment_ms);
            self.lab.tick(Tick::from_millis(self.now_ms));
        }
    }

    /// Opens a connection to a destination; says which server has it.
    fn open(&mut self, destination: u8, port: u16) -> String {
        self.client_port += 1;
        self.now_ms += STEP_MS;
        let client = SocketAddrV4::new(CLIENT.into(), self.client_port);
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 3, 0, destination), port);
        let now = Tick::from_millis(self.now_ms);
        let sent = send(&mut self.lab, WAN, [client, to], Content::Segment(flags("S")), now);
        let [(_, frame)] = sent.as_slice() else { return "none".to_owned() };
        let (eth, _) = Eth::ref_from_prefix(frame.bytes()).unwrap();
        let server = (1..=3).find(|n| eth.dst == mac_of([10, 2, 0, 10 + n].into()));
        server.map_or("a stranger".to_owned(), |server| server.to_string())
    }
}

#[test]
fn destinations_are_remembered_as_long_as_by_the_kernel() {
    let mut replayed = Replayed::new();
    let mut recorded = 0;
    for (_, lines) in kernel::sections(include_str!("recordings/sched-locality.jsonl")) {
        replayed.start_ms = replayed.now_ms;
        recorded += lines.iter().filter(|line| line.contains(" at ")).count();
        lines.iter().for_each(|line| replayed.line(line));
    }
    println!("{} of {recorded} recorded sequences are reproduced", replayed.checked);
    assert_eq!((replayed.checked, recorded), (23, 23));
}
