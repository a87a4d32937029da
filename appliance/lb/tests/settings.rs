// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel's settings do, as recorded of its IPVS (Linux 6.1): every flag in every state
//! with `secure_tcp`, every SCTP chunk, removed servers, `conn_reuse_mode`, `drop_packet`.

mod kernel;
mod lab;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use kernel::{CLIENT, Content, LAN, WAN, flags, send};
use lab::Lab;
use lb::ids::Tick;

struct Replayed {
    lab: Lab,
    now_ms: u64,
    checked: usize,
}

impl Replayed {
    fn new() -> Self {
        Self { lab: kernel::lab(), now_ms: 0, checked: 0 }
    }

    fn now(&self) -> Tick {
        Tick::from_millis(self.now_ms)
    }

    /// A rule or setting as the recording shows it; the next second it is in force.
    fn heeds(&mut self, line: &str) -> bool {
        if let Some(setting) = line.strip_prefix("# ") {
            self.lab.rules(&format!("--sysctl {}", setting.replace(' ', "")));
        } else if let Some(rule) = line.strip_prefix("$ ipvsadm ") {
            self.lab.rules(rule);
        } else {
            return false;
        }
        self.now_ms += 1300;
        self.lab.tick(self.now());
        true
    }

    /// State and server of a client port's connection; none if there is none.
    fn conn(&mut self, port: u16) -> Option<(&'static str, Ipv4Addr)> {
        let now = self.now();
        let conns = self.lab.ensemble().connections(now);
        let conn = conns.iter().find(|conn| conn.client.port() == port)?;
        let (_, server) = self.lab.director().catalog().server_name(conn.server)?;
        match server.address {
            std::net::IpAddr::V4(address) => Some((conn.state.name(), address)),
            std::net::IpAddr::V6(_) => None,
        }
    }

    fn state(&mut self, port: u16) -> &'static str {
        self.conn(port).map_or("-", |(state, _)| state)
    }

    /// A packet from the client, or from the server that its connection has.
    fn packet(&mut self, event: &str, port: u16, vip: SocketAddrV4, content: Content<'_>) {
        let client = SocketAddrV4::new(CLIENT.into(), port);
        let now = self.now();
        if event.starts_with('c') {
            send(&mut self.lab, WAN, [client, vip], content, now);
        } else if let Some((_, server)) = self.conn(port) {
            let server = SocketAddrV4::new(server, vip.port());
            send(&mut self.lab, LAN, [server, client], content, now);
        }
        self.now_ms += 12;
    }

    fn segments(&mut self, events: &str, port: u16, vip: SocketAddrV4) {
        for event in events.split(' ') {
            self.packet(event, port, vip, Content::Segment(flags(&event[2..])));
        }
    }

    /// `VIP STATE EVENT -> NEXT`: the state is reached by what was recorded before.
    fn transitions(&mut self, lines: &[String], is_sctp: bool) {
        let mut paths = HashMap::<(Ipv4Addr, String), Vec<String>>::new();
        let mut port = 20_000;
        for line in lines {
            if self.heeds(line) {
                paths.clear();
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [vip, state, event, "->", next] = words.as_slice() else { continue };
            let vip = SocketAddrV4::new(vip.parse().unwrap(), 9003);
            let mut path = paths.get(&(*vip.ip(), (*state).to_owned())).cloned();
            port += 1;
            for event in path.get_or_insert_default() {
                self.packet(event, port, vip, content(event, is_sctp));
            }
            assert_eq!(self.state(port), *state, "{line}: before");
            self.packet(event, port, vip, content(event, is_sctp));
            assert_eq!(self.state(port), *next, "{line}");
            self.checked += 1;
            paths.entry((*vip.ip(), (*next).to_owned())).or_insert_with(|| {
                let path = path.unwrap_or_default().into_iter();
                path.chain([(*event).to_owned()]).collect()
            });
        }
    }

    /// `before: LISTED` and `after EVENT: LISTED` of connections opened by sequences.
    fn reuse(&mut self, lines: &[String]) {
        let mut sequences = REUSED.iter().cycle();
        for line in lines {
            if self.heeds(line) {
                continue;
            }
            let (label, rest) = line.split_once(": ").unwrap();
            let words: Vec<&str> = rest.split_whitespace().collect();
            let [_, _, state, client, vip, server] = words.as_slice() else { panic!("{line}") };
            let [client, vip, server] = [client, vip, server].map(|end| end.parse().unwrap());
            let (client, vip, server): (SocketAddrV4, SocketAddrV4, SocketAddrV4) =
                (client, vip, server);
            let events = match label {
                "before" => sequences.next().unwrap(),
                _ => "c:S",
            };
            self.segments(events, client.port(), vip);
            let found = self.conn(client.port());
            assert_eq!(found, Some((*state, *server.ip())), "{line}");
            self.checked += 1;
        }
    }

    /// `syn PATTERN`, `udp PATTERN`: a cross for each packet that opened nothing.
    fn drops(&mut self, lines: &[String]) {
        let vip = "10.1.0.80:9300".parse().unwrap();
        for line in lines {
            if self.heeds(line) {
                continue;
            }
            let (protocol, pattern) = line.split_once(' ').unwrap();
            let (first, content) = match protocol {
                "syn" => (23001, Content::Segment(flags("S"))),
                _ => (24001, Content::Datagram),
            };
            let ports = first..first + pattern.len() as u16;
            let found = ports.map(|port| {
                self.packet("c", port, vip, content);
                if self.conn(port).is_some() { '.' } else { 'x' }
            });
            assert_eq!(found.collect::<String>(), pattern, "{line}");
            self.checked += 1;
        }
    }

    /// `-- LABEL`, what `--stats` shows of the server, and the connections.
    fn removals(&mut self, lines: &[String]) {
        let vip: SocketAddrV4 = "10.1.0.80:9100".parse().unwrap();
        let (mut labels, mut listed) = (REMOVALS.iter(), Vec::new());
        let mut shows_figures = false;
        for line in lines.iter().map(String::as_str).chain(["-- the end"]) {
            if let Some(label) = line.strip_prefix("-- ") {
                self.lists(&std::mem::take(&mut listed));
                let Some((expected, port, events, figures)) = labels.next() else { return };
                assert_eq!(label, *expected);
                for port in port.iter() {
                    self.segments(events, *port, vip);
                }
                self.lab.tick(self.now());
                shows_figures = *figures;
            } else if let Some(figures) = line.trim().strip_prefix("-> ") {
                if shows_figures {
                    let wanted: Vec<u64> =
                        figures.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
                    assert_eq!(self.figures(), wanted, "{line}");
                    self.checked += 1;
                }
            } else if line.trim().starts_with("TCP") {
                let words: Vec<&str> = line.split_whitespace().collect();
                listed.push((words[3].to_owned(), words[2].to_owned()));
            } else if line == "none" {
                let now = self.now();
                assert_eq!(self.lab.ensemble().connections(now).len(), 0);
                self.checked += 1;
            } else if line != "expire_nodest_conn" {
                self.lists(&std::mem::take(&mut listed));
                assert!(self.heeds(line), "{line}");
            }
        }
    }

    /// The connections are those listed, if any were listed at all.
    fn lists(&mut self, listed: &[(String, String)]) {
        let now = self.now();
        let conns = self.lab.ensemble().connections(now);
        for (client, state) in listed {
            let conn = conns.iter().find(|conn| conn.client.to_string() == *client);
            assert_eq!(conn.map(|conn| conn.state.name()), Some(state.as_str()), "{client}");
            self.checked += 1;
        }
    }

    fn figures(&self) -> Vec<u64> {
        let director = self.lab.director();
        let service = director.catalog().services().next().unwrap();
        let sum = director.figures().server(service.servers[0].id);
        vec![sum.conns, sum.in_packets, sum.out_packets, sum.in_bytes, sum.out_bytes]
    }
}

/// What was sent before the connection was listed, for each value of `conn_reuse_mode`.
const REUSED: [&str; 7] = [
    "c:S s:SA c:A s:FA c:FA",
    "c:S s:SA c:A c:R",
    "c:S s:SA c:A s:FA",
    "c:S s:SA c:A",
    "c:S c:A c:FA",
    "c:S c:A c:R",
    "c:S c:A",
];

/// What was sent before each listing of removed servers, from which ports, and whether the kernel
/// had had the time to sum up the server's figures.
const REMOVALS: [(&str, &[u16], &str, bool); 14] = [
    ("two established", &[21001, 21002], "c:S s:SA c:A", true),
    ("server deleted, a segment", &[21001], "c:A", false),
    ("added again", &[], "", true),
    ("a segment", &[21001], "c:A", true),
    ("service created again", &[], "", true),
    ("a segment", &[21002], "c:A", true),
    ("added again as -g", &[], "", true),
    ("a segment", &[21002], "c:A", false),
    ("deleted", &[], "", false),
    ("added", &[], "", true),
    ("established", &[21003], "c:S s:SA c:A", false),
    ("weight 0, ACK", &[21003], "c:A", false),
    ("weight 0, SYN", &[21003], "c:S", true),
    ("the end", &[], "", false),
];

fn content(event: &str, is_sctp: bool) -> Content<'_> {
    let what = &event[2..];
    if is_sctp { Content::Chunk(what) } else { Content::Segment(flags(what)) }
}

#[test]
fn settings_do_what_the_kernels_do() {
    let recording = include_str!("recordings/states-settings.jsonl");
    let (mut checked, mut recorded) = (0, 0);
    for (title, lines) in kernel::sections(recording) {
        let mut replayed = Replayed::new();
        let count = |of: &dyn Fn(&String) -> bool| lines.iter().filter(|line| of(line)).count();
        recorded += match title.split([' ', ':']).next().unwrap() {
            "SCTP" => {
                replayed.transitions(&lines, true);
                count(&|line| line.contains(" -> "))
            }
            "secure_tcp" => {
                replayed.transitions(&lines, false);
                count(&|line| line.contains(" -> "))
            }
            "conn_reuse_mode" => {
                replayed.reuse(&lines);
                count(&|line| line.contains(": TCP"))
            }
            "drop_packet" => {
                replayed.drops(&lines);
                count(&|line| line.ends_with('.'))
            }
            "trash" => {
                replayed.removals(&lines);
                // Three times the kernel had not summed up yet.
                let listed = |line: &String| {
                    line.trim().starts_with("TCP ")
                        || line.contains("-> 10.2.0.11:9100")
                        || line == "none"
                };
                count(&|line| listed(line)) - 3
            }
            other => panic!("an unknown section: {other}"),
        };
        checked += replayed.checked;
    }
    println!("{checked} of {recorded} recorded effects of settings are reproduced");
    assert_eq!(checked, recorded, "lines of the recording were not understood");
}

#[test]
fn a_purge_leaves_no_connection_of_a_removed_server() {
    let mut replayed = Replayed::new();
    replayed.lab.rules(
        "-A -t 10.1.0.80:9100 -s rr
         -a -t 10.1.0.80:9100 -r 10.2.0.11:9100 -m
         -a -t 10.1.0.80:9100 -r 10.2.0.12:9100 -m
         --sysctl expire_nodest_conn=1",
    );
    let vip = "10.1.0.80:9100".parse().unwrap();
    (1000..1100).for_each(|port| replayed.segments("c:S s:SA c:A", port, vip));
    replayed.lab.rules("-d -t 10.1.0.80:9100 -r 10.2.0.11:9100");
    replayed.lab.tick(replayed.now());
    let left = (1000..1100).filter_map(|port| replayed.conn(port));
    let servers: Vec<_> = left.map(|(_, server)| server.octets()[3]).collect();
    assert_eq!(servers, [12; 50]);
}
