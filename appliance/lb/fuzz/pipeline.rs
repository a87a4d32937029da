// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes → frames through a director of one to four workers with all modes in both families.
//!
//! The first byte says how many workers. Then follow records of three bytes and a frame: what to
//! do, when, and the length of the frame (see [`Record`]). Nothing may panic; no frame may be lost
//! or counted twice; and a batch of frames with right checksums leaves with right checksums.

use std::net::IpAddr;

use lb::catalog::{Catalog, Change};
use lb::ensemble::{Ensemble, Outlet};
use lb::ids::{NicId, Seed, Tick};
use lb::limits::Limits;
use lb::network::{Neighbour, Network, NicFacts, Prefix, Route};
use lb::sched::Scheduler;
use lb::service::{ForwardMode, ServerKey, ServerOptions, ServiceKey, ServiceOptions};
use lb::steer::{NicWiring, Owner, Wiring};
use wire::{Eth, Ipv4, L4, Mac, U16, VecFrame};
use zerocopy::FromBytes;

/// The NICs, to clients and to servers.
pub const NICS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];

const LIMITS: Limits = Limits { services: 32, servers: 64, connections: 24, ..Limits::DEFAULT };

const MODES: [ForwardMode; 4] =
    [ForwardMode::Masquerade, ForwardMode::FullNat, ForwardMode::Tunnel, ForwardMode::Direct];

/// Virtual addresses of the modes, in their order; a fifth has a server of each mode.
pub const VIPS: [[&str; 5]; 2] = [
    ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"],
    ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"],
];
/// A server of each mode, a FULLNAT local address, a client, and a server that nobody knows.
pub const ENDS: [[&str; 7]; 2] = [
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.9", "198.51.100.7", "10.0.0.5"],
    ["fd00::1", "fd00::2", "fd00::3", "fd00::4", "fd00::9", "2001:db8:51::7", "fd00::5"],
];

/// What three bytes before a frame say.
#[derive(Clone, Copy, Debug)]
struct Record([u8; 3]);

impl Record {
    /// By which NIC it arrives.
    fn nic(self) -> NicId {
        NicId(u16::from(self.0[0] & 1))
    }

    /// Whether it is addressed to that NIC and gets a right IPv4 header checksum.
    fn mends(self) -> bool {
        self.0[0] & 2 == 0
    }

    /// How many of its bytes lie in a second segment, in sixteenths.
    fn tail(self) -> usize {
        usize::from(self.0[0] >> 2 & 0xf)
    }

    /// Whether it changes a rule instead.
    fn changes(self) -> bool {
        self.0[0] & 0x80 != 0
    }

    /// Milliseconds since the frame before; frames of one moment are one batch.
    fn wait_ms(self) -> u64 {
        match self.0[1] {
            0..=127 => 0,
            more => 1 << (more - 128).min(36),
        }
    }

    /// Bytes of the frame; a change of rules has none.
    fn len(self) -> usize {
        if self.changes() { 0 } else { 8 * usize::from(self.0[2]) }
    }
}

/// A record's three bytes for a frame of `len` bytes, as [`run`] reads them, and its bytes.
#[cfg_attr(not(test), allow(dead_code))]
pub fn record(nic: u8, wait: u8, frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes.resize(frame.len().next_multiple_of(8), 0);
    [&[nic, wait, (bytes.len() / 8) as u8], bytes.as_slice()].concat()
}

/// Runs one input.
pub fn run(input: &[u8]) {
    let Some((workers, mut rest)) = input.split_first() else { return };
    let workers = u16::from(workers % 4) + 1;
    let mut memory = Ensemble::memory(&LIMITS, workers);
    let start = Tick::default();
    let ensemble = Ensemble::new(wiring(workers), &LIMITS, network(), &mut memory, start);
    let mut director = Director { ensemble: ensemble.unwrap(), catalog: catalog() };
    director.ensemble.publish(&director.catalog);
    let mut now_ms = 0;
    let mut batch = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<3>() {
        let record = Record(*head);
        let (bytes, after) = after.split_at(record.len().min(after.len()));
        if record.wait_ms() != 0 || record.changes() {
            director.receive(&mut batch, now_ms);
            now_ms += record.wait_ms();
        }
        if record.changes() {
            director.change(head[2]);
        } else {
            batch.push((record.nic(), frame(record, bytes)));
        }
        rest = after;
    }
    director.receive(&mut batch, now_ms);
    director.receive(&mut batch, now_ms + (1 << 33));
    assert_eq!(director.ensemble.connections(start), [], "a connection outlives every timeout");
}

fn frame(record: Record, bytes: &[u8]) -> VecFrame {
    let mut bytes = bytes.to_vec();
    if record.mends()
        && let Ok((eth, l3)) = Eth::mut_from_prefix(&mut bytes)
    {
        eth.dst = NICS[record.nic().index()];
        if let Ok((ip, _)) = Ipv4::mut_from_prefix(l3)
            && eth.ethertype.get() == wire::eth::IPV4
        {
            ip.csum = U16::ZERO;
            ip.csum = ip.checksum();
        }
    }
    VecFrame::chained(&bytes, bytes.len() * record.tail() / 16)
}

struct Director<'m> {
    ensemble: Ensemble<'m>,
    catalog: Catalog,
}

impl Director<'_> {
    fn receive(&mut self, batch: &mut Vec<(NicId, VecFrame)>, now_ms: u64) {
        let intact = batch.iter().all(|(_, frame)| wire::verify(frame.bytes()) == Ok(()));
        let arrived = batch.len();
        self.ensemble.receive(batch.drain(..), Tick::from_millis(now_ms));
        let Outlet { sent, punted, .. } = self.ensemble.take();
        assert!(sent.len() + punted.len() <= arrived, "frames came out of nothing");
        for (_, frame) in sent.iter().filter(|_| intact) {
            assert_eq!(wire::verify(frame.bytes()), Ok(()), "{frame:?}");
        }
        let figures = self.ensemble.figures();
        for worker in figures.workers() {
            let (entered, left) = worker.frames.balance();
            assert_eq!(entered, left, "a frame was lost or counted twice");
        }
        let slots = 0..LIMITS.servers;
        let counted: u64 = slots.map(|slot| figures.counts().total(slot)).sum();
        let live: u64 = figures.workers().iter().map(|worker| worker.connections.value()).sum();
        assert_eq!(counted, live, "connections of servers, connections in tables");
    }

    /// Removes, adds or silences something; which, the number says.
    fn change(&mut self, number: u8) {
        let (v6, which) = (usize::from(number & 1), usize::from(number >> 1 & 7) % 5);
        let service = service_key(L4::Tcp, v6, which);
        let server = server_key(v6, which % 4);
        let mode = MODES[usize::from(number >> 4) % 4];
        let change = match number >> 6 {
            0 => Change::DeleteServer(service, server),
            1 => Change::AddServer(service, server, ServerOptions::of(mode, 1)),
            2 => Change::EditServer(service, server, ServerOptions::of(mode, 0)),
            _ if number & 0x20 == 0 => Change::DeleteService(service),
            _ => Change::AddService(service, service_options(which)),
        };
        // A refusal is as good as no change.
        let _ = self.catalog.apply(change);
        self.ensemble.publish(&self.catalog);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn service_key(protocol: L4, v6: usize, which: usize) -> ServiceKey {
    ServiceKey::Endpoint { protocol, address: ip(VIPS[v6][which]), port: 80 }
}

fn server_key(v6: usize, which: usize) -> ServerKey {
    ServerKey { address: ip(ENDS[v6][which]), port: 80 }
}

fn service_options(which: usize) -> ServiceOptions {
    ServiceOptions::of(Scheduler::NAMES[which % Scheduler::NAMES.len()].0)
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::new(&LIMITS);
    let mut apply = |change| assert!(catalog.apply(change).is_ok());
    for (v6, which) in (0..2).flat_map(|v6| (0..5).map(move |which| (v6, which))) {
        for protocol in L4::ALL {
            let service = service_key(protocol, v6, which);
            apply(Change::AddService(service, service_options(which)));
            apply(Change::AddLocal(service, ip(ENDS[v6][4])));
            let servers = if which == 4 { 0..4 } else { which..which + 1 };
            for (number, mode) in servers.map(|number| (number, MODES[number])) {
                let options = ServerOptions::of(mode, number as u32 % 2 + 1);
                apply(Change::AddServer(service, server_key(v6, number), options));
            }
        }
    }
    catalog
}

fn network() -> Network {
    let facts = [(NICS[0], 1500), (NICS[1], 1400)].map(|(mac, mtu)| NicFacts { mac, mtu });
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
    for (last, address) in ENDS.iter().flat_map(|ends| ends.iter().take(6)).enumerate() {
        let nic = NicId(u16::from(last % 6 != 5));
        let mac = Mac([6, 0, 0, 0, 0, last as u8]);
        network.set_neighbour(Neighbour { nic, address: ip(address) }, Some(mac));
    }
    network
}

fn wiring(workers: u16) -> Wiring {
    Wiring {
        workers,
        owner: Owner::Hash,
        nics: NICS.map(|mac| NicWiring { mac, has_host: true }).to_vec(),
        local_ports: 5000..=5015,
        rss: None,
        marks: std::sync::Arc::default(),
        seed: Seed::fixed(0),
    }
}
