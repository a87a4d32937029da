// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captures of an ensemble of workers.

use std::net::IpAddr;
use std::time::Duration;

use control::apply::{Director, Pace, Plane};
use control::command::Transport;
use lb::catalog::Catalog;
use lb::ensemble::Ensemble;
use lb::ids::{Seed, Tick};
use lb::limits::Limits;
use lb::marks::MarkRules;
use lb::network::{Neighbour, Network, NicFacts, Prefix, Route};
use lb::steer::{NicWiring, Owner, Wiring};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use wire::{Mac, TcpFlags, VecFrame, build};

use super::*;

const WAN: NicId = NicId(0);
const LAN: NicId = NicId(1);
const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
const LIMITS: Limits = Limits { services: 4, servers: 4, connections: 4096, ..Limits::DEFAULT };

const RULES: &str = "-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.1:81 -s rr\n\
                     -a -t 192.0.2.1:80 -r 10.0.0.11:8080 -m\n\
                     -A -t 192.0.2.1:82 -p\n-a -t 192.0.2.1:82 -r 10.0.0.12:8080 -m\n";

/// Workers that are there for as long as rules are loaded.
struct Offline<'m>(Option<Ensemble<'m>>);

impl Plane for Offline<'_> {
    fn publish(&mut self, catalog: &Catalog, _: Pace) {
        self.0.iter_mut().for_each(|ensemble| ensemble.publish(catalog));
    }

    fn local_ports_conflict(&self) -> Option<String> {
        None
    }
}

/// A SYN to a port of the VIP.
fn syn(from: u16, to: u16) -> (NicId, VecFrame) {
    let packet = build::eth().dst(MACS[0]).ipv4([198, 51, 100, 7], [192, 0, 2, 1]);
    (WAN, VecFrame::new(&packet.tcp(from, to).flags(TcpFlags::SYN).payload(&[7; 400])))
}

/// What a capture of these frames records: `192.0.2.1:80` has a NAT server, `:81` has none,
/// that of `:82` answers no ARP.
fn captured(filter: Filter, frames: Vec<(NicId, VecFrame)>) -> (Vec<Record>, u64) {
    let nic = |mac| NicWiring { mac, has_host: false };
    let wiring = Wiring {
        workers: 1,
        owner: Owner::Hash,
        nics: MACS.map(nic).to_vec(),
        local_ports: 5000..=5999,
        rss: None,
        marks: Arc::new(MarkRules::new(&[])),
        seed: Seed::fixed(1),
    };
    let mut network = Network::new(MACS.map(|mac| NicFacts { mac, mtu: 1500 }).to_vec());
    let route = |to: [u8; 4], nic| {
        let to = Prefix { address: to.into(), len: 24 };
        Route { to, via: None, nic: Some(nic), src: None }
    };
    network.set_routes(vec![route([198, 51, 100, 0], WAN), route([10, 0, 0, 0], LAN)]);
    let server = Neighbour { nic: LAN, address: IpAddr::from([10, 0, 0, 11]) };
    network.set_neighbour(server, Some(Mac([6, 0, 0, 0, 0, 11])));
    let mut memory = Ensemble::memory(&LIMITS, 1);
    let ensemble = Ensemble::new(wiring, &LIMITS, network, &mut memory, Tick::default()).unwrap();
    let mut director =
        Director::new(Catalog::new(&LIMITS), ensemble.figures(), Offline(Some(ensemble)));
    director.load(&control::rules::read(RULES).unwrap()).unwrap();
    let mut ensemble = director.plane().0.take().unwrap();
    let (mut reader, mut recorder) = pair();
    reader.begin(filter);
    recorder.turn(|| 1_000_000);
    ensemble.receive_before(frames, Tick::from_millis(1), &mut recorder);
    ensemble.tick_before(Tick::from_millis(5000), &mut recorder);
    let mut records = Vec::new();
    reader.take(&mut records);
    let missed = reader.end();
    recorder.turn(|| 2_000_000);
    assert!(!recorder.is_on(), "a capture that has ended goes on");
    (records, missed)
}

/// A frame of a file: comment, flags, length, time.
type Told = (String, u32, usize, Duration);

/// What a file made of records says: the interfaces' names, and the frames.
fn file_of(records: &[Record]) -> (Vec<String>, Vec<Told>) {
    let nics = vec!["wan".to_owned(), "lan".to_owned()];
    let mut file = pcapng::File::new(nics, Duration::from_secs(1_700_000_000)).unwrap();
    let mut bytes = file.take();
    for record in records {
        file.put(record).unwrap();
        bytes.extend(file.take());
    }
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let (mut names, mut frames) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::InterfaceDescription(interface) => {
                for option in &interface.options {
                    if let InterfaceDescriptionOption::IfName(name) = option {
                        names.push(name.to_string());
                    }
                }
            }
            Block::EnhancedPacket(frame) => {
                let (mut comment, mut flags) = (String::new(), 0);
                for option in &frame.options {
                    match option {
                        EnhancedPacketOption::Comment(text) => comment = text.to_string(),
                        EnhancedPacketOption::Flags(bits) => flags = *bits,
                        _ => {}
                    }
                }
                assert_eq!(frame.data.len(), (frame.original_len as usize).min(SNAP));
                frames.push((comment, flags, frame.original_len as usize, frame.timestamp));
            }
            _ => {}
        }
    }
    (names, frames)
}

const CONNECTION: &str =
    "request of TCP 198.51.100.7:40000 > 192.0.2.1:80, NAT to 10.0.0.11:8080, SYN_RECV";

#[test]
fn a_service_is_captured_on_both_sides_with_its_connections() {
    let service =
        Filter::Service { transport: Transport::Tcp, address: [192, 0, 2, 1].into(), port: 80 };
    let (records, missed) = captured(service, vec![syn(40000, 80), syn(40000, 81)]);
    assert_eq!(missed, 0);
    let (names, frames) = file_of(&records);
    assert_eq!(names, ["wan", "lan"]);
    let at = Duration::new(1_700_000_000, 1_000_000);
    let expected = [
        (format!("worker 0: sent by lan; {CONNECTION}"), 1, 454, at),
        (format!("worker 0: as it left; {CONNECTION}"), 2, 454, at),
    ];
    assert_eq!(frames, expected);
    assert_eq!(records.iter().map(|record| record.nic).collect::<Vec<_>>(), [WAN, LAN]);
}

#[test]
fn what_is_dropped_is_captured_as_it_came_with_the_reason_and_the_remedy() {
    let (records, _) = captured(Filter::Drops, vec![syn(40000, 80), syn(40000, 81)]);
    let (_, frames) = file_of(&records);
    let reason = DropReason::NoServer;
    let (meaning, remedy) = (reason.meaning(), reason.remedy());
    let told = "; its sender was told by wan";
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].0, format!("worker 0: dropped: no_server: {meaning} {remedy}{told}"));
    assert_eq!(records[0].head(), &syn(40000, 81).1.bytes()[..SNAP]);
}

#[test]
fn a_nic_is_captured_in_both_directions() {
    let frames = || vec![syn(40000, 80), syn(40000, 81)];
    let ways = |nic| -> Vec<Way> {
        captured(Filter::Nic(nic), frames()).0.iter().map(|record| record.way).collect()
    };
    assert_eq!(ways(WAN), [Way::In, Way::In, Way::Out], "with the answer to the second");
    assert_eq!(ways(LAN), [Way::Out]);
}

#[test]
fn what_finds_no_room_is_counted_and_nobody_waits() {
    let many = (0..1500).map(|port| syn(port + 1000, 81)).collect();
    let (records, missed) = captured(Filter::Drops, many);
    assert_eq!((records.len(), missed), (RECORDS, 1500 - RECORDS as u64));
}

#[test]
fn a_frame_that_waited_keeps_its_connection() {
    let service =
        Filter::Service { transport: Transport::Tcp, address: [192, 0, 2, 1].into(), port: 82 };
    let (records, _) = captured(service, vec![syn(40000, 82)]);
    let (_, frames) = file_of(&records);
    let connection = "request of TCP 198.51.100.7:40000 > 192.0.2.1:82, NAT to 10.0.0.12:8080";
    let asides = "SYN_RECV; a template names the server from now on";
    let told = format!("{connection}, {asides}");
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].0, format!("worker 0: waits for 10.0.0.12 on lan; {told}"));
    let reason = DropReason::NoNeighbour;
    let dropped = format!("dropped: {}: {} {}", reason.name(), reason.meaning(), reason.remedy());
    assert_eq!(frames[1].0, format!("worker 0: {dropped}; {told}"));
}
