// SPDX-License-Identifier: MIT OR Apache-2.0
//! Routes that change more often than a connection's note of its next hop can count.

mod lab;

use std::net::IpAddr;

use lab::{Lab, Plan, mac_of, prefix};
use lb::ids::{NicId, Tick};
use lb::network::Route;
use wire::{Mac, TcpFlags, VecFrame, build};

const WAN: NicId = NicId(0);
const LAN: NicId = NicId(1);
const SERVER: [u8; 4] = [203, 0, 113, 1];

/// The route to the server by a gateway, and how often routes were changed.
fn routes(gateway: IpAddr, changes: u32) -> Vec<Route> {
    let route = |to: &str, via| Route { to: prefix(to), via, nic: Some(LAN), src: None };
    let [_, b, c, d] = changes.to_be_bytes();
    let other = format!("10.{b}.{c}.{d}/32");
    vec![route("203.0.113.0/24", Some(gateway)), route(&other, None)]
}

/// The link-layer address that a client's segment leaves to.
fn sent_to(lab: &mut Lab, port: u16, flags: TcpFlags, now: Tick) -> Mac {
    let client = IpAddr::from([198, 51, 100, 7]);
    let ether = build::eth().src(mac_of(client)).dst(lab.plan().nics[0].mac);
    let segment = ether.ipv4([198, 51, 100, 7], [192, 0, 2, 1]).tcp(port, 80).flags(flags);
    let sent = lab.receive([(WAN, VecFrame::new(&segment.payload(b"")))], now).sent;
    let [(LAN, frame)] = sent.as_slice() else { panic!("{sent:?}") };
    Mac(frame.bytes()[..6].try_into().unwrap())
}

#[test]
fn no_connection_goes_the_way_of_routes_long_past() {
    let [before, after] = ["10.0.0.253", "10.0.0.254"].map(|text| text.parse().unwrap());
    let mut lab = Lab::new(Plan { routes: routes(before, 0), ..Plan::default() });
    lab.know_all([before, after]);
    lab.rules("-A -t 192.0.2.1:80 -s rr");
    lab.rules(&format!("-a -t 192.0.2.1:80 -r {}:80 -m", IpAddr::from(SERVER)));
    // The first change settles the places of the two gateways.
    lab.set_routes(routes(before, 1 << 20));
    // Of each number of changes around the one after which a note could mean the same again, one
    // connection.
    let ports = 1000..1008;
    for port in ports.clone() {
        assert_eq!(sent_to(&mut lab, port, TcpFlags::SYN, Tick::default()), mac_of(before));
    }
    let around = u32::from(u16::MAX) - 4;
    for changes in 1..around {
        lab.set_routes(routes(if changes % 2 == 0 { before } else { after }, changes));
        if changes % 256 == 0 {
            lab.tick(Tick::from_millis(u64::from(changes) / 2));
        }
    }
    for (changes, port) in (around..).zip(ports) {
        lab.set_routes(routes(after, changes));
        let now = Tick::from_secs(50);
        assert_eq!(sent_to(&mut lab, port, TcpFlags::ACK, now), mac_of(after), "{changes}");
    }
}
