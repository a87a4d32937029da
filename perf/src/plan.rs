// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who speaks to whom: clients, services, servers, and the rules that say so.
//!
//! Clients are behind a gateway on the first NIC, servers on the segment of the second. All
//! addresses are arithmetic on a number, so that ten million connections need no list.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb::ids::NicId;
use lb::limits::Limits;
use lb::network::{Neighbour, Network, NicFacts, Prefix, Route};
use lb::service::ForwardMode;
use wire::{FamilyId, L4, Mac};

/// The NIC towards clients.
pub const WAN: NicId = NicId(0);
/// The NIC towards servers.
pub const LAN: NicId = NicId(1);
/// Real servers of each service.
pub const SERVERS: u32 = 10;
/// FULLNAT source ports, outside of what Linux gives its own sockets.
pub const LOCAL_PORTS: std::ops::RangeInclusive<u16> = 1025..=32767;

const CLIENTS_PER_ADDRESS: u32 = 1000;
/// Connections per server and local address: less than half of the ports there are.
const PER_LOCAL_ADDRESS: u32 = 12_000;

/// What is to be balanced, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Address family of all sides.
    pub family: FamilyId,
    /// Transport protocol.
    pub protocol: L4,
    /// How packets reach the servers.
    pub mode: ForwardMode,
    /// Services, with [`SERVERS`] servers each.
    pub services: u32,
    /// Connections that the tables of each worker hold.
    pub capacity: u32,
    /// How many of them may be half-open.
    pub half_open: u32,
    /// Workers.
    pub workers: u16,
}

impl Plan {
    /// One service over TCP on one worker.
    pub const fn new(family: FamilyId, mode: ForwardMode, capacity: u32) -> Self {
        let half_open = capacity / 4;
        Self { family, protocol: L4::Tcp, mode, services: 1, capacity, half_open, workers: 1 }
    }

    /// The limits of tables.
    pub fn limits(&self) -> Limits {
        Limits { connections: self.capacity, half_open: self.half_open, ..Limits::default() }
    }

    /// Clients of a group, each an address and a port.
    pub fn client(&self, group: Group, number: u32) -> SocketAddr {
        let (host, port) = (number / CLIENTS_PER_ADDRESS, number % CLIENTS_PER_ADDRESS);
        let first = group as u8;
        let address: IpAddr = match self.family {
            FamilyId::V4 => Ipv4Addr::from(u32::from(first) << 24 | (host + 1)).into(),
            FamilyId::V6 => {
                let [high, low] = [host >> 16, host & 0xffff].map(|half| half as u16);
                let network = [0x2001, 0xdb8, 0xc, first.into(), 0, 0];
                let [a, b, c, d, e, f] = network;
                Ipv6Addr::new(a, b, c, d, e, f, high, low.wrapping_add(1)).into()
            }
        };
        SocketAddr::new(address, 1024 + port as u16)
    }

    /// What clients of a service speak to.
    pub fn vip(&self, service: u32) -> SocketAddr {
        let address: IpAddr = match self.family {
            FamilyId::V4 => {
                Ipv4Addr::new(203, 0, (service / 250) as u8, (service % 250 + 1) as u8).into()
            }
            FamilyId::V6 => {
                Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, service as u16 + 1).into()
            }
        };
        SocketAddr::new(address, 80)
    }

    /// The service that a client speaks to.
    pub fn service_of(&self, client: u32) -> u32 {
        client % self.services
    }

    /// A server of any service.
    pub fn server(&self, number: u32) -> SocketAddr {
        let port = if self.mode.sees_replies() { 8080 } else { 80 };
        SocketAddr::new(self.lan_host(11 + number as u16), port)
    }

    /// The rules, as `ipvsadm -S -n` would print them.
    pub fn rules(&self) -> String {
        let mut text = String::new();
        for service in 0..self.services {
            self.write_service(&mut text, service);
        }
        text
    }

    /// The rules of one service.
    pub fn write_service(&self, text: &mut String, service: u32) {
        let kind = if self.protocol == L4::Tcp { "-t" } else { "-u" };
        let vip = self.vip(service);
        let mode = match self.mode {
            ForwardMode::Masquerade => "-m",
            ForwardMode::FullNat => "-b",
            ForwardMode::Tunnel => "-i",
            ForwardMode::Direct => "-g",
        };
        let mut line = |words: std::fmt::Arguments<'_>| {
            let written = text.write_fmt(words);
            debug_assert!(written.is_ok(), "a String takes everything");
        };
        line(format_args!("-A {kind} {vip} -s rr\n"));
        if self.mode == ForwardMode::FullNat {
            let per_service = self.capacity * u32::from(self.workers) / self.services;
            for local in 0..=per_service / (SERVERS * PER_LOCAL_ADDRESS) {
                let address = self.lan_host(1000 + local as u16);
                line(format_args!("-P {kind} {vip} -z {address}\n"));
            }
        }
        for server in 0..SERVERS {
            let server = self.server(server);
            line(format_args!("-a {kind} {vip} -r {server} {mode} -w 1\n"));
        }
    }

    /// Both NICs, a gateway on the first, servers on the second.
    pub fn network(&self) -> Network {
        let facts = [WAN, LAN].map(|nic| NicFacts { mac: mac(nic), mtu: 1500 });
        let mut network = Network::new(facts.to_vec());
        let gateways = [IpAddr::from([198, 51, 100, 254]), v6([0x51, 0, 0, 0, 0, 0xfe])];
        let own = [IpAddr::from([10, 0, 0, 1]), v6([0x10, 0, 0, 0, 0, 1])];
        let anywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let mut routes = Vec::new();
        for (index, len) in [(0, 16), (1, 64)] {
            let out = Prefix { address: anywhere[index], len: 0 };
            let inside = Prefix { address: own[index], len };
            let via = Some(gateways[index]);
            routes.push(Route { to: out, via, nic: Some(WAN), src: None });
            routes.push(Route { to: inside, via: None, nic: Some(LAN), src: Some(own[index]) });
            let gateway = Neighbour { nic: WAN, address: gateways[index] };
            network.set_neighbour(gateway, Some(Mac([2, 0, 0, 0, 1, 0])));
        }
        network.set_routes(routes);
        for server in 0..SERVERS {
            let at = Neighbour { nic: LAN, address: self.server(server).ip() };
            network.set_neighbour(at, Some(Mac([2, 0, 0, 0, 2, server as u8])));
        }
        network
    }

    fn lan_host(&self, host: u16) -> IpAddr {
        let [high, low] = host.to_be_bytes();
        match self.family {
            FamilyId::V4 => Ipv4Addr::new(10, 0, high, low).into(),
            FamilyId::V6 => v6([0x10, 0, 0, 0, 0, host]),
        }
    }
}

/// Clients that are kept apart by the first byte of their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Group {
    /// Those with connections from the start.
    Established = 20,
    /// Those that open connections while it is measured.
    Fresh = 40,
    /// Those that send SYNs and nothing else.
    Flood = 60,
}

/// The link-layer address of a NIC of the director.
pub fn mac(nic: NicId) -> Mac {
    Mac([2, 0, 0, 0, 0, nic.0 as u8 + 1])
}

/// The name of a mode in tables.
pub fn mode_name(mode: ForwardMode) -> &'static str {
    match mode {
        ForwardMode::Masquerade => "NAT",
        ForwardMode::FullNat => "FULLNAT",
        ForwardMode::Tunnel => "TUN",
        ForwardMode::Direct => "DR",
    }
}

/// The number of a family in tables.
pub fn family_number(family: FamilyId) -> u8 {
    match family {
        FamilyId::V4 => 4,
        FamilyId::V6 => 6,
    }
}

fn v6([c, d, e, f, g, h]: [u16; 6]) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, c, d, e, f, g, h).into()
}
