// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the NICs' hash is known, packets land on the worker that owns them: nothing is handed off.
//!
//! Four workers with a queue each; frames land as a Toeplitz NIC with a table of 128 lands them.

mod lab;

use std::net::IpAddr;
use std::sync::Arc;

use lab::{Lab, Plan, mac_of};
use lb::ids::{NicId, Tick, WorkerId};
use lb::steer::Owner;
use lb::steer::rss::{HashFields, Hashed, Rss};
use lb::steer::toeplitz::Toeplitz;
use wire::{FamilyId, Fragment, Frame, L4, Mac, Outcome, TcpFlags, VecFrame, build, parse};
use zerocopy::IntoBytes;

const KEY: [u8; 52] = *b"four workers, two NICs, one key: fifty-two bytes !!!";
const WORKERS: u16 = 4;
const WAN: NicId = NicId(0);
const LAN: NicId = NicId(1);
const FLOWS: u16 = 400;

fn table() -> Vec<WorkerId> {
    (0..128).map(|value| WorkerId(value % WORKERS)).collect()
}

/// The queue of a NIC that hashes these fields.
fn queue(fields: HashFields, frame: &VecFrame) -> WorkerId {
    fn input<F: wire::Family>(fields: HashFields, tuple: &wire::Tuple<F>) -> Vec<u8> {
        match fields {
            HashFields::Tuple => tuple.as_bytes().to_vec(),
            HashFields::Source => tuple.source().as_bytes().to_vec(),
            HashFields::Destination => tuple.destination().as_bytes().to_vec(),
        }
    }
    let input = match parse(frame.head(), frame.len()) {
        Outcome::V4(parsed) => input(fields, &parsed.key().tuple),
        Outcome::V6(parsed) => input(fields, &parsed.key().tuple),
        other => panic!("{other:?} has no ports"),
    };
    table()[Toeplitz::new(&KEY).unwrap().hash(&input) as usize % 128]
}

fn whole_tuples(_: NicId, frame: &VecFrame) -> WorkerId {
    queue(HashFields::Tuple, frame)
}

fn one_side(nic: NicId, frame: &VecFrame) -> WorkerId {
    queue(if nic == WAN { HashFields::Source } else { HashFields::Destination }, frame)
}

fn director(owner: Owner, nics: [HashFields; 2], landing: fn(NicId, &VecFrame) -> WorkerId) -> Lab {
    let rss = Rss::new(&KEY, table(), &nics.map(Some)).map(Arc::new);
    assert!(rss.is_some());
    let mut lab = Lab::new(Plan { workers: WORKERS, owner, rss, ..Plan::default() });
    lab.ensemble().land_by(landing);
    let all = ["198.51.100.7", "10.0.0.21", "2001:db8:51::7", "2001:db8:10::21"];
    lab.know_all(all.iter().map(|text| text.parse().unwrap()));
    lab
}

fn packet(to: Mac, from: (IpAddr, u16), dst: (IpAddr, u16), flags: TcpFlags) -> VecFrame {
    let eth = build::eth().src(mac_of(from.0)).dst(to);
    VecFrame::new(&eth.ip(from.0, dst.0).tcp(from.1, dst.1).flags(flags).payload(b""))
}

/// Opens [`FLOWS`] connections and lets the server answer what it received, where it answers the
/// director. Returns how many frames came to the client's NIC.
fn converse(lab: &mut Lab, client: &str, vip: &str, server: &str, answers: bool) -> usize {
    let [client, vip, server]: [IpAddr; 3] = [client, vip, server].map(|a| a.parse().unwrap());
    let [wan, lan] = ["wan", "lan"].map(|name| lab.nic(name).unwrap().1.mac);
    let mut answered = 0;
    for port in 0..FLOWS {
        let syn = packet(wan, (client, 20_000 + port), (vip, 80), TcpFlags::SYN);
        let sent = lab.receive([(WAN, syn)], Tick::from_secs(1)).sent;
        let [(LAN, request)] = sent.as_slice() else { panic!("one request leaves: {sent:?}") };
        if !answers {
            continue;
        }
        let from = match parse(request.head(), request.len()) {
            Outcome::V4(parsed) => (parsed.key().tuple.src.into(), parsed.key().tuple.sport),
            Outcome::V6(parsed) => (parsed.key().tuple.src.into(), parsed.key().tuple.sport),
            other => panic!("{other:?}"),
        };
        let (to, flags) = ((from.0, from.1.get()), TcpFlags::SYN | TcpFlags::ACK);
        let reply = packet(lan, (server, 80), to, flags);
        answered += lab.receive([(LAN, reply)], Tick::from_secs(1)).sent.len();
    }
    answered
}

fn handed_off(lab: &mut Lab) -> u64 {
    let figures = lab.ensemble().figures();
    figures.workers().iter().map(|worker| worker.frames.handed_off.value()).sum()
}

const V4: [&str; 3] = ["198.51.100.7", "192.0.2.1", "10.0.0.21"];
const V6: [&str; 3] = ["2001:db8:51::7", "2001:db8:c::1", "2001:db8:10::21"];

fn services(lab: &mut Lab, mode: &str) {
    let locals = ["10.0.0.101", "2001:db8:10::101"];
    for ([_, vip, server], local) in [V4, V6].into_iter().zip(locals) {
        let bracket = |address: &str| match address.contains(':') {
            true => format!("[{address}]:80"),
            false => format!("{address}:80"),
        };
        let (vip, server) = (bracket(vip), bracket(server));
        lab.rules(&format!("-A -t {vip} -s rr\n-a -t {vip} -r {server} {mode}"));
        if mode == "-b" {
            lab.rules(&format!("-P -t {vip} -z {local}"));
        }
    }
}

fn nothing_is_handed_off(owner: Owner, nics: [HashFields; 2], modes: &[&str]) {
    let landing = if nics == [HashFields::Tuple; 2] { whole_tuples } else { one_side };
    for mode in modes {
        for [client, vip, server] in [V4, V6] {
            let mut lab = director(owner, nics, landing);
            services(&mut lab, mode);
            let answers = ["-m", "-b"].contains(mode);
            let answered = converse(&mut lab, client, vip, server, answers);
            assert_eq!(answered, if answers { usize::from(FLOWS) } else { 0 }, "{mode} {vip}");
            assert_eq!(handed_off(&mut lab), 0, "{mode} {vip}");
            let figures = lab.ensemble().figures();
            let idle = figures.workers().iter().filter(|it| it.connections.value() == 0);
            assert_eq!(idle.count(), 0, "{mode} {vip}: every worker owns connections");
        }
    }
}

#[test]
fn sources_hashed_on_the_way_in_and_destinations_on_the_way_back() {
    let nics = [HashFields::Source, HashFields::Destination];
    nothing_is_handed_off(Owner::Hash, nics, &["-m", "-b", "-i", "-g"]);
}

#[test]
fn whole_tuples_where_the_landing_worker_owns_requests() {
    nothing_is_handed_off(Owner::Landing, [HashFields::Tuple; 2], &["-b", "-i", "-g"]);
}

/// As a NIC that hashes whole tuples lands frames: fragments by their addresses.
fn tuples_and_fragments(_: NicId, frame: &VecFrame) -> WorkerId {
    match parse(frame.head(), frame.len()) {
        Outcome::Fragment(Fragment::V4(piece)) => {
            let input = [piece.src.as_bytes(), piece.dst.as_bytes()].concat();
            table()[Toeplitz::new(&KEY).unwrap().hash(&input) as usize % 128]
        }
        _ => queue(HashFields::Tuple, frame),
    }
}

/// A packet of a client's port, whole or in two parts that come in any order.
fn packets(
    to: Mac,
    (port, protocol): (u16, L4),
    id: u16,
    in_parts: bool,
) -> Vec<(NicId, VecFrame)> {
    let [client, vip]: [IpAddr; 2] = ["198.51.100.7", "192.0.2.1"].map(|a| a.parse().unwrap());
    let ip = || build::eth().src(mac_of(client)).dst(to).ip(client, vip);
    let frame = |data: &[u8]| match protocol {
        L4::Tcp if data.len() < 1000 => ip().tcp(port, 53).flags(TcpFlags::SYN).payload(&[]),
        L4::Tcp => ip().tcp(port, 53).flags(TcpFlags::ACK).payload(data),
        _ => ip().udp(port, 53).payload(data),
    };
    if !in_parts {
        return vec![(WAN, VecFrame::new(&frame(&[7; 200])))];
    }
    let whole = frame(&[7; 2000]);
    let (first, later) = whole[34..].split_at(1480);
    let part = |at, more| ip().id(id.into()).fragment(at, more).protocol(protocol.number());
    let mut frames = [part(0, true).payload(first), part(1480, false).payload(later)];
    if id.is_multiple_of(3) {
        frames.reverse();
    }
    frames.iter().map(|frame| (WAN, VecFrame::new(frame))).collect()
}

/// Sends two packets of each flow, one in parts and one whole; `parts_first` says of which flows it
/// is the first.
fn fragments_reach_the_server_of_their_flow(
    rss: Option<Arc<Rss>>,
    protocol: L4,
    parts_first: fn(u16) -> bool,
) {
    let mut lab =
        Lab::new(Plan { workers: WORKERS, owner: Owner::Landing, rss, ..Plan::default() });
    lab.ensemble().land_by(tuples_and_fragments);
    lab.know_all((21..25).map(|host| IpAddr::from([10, 0, 0, host])));
    let service = if protocol == L4::Tcp { "-t 192.0.2.1:53" } else { "-u 192.0.2.1:53" };
    lab.rules(&format!("-A {service} -s rr"));
    (21..25).for_each(|host| lab.rules(&format!("-a {service} -r 10.0.0.{host} -g")));
    let wan = lab.nic("wan").unwrap().1.mac;
    for flow in 0..FLOWS {
        let mut servers = Vec::new();
        for (number, in_parts) in [parts_first(flow), !parts_first(flow)].into_iter().enumerate() {
            let id = flow * 2 + number as u16;
            let frames = packets(wan, (20_000 + flow, protocol), id, in_parts);
            let (count, now) = (frames.len(), Tick::from_secs(1));
            let one = |frame| lab.receive([frame], now).sent;
            let sent: Vec<_> = frames.into_iter().flat_map(one).collect();
            assert_eq!(sent.len(), count, "flow {flow}");
            servers.extend(sent.iter().map(|(_, frame)| frame.head()[..6].to_vec()));
        }
        servers.dedup();
        assert_eq!(servers.len(), 1, "flow {flow} reaches one server");
    }
    let figures = lab.ensemble().figures();
    let live: u64 = figures.workers().iter().map(|worker| worker.connections.value()).sum();
    assert_eq!(live, u64::from(FLOWS), "no flow has two connections");
}

#[test]
fn fragments_go_to_the_worker_that_whole_packets_land_on() {
    let rss = || Rss::new(&KEY, table(), &[Some(HashFields::Tuple); 2]).map(Arc::new);
    fragments_reach_the_server_of_their_flow(rss(), L4::Udp, |flow| flow % 2 == 0);
    fragments_reach_the_server_of_their_flow(rss(), L4::Tcp, |_| false);
}

#[test]
fn fragments_find_the_worker_of_a_known_flow_where_no_hash_is_known() {
    fragments_reach_the_server_of_their_flow(None, L4::Tcp, |_| false);
}

#[test]
fn a_flow_that_begins_in_fragments_has_one_connection_where_no_hash_is_known() {
    fragments_reach_the_server_of_their_flow(None, L4::Udp, |flow| flow % 2 == 0);
    fragments_reach_the_server_of_their_flow(rss_of_tcp(), L4::Udp, |flow| flow % 2 == 0);
}

/// What is known of NICs that hash the ports of TCP alone.
fn rss_of_tcp() -> Option<Arc<Rss>> {
    let families = [FamilyId::V4, FamilyId::V6].into_iter();
    let tcp = families
        .fold(Hashed::default(), |known, family| known.with(family, L4::Tcp, HashFields::Tuple));
    Rss::new(&KEY, table(), &[tcp; 2]).map(Arc::new)
}

/// As NICs land frames that hash UDP by its addresses.
fn ports_of_tcp_alone(nic: NicId, frame: &VecFrame) -> WorkerId {
    match parse(frame.head(), frame.len()) {
        Outcome::V4(parsed) if parsed.key().protocol == L4::Udp => WorkerId(2),
        _ => whole_tuples(nic, frame),
    }
}

#[test]
fn udp_is_owned_by_port_classes_where_nics_hash_the_ports_of_tcp_alone() {
    let plan = Plan { workers: WORKERS, rss: rss_of_tcp(), ..Plan::default() };
    let mut lab = Lab::new(plan);
    lab.ensemble().land_by(ports_of_tcp_alone);
    lab.know_all(["198.51.100.7", "10.0.0.21"].map(|text| text.parse().unwrap()));
    let service = "-u 192.0.2.1:53";
    lab.rules(&format!("-A {service} -s rr\n-a {service} -r 10.0.0.21:53 -b"));
    lab.rules(&format!("-P {service} -z 10.0.0.101"));
    let lan = lab.nic("lan").unwrap().1.mac;
    let wan = lab.nic("wan").unwrap().1.mac;
    for flow in 0..FLOWS {
        let asked = packets(wan, (20_000 + flow, L4::Udp), flow, false);
        let sent = lab.receive(asked, Tick::from_secs(1)).sent;
        let [(LAN, request)] = sent.as_slice() else { panic!("one request leaves: {sent:?}") };
        let Outcome::V4(parsed) = parse(request.head(), request.len()) else { panic!() };
        let local = parsed.key().tuple.source();
        let server: IpAddr = "10.0.0.21".parse().unwrap();
        let eth = build::eth().src(mac_of(server)).dst(lan).ip(server, IpAddr::from(local.addr));
        let reply = VecFrame::new(&eth.udp(53, local.port.get()).payload(b"x"));
        let sent = lab.receive([(LAN, reply)], Tick::from_secs(1)).sent;
        assert!(matches!(sent.as_slice(), [(WAN, _)]), "{sent:?}");
        let owner = WorkerId(local.port.get() % WORKERS);
        assert!(lab.ensemble().figures().workers()[usize::from(owner.0)].connections.value() > 0);
    }
}

#[test]
fn a_nic_that_lands_frames_otherwise_than_believed_costs_hand_offs_and_nothing_else() {
    let nics = [HashFields::Source, HashFields::Destination];
    for mode in ["-m", "-b"] {
        let mut lab = director(Owner::Hash, nics, whole_tuples);
        services(&mut lab, mode);
        let [client, vip, server] = V4;
        assert_eq!(converse(&mut lab, client, vip, server, true), usize::from(FLOWS));
        assert!(handed_off(&mut lab) > 0);
    }
}

#[test]
fn a_flood_of_errors_about_no_flow_does_not_keep_workers_asking_each_other() {
    let plan = Plan { workers: WORKERS, owner: Owner::Landing, ..Plan::default() };
    let mut lab = Lab::new(plan);
    lab.know_all(["10.0.0.21"].map(|text| text.parse().unwrap()));
    lab.rules("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.21:80 -g");
    let [client, vip]: [IpAddr; 2] = ["198.51.100.7", "192.0.2.1"].map(|a| a.parse().unwrap());
    let wan = lab.nic("wan").unwrap().1.mac;
    let error = |port: u16| {
        let reply = build::packet(vip, client).tcp(80, port).flags(TcpFlags::ACK).payload(b"");
        let eth = build::eth().src(mac_of(client)).dst(wan);
        VecFrame::new(&eth.ip(client, vip).icmp(3, 4).mtu(1300).payload(&reply))
    };
    let flood = || (0..4000).map(|port| (WAN, error(port)));
    lab.receive(flood(), Tick::from_secs(1));
    let at_once = handed_off(&mut lab);
    assert!(at_once <= 50 * u64::from(WORKERS * WORKERS), "{at_once} hand-offs of 4000 errors");
    let syn = packet(wan, (client, 50_000), (vip, 80), TcpFlags::SYN);
    assert_eq!(lab.receive([(WAN, syn)], Tick::from_secs(2)).sent.len(), 1);
    let sent = lab.receive([(WAN, error(50_000))], Tick::from_secs(2)).sent;
    assert_eq!(sent.len(), 1, "an error about a flow finds it again as soon as the flood is over");
}
