// SPDX-License-Identifier: MIT OR Apache-2.0
//! Claims over all frames: nothing panics, what is built is read back, what is spoilt is found.

use proptest::collection::vec;
use proptest::prelude::*;
use std::net::IpAddr;
use wire::{FlowKey, Frame, L4, Outcome, SctpEvent, TcpFlags, V4, V6, VecFrame};
use wire::{build, parse, parse_plain, verify};

/// What a whole packet is made of.
#[derive(Clone, Debug)]
struct Spec {
    ends: (IpAddr, IpAddr),
    ports: (u16, u16),
    protocol: L4,
    ttl: u8,
    flags: u8,
    dont_fragment: bool,
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Spec {
    fn build(&self) -> Vec<u8> {
        let ip = build::eth().ip(self.ends.0, self.ends.1).ttl(self.ttl);
        let ip = if self.ends.0.is_ipv4() { ip.options(&self.options) } else { ip };
        let ip = if self.dont_fragment { ip.dont_fragment() } else { ip };
        let (sport, dport) = self.ports;
        match self.protocol {
            L4::Tcp => ip.tcp(sport, dport).flags(TcpFlags(self.flags)).payload(&self.payload),
            L4::Udp => ip.udp(sport, dport).payload(&self.payload),
            L4::Sctp => {
                let events = SctpEvent::ALL;
                let event = events[usize::from(self.flags) % events.len()];
                ip.sctp(sport, dport, event, &self.payload)
            }
        }
    }
}

fn spec() -> impl Strategy<Value = Spec> {
    let v4 = (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(src, dst)| (src.into(), dst.into()));
    let v6 = (any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(src, dst)| (src.into(), dst.into()));
    let header = (any::<u8>(), any::<u8>(), any::<bool>());
    let bytes = (vec(any::<u8>(), 0..=40), vec(any::<u8>(), 0..100));
    let protocol = prop_oneof![Just(L4::Tcp), Just(L4::Udp)];
    (prop_oneof![v4, v6], any::<(u16, u16)>(), protocol, header, bytes).prop_map(
        |(ends, ports, protocol, (ttl, flags, dont_fragment), (options, payload))| Spec {
            ends,
            ports,
            protocol,
            ttl,
            flags,
            dont_fragment,
            options,
            payload,
        },
    )
}

/// What is common to the outcomes of both families, as text and numbers.
fn read(frame: &[u8]) -> Option<(String, usize, u8, u8, bool)> {
    fn key<F: wire::Family>(key: FlowKey<F>) -> String {
        key.to_string()
    }
    match parse(frame, frame.len()) {
        Outcome::V4(p) => {
            Some((key(p.key()), p.ip_len(), p.ttl(), p.tcp_flags().0, p.dont_fragment()))
        }
        Outcome::V6(p) => {
            Some((key(p.key()), p.ip_len(), p.ttl(), p.tcp_flags().0, p.dont_fragment()))
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_built_is_read_back(spec in spec()) {
        let frame = spec.build();
        prop_assert_eq!(verify(&frame), Ok(()));
        let source = std::net::SocketAddr::new(spec.ends.0, spec.ports.0);
        let destination = std::net::SocketAddr::new(spec.ends.1, spec.ports.1);
        let key = format!("{} {source} > {destination}", spec.protocol);
        let flags = if spec.protocol == L4::Tcp { spec.flags } else { 0 };
        let dont_fragment = spec.dont_fragment || spec.ends.0.is_ipv6();
        let expected = (key, frame.len() - 14, spec.ttl, flags, dont_fragment);
        prop_assert_eq!(read(&frame), Some(expected));
    }

    #[test]
    fn a_plain_packet_is_known_as_such(spec in spec()) {
        let frame = spec.build();
        let is_plain = spec.ends.0.is_ipv6() || spec.options.is_empty();
        let (v4, v6) = (
            parse_plain::<V4>(&frame, frame.len()).map(|packet| Outcome::V4(packet.parsed())),
            parse_plain::<V6>(&frame, frame.len()).map(|packet| Outcome::V6(packet.parsed())),
        );
        prop_assert_eq!(v4.or(v6), is_plain.then(|| parse(&frame, frame.len())));
    }

    #[test]
    fn what_is_said_of_a_plain_packet_is_what_the_whole_parser_says(
        spec in spec(),
        changes in vec((any::<usize>(), any::<u8>()), 0..4),
        cut: usize,
        tail: usize,
    ) {
        let mut frame = spec.build();
        let len = frame.len().min(90);
        for (place, byte) in changes {
            frame[place % len] = byte;
        }
        frame.truncate(cut % (2 * len));
        let chain = VecFrame::chained(&frame, tail % (2 * frame.len() + 1));
        let (head, len) = (chain.head(), chain.len());
        if let Some(packet) = parse_plain::<V4>(head, len) {
            let packet = packet.parsed();
            prop_assert_eq!(packet.l4(), 14 + 20);
            prop_assert_eq!(Outcome::V4(packet), parse(head, len));
        }
        if let Some(packet) = parse_plain::<V6>(head, len) {
            let packet = packet.parsed();
            prop_assert_eq!(packet.l4(), 14 + 40);
            prop_assert_eq!(Outcome::V6(packet), parse(head, len));
        }
    }

    #[test]
    fn a_changed_byte_of_header_or_data_is_found_out(
        spec in spec(), place: usize, change in 1u8..,
    ) {
        let mut frame = spec.build();
        // All of IPv4 is covered; of IPv6 the addresses and what follows them.
        let first = if spec.ends.0.is_ipv4() { 14 } else { 22 };
        let place = first + place % (frame.len() - first);
        frame[place] ^= change;
        let udp = (spec.protocol == L4::Udp).then(|| frame.len() - spec.payload.len() - 8);
        // A shorter datagram may have the same sum, and a checksum may have turned into "none".
        prop_assume!(udp.is_none_or(|at| !(at + 4..at + 6).contains(&place)));
        prop_assume!(udp.is_none_or(|at| spec.ends.0.is_ipv6() || frame[at + 6..at + 8] != [0, 0]));
        prop_assert!(verify(&frame).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_read_without_panic(
        bytes in vec(any::<u8>(), 0..200), chain_len in 0usize..3000,
    ) {
        let _ = parse(&bytes, chain_len);
        let _ = verify(&bytes);
    }

    #[test]
    fn spoilt_frames_are_read_without_panic_and_never_beyond_their_end(
        spec in spec(),
        changes in vec((any::<usize>(), any::<u8>()), 0..4),
        cut: usize,
        tail: usize,
    ) {
        let mut frame = spec.build();
        let len = frame.len();
        for (place, byte) in changes {
            frame[place % len] = byte;
        }
        frame.truncate(cut % (len + 1));
        let chain = VecFrame::chained(&frame, tail % (frame.len() + 1));
        match parse(chain.head(), chain.len()) {
            Outcome::V4(packet) => {
                prop_assert!(packet.l4() + 8 <= chain.head().len());
                prop_assert!(packet.l3() + packet.ip_len() <= chain.len());
            }
            Outcome::V6(packet) => {
                prop_assert!(packet.l4() + 8 <= chain.head().len());
                prop_assert!(packet.l3() + packet.ip_len() <= chain.len());
            }
            Outcome::Fragment(_) | Outcome::NotOurs | Outcome::Bad(_) => {}
        }
    }
}
