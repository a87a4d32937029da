// SPDX-License-Identifier: MIT OR Apache-2.0
//! The recorded choices of the kernel's hash schedulers, and of lblc and lblcr (Linux 6.1).

use std::collections::HashMap;
use std::net::IpAddr;

use wire::{FamilyId, L4};

use super::desk::Desk;
use crate::service::ServiceKey;

/// Source ports began here where not the source address changed from connection to connection.
const FIRST_PORTS: [(u16, u16); 5] =
    [(8003, 20000), (8004, 21000), (8003, 22000), (8010, 23000), (8018, 24000)];

/// Everything that was recorded in one virtual machine.
#[derive(Default)]
struct Replay {
    desks: HashMap<u16, Desk>,
    /// The service of the last command.
    current: u16,
    is_v6: bool,
    /// What the line before said of the next one.
    announced: String,
    ports_used: usize,
    checked: usize,
}

impl Replay {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["$", "ipvsadm", command @ ..] = words.as_slice() {
            return self.command(command);
        }
        if let ["->", server, "Masq", _, active, _] = words.as_slice() {
            return self.listed(server, active);
        }
        let is_choice = |word: &&&str| matches!(**word, "1" | "2" | "3" | "refused");
        let count = words.iter().rev().take_while(is_choice).count();
        let (label, choices) = words.split_at(words.len() - count);
        let label = label.join(" ");
        if count >= 10 && !label.starts_with("one source port") {
            let label = format!("{}{label}", std::mem::take(&mut self.announced));
            self.choices(&label, choices);
        } else if line.ends_with(':') {
            self.announced = line.to_owned();
        }
    }

    fn command(&mut self, command: &[&str]) {
        let after = |option| {
            let position = command.iter().position(|word| *word == option)?;
            command.get(position + 1).copied()
        };
        let mark = after("-f").map(|mark| mark.parse::<u16>().unwrap());
        let endpoint = after("-t").or(after("-u")).and_then(|service| service.rsplit_once(':'));
        let Some(current) = mark.or(endpoint.map(|(_, port)| port.parse().unwrap())) else {
            return;
        };
        self.current = current;
        self.is_v6 = endpoint.is_some_and(|(address, _)| address.contains(':'));
        if command[0] == "-A" {
            let flags: Vec<u8> = after("-b")
                .unwrap_or_default()
                .split(',')
                .filter_map(|flag| match flag.rsplit_once('-')?.1 {
                    "fallback" => Some(1),
                    _ => Some(2),
                })
                .collect();
            // The first server tells the port that all have.
            let port = if mark.is_some() {
                0
            } else if current == 8014 {
                8000
            } else {
                current
            };
            self.make(after("-s").unwrap(), &flags, mark.is_some(), port);
            return;
        }
        let Some((server, _)) = after("-r").and_then(|server| server.rsplit_once(':')) else {
            return;
        };
        let number = server.trim_end_matches(']').chars().last().unwrap() as u8 - b'0';
        let weight = after("-w").map_or(1, |weight| weight.parse().unwrap());
        let desk = self.desks.get_mut(&current).unwrap();
        match command[0] {
            "-a" => desk.add(number, weight),
            "-e" => desk.edit(number, weight),
            "-d" => desk.delete(number),
            other => panic!("{other}"),
        }
    }

    fn make(&mut self, scheduler: &str, flags: &[u8], is_mark: bool, port: u16) {
        let address: IpAddr = if self.is_v6 { "fd00:1::80" } else { "10.1.0.80" }.parse().unwrap();
        let zero: IpAddr = if self.is_v6 { "fd00:2::10" } else { "10.2.0.10" }.parse().unwrap();
        let key = match is_mark {
            true => ServiceKey::Mark { mark: self.current.into(), family: FamilyId::V4 },
            false => ServiceKey::Endpoint { protocol: L4::Tcp, address, port: self.current },
        };
        self.desks.insert(self.current, Desk::of(key, scheduler, flags, zero, port));
    }

    /// `10.9.4.x lblc (1, 1, 1)`: a service whose making was not printed.
    fn make_unseen(&mut self, label: &str) {
        let (network, rest) = label.split_once(' ').unwrap();
        let (scheduler, weights) = rest.split_once(" (").unwrap();
        self.current = network.split('.').nth(2).unwrap().parse().unwrap();
        self.is_v6 = false;
        self.make(scheduler, &[], true, 0);
        let weights = weights.trim_end_matches(')').split(", ");
        let desk = self.desks.get_mut(&self.current).unwrap();
        (1..).zip(weights).for_each(|(server, weight)| desk.add(server, weight.parse().unwrap()));
    }

    fn choices(&mut self, label: &str, recorded: &[&str]) {
        if label.starts_with("10.9.") {
            self.make_unseen(label);
        }
        let of_port = FIRST_PORTS.get(self.ports_used).filter(|(of, _)| *of == self.current);
        self.ports_used += usize::from(of_port.is_some());
        let keeps = self.current < 100 && !label.contains('(');
        let one = match label {
            "lblc" | "lblcr" => Some(1),
            _ => label.contains("one destination").then_some(200),
        };
        let (current, is_v6) = (self.current, self.is_v6);
        let desk = self.desks.get_mut(&current).unwrap();
        let mut found = Vec::new();
        for number in 0..recorded.len() as u16 {
            let (mut client, port) = match of_port {
                Some((_, first)) => ("10.1.0.2".to_owned(), first + number),
                None => (format!("10.1.0.{}", 100 + number), 40000),
            };
            if is_v6 {
                client = match of_port {
                    Some(_) => "fd00:1::2".to_owned(),
                    None => format!("fd00:1::1:{}", 10 + number),
                };
            }
            if current < 100 {
                desk.vip = [10, 9, current as u8, one.unwrap_or(number as u8 + 1)].into();
            }
            let server = desk.open(client.parse().unwrap(), port);
            if let Some(server) = server.filter(|_| !keeps) {
                desk.settle(server);
            }
            found.push(server.map_or("refused".to_owned(), |server| server.to_string()));
        }
        assert_eq!(found.join(" "), recorded.join(" "), "{current} {label}");
        self.checked += 1;
    }

    fn listed(&mut self, server: &str, active: &str) {
        let (address, _) = server.rsplit_once(':').unwrap();
        let number = address.chars().last().unwrap() as u8 - b'0';
        let found = self.desks[&self.current].active(number);
        assert_eq!(found.to_string(), active, "{server} of {}", self.current);
        self.checked += 1;
    }
}

#[test]
fn hashed_connections_go_to_the_servers_that_the_kernel_chooses() {
    let recording = include_str!("../../../tests/recordings/sched-hash.jsonl");
    let mut replay = Replay::default();
    for line in recording.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let stdout = entry["stdout"].as_str().unwrap_or_default();
        stdout.lines().for_each(|line| replay.line(line));
    }
    println!("{} recorded sequences and listings are reproduced", replay.checked);
    assert_eq!(replay.ports_used, FIRST_PORTS.len());
    assert_eq!(replay.checked, 73);
}

/// Opens as many connections as were recorded, from ten addresses in turn or from one.
fn opened(desk: &mut Desk, recorded: &str, is_one_client: bool) -> String {
    let mut found = Vec::new();
    for number in 0..recorded.split_whitespace().count() {
        let last = if is_one_client { 2 } else { 100 + number as u8 };
        let server = desk.open([10, 1, 0, last].into(), 40000);
        found.push(server.map_or("refused".to_owned(), |server| server.to_string()));
    }
    found.join(" ")
}

#[test]
fn overloaded_servers_are_skipped_as_the_kernel_skips_them() {
    let recording = include_str!("../../../tests/recordings/sched-thresholds.jsonl");
    let (mut port, mut checked) = (7999, 0);
    let mut desk = Desk::new("rr");
    let mut with_fallback = false;
    for line in recording.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let section = entry["section"].as_str().unwrap_or_default();
        if section.starts_with("fallback") {
            (port, with_fallback) = (8019, true);
        }
        for line in entry["stdout"].as_str().unwrap_or_default().lines() {
            if let Some((scheduler, recorded)) = line.split_once(" kept open: ") {
                port += 1;
                let address = [10, 1, 0, 80].into();
                let key = ServiceKey::Endpoint { protocol: L4::Tcp, address, port };
                let flags: &[u8] = if with_fallback { &[1] } else { &[] };
                desk = Desk::of(key, scheduler, flags, [10, 2, 0, 10].into(), port);
                for server in 1..=3 {
                    desk.add(server, server.into());
                    desk.limit(server, 2);
                }
                let found = opened(&mut desk, recorded, with_fallback);
                assert_eq!(found, recorded, "{scheduler}");
                checked += 1;
            } else if let Some((scheduler, recorded)) = line.split_once(" more: ") {
                (1..=3).for_each(|server| desk.limit(server, 3));
                assert_eq!(opened(&mut desk, recorded, false), recorded, "{scheduler} more");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 28);
}
