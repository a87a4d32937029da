// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames recorded on both sides of Linux IPVS (kernel 6.1): what its NAT made of a packet, made
//! by our views and deltas.

use wire::{Delta, Endpoint, Family, FlowKey, Outcome, Tcp, TcpFlags, Tuple, U16, Udp, V4, V6};
use wire::{build, parse, verify};
use zerocopy::{FromBytes, IntoBytes};

const SYN4_IN: &str = "020000000101020000000102080045000028111140004006156c0a0100020a010050\
                       afc82328000003e8000000005002ffffc4b60000";
const SYN4_OUT: &str = "020000000211020000000201080045000028111140003f0616b00a0100020a02000b\
                        afc8251c000003e8000000005002ffffc3060000";
const UDP4_IN: &str = "02000000010102000000010208004500001f555540004011d1250a0100020a010050\
                       bf682328000b4491616263";
const UDP4_OUT: &str = "02000000021102000000020108004500001f555540003f11d2690a0100020a02000b\
                        bf68251c000b42e1616263";
const SYN6_IN: &str = "02000000010102000000010286dd6001234500140640\
                       fd000001000000000000000000000002fd000001000000000000000000000080\
                       bb80238c000003e8000000005002ffffd2680000";
const SYN6_OUT: &str = "02000000021102000000020186dd600123450014063f\
                        fd000001000000000000000000000002fd000002000000000000000000000011\
                        bb80251c000003e8000000005002ffffd1460000";
const ICMP4: &str = "02000000010202000000010108004500003b666600003f0101090a0100500a010002\
                     0303131d000000004500001f555540003f11d2250a0100020a010050\
                     bf682328000b42e1616263";

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).expect("a hexadecimal digit") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Sends a request to another server as NAT does, MACs left alone.
fn nat<F: Family>(frame: &mut [u8], key: FlowKey<F>, l4: usize, server: Endpoint<F>) {
    let old = key.tuple;
    let new = Tuple { dst: server.addr, dport: server.port, ..old };
    let l3 = &mut frame[14..];
    let header = Delta::between(old.dst.as_bytes(), new.dst.as_bytes());
    assert!(F::write_addresses(l3, new.src, new.dst));
    assert!(F::adjust_header_checksum(l3, header));
    assert!(F::decrement_ttl(l3));
    let delta = Delta::between(old.as_bytes(), new.as_bytes());
    match key.protocol {
        wire::L4::Tcp => {
            let (tcp, _) = Tcp::mut_from_prefix(&mut frame[l4..]).expect("parsed");
            tcp.dst = new.dport;
            tcp.csum = delta.apply(tcp.csum);
        }
        wire::L4::Udp => {
            let (udp, _) = Udp::mut_from_prefix(&mut frame[l4..]).expect("parsed");
            udp.dst = new.dport;
            udp.csum = delta.apply_udp(udp.csum);
        }
        wire::L4::Sctp => panic!("none is recorded"),
    }
}

#[test]
fn nat_of_ipv4_is_the_kernels() {
    let server = Endpoint::<V4> { addr: "10.2.0.11".parse().unwrap(), port: 9500.into() };
    for (before, after) in [(SYN4_IN, SYN4_OUT), (UDP4_IN, UDP4_OUT)] {
        let mut frame = bytes(before);
        let Outcome::V4(packet) = parse(&frame, frame.len()) else { panic!("{before}") };
        nat(&mut frame, packet.key(), packet.l4(), server);
        assert_eq!(frame[14..], bytes(after)[14..]);
    }
}

#[test]
fn nat_of_ipv6_is_the_kernels() {
    let server = Endpoint::<V6> { addr: "fd00:2::11".parse().unwrap(), port: 9500.into() };
    let mut frame = bytes(SYN6_IN);
    let Outcome::V6(packet) = parse(&frame, frame.len()) else { panic!("not parsed") };
    nat(&mut frame, packet.key(), packet.l4(), server);
    assert_eq!(frame[14..], bytes(SYN6_OUT)[14..]);
}

#[test]
fn the_referee_agrees_with_the_kernel() {
    for frame in [SYN4_IN, SYN4_OUT, UDP4_IN, UDP4_OUT, SYN6_IN, SYN6_OUT, ICMP4] {
        let mut frame = bytes(frame);
        assert_eq!(verify(&frame), Ok(()));
        *frame.last_mut().unwrap() ^= 0x40;
        assert!(verify(&frame).is_err(), "a flipped bit passed");
    }
}

#[test]
fn the_builder_makes_the_bytes_that_were_recorded() {
    let eth = || {
        let [dst, src] = ["02:00:00:00:01:01", "02:00:00:00:01:02"].map(|mac| mac.parse().unwrap());
        build::eth().dst(dst).src(src)
    };
    let ip = |id| eth().ipv4([10, 1, 0, 2], [10, 1, 0, 80]).id(id).dont_fragment();
    let syn = ip(0x1111).tcp(45000, 9000).seq(1000).flags(TcpFlags::SYN).payload(b"");
    assert_eq!(syn, bytes(SYN4_IN));
    assert_eq!(ip(0x5555).udp(49000, 9000).payload(b"abc"), bytes(UDP4_IN));
    let (client, vip) = ([0xfd00, 1, 0, 0, 0, 0, 0, 2], [0xfd00, 1, 0, 0, 0, 0, 0, 0x80]);
    let syn = eth().ipv6(client, vip).flow_label(0x12345).tcp(48000, 9100).seq(1000);
    assert_eq!(syn.flags(TcpFlags::SYN).payload(b""), bytes(SYN6_IN));
}

#[test]
fn an_icmp_error_is_built_as_a_server_sent_it() {
    let quoted = build::packet([10, 1, 0, 2], [10, 1, 0, 80]).ttl(63).id(0x5555).dont_fragment();
    // The quoted checksum is the one before NAT turned the addresses back; the kernel leaves it.
    let quoted = quoted.udp(49000, 9000).checksum(0x42e1).payload(b"abc");
    let error = build::eth()
        .dst("02:00:00:00:01:02".parse().unwrap())
        .src("02:00:00:00:01:01".parse().unwrap())
        .ipv4([10, 1, 0, 80], [10, 1, 0, 2])
        .ttl(63)
        .id(0x6666)
        .icmp(3, 3)
        .payload(&quoted);
    assert_eq!(error, bytes(ICMP4));
    assert_eq!(U16::from_bytes([error[36], error[37]]), U16::new(0x131d));
}
