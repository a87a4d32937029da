// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random drops (`drop_entry`), as recorded of the kernel's IPVS (Linux 6.1): which connections
//! are shielded exactly, and of the others about as many as there.

mod kernel;
mod lab;

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use kernel::{CLIENT, Content, LAN, WAN, flags, send};
use lab::{Lab, Plan};
use lb::ids::Tick;
use lb::limits::Limits;

/// Connections of each kind.
const EACH: u16 = 40;
/// Kinds that random drops take from.
const DROPPED: [&str; 3] = ["TCP SYN_RECV many", "TCP ESTABLISHED 1 packet", "UDP UDP 1 packet"];
/// How far a number of connections may be off that chance decides on: more than four standard
/// deviations of either side's.
const CHANCE: u32 = 20;

struct Replayed {
    lab: Lab,
    now_ms: u64,
    checked: usize,
}

impl Replayed {
    fn new() -> Self {
        let plan = Plan::default();
        let limits = Limits { connections: 1024, ..plan.limits };
        let mut lab = kernel::lab_of(Plan { limits, ..plan });
        lab.rules("--set 900 600 300");
        Self { lab, now_ms: 0, checked: 0 }
    }

    fn tcp(&mut self, client_port: u16, events: &[&str]) {
        let client = SocketAddrV4::new(CLIENT.into(), client_port);
        let (vip, server) = ("10.1.0.80:9000".parse(), "10.2.0.11:9000".parse());
        for event in events {
            let (side, letters) = event.split_once(':').unwrap();
            let (nic, ends) = match side {
                "c" => (WAN, [client, vip.clone().unwrap()]),
                _ => (LAN, [server.clone().unwrap(), client]),
            };
            let now = Tick::from_millis(self.now_ms);
            send(&mut self.lab, nic, ends, Content::Segment(flags(letters)), now);
        }
    }

    fn datagrams(&mut self, client_port: u16, count: usize) {
        let ends =
            [SocketAddrV4::new(CLIENT.into(), client_port), "10.1.0.80:9001".parse().unwrap()];
        let now = Tick::from_millis(self.now_ms);
        (0..count).for_each(|_| drop(send(&mut self.lab, WAN, ends, Content::Datagram, now)));
    }

    /// What the recording begins with; kinds with one or two requests have ports from 20000 on.
    fn fill(&mut self) {
        for n in 0..EACH {
            self.tcp(40000 + n, &["c:S"]);
            self.tcp(20000 + n, &["c:S", "s:SA", "c:A"]);
            self.tcp(42000 + n, &["c:S", "s:SA"]);
            self.tcp(42000 + n, &["c:A"; 10]);
            self.tcp(43000 + n, &["c:S", "s:SA", "c:A", "c:FA"]);
            self.tcp(44000 + n, &["c:S", "s:SA", "c:A", "s:FA"]);
            self.datagrams(20000 + n, 1);
            self.datagrams(46000 + n, 10);
        }
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now_ms += 100;
            self.lab.tick(Tick::from_millis(self.now_ms));
        }
    }

    /// Connections by kind.
    fn kinds(&mut self) -> BTreeMap<String, u32> {
        let mut kinds = BTreeMap::new();
        let now = Tick::from_millis(self.now_ms);
        for conn in self.lab.ensemble().connections(now) {
            let protocol = format!("{:?}", conn.protocol).to_uppercase();
            let packets =
                if (20000..30000).contains(&conn.client.port()) { "1 packet" } else { "many" };
            *kinds.entry(format!("{protocol} {} {packets}", conn.state.name())).or_default() += 1;
        }
        kinds
    }

    /// `LABEL: KIND COUNT, KIND COUNT`.
    fn line(&mut self, line: &str) {
        if let Some(rule) = line.strip_prefix("$ ipvsadm ") {
            return self.lab.rules(rule);
        }
        if let Some(setting) = line.strip_prefix("# ").and_then(|set| set.split_once(" = ")) {
            let value = setting.1.split(' ').next().unwrap();
            return self.lab.rules(&format!("--sysctl {}={value}", setting.0));
        }
        let Some((label, listed)) = line.split_once(": ") else { return };
        match label {
            "filled" => self.fill(),
            "off" => {}
            label if label.starts_with("mode 3") => {
                let after = label.split_once(", ").unwrap().1.trim_end_matches(" s");
                let after: u64 = after.parse().unwrap();
                self.wait(if after <= 40 {
                    10
                } else if after == 100 {
                    60
                } else {
                    30
                });
            }
            _ => self.wait(if label.ends_with("later") { 10 } else { 5 }),
        }
        let ours = self.kinds();
        let recorded: BTreeMap<String, u32> = listed
            .split(", ")
            .filter_map(|kind| kind.rsplit_once(' '))
            .map(|(kind, count)| (kind.to_owned(), count.parse().unwrap()))
            .collect();
        self.compare(label, &ours, &recorded);
    }

    fn compare(
        &mut self,
        label: &str,
        ours: &BTreeMap<String, u32>,
        recorded: &BTreeMap<String, u32>,
    ) {
        for kind in recorded.keys().chain(ours.keys()) {
            let [found, count] = [ours, recorded].map(|map| map.get(kind).copied().unwrap_or(0));
            let chance = if DROPPED.contains(&kind.as_str()) { CHANCE } else { 0 };
            // What ends by itself at this time is half gone on one side.
            let ends = kind.contains("CLOSE_WAIT") || kind.contains("UDP many");
            assert!(found.abs_diff(count) <= chance || ends, "{label}: {kind}: {found}, {count}");
        }
        self.checked += 1;
    }
}

#[test]
fn what_the_kernel_shields_from_random_drops_is_shielded() {
    let mut replayed = Replayed::new();
    let mut recorded = 0;
    for (title, lines) in kernel::sections(include_str!("recordings/drop-entry.jsonl")) {
        if title == "drop_entry" {
            let is_listing = |line: &&String| line.contains(": TCP");
            recorded += lines.iter().filter(is_listing).count();
            lines.iter().for_each(|line| replayed.line(line));
        }
    }
    println!("{} of {recorded} recorded listings are reproduced", replayed.checked);
    assert_eq!((replayed.checked, recorded), (19, 19));
}

/// 1 and 2 mean automatic: only while few entries are free.
#[test]
fn automatic_drops_begin_when_entries_run_out() {
    for mode in [1, 2] {
        let mut replayed = Replayed::new();
        let (tcp, udp) = ("-t 10.1.0.80:9000", "-u 10.1.0.80:9001");
        for service in [tcp, udp] {
            replayed.lab.rules(&format!("-A {service} -s rr"));
            let port = service.rsplit(':').next().unwrap();
            replayed.lab.rules(&format!("-a {service} -r 10.2.0.11:{port} -m"));
        }
        replayed.fill();
        let half_open = |replayed: &mut Replayed| replayed.kinds().get(DROPPED[0]).copied();
        // 280 of 1024 entries are taken.
        replayed.lab.rules(&format!("--sysctl amemthresh=700\n--sysctl drop_entry={mode}"));
        replayed.wait(20);
        assert_eq!(half_open(&mut replayed), Some(EACH.into()), "mode {mode}");
        replayed.lab.rules("--sysctl amemthresh=800");
        replayed.wait(20);
        assert!(half_open(&mut replayed).unwrap_or(0) < EACH.into(), "mode {mode}");
    }
}
