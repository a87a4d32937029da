// SPDX-License-Identifier: MIT OR Apache-2.0
//! States and timeouts, segment by segment, as recorded of the kernel's IPVS (Linux 6.1).

mod kernel;
mod lab;

use std::net::SocketAddrV4;

use kernel::{CLIENT, Content, LAN, WAN, flags, send};
use lab::Lab;
use lb::ids::Tick;

const RULES: &str = "
    -A -t 10.1.0.80:9000 -s rr
    -a -t 10.1.0.80:9000 -r 10.2.0.11:9000 -m
    -A -t 10.1.0.81:9000 -s rr
    -a -t 10.1.0.81:9000 -r 10.2.0.11:9000 -g
    -A -t 10.1.0.82:9000 -s rr
    -a -t 10.1.0.82:9000 -r 10.2.0.11:9000 -i
    -A -t 10.1.0.80:9001 -s rr
    -a -t 10.1.0.80:9001 -r 10.2.0.12:9001 -m
    -A -u 10.1.0.80:9002 -s rr
    -a -u 10.1.0.80:9002 -r 10.2.0.11:9002 -m
    -A -u 10.1.0.81:9002 -s rr
    -a -u 10.1.0.81:9002 -r 10.2.0.11:9002 -g
    -A --sctp-service 10.1.0.80:9003 -s rr
    -a --sctp-service 10.1.0.80:9003 -r 10.2.0.11:9003 -m
    -A --sctp-service 10.1.0.81:9003 -s rr
    -a --sctp-service 10.1.0.81:9003 -r 10.2.0.11:9003 -g
";

/// Milliseconds between a packet and the listing after it, in the recording.
const STEP_MS: u64 = 40;

/// What a line of a listing says of a connection: minutes and seconds left, state, ends.
struct Listed {
    expires_s: u32,
    state: String,
    client: SocketAddrV4,
    vip: SocketAddrV4,
    server: SocketAddrV4,
}

fn listed(line: &str) -> Option<Listed> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [.., "TCP" | "UDP" | "SCTP", time, state, client, vip, server] = words.as_slice() else {
        return None;
    };
    let (minutes, seconds) = time.split_once(':')?;
    Some(Listed {
        expires_s: minutes.parse::<u32>().ok()? * 60 + seconds.parse::<u32>().ok()?,
        state: (*state).to_owned(),
        client: client.parse().ok()?,
        vip: vip.parse().ok()?,
        server: server.parse().ok()?,
    })
}

struct Replayed {
    lab: Lab,
    now_ms: u64,
    checked: usize,
}

impl Replayed {
    fn new() -> Self {
        let mut lab = kernel::lab();
        lab.rules(RULES);
        Self { lab, now_ms: 0, checked: 0 }
    }

    /// A packet of the connection between a client's port and a VIP's, from one of the two sides.
    fn packet(&mut self, event: &str, client_port: u16, vip: SocketAddrV4, server: SocketAddrV4) {
        let client = SocketAddrV4::new(CLIENT.into(), client_port);
        let (side, letters) = event.split_once(':').unwrap();
        let content = match letters {
            "datagram" => Content::Datagram,
            chunk if vip.port() == 9003 => Content::Chunk(chunk),
            letters => Content::Segment(flags(letters)),
        };
        let now = Tick::from_millis(self.now_ms);
        match side {
            "c" => send(&mut self.lab, WAN, [client, vip], content, now),
            _ => send(&mut self.lab, LAN, [server, client], content, now),
        };
        self.now_ms += STEP_MS;
    }

    /// The connection of a listed line is as listed; expiry to the second.
    fn expect(&mut self, line: &str, listed: &Listed) {
        let now = Tick::from_millis(self.now_ms);
        let conns = self.lab.ensemble().connections(now);
        let conn = conns
            .iter()
            .find(|conn| conn.client == listed.client.into() && conn.vip == listed.vip.into());
        let conn = conn.unwrap_or_else(|| panic!("{line}: no such connection"));
        assert_eq!(conn.state.name(), listed.state, "{line}");
        assert!(conn.expires_s.abs_diff(listed.expires_s) <= 1, "{line}: {}", conn.expires_s);
        let (_, server) = self.lab.director().catalog().server_name(conn.server).unwrap();
        assert_eq!(
            (server.address, server.port),
            ((*listed.server.ip()).into(), listed.server.port())
        );
        self.checked += 1;
    }

    fn expect_none(&mut self, line: &str, client_port: u16, vip: SocketAddrV4) {
        let now = Tick::from_millis(self.now_ms);
        let conns = self.lab.ensemble().connections(now);
        let found =
            conns.iter().any(|conn| conn.client.port() == client_port && conn.vip == vip.into());
        assert!(!found, "{line}: there is a connection");
        self.checked += 1;
    }

    /// `-- VIP EVENT...` and a line after each event: `EVENT: LISTED` or `EVENT: none`.
    /// Settings are given as the lab writes them: `# KEY = VALUE`.
    fn sequences(&mut self, lines: &[String], port: u16) {
        let mut next_port = 40000;
        let mut vip: Option<SocketAddrV4> = None;
        let mut last: Option<Listed> = None;
        for line in lines {
            if let Some(setting) = line.strip_prefix("# ") {
                self.lab.rules(&format!("--sysctl {}", setting.replace(' ', "")));
            } else if let Some(rule) = line.strip_prefix("$ ipvsadm --set") {
                self.lab.rules(&format!("--set{rule}"));
            } else if let Some(head) = line.strip_prefix("-- ") {
                let address = head.split(' ').next().unwrap();
                vip = Some(format!("{address}:{port}").parse().unwrap());
                next_port += 1;
            } else if let (Some((label, rest)), Some(vip)) = (line.split_once(": "), vip) {
                let label = label.trim();
                let client_port = listed(rest).map_or(next_port, |listed| listed.client.port());
                let server = format!("10.2.0.11:{port}").parse().unwrap();
                match label {
                    "before a packet" => {}
                    "after one" => self.packet("c:A", client_port, vip, server),
                    event if event.contains(':') => self.packet(event, client_port, vip, server),
                    _ => continue,
                }
                match listed(rest) {
                    Some(listed) => {
                        self.expect(line, &listed);
                        last = Some(listed);
                    }
                    None => self.expect_none(line, client_port, vip),
                }
            }
        }
        assert!(last.is_some(), "nothing was listed");
    }

    /// `PORT EVENT  active N inactive N`.
    fn activity(&mut self, lines: &[String]) {
        let (vip, server) = ("10.1.0.80:9001".parse().unwrap(), "10.2.0.12:9001".parse().unwrap());
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [label @ .., "active", active, "inactive", inactive] = words.as_slice() else {
                continue;
            };
            if let [port, event] = label {
                self.packet(event, port.parse().unwrap(), vip, server);
            }
            let director = self.lab.director();
            let service = director.catalog().services().find(|s| s.key.port() == 9001).unwrap();
            let slot = service.servers[0].id.slot;
            let counts = director.figures().counts();
            let found = (counts.active(slot).to_string(), counts.inactive(slot).to_string());
            assert_eq!(found, ((*active).to_owned(), (*inactive).to_owned()), "{line}");
            self.checked += 1;
        }
    }

    fn datagrams(&mut self, lines: &[String]) {
        for line in lines {
            let Some((label, rest)) = line.split_once(": ") else { continue };
            let Some(listed) = listed(rest) else { continue };
            let (port, vip, server) = (listed.client.port(), listed.vip, listed.server);
            match label {
                "after one" => self.packet("c:datagram", port, vip, server),
                "2.2 s later" => self.now_ms += 2200,
                "after a second" => self.packet("c:datagram", port, vip, server),
                "after a reply" => {
                    self.now_ms += 2200;
                    self.packet("s:datagram", port, vip, server);
                }
                _ => continue,
            }
            self.expect(line, &listed);
        }
    }
}

#[test]
fn states_and_timeouts_are_the_kernels() {
    let recording = include_str!("recordings/behave-states.jsonl");
    let (mut checked, mut recorded) = (0, 0);
    for (title, lines) in kernel::sections(recording) {
        let mut replayed = Replayed::new();
        match title.split([' ', ':', ',']).next().unwrap() {
            "TCP" | "--set" | "sloppy_tcp" | "the" => replayed.sequences(&lines, 9000),
            "SCTP" => replayed.sequences(&lines, 9003),
            "activity" => replayed.activity(&lines),
            "UDP" => replayed.datagrams(&lines),
            other => panic!("an unknown section: {other}"),
        }
        checked += replayed.checked;
        let is_state = |line: &&String| {
            let listed =
                line.contains(": TCP") || line.contains(": UDP") || line.contains(": SCTP");
            listed || line.ends_with(": none") || line.contains(" active ")
        };
        recorded += lines.iter().filter(is_state).count();
    }
    println!("{checked} of {recorded} recorded states are reproduced");
    assert_eq!(checked, recorded, "lines of the recording were not understood");
}
