// SPDX-License-Identifier: MIT OR Apache-2.0
//! A flood of SYNs from everywhere, more than ten for each packet of good clients, over a table
//! that it would fill many times: what the good clients and their servers send must arrive.
//!
//! Good packets are compared byte by byte with what must leave. The bound on half-open connections
//! is larger than what the flood opens while a good client completes its handshake.

mod lab;
#[path = "simulation/mod.rs"]
#[allow(dead_code, reason = "only its dice are thrown here")]
mod world;

use std::collections::VecDeque;
use std::net::IpAddr;

use lab::{Lab, Plan, mac_of};
use lb::ids::{NicId, Tick};
use lb::limits::Limits;
use lb::verdict::DropReason;
use wire::{Frame, TcpFlags, VecFrame, build};
use world::Chance;

const WAN: NicId = NicId(0);
const LAN: NicId = NicId(1);

/// How long the flood lasts, and the SYNs of a millisecond of it.
const FLOOD_MS: u64 = 1500;
const SYNS: usize = 20;

/// Connections of a worker at most. The flood opens 25 times as many.
const CAPACITY: u32 = 1200;

/// A good client takes 16 ms from its SYN to its ACK, in which the flood sends 320.
const BOUND: u32 = 400;

/// What a good client and its server say: when, in milliseconds from the first segment, and who.
type Script = [(u64, Side, TcpFlags)];

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Client,
    Server,
}

use Side::{Client, Server};

const OPENING: [(u64, Side, TcpFlags); 3] =
    [(0, Client, TcpFlags::SYN), (8, Server, TcpFlags(0x12)), (16, Client, TcpFlags::ACK)];
const EXCHANGE: [(u64, Side, TcpFlags); 2] =
    [(0, Client, TcpFlags(0x18)), (8, Server, TcpFlags(0x18))];
const CLOSING: [(u64, Side, TcpFlags); 3] =
    [(0, Client, TcpFlags(0x11)), (8, Server, TcpFlags(0x11)), (16, Client, TcpFlags::ACK)];

/// Where the good clients' services are, and how their server is reached.
#[derive(Clone, Copy)]
struct Site {
    vip: IpAddr,
    server: IpAddr,
    translates: bool,
}

impl Site {
    fn new(vip: &str, server: &str, mode: &str) -> Self {
        let (vip, server) = (vip.parse().unwrap(), server.parse().unwrap());
        Self { vip, server, translates: mode == "-m" }
    }

    fn client(&self, number: u16) -> IpAddr {
        match self.vip {
            IpAddr::V4(_) => [198, 51, 100, 10 + (number % 40) as u8].into(),
            IpAddr::V6(_) => format!("2001:db8:51::{:x}", 10 + number % 40).parse().unwrap(),
        }
    }
}

/// A packet that a good client or its server will send.
struct Due {
    at_ms: u64,
    /// The number of its connection.
    conn: u16,
    side: Side,
    /// None for a datagram.
    flags: Option<TcpFlags>,
}

struct Flood {
    lab: Lab,
    site: Site,
    chance: Chance,
    due: VecDeque<Due>,
    sent: u32,
    arrived: u32,
}

impl Flood {
    fn new(site: Site, workers: u16, half_open: u32) -> Self {
        let limits =
            Limits { services: 4, servers: 4, connections: CAPACITY, templates: 64, half_open };
        let mut lab = Lab::new(Plan { workers, limits, ..Plan::default() });
        let clients = (0..40).map(|number| site.client(number));
        lab.know_all(clients.chain([site.server]));
        let endpoint = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let (vip, server) = (endpoint(site.vip), endpoint(site.server));
        let mode = if site.translates { "-m" } else { "-g" };
        for protocol in ["-t", "-u"] {
            lab.rules(&format!("-A {protocol} {vip}:80 -s rr"));
            lab.rules(&format!("-a {protocol} {vip}:80 -r {server}:80 {mode}"));
        }
        let chance = Chance::new(7);
        Self { lab, site, chance, due: VecDeque::new(), sent: 0, arrived: 0 }
    }

    fn plan(&mut self, start_ms: u64, conn: u16, script: &Script) {
        for (after_ms, side, flags) in script {
            let at_ms = start_ms + after_ms;
            self.due.push_back(Due { at_ms, conn, side: *side, flags: Some(*flags) });
        }
    }

    /// Lets a millisecond pass: the flood sends, and whoever else has to.
    fn step(&mut self, now_ms: u64, syns: usize) {
        let (mut frames, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..syns {
            let client = self.site.client(self.chance.below(40) as u16);
            let port = 10_000 + self.chance.below(50_000) as u16;
            let fields = Packet { from: (client, port), to: (self.site.vip, 80), ttl: 64 };
            frames.push((WAN, fields.build(client, WAN, Some(TcpFlags::SYN), &self.lab)));
        }
        self.due.make_contiguous().sort_by_key(|due| due.at_ms);
        while self.due.front().is_some_and(|due| due.at_ms <= now_ms)
            && let Some(due) = self.due.pop_front()
        {
            // A server that keeps the VIP answers past the director.
            if due.side == Client || self.site.translates {
                let (arrives, leaves) = self.packet(&due);
                let at = self.chance.below(frames.len() + 1);
                frames.insert(at, arrives);
                expected.push(leaves);
            }
        }
        let mut sent = self.lab.receive(frames, Tick::from_millis(now_ms)).sent;
        self.lab.tick(Tick::from_millis(now_ms));
        self.sent += expected.len() as u32;
        for (nic, frame) in expected {
            let arrived =
                sent.iter().position(|(by, left)| *by == nic && left.bytes() == frame.bytes());
            self.arrived += u32::from(arrived.map(|at| sent.swap_remove(at)).is_some());
        }
    }

    /// A packet as it comes, and as it must leave.
    fn packet(&self, due: &Due) -> ((NicId, VecFrame), (NicId, VecFrame)) {
        let Site { vip, server, translates } = self.site;
        let client = (self.site.client(due.conn), 1000 + due.conn);
        let seen = (if translates { server } else { vip }, 80);
        let build = |from, to, ttl, machine, nic| {
            (nic, Packet { from, to, ttl }.build(machine, nic, due.flags, &self.lab))
        };
        match due.side {
            Client => {
                let left = build(client, seen, 63, server, LAN);
                (build(client, (vip, 80), 64, client.0, WAN), self.as_left(left))
            }
            Server => {
                let left = build((vip, 80), client, 63, client.0, WAN);
                (build((server, 80), client, 64, server, LAN), self.as_left(left))
            }
        }
    }

    /// A frame on a NIC's segment as the director sends it: link-layer addresses change places.
    fn as_left(&self, (nic, mut frame): (NicId, VecFrame)) -> (NicId, VecFrame) {
        let (to, from) = frame.head_mut()[..12].split_at_mut(6);
        to.swap_with_slice(from);
        (nic, frame)
    }

    /// The share of the good packets that arrived, while the flood rages, in thousandths.
    fn rage(&mut self) -> u32 {
        for conn in 0..60 {
            self.plan(conn, conn as u16, &OPENING);
        }
        (0..100).for_each(|now_ms| self.step(now_ms, 0));
        assert_eq!(self.sent, self.arrived, "without a flood");
        (self.sent, self.arrived) = (0, 0);
        let end_ms = 100 + FLOOD_MS;
        for conn in 0..60 {
            for round in 0..4 {
                self.plan(100 + u64::from(conn) + 360 * round, conn, &EXCHANGE);
            }
        }
        for conn in 60..160 {
            let start_ms = 100 + 14 * u64::from(conn - 60);
            self.plan(start_ms, conn, &OPENING);
            self.plan(start_ms + 24, conn, &EXCHANGE);
            self.plan(start_ms + 40, conn, &CLOSING);
        }
        for conn in 160..260 {
            let start_ms = 100 + 14 * u64::from(conn - 160);
            for (after_ms, side) in [(0, Client), (8, Server), (30, Client)] {
                let at_ms = start_ms + after_ms;
                self.due.push_back(Due { at_ms, conn, side, flags: None });
            }
        }
        (100..end_ms).for_each(|now_ms| self.step(now_ms, SYNS));
        assert!(self.due.is_empty());
        assert!(FLOOD_MS as usize * SYNS >= 10 * self.sent as usize, "{} packets", self.sent);
        1000 * self.arrived / self.sent
    }

    /// Connections that could not be opened.
    fn table_full(&mut self) -> u64 {
        self.lab.ensemble().figures().dropped(DropReason::TableFull)
    }
}

/// What addresses and ports say, and the hops that are left.
struct Packet {
    from: (IpAddr, u16),
    to: (IpAddr, u16),
    ttl: u8,
}

impl Packet {
    /// The frame of a machine that sends it to the director by a NIC.
    fn build(&self, machine: IpAddr, nic: NicId, flags: Option<TcpFlags>, lab: &Lab) -> VecFrame {
        let director = lab.plan().nics[nic.index()].mac;
        let ether = build::eth().src(mac_of(machine)).dst(director);
        let packet = ether.ip(self.from.0, self.to.0).ttl(self.ttl);
        VecFrame::new(&match flags {
            Some(flags) => packet.tcp(self.from.1, self.to.1).flags(flags).payload(b""),
            None => packet.udp(self.from.1, self.to.1).payload(b"hello"),
        })
    }
}

fn sites() -> [Site; 4] {
    [
        Site::new("192.0.2.1", "10.0.0.11", "-m"),
        Site::new("192.0.2.1", "10.0.0.11", "-g"),
        Site::new("2001:db8:2::1", "2001:db8:10::11", "-m"),
        Site::new("2001:db8:2::1", "2001:db8:10::11", "-g"),
    ]
}

#[test]
fn good_packets_arrive_under_a_flood_of_syns() {
    for (site, workers) in sites().into_iter().zip([1, 2, 2, 1]) {
        let mut flood = Flood::new(site, workers, BOUND);
        let share = flood.rage();
        assert!(share >= 990, "{share} of 1000 arrive at {}", site.vip);
        assert_eq!(flood.table_full(), 0);
    }
}

#[test]
fn without_the_bound_the_flood_takes_the_places_of_datagrams() {
    for site in sites() {
        let mut flood = Flood::new(site, 1, CAPACITY);
        let share = flood.rage();
        assert!(share < 990, "{share} of 1000 arrive at {}", site.vip);
        assert!(flood.table_full() > 0);
    }
}
