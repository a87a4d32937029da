// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands around the director of the fuzz target: addresses, NICs, routes and neighbours.

use std::net::IpAddr;
use std::sync::Arc;

use lb::ids::{NicId, Seed, WorkerId};
use lb::limits::Limits;
use lb::marks::{MarkRule, MarkRules};
use lb::network::{Neighbour, Network, NicFacts, Prefix, Route};
use lb::steer::rss::{HashFields, Rss};
use lb::steer::{NicWiring, Owner, Wiring};
use wire::Mac;

/// The NICs, to clients and to servers.
pub const NICS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
/// The largest IP packet of each NIC, in bytes.
pub const MTUS: [u16; 2] = [1500, 1400];

/// Tables that a few frames fill.
pub const LIMITS: Limits =
    Limits { services: 48, servers: 96, connections: 24, half_open: 12, templates: 16 };

/// Virtual addresses of the modes, in their order; a fifth has a server of each mode, and a sixth
/// is that of marked packets.
pub const VIPS: [[&str; 6]; 2] = [
    ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"],
    ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5", "2001:db8::6"],
];
/// A server of each mode, a FULLNAT local address, a client, a server that nobody knows, and a
/// router among the servers.
pub const ENDS: [[&str; 8]; 2] = [
    [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "10.0.0.4",
        "10.0.0.9",
        "198.51.100.7",
        "10.0.0.5",
        "10.0.0.200",
    ],
    [
        "fd00::1",
        "fd00::2",
        "fd00::3",
        "fd00::4",
        "fd00::9",
        "2001:db8:51::7",
        "fd00::5",
        "fd00::c8",
    ],
];

/// Parses an address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One of eight clients.
pub fn client(v6: usize, which: u8) -> IpAddr {
    match ip(ENDS[v6][5]) {
        IpAddr::V4(first) => (first.to_bits() + u32::from(which % 8)).to_be_bytes().into(),
        IpAddr::V6(first) => (first.to_bits() + u128::from(which % 8)).to_be_bytes().into(),
    }
}

/// Routes to clients and servers; the clients' and most servers' link-layer addresses.
pub fn network() -> Network {
    let facts = [0, 1].map(|nic| NicFacts { mac: NICS[nic], mtu: MTUS[nic] });
    let mut network = Network::new(facts.to_vec());
    let route = |to, len, nic, src| {
        let to = Prefix { address: ip(to), len };
        Route { to, via: None, nic: Some(NicId(nic)), src: Some(ip(src)) }
    };
    network.set_routes(vec![
        route("198.51.100.0", 24, 0, "198.51.100.1"),
        route("2001:db8:51::", 64, 0, "2001:db8:51::1"),
        route("10.0.0.0", 24, 1, "10.0.0.254"),
        route("fd00::", 64, 1, "fd00::ff"),
    ]);
    for (v6, ends) in ENDS.iter().enumerate() {
        let servers = ends[..5].iter().map(|address| (1, ip(address)));
        let clients = (0..6).map(|which| (0, client(v6, which)));
        for (last, (nic, address)) in servers.chain(clients).enumerate() {
            let mac = Mac([6, 0, 0, 0, v6 as u8, last as u8]);
            network.set_neighbour(Neighbour { nic: NicId(nic), address }, Some(mac));
        }
    }
    network
}

/// Lets the director learn the link-layer address of what it does not know, or forget it.
pub fn neighbour(network: &mut Network, v6: usize, which: usize, known: bool) {
    let nic = NicId(u16::from(which < 7));
    let address = if which < 7 { ip(ENDS[v6][6]) } else { client(v6, which as u8) };
    let mac = known.then_some(Mac([6, 0, 0, 0, 9, which as u8]));
    network.set_neighbour(Neighbour { nic, address }, mac);
}

/// The workers; `kind` says what is known of the NICs' hashing and who owns requests.
pub fn wiring(workers: u16, kind: u8) -> Wiring {
    use HashFields::{Destination, Source, Tuple};
    let hashed = match kind % 4 {
        1 => [Some(Source), Some(Destination)],
        2 => [Some(Tuple), Some(Tuple)],
        3 => [None, Some(Tuple)],
        _ => [None, None],
    };
    let table = (0..128).map(|value| WorkerId(value % workers)).collect();
    let rule = |mark, to: &str, ports| MarkRule {
        protocol: None,
        source: None,
        destination: Some(Prefix { address: ip(to), len: if to.contains(':') { 128 } else { 32 } }),
        ports,
        nic: None,
        mark,
    };
    let marks = (0..2).flat_map(|v6| {
        let to = VIPS[v6][5];
        [rule(1, to, 0..=1000), rule(2, to, 1001..=u16::MAX), rule(2, VIPS[v6][4], 443..=443)]
    });
    Wiring {
        workers,
        owner: if kind / 4 % 2 == 1 { Owner::Landing } else { Owner::Hash },
        nics: NICS.map(|mac| NicWiring { mac, has_host: true }).to_vec(),
        local_ports: 5000..=5015,
        rss: Rss::new(&[0x6d; 40], table, &hashed).map(Arc::new),
        marks: Arc::new(MarkRules::new(&marks.collect::<Vec<_>>())),
        seed: Seed::fixed(0),
    }
}
