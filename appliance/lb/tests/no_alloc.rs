// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worker does not allocate: counted over every kind of packet it meets, after a first round.

use std::net::IpAddr;
use std::sync::Arc;

use lb::batch::{Batch, Origin, Sink};
use lb::catalog::{Catalog, Change};
use lb::conn::table::ConnTable;
use lb::counters::{ServerCounts, WorkerCounters};
use lb::ids::{NicId, Seed, Tick, WorkerId};
use lb::limits::{BATCH, Limits};
use lb::memory::TableMemory;
use lb::network::{Neighbour, Network, NicFacts, Prefix, Route};
use lb::pipeline::{Parts, Worker};
use lb::sched::Scheduler;
use lb::service::{ForwardMode, ServerKey, ServerOptions, ServiceKey, ServiceOptions};
use lb::snapshot::Snapshot;
use lb::steer::{NicWiring, Owner, Wiring};
use lb::verdict::Verdict;
use wire::{L4, Mac, TcpFlags, V4, V6, VecFrame, build};

const LIMITS: Limits =
    Limits { services: 16, servers: 16, connections: 256, templates: 64, ..Limits::DEFAULT };
const NIC: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// Keeps all that leaves, in memory it has from the start.
struct Kept {
    frames: Vec<(VecFrame, Verdict)>,
    wanted: Vec<Neighbour>,
    counters: Arc<WorkerCounters>,
}

impl Sink<VecFrame> for Kept {
    fn take(&mut self, frame: VecFrame, verdict: Verdict) {
        let frames = &self.counters.frames;
        match verdict {
            Verdict::Transmit(_) => frames.sent.add(1),
            Verdict::Punt(_) => frames.punted.add(1),
            Verdict::HandOff(..) => frames.handed_off.add(1),
            Verdict::Drop(_) => {}
        }
        assert!(self.frames.len() < self.frames.capacity());
        self.frames.push((frame, verdict));
    }

    fn piece(&mut self, _: &VecFrame, _: &[u8], _: usize, _: usize) -> Option<VecFrame> {
        None
    }

    fn want(&mut self, neighbour: Neighbour) {
        assert!(self.wanted.len() < self.wanted.capacity());
        self.wanted.push(neighbour);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// VIPs by mode, over IPv4 and IPv6; the last has no server, the one before an unknown neighbour.
const MODES: [Option<ForwardMode>; 6] = [
    Some(ForwardMode::Masquerade),
    Some(ForwardMode::FullNat),
    Some(ForwardMode::Tunnel),
    Some(ForwardMode::Direct),
    Some(ForwardMode::Direct),
    None,
];

fn vip(v6: bool, mode: usize) -> IpAddr {
    if v6 { ip(&format!("2001:db8:2::{mode}")) } else { ip(&format!("192.0.2.{mode}")) }
}

fn server(v6: bool, mode: usize) -> IpAddr {
    let last = if mode == 4 { 99 } else { 11 };
    if v6 { ip(&format!("2001:db8:10::{last}")) } else { ip(&format!("10.0.0.{last}")) }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::new(&LIMITS);
    let schedulers = [Scheduler::RoundRobin, Scheduler::WeightedRoundRobin];
    let others = [Scheduler::LeastConnections, Scheduler::WeightedLeastConnections];
    let schedulers = schedulers.into_iter().chain(others).cycle();
    for (v6, (number, scheduler)) in [false, true]
        .into_iter()
        .flat_map(|v6| (0..6).zip(schedulers.clone()).map(move |x| (v6, x)))
    {
        let key = {
            let (protocol, address) = (L4::Tcp, vip(v6, number));
            ServiceKey::Endpoint { protocol, address, port: 80 }
        };
        let mut apply = |change| assert!(catalog.apply(change).is_ok());
        apply(Change::AddService(key, ServiceOptions::of(scheduler)));
        if let Some(mode) = MODES[number] {
            let options = ServerOptions::of(mode, 1);
            let server = ServerKey { address: server(v6, number), port: 80 };
            apply(Change::AddServer(key, server, options));
        }
        if MODES[number] == Some(ForwardMode::FullNat) {
            let local = if v6 { ip("2001:db8:10::2") } else { ip("10.0.0.2") };
            apply(Change::AddLocal(key, local));
        }
    }
    catalog
}

fn network() -> Network {
    let mut network = Network::new(vec![NicFacts { mac: NIC, mtu: 1500 }]);
    let route = |to: &str, len, src: &str| Route {
        to: Prefix { address: ip(to), len },
        via: None,
        nic: Some(NicId(0)),
        src: Some(ip(src)),
    };
    network.set_routes(vec![route("0.0.0.0", 0, "10.0.0.1"), route("::", 0, "2001:db8:10::1")]);
    for address in ["198.51.100.7", "10.0.0.11", "2001:db8:51::7", "2001:db8:10::11"] {
        let neighbour = Neighbour { nic: NicId(0), address: ip(address) };
        network.set_neighbour(neighbour, Some(Mac([6, 0, 0, 0, 0, 1])));
    }
    network
}

/// A batch of one kind of segment to every service from one client's port.
fn batch(port: u16, flags: TcpFlags, ttl: u8, len: usize) -> Batch<VecFrame> {
    let mut batch = Batch::default();
    for v6 in [false, true] {
        let client = if v6 { ip("2001:db8:51::7") } else { ip("198.51.100.7") };
        for number in 0..MODES.len() {
            let packet = build::eth().dst(NIC).ip(client, vip(v6, number)).ttl(ttl);
            let segment = packet.dont_fragment().tcp(port, 80).flags(flags);
            let bytes = segment.payload(&vec![7; len]);
            assert!(batch.push(VecFrame::new(&bytes), NicId(0)).is_ok());
        }
        // A packet in two parts, the second first.
        for number in 0..3 {
            let packet =
                || build::eth().dst(NIC).ip(client, vip(v6, number)).ttl(ttl).id(port.into());
            let second = packet().fragment(40, false).protocol(L4::Tcp.number()).payload(&[7; 100]);
            let first = packet().fragment(0, true).tcp(port, 80).flags(flags).payload(&[7; 20]);
            for bytes in [second, first] {
                assert!(batch.push(VecFrame::new(&bytes), NicId(0)).is_ok());
            }
        }
        let replies = build::eth().dst(NIC).ip(server(v6, 0), client);
        let bytes = replies.tcp(80, port).flags(TcpFlags::ACK).payload(b"reply");
        assert!(batch.push(VecFrame::new(&bytes), NicId(0)).is_ok());
    }
    let datagram = build::eth().dst(NIC).ipv4([198, 51, 100, 7], [192, 0, 2, 1]).udp(1, 80);
    let bytes = datagram.payload(b"for the host");
    assert!(batch.push(VecFrame::new(&bytes), NicId(0)).is_ok());
    assert!(batch.push(VecFrame::new(b"too short"), NicId(0)).is_ok());
    batch
}

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn a_worker_allocates_nothing_whatever_it_receives() {
    let wiring = Arc::new(Wiring {
        workers: 1,
        owner: Owner::Hash,
        nics: vec![NicWiring { mac: NIC, has_host: true }],
        local_ports: 5000..=5999,
        rss: None,
        marks: Arc::default(),
        seed: Seed::fixed(1),
    });
    let mut v4 = TableMemory::new(ConnTable::<V4>::memory_bytes(LIMITS.connections));
    let mut v6 = TableMemory::new(ConnTable::<V6>::memory_bytes(LIMITS.connections));
    let counters = WorkerCounters::new(WorkerId(0), &LIMITS);
    let parts = Parts {
        id: WorkerId(0),
        snapshot: Arc::new(Snapshot::new(&catalog(), &network(), wiring.seed)),
        v4: ConnTable::new(v4.bytes_mut(), LIMITS.connections, wiring.seed).unwrap(),
        v6: ConnTable::new(v6.bytes_mut(), LIMITS.connections, wiring.seed).unwrap(),
        wiring,
        counters: Arc::clone(&counters),
        counts: ServerCounts::new(&LIMITS),
        half_open: LIMITS.half_open,
    };
    let mut worker = Worker::new(parts, Tick::default());
    let mut kept =
        Kept { frames: Vec::with_capacity(1 << 13), wanted: Vec::with_capacity(1 << 12), counters };
    let kinds = [
        (TcpFlags::SYN, 64, 0),
        (TcpFlags::ACK, 64, 1000),
        (TcpFlags::ACK, 64, 1461),
        (TcpFlags::ACK, 1, 0),
        (TcpFlags::ACK | TcpFlags::FIN, 64, 0),
        (TcpFlags::ACK | TcpFlags::RST, 64, 0),
        (TcpFlags::SYN, 64, 0),
    ];
    let mut now_ms = 0;
    for round in 0..12 {
        for (flags, ttl, len) in kinds {
            let mut batch = batch(1000 + round, flags, ttl, len);
            now_ms += 5;
            let now = Tick::from_millis(now_ms);
            let count = allocations(|| worker.run(&mut batch, Origin::Wire, now, &mut kept));
            assert!(count == 0 || round == 0, "{count} allocations, {flags:?} in round {round}");
        }
        now_ms += 61_000;
        let now = Tick::from_millis(now_ms);
        let count = allocations(|| while worker.tick(now, &mut kept) {});
        assert!(count == 0 || round == 0, "{count} allocations by time alone in round {round}");
    }
    let frames = &kept.counters.frames;
    let fates = [&frames.sent, &frames.punted, &frames.originated, &kept.counters.expired];
    assert!(fates.iter().all(|counter| counter.value() > 90), "{fates:?}");
    assert!(kept.wanted.len() > 20, "no neighbour was wanted");
    const _: () = assert!(2 * (7 + 6) + 2 <= BATCH);
}
