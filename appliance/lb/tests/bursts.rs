// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets that come together are served as if each had come alone, in their order: the same
//! servers, the same local ports, the same drops, however many new connections are in a burst. A
//! long burst is several batches, each looked up before the one before it is served.

mod lab;

use std::net::IpAddr;

use lab::{Lab, Plan, mac_of};
use lb::ids::{NicId, Tick};
use lb::limits::{BATCH, Limits};
use proptest::prelude::*;
use wire::{TcpFlags, VecFrame, build};

const WAN: NicId = NicId(0);
const LAN: NicId = NicId(1);

/// A packet of a client to a service: client, service, what it is.
type Sent = (u8, u8, u8);

/// Services of all kinds of choice: by turns, by load, within thresholds, kept together, by hash.
const RULES: &[&str] = &[
    "-A -t 192.0.2.1:80 -s rr\n\
     -a -t 192.0.2.1:80 -r 10.0.0.11:8080 -m\n\
     -a -t 192.0.2.1:80 -r 10.0.0.12:8080 -m\n\
     -a -t 192.0.2.1:80 -r 10.0.0.13 -g",
    "-A -t 192.0.2.2:80 -s wlc\n\
     -a -t 192.0.2.2:80 -r 10.0.0.11:8080 -m\n\
     -a -t 192.0.2.2:80 -r 10.0.0.12:8080 -m -w 3",
    "-A -t 192.0.2.3:80 -s rr\n\
     -a -t 192.0.2.3:80 -r 10.0.0.11:80 -b -x 3 -y 1\n\
     -a -t 192.0.2.3:80 -r 10.0.0.12:80 -b\n\
     -P -t 192.0.2.3:80 -z 10.0.0.2",
    "-A -t 192.0.2.4:80 -s rr -p 60\n\
     -a -t 192.0.2.4:80 -r 10.0.0.11:80 -m\n\
     -a -t 192.0.2.4:80 -r 10.0.0.12:80 -m",
    "-A -u 192.0.2.5:80 -s rr\n\
     -a -u 192.0.2.5:80 -r 10.0.0.11:80 -m\n\
     -a -u 192.0.2.5:80 -r 10.0.0.12:80 -b\n\
     -P -u 192.0.2.5:80 -z 10.0.0.2",
];

fn lab(half_open: u32) -> Lab {
    let limits = Limits { services: 8, servers: 16, connections: 24, templates: 64, half_open };
    let mut lab = Lab::new(Plan { limits, local_ports: 5000..=5007, ..Plan::default() });
    let hosts = (11..=13).map(|last| IpAddr::from([10, 0, 0, last]));
    lab.know_all(hosts.chain((10..18).map(|last| [198, 51, 100, last].into())));
    RULES.iter().for_each(|rules| rules.lines().for_each(|rule| lab.rules(rule)));
    lab
}

fn frame((client, service, what): Sent, lab: &Lab) -> (NicId, VecFrame) {
    let (from, to) = ([198, 51, 100, 10 + client], [192, 0, 2, 1 + service]);
    let eth = build::eth().src(mac_of(from.into())).dst(lab.plan().nics[WAN.index()].mac);
    let bytes = if service == 4 {
        eth.ipv4(from, to).udp(4000, 80).payload(b"?")
    } else {
        let flags = [TcpFlags::SYN, TcpFlags::SYN, TcpFlags::ACK, TcpFlags(0x04)];
        eth.ipv4(from, to).tcp(4000, 80).flags(flags[usize::from(what)]).payload(b"")
    };
    (WAN, VecFrame::new(&bytes))
}

/// What leaves towards the servers, in order.
fn left(lab: &mut Lab, frames: Vec<(NicId, VecFrame)>, now: Tick) -> Vec<Vec<u8>> {
    let sent = lab.receive(frames, now).sent.into_iter();
    sent.filter(|(nic, _)| *nic == LAN).map(|(_, frame)| frame.bytes().to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_burst_comes_out_as_its_packets_would_one_by_one(
        bursts in prop::collection::vec(
            prop::collection::vec((0..8u8, 0..5u8, 0..4u8), 1..3 * BATCH), 1..12),
        half_open in prop_oneof![Just(4u32), Just(1000)],
    ) {
        let (mut together, mut apart) = (lab(half_open), lab(half_open));
        for (second, burst) in (0..).zip(&bursts) {
            let now = Tick::from_secs(second);
            let frames = burst.iter().map(|sent| frame(*sent, &together)).collect();
            let left_together = left(&mut together, frames, now);
            let left_apart: Vec<_> = burst
                .iter()
                .flat_map(|sent| {
                    let frames = vec![frame(*sent, &apart)];
                    left(&mut apart, frames, now)
                })
                .collect();
            prop_assert_eq!(left_together, left_apart);
        }
    }
}

#[test]
fn two_syns_of_one_flow_in_a_burst_open_one_connection() {
    let mut lab = lab(1000);
    let frames = [(0, 0, 0), (0, 0, 0), (1, 0, 0)].map(|sent| frame(sent, &lab));
    let left = left(&mut lab, frames.to_vec(), Tick::default());
    let servers: Vec<u8> = left.iter().map(|frame| frame[33]).collect();
    assert_eq!(servers[0], servers[1], "the second SYN follows the first");
    assert_ne!(servers[0], servers[2], "the next connection takes the next server");
    assert_eq!(lab.ensemble().connections(Tick::default()).len(), 2);
}
