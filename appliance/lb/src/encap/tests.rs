// SPDX-License-Identifier: MIT OR Apache-2.0
//! Both ways of wrapping a packet, and the packet as it is built from scratch.

use super::*;
use crate::ids::NicId;
use proptest::prelude::*;
use wire::{Link, Mac, Outcome, Parsed, ReadHeader, TTL_DELTA, VecFrame, build, parse};
use zerocopy::FromZeros;

const CLIENTS: [&str; 2] = ["198.51.100.7", "2001:db8:51::7"];
const VIPS: [&str; 2] = ["192.0.2.1", "2001:db8:ff::1"];
const SOURCES: [&str; 2] = ["10.0.0.1", "2001:db8:10::1"];
const SERVERS: [&str; 2] = ["10.0.0.11", "2001:db8:10::11"];
const HOP: NextHop = NextHop {
    nic: NicId(1),
    mtu: 1500,
    link: Link { dst: Mac([2, 0, 0, 0, 2, 0]), src: Mac([2, 0, 0, 0, 0, 2]) },
};

/// What differs from packet to packet.
#[derive(Clone, Copy, Debug)]
struct Packet {
    tos: u8,
    ttl: u8,
    dont_fragment: bool,
    bytes: usize,
    copied: bool,
    choice: Chosen,
}

/// What was chosen before.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    id: u16,
    port: u16,
}

impl<F: Family> Choose<F> for Chosen {
    fn id(&mut self) -> u16 {
        self.id
    }

    fn port(&self, _: &Tuple<F>) -> u16 {
        self.port
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    let choice = any::<u16>().prop_map(|id| Chosen { id, port: 50_000 });
    let own = (any::<u8>(), 2..=255u8, any::<[bool; 2]>(), 0..1400usize, choice);
    own.prop_map(|(tos, ttl, [dont_fragment, copied], bytes, choice)| Packet {
        tos,
        ttl,
        dont_fragment,
        bytes,
        copied,
        choice,
    })
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The packet inside another or alone, from scratch; `hops` were taken off its life.
fn built(packet: &Packet, inner: usize, outer: Option<usize>, hops: u8) -> VecFrame {
    let with = |ip: build::IpPacket, tos: u8, dont_fragment: bool| {
        let ip = ip.tos(tos).ttl(packet.ttl - hops);
        if dont_fragment { ip.dont_fragment() } else { ip }
    };
    let v4 = |family: usize| family == 0;
    let eth = if outer.is_some() {
        build::eth().src(HOP.link.src).dst(HOP.link.dst)
    } else {
        build::eth()
    };
    let ends = (address(CLIENTS[inner]), address(VIPS[inner]));
    let ip = match outer {
        None => eth.ip(ends.0, ends.1),
        Some(outer) => {
            let copied = packet.dont_fragment && v4(inner) && packet.copied;
            let tos = if packet.tos & 3 == 3 { packet.tos - 1 } else { packet.tos };
            let ip = eth.ip(address(SOURCES[outer]), address(SERVERS[outer]));
            let ip = if copied || !v4(outer) { ip } else { ip.id(packet.choice.id.into()) };
            with(ip, tos, copied && v4(outer)).ip(ends.0, ends.1)
        }
    };
    let inside = with(ip, packet.tos, packet.dont_fragment && v4(inner));
    VecFrame::new(&inside.udp(40_000, 53).payload(&vec![7; packet.bytes]))
}

/// A packet wrapped by the way for plain ones.
fn at_once<F: OuterHeader + PlainFamily>(frame: &VecFrame, p: &Packet, o: &Outer) -> VecFrame {
    let mut frame = frame.clone();
    let way = WayIn { hop: &HOP, delta: TTL_DELTA, copies_dont_fragment: p.copied };
    match o.is_one_header_of(F::ID) {
        true => o.double::<F>(&mut frame, way, || p.choice.id).unwrap(),
        false => o.wrap_plain::<F>(&mut frame, way, &mut p.choice.clone()).unwrap(),
    }
    frame
}

/// A packet wrapped step by step.
fn in_steps<F: ReadHeader>(frame: &VecFrame, p: &Packet, o: &Outer, flow: &Parsed<F>) -> VecFrame {
    let mut frame = frame.clone();
    assert!(F::decrement_ttl(&mut frame.head_mut()[size_of::<Eth>()..]));
    let header = F::header(&frame.head()[size_of::<Eth>()..]).unwrap();
    let inner = Inner::new(&header, flow.ip_len(), p.copied);
    let choice = &mut p.choice.clone();
    let (eth, inside) = o.wrap(&mut frame, &inner, &flow.key().tuple, choice).unwrap();
    eth.set_link(HOP.link);
    assert_eq!(F::header(inside), Some(header));
    frame
}

/// A packet wrapped by the way for plain ones, and step by step.
fn both_ways(came: &VecFrame, packet: &Packet, way: &Outer) -> (VecFrame, VecFrame) {
    match parse(came.head(), came.len()) {
        Outcome::V4(parsed) => {
            (at_once::<V4>(came, packet, way), in_steps::<V4>(came, packet, way, &parsed))
        }
        Outcome::V6(parsed) => {
            (at_once::<V6>(came, packet, way), in_steps::<V6>(came, packet, way, &parsed))
        }
        other => panic!("{other:?}"),
    }
}

/// Tunnels with something between the two IP headers.
const SHIMMED: [Tunnel; 5] = [
    Tunnel::Gre { checksum: TunnelChecksum::None },
    Tunnel::Gre { checksum: TunnelChecksum::Plain },
    Tunnel::Gue { port: 6080, checksum: TunnelChecksum::None },
    Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Plain },
    Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Remote },
];

proptest! {
    #[test]
    fn so_it_is_where_something_lies_between_the_headers(
        packet in packet(), inner in 0..2usize, outer in 0..2usize, shim in 0..SHIMMED.len()
    ) {
        let family = [FamilyId::V4, FamilyId::V6][inner];
        let [source, server] = [SOURCES[outer], SERVERS[outer]].map(address);
        let way = Outer::new(source, server, SHIMMED[shim], family).unwrap();
        let came = built(&packet, inner, None, 0);
        let (at_once, in_steps) = both_ways(&came, &packet, &way);
        prop_assert_eq!(at_once, in_steps);
    }

    #[test]
    fn a_packet_is_the_same_whichever_way_it_was_wrapped(
        packet in packet(), inner in 0..2usize, outer in 0..2usize
    ) {
        let family = [FamilyId::V4, FamilyId::V6][inner];
        let [source, server] = [SOURCES[outer], SERVERS[outer]].map(address);
        let way = Outer::new(source, server, Tunnel::Ipip, family).unwrap();
        let came = built(&packet, inner, None, 0);
        let (at_once, in_steps) = both_ways(&came, &packet, &way);
        let wanted = built(&packet, inner, Some(outer), 1);
        prop_assert_eq!(&at_once, &wanted);
        prop_assert_eq!(&in_steps, &wanted);
        prop_assert_eq!(way.server(), Some(server));
    }
}

#[test]
fn a_frame_without_headroom_is_left_as_it_was() {
    let choice = Chosen { id: 1, port: 0 };
    let packet = Packet { tos: 0, ttl: 9, dont_fragment: true, bytes: 9, copied: true, choice };
    let [source, server] = [SOURCES[0], SERVERS[0]].map(address);
    let way = Outer::new(source, server, Tunnel::Ipip, FamilyId::V4).unwrap();
    let mut frame = built(&packet, 0, None, 0);
    assert!(frame.push_front(wire::frame::HEADROOM - 19).is_some());
    assert!(frame.truncate(frame.len()));
    let before = frame.clone();
    let hop = WayIn { hop: &HOP, delta: TTL_DELTA, copies_dont_fragment: true };
    assert_eq!(way.double::<V4>(&mut frame, hop, || 1), Err(DropReason::NoHeadroom));
    let wrapped = way.wrap_plain::<V4>(&mut frame, hop, &mut packet.choice.clone());
    assert_eq!(wrapped, Err(DropReason::NoHeadroom));
    let inner = Inner { len: frame.len() - size_of::<Eth>(), tos: 0, ttl: 8, dont_fragment: true };
    let flow = Tuple::<V4>::new_zeroed();
    let wrapped = way.wrap(&mut frame, &inner, &flow, &mut packet.choice.clone());
    assert_eq!(wrapped.err(), Some(DropReason::NoHeadroom));
    assert_eq!(frame, before);
}

#[test]
fn there_is_no_tunnel_between_addresses_of_two_families() {
    let [v4, v6] = [SOURCES[0], SERVERS[1]].map(address);
    assert!(Outer::new(v4, v6, Tunnel::Ipip, FamilyId::V4).is_none());
}
