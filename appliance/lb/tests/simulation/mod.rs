// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients and servers around a director, driven by a seed.
//!
//! A connection writes its number into the sequence field of every segment, in both directions, so
//! that a frame anywhere names the connection it belongs to.

use std::collections::HashMap;
use std::net::IpAddr;

use lb::ensemble::Outlet;
use lb::ids::{NicId, Tick};
use wire::{Eth, Family, FlowKey, Ipv4, Mac, Outcome, TcpFlags, VecFrame, build, parse};
use zerocopy::FromBytes;

use crate::lab::{Lab, mac_of};

const WAN: NicId = NicId(0);
const LAN: NicId = NicId(1);

/// An address and a port.
pub type End = (IpAddr, u16);

/// Numbers that look random and repeat from their seed (SplitMix64).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) as usize % bound.max(1)
    }

    pub fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }
}

/// A segment that arrived at one of the machines around the director.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// Number of the connection.
    pub conn: u32,
    /// Where it arrived: a server's address, or the client's.
    pub at: IpAddr,
    /// Control bits.
    pub flags: u8,
}

/// One attempt of a client to speak to a service.
#[derive(Clone, Debug)]
struct Conn {
    client: End,
    vip: End,
    /// The server that its segments went to, and where replies go to from there.
    server: Option<IpAddr>,
    reply: Option<Reply>,
    sent_segments: u32,
    is_over: bool,
}

/// A server's segment back through the director.
#[derive(Clone, Copy, Debug)]
struct Reply {
    from: End,
    to: End,
}

/// How the world behaves.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// A frame in so many is lost.
    pub loss: usize,
    /// Frames of a batch at most.
    pub batch: usize,
    /// Clients at most.
    pub clients: usize,
    /// Whether a client's port has one segment in a batch at most: workers may overtake each other.
    pub one_each: bool,
}

/// The world around a director.
pub struct Simulation {
    pub lab: Lab,
    pub chance: Chance,
    world: World,
    vips: Vec<End>,
    conns: Vec<Conn>,
    /// The connection that each client's port is used for.
    current: HashMap<(IpAddr, u16), u32>,
    pub now_ms: u64,
    /// Frames given to the director at once.
    at_once: usize,
}

impl Simulation {
    pub fn new(lab: Lab, seed: u64, world: World, vips: &[&str]) -> Self {
        let vips = vips.iter().map(|vip| (vip.parse().unwrap(), 80)).collect();
        let (conns, current) = (Vec::new(), HashMap::new());
        let chance = Chance::new(seed);
        Self { lab, chance, world, vips, conns, current, now_ms: 0, at_once: usize::MAX }
    }

    /// Gives the director at most so many frames of a moment at once.
    pub fn deliver_in(&mut self, at_once: usize) {
        self.at_once = at_once;
    }

    /// One batch: some clients and servers send; says what arrived where.
    pub fn step(&mut self) -> Vec<Arrival> {
        self.now_ms += self.chance.below(20) as u64;
        if self.chance.one_in(50) {
            self.now_ms += self.chance.below(130_000) as u64;
        }
        let mut frames = Vec::new();
        let mut busy = Vec::new();
        for _ in 0..1 + self.chance.below(self.world.batch) {
            let conn = self.pick();
            let client = self.conns[conn as usize].client;
            if self.world.one_each && busy.contains(&client) {
                continue;
            }
            busy.push(client);
            let frame = self.segment(conn);
            if !self.chance.one_in(self.world.loss) {
                frames.push(frame);
            }
        }
        let mut arrivals = Vec::new();
        let mut frames = frames.into_iter().peekable();
        while frames.peek().is_some() {
            let batch: Vec<_> = frames.by_ref().take(self.at_once).collect();
            let outlet = self.lab.receive(batch, Tick::from_millis(self.now_ms));
            arrivals.extend(self.arrive(outlet));
        }
        arrivals
    }

    /// A connection to go on with: a new one, or an old one.
    fn pick(&mut self) -> u32 {
        let slot = self.chance.below(self.world.clients) as u16;
        let vip = self.vips[slot as usize % self.vips.len()];
        let client: IpAddr = match vip.0 {
            IpAddr::V4(_) => [198, 51, 100, 10 + (slot % 7) as u8].into(),
            IpAddr::V6(_) => format!("2001:db8:51::{:x}", 10 + slot % 7).parse().unwrap(),
        };
        let client = (client, 1024 + slot);
        let known = self.current.get(&client).copied();
        match known.filter(|conn| !self.conns[*conn as usize].is_over) {
            Some(conn) => conn,
            None => {
                let conn = self.conns.len() as u32;
                self.conns.push(Conn {
                    client,
                    vip,
                    server: None,
                    reply: None,
                    sent_segments: 0,
                    is_over: false,
                });
                self.current.insert(client, conn);
                conn
            }
        }
    }

    /// The next segment of a connection, from one of its two sides.
    fn segment(&mut self, number: u32) -> (NicId, VecFrame) {
        let by_server = self.chance.one_in(2);
        let flags = match self.chance.below(12) {
            0 => TcpFlags::FIN | TcpFlags::ACK,
            1 => TcpFlags::RST,
            _ => TcpFlags::ACK,
        };
        let len = self.chance.below(200);
        let conn = &mut self.conns[number as usize];
        let (nic, [from, to], flags) = match conn.reply.filter(|_| by_server) {
            Some(Reply { from, to }) => (LAN, [from, to], flags),
            // A client does not open anew under the same number.
            None if conn.server.is_none() => (WAN, [conn.client, conn.vip], TcpFlags::SYN),
            None => (WAN, [conn.client, conn.vip], flags),
        };
        conn.sent_segments += u32::from(nic == WAN);
        conn.is_over |= flags.rst() || conn.sent_segments > 30;
        let director = self.lab.plan().nics[nic.index()].mac;
        let packet = build::eth().src(mac_of(from.0)).dst(director).ip(from.0, to.0);
        let segment = packet.dont_fragment().tcp(from.1, to.1).flags(flags).seq(number);
        (nic, VecFrame::new(&segment.payload(&vec![number as u8; len])))
    }

    /// What left the director is as each mode promises; says where it arrived.
    fn arrive(&mut self, outlet: Outlet) -> Vec<Arrival> {
        let sent = outlet.sent.iter();
        let arrivals = sent.filter_map(|(nic, frame)| {
            let bytes = frame.bytes();
            assert_eq!(wire::verify(bytes), Ok(()), "{frame:?}");
            match *nic {
                WAN if is_error(bytes) => None,
                WAN => Some(self.at_client(bytes)),
                _ => Some(self.at_server(bytes)),
            }
        });
        arrivals.collect()
    }

    /// The client sees its own tuple, mirrored.
    fn at_client(&mut self, frame: &[u8]) -> Arrival {
        let seen = Seen::read(frame);
        let conn = &self.conns[seen.conn as usize];
        assert_eq!((seen.from, seen.to), (conn.vip, conn.client), "connection {}", seen.conn);
        assert_eq!(seen.mac, mac_of(conn.client.0));
        Arrival { conn: seen.conn, at: conn.client.0, flags: seen.flags.0 }
    }

    /// A connection never changes server, and the server knows the way back.
    fn at_server(&mut self, frame: &[u8]) -> Arrival {
        let (eth, l3) = Eth::ref_from_prefix(frame).unwrap();
        let outer = Ipv4::ref_from_prefix(l3).ok().filter(|(ip, _)| ip.protocol == 4);
        let (seen, server) = match outer {
            Some((ip, inner)) if eth.ethertype.get() == wire::eth::IPV4 => {
                let inner = [&frame[..14], inner].concat();
                (Seen::read(&inner), IpAddr::from(ip.dst))
            }
            _ => {
                let seen = Seen::read(frame);
                let conn = &self.conns[seen.conn as usize];
                // DR leaves the VIP in place; the link-layer address names the server.
                let server = match seen.to == conn.vip {
                    true => server_of(seen.mac, conn.vip.0),
                    false => seen.to.0,
                };
                (seen, server)
            }
        };
        let conn = &mut self.conns[seen.conn as usize];
        if seen.to == conn.vip {
            assert_eq!(seen.from, conn.client, "connection {}", seen.conn);
        } else {
            conn.reply = Some(Reply { from: seen.to, to: seen.from });
        }
        let before = *conn.server.get_or_insert(server);
        assert_eq!(server, before, "connection {} changed server", seen.conn);
        assert_eq!(seen.mac, mac_of(server));
        Arrival { conn: seen.conn, at: server, flags: seen.flags.0 }
    }

    /// How many attempts reached a server.
    pub fn opened(&self) -> usize {
        self.conns.iter().filter(|conn| conn.server.is_some()).count()
    }

    /// Sums that must hold at any moment: per server active and inactive, and live connections.
    pub fn check_counts(&mut self) {
        let now = Tick::from_millis(self.now_ms);
        let mut per_server: HashMap<u32, [u32; 2]> = HashMap::new();
        for conn in self.lab.ensemble().connections(now) {
            let [active, inactive] = per_server.entry(conn.server.slot).or_default();
            *(if conn.state.is_active() { active } else { inactive }) += 1;
        }
        let counts = self.lab.director().figures().counts();
        for slot in 0..self.lab.plan().limits.servers {
            let found = [counts.active(slot), counts.inactive(slot)];
            assert_eq!(found, per_server.remove(&slot).unwrap_or_default(), "server {slot}");
        }
    }
}

/// Opens a connection to port 80 of a NAT service; says which server took it.
pub fn opens(lab: &mut Lab, client: End, vip: IpAddr) -> IpAddr {
    let packet = build::eth().src(mac_of(client.0)).dst(lab.plan().nics[0].mac).ip(client.0, vip);
    let bytes = packet.tcp(client.1, 80).flags(TcpFlags::SYN).payload(b"");
    let sent = lab.receive([(WAN, VecFrame::new(&bytes))], Tick::default()).sent;
    Seen::read(sent[0].1.bytes()).to.0
}

/// Whether a frame is the director's own word about a packet.
fn is_error(frame: &[u8]) -> bool {
    let protocol_at = if frame[12..14] == [0x08, 0x00] { 14 + 9 } else { 14 + 6 };
    [wire::ipv4::PROTOCOL_ICMP, wire::ipv6::NEXT_ICMP6].contains(&frame[protocol_at])
}

/// What a machine sees of a segment.
struct Seen {
    conn: u32,
    from: End,
    to: End,
    flags: TcpFlags,
    mac: Mac,
}

impl Seen {
    fn read(frame: &[u8]) -> Self {
        let (eth, _) = Eth::ref_from_prefix(frame).unwrap();
        match parse(frame, frame.len()) {
            Outcome::V4(parsed) => {
                Self::new(eth.dst, parsed.key(), parsed.tcp_flags(), &frame[parsed.l4()..])
            }
            Outcome::V6(parsed) => {
                Self::new(eth.dst, parsed.key(), parsed.tcp_flags(), &frame[parsed.l4()..])
            }
            other => panic!("{other:?}: {frame:02x?}"),
        }
    }

    fn new<F: Family>(mac: Mac, key: FlowKey<F>, flags: TcpFlags, l4: &[u8]) -> Self {
        let (from, to) = (key.tuple.source(), key.tuple.destination());
        let (tcp, _) = wire::Tcp::ref_from_prefix(l4).unwrap();
        Self {
            conn: tcp.seq.get(),
            from: (from.addr.into(), from.port.get()),
            to: (to.addr.into(), to.port.get()),
            flags,
            mac,
        }
    }
}

/// The server that has a link-layer address, of the family of `like`.
fn server_of(mac: Mac, like: IpAddr) -> IpAddr {
    let Mac([_, _, a, b, c, d]) = mac;
    match like {
        IpAddr::V4(_) => [a, b, c, d].into(),
        IpAddr::V6(_) => format!("2001:db8:10::{:x}", u16::from_be_bytes([c, d])).parse().unwrap(),
    }
}
