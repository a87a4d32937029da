// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which server takes each connection, as recorded of the kernel's IPVS (Linux 6.1).

mod kernel;
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddrV4};

use kernel::{CLIENT, Content, LAN, WAN, flags, send};
use lab::{Lab, Plan};
use lb::ids::Tick;
use wire::{Eth, Ipv4};
use zerocopy::FromBytes;

const VIP: [u8; 4] = [10, 1, 0, 80];
const SCHEDULERS: [&str; 6] = ["lc", "wlc", "sed", "nq", "fo", "ovf"];

struct Replayed {
    lab: Lab,
    /// The service of the lines that name none.
    port: u16,
    /// Services whose scheduler there is not.
    missing: BTreeSet<u16>,
    next_client: u16,
    now_ms: u64,
    /// Connections that were kept open: client's port, service's port, server's last byte.
    kept: Vec<(u16, u16, u8)>,
    checked: usize,
    left_out: BTreeMap<String, usize>,
}

impl Replayed {
    fn new() -> Self {
        Self::of(kernel::lab())
    }

    fn of(lab: Lab) -> Self {
        Self {
            lab,
            port: 0,
            missing: BTreeSet::new(),
            next_client: 20000,
            now_ms: 0,
            kept: Vec::new(),
            checked: 0,
            left_out: BTreeMap::new(),
        }
    }

    fn rule(&mut self, rule: &str) {
        let Some((_, rest)) = rule.split_once(&format!("{}:", std::net::Ipv4Addr::from(VIP)))
        else {
            return;
        };
        self.port = rest.split(' ').next().unwrap().parse().unwrap();
        if rule.starts_with("-A") && self.lab.rule(rule).is_err() {
            self.missing.insert(self.port);
        } else if !rule.starts_with("-A") && !rule.starts_with("-L") && !self.is_missing() {
            self.lab.rules(rule);
        }
    }

    /// A service whose making was not recorded.
    fn make(&mut self, scheduler: &str, port: u16, weights: &str) {
        self.rule(&format!("-A -t 10.1.0.80:{port} -s {scheduler}"));
        for (server, weight) in weights.split(',').enumerate() {
            let last = server + 11;
            let add = format!("-a -t 10.1.0.80:{port} -r 10.2.0.{last}:{port} -m -w {weight}");
            self.rule(&add);
        }
    }

    fn is_missing(&self) -> bool {
        self.missing.contains(&self.port)
    }

    fn segment(&mut self, side: char, client: u16, port: u16, server: u8, letters: &str) -> String {
        let client = SocketAddrV4::new(CLIENT.into(), client);
        let ends = match side {
            'c' => [client, SocketAddrV4::new(VIP.into(), port)],
            _ => [SocketAddrV4::new([10, 2, 0, server].into(), port), client],
        };
        let nic = if side == 'c' { WAN } else { LAN };
        self.now_ms += 1;
        let now = Tick::from_millis(self.now_ms);
        let sent = send(&mut self.lab, nic, ends, Content::Segment(flags(letters)), now);
        let [(left_by, frame)] = sent.as_slice() else { return "nothing".to_owned() };
        if *left_by != LAN {
            return "refused".to_owned();
        }
        let (_, rest) = Eth::ref_from_prefix(frame.bytes()).unwrap();
        let (ip, _) = Ipv4::ref_from_prefix(rest).unwrap();
        (u32::from(ip.dst.0[3]) - 10).to_string()
    }

    /// Opens a connection; says which server took it.
    fn open(&mut self) -> String {
        let (client, port) = (self.next_client, self.port);
        self.next_client += 1;
        let taken = self.segment('c', client, port, 0, "S");
        if let Ok(server) = taken.parse::<u8>() {
            self.segment('s', client, port, server + 10, "SA");
            self.segment('c', client, port, 0, "A");
            self.kept.push((client, port, server + 10));
        } else {
            // ICMP to one client is limited: a second later it may be told again.
            self.now_ms += 1000;
        }
        taken
    }

    fn close(&mut self, (client, port, server): (u16, u16, u8)) {
        self.segment('c', client, port, 0, "FA");
        self.segment('s', client, port, server, "FA");
        self.segment('c', client, port, 0, "A");
    }

    /// A line of servers' numbers is what as many connections are given.
    fn sequence(&mut self, label: &str, numbers: &str) {
        if self.is_missing() {
            let name = label.split(' ').next().unwrap_or_default().to_owned();
            *self.left_out.entry(name).or_default() += 1;
            return;
        }
        let keep = ["kept", "more", "all zero"].iter().any(|word| label.ends_with(word))
            || label.ends_with("kept open")
            || matches!(self.port, 8038 | 8039);
        let count = numbers.split_whitespace().count();
        let mut found = Vec::new();
        for _ in 0..count {
            let before = self.kept.len();
            found.push(self.open());
            if !keep && self.kept.len() > before {
                let conn = self.kept.pop().unwrap();
                self.close(conn);
            }
        }
        assert_eq!(found.join(" "), numbers.trim(), "{label} {}", self.port);
        self.checked += 1;
    }

    /// `  -> SERVER:PORT  Masq  WEIGHT ACTIVE INACTIVE` of a listing.
    fn listing(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["->", server, "Masq", _, active, inactive] = words.as_slice() else { return };
        if self.is_missing() {
            return;
        }
        let server: SocketAddrV4 = server.parse().unwrap();
        let director = self.lab.director();
        let services = director.catalog().services();
        let mut servers = services.filter(|s| s.key.port() == self.port).flat_map(|s| &s.servers);
        let found = servers.find(|known| known.key.address == IpAddr::V4(*server.ip())).unwrap();
        let counts = director.figures().counts();
        let slot = found.id.slot;
        let found = [counts.active(slot), counts.inactive(slot)].map(|n| n.to_string());
        assert_eq!(found, [*active, *inactive].map(str::to_owned), "{line} {}", self.port);
    }

    fn line(&mut self, line: &str) {
        let numbers = |text: &str| {
            let mut words = text.split_whitespace().peekable();
            words.peek().is_some() && words.all(|w| w == "refused" || w.parse::<u8>().is_ok())
        };
        if let Some(rule) = line.strip_prefix("$ ipvsadm ") {
            self.rule(rule);
        } else if line.starts_with("  -> ") {
            self.listing(line);
        } else if let Some(server) = line.strip_prefix("an old connection still answers: ") {
            let (client, port, _) = self.kept.remove(0);
            assert_eq!(self.segment('c', client, port, 0, "PA"), server);
            self.checked += 1;
        } else if line == "and the whole service:" {
            self.next_client += 100;
        } else if let Some((label, rest)) = line.split_once(": ").filter(|(_, r)| numbers(r)) {
            self.prepare(label);
            self.sequence(label, rest);
        } else if numbers(line) {
            self.sequence("", line);
        }
    }

    /// Does what was done without being recorded before a line with this label.
    fn prepare(&mut self, label: &str) {
        let words: Vec<&str> = label.split(' ').collect();
        let index = SCHEDULERS.iter().position(|name| *name == words[0]).unwrap_or(0) as u16;
        match words.as_slice() {
            [scheduler, "closed"] => self.make(scheduler, 8020 + index, "1,2,3"),
            [scheduler, "w", "1,1,1", "kept"] => self.make(scheduler, 8026 + index, "1,1,1"),
            [scheduler, "w", "0,2,2", "kept"] => self.make(scheduler, 8032 + index, "0,2,2"),
            _ => {}
        }
    }
}

#[test]
fn connections_go_to_the_servers_that_the_kernel_chooses() {
    let recording = include_str!("recordings/sched-counters.jsonl");
    let (mut checked, mut left_out) = (0, BTreeMap::<String, usize>::new());
    for (title, lines) in kernel::sections(recording) {
        if title.starts_with("twos") {
            *left_out.entry(title.split(' ').next().unwrap().to_owned()).or_default() += 1;
            continue;
        }
        let mut replayed = Replayed::new();
        let mut listed = 0;
        for line in &lines {
            // Between the two listings of a service every other connection is closed.
            if line.starts_with("$ ipvsadm -Ln -t") && title.starts_with("lc, wlc") {
                listed += 1;
                if listed % 2 == 0 {
                    let kept = std::mem::take(&mut replayed.kept);
                    kept.into_iter().step_by(2).for_each(|conn| replayed.close(conn));
                }
            }
            replayed.line(line);
        }
        checked += replayed.checked;
        replayed
            .left_out
            .into_iter()
            .for_each(|(name, count)| *left_out.entry(name).or_default() += count);
    }
    let all = checked + left_out.values().sum::<usize>();
    println!("{checked} of {all} recorded sequences are reproduced; left out:");
    left_out.iter().for_each(|(name, count)| println!("  {count:3} {name}"));
    assert!(checked >= 40, "only {checked} sequences were read");
}

/// Four workers and a service of three servers; each connection is owned by some worker.
fn four_workers(scheduler: &str, weights: &str) -> Replayed {
    let mut replayed = Replayed::of(kernel::lab_of(Plan { workers: 4, ..Plan::default() }));
    replayed.make(scheduler, 8000, weights);
    replayed
}

fn owners(replayed: &Replayed) -> usize {
    let workers = replayed.lab.director().figures().workers();
    workers.iter().filter(|worker| worker.connections.value() > 0).count()
}

#[test]
fn the_round_is_one_for_all_workers() {
    for (scheduler, weights) in [("rr", [1, 1, 1]), ("wrr", [1, 1, 1]), ("wrr", [1, 2, 3])] {
        let mut replayed = four_workers(scheduler, &weights.map(|w| w.to_string()).join(","));
        let round: usize = weights.iter().sum();
        let mut taken = [0; 3];
        for opened in 1..=60 {
            let server: usize = replayed.open().parse().unwrap();
            taken[server - 1] += 1;
            let rounds = opened / round;
            for (taken, weight) in taken.iter().zip(weights) {
                let exact = rounds * weight..=(rounds + 1) * weight;
                assert!(exact.contains(taken), "{scheduler}: {taken} after {opened}");
            }
        }
        assert_eq!(owners(&replayed), 4, "all workers take part");
    }
}

#[test]
fn servers_are_compared_by_the_connections_of_all_workers() {
    for scheduler in ["lc", "wlc", "sed", "nq"] {
        let mut replayed = four_workers(scheduler, "1,1,1");
        let mut taken = BTreeMap::<String, usize>::new();
        (0..60).for_each(|_| *taken.entry(replayed.open()).or_default() += 1);
        assert_eq!(taken.into_values().collect::<Vec<_>>(), [20; 3], "{scheduler}");
        assert_eq!(owners(&replayed), 4, "all workers take part");
        let (ended, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut replayed.kept)
            .into_iter()
            .partition(|(_, _, server)| *server == 12);
        ended.into_iter().for_each(|conn| replayed.close(conn));
        replayed.kept = kept;
        for connection in 1..=19 {
            assert_eq!(replayed.open(), "2", "{scheduler}: {connection} after its ended");
        }
    }
}
