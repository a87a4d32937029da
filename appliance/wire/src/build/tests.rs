// SPDX-License-Identifier: MIT OR Apache-2.0
use super::eth;
use crate::verify::Fault;
use crate::{Addr4, Arp, Mac, TcpFlags, build, verify};

const A: [u8; 4] = [198, 51, 100, 7];
const B: [u8; 4] = [192, 0, 2, 1];
const C: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7];
const D: [u16; 8] = [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1];

#[test]
fn what_is_built_is_sound() {
    let quoted = build::packet(B, A).udp(80, 40000).payload(b"quoted");
    let frames = [
        eth().ipv4(A, B).options(&[7, 3, 4]).tcp(1, 2).options(&[2, 4, 5, 180]).payload(b"odd"),
        eth().ipv6(C, D).tos(0xb8).flow_label(7).tcp(1, 2).flags(TcpFlags::SYN).payload(b""),
        eth().padded().ipv4(A, B).udp(1, 2).payload(b"x"),
        eth().ipv4(A, B).udp(1, 2).checksum(0).payload(b"no checksum"),
        eth().ipv6(C, D).udp(1, 2).payload(b"odd"),
        eth().ipv4(A, B).icmp(3, 4).mtu(1480).payload(&quoted),
        eth().ipv6(C, D).icmp(2, 0).mtu(1480).payload(&quoted),
        eth().ipv4(A, B).ipv4(B, A).tcp(1, 2).payload(b"ipip"),
        eth().ipv4(A, B).ipv6(C, D).udp(1, 2).payload(b"6in4"),
        eth().ipv6(C, D).ipv4(A, B).udp(1, 2).payload(b"4in6"),
        eth().ipv6(C, D).ipv6(D, C).icmp(128, 0).echo(1, 2).payload(b"6in6"),
        eth().ipv4(A, B).fragment(8, true).tcp(1, 2).bad_checksum().payload(b"a part"),
        eth().arp(&Arp::reply((Mac([2; 6]), Addr4(B)), (Mac([4; 6]), Addr4(A)))),
    ];
    for frame in frames {
        assert_eq!(verify(&frame), Ok(()), "{frame:02x?}");
    }
}

#[test]
fn what_is_built_wrong_is_found_out_at_every_depth() {
    let table = [
        (eth().ipv4(A, B).bad_checksum().tcp(1, 2).payload(b""), Fault::Ipv4Header),
        (eth().ipv4(A, B).tcp(1, 2).bad_checksum().payload(b""), Fault::Tcp),
        (eth().ipv6(C, D).tcp(1, 2).bad_checksum().payload(b""), Fault::Tcp),
        (eth().ipv4(A, B).udp(1, 2).bad_checksum().payload(b""), Fault::Udp),
        (eth().ipv6(C, D).udp(1, 2).checksum(0).payload(b""), Fault::UdpWithoutChecksum),
        (eth().ipv4(A, B).icmp(8, 0).bad_checksum().payload(b""), Fault::Icmp),
        (eth().ipv6(C, D).icmp(128, 0).bad_checksum().payload(b""), Fault::Icmp6),
        (eth().ipv4(A, B).ipv4(B, A).bad_checksum().udp(1, 2).payload(b""), Fault::Ipv4Header),
        (eth().ipv6(C, D).ipv4(B, A).udp(1, 2).bad_checksum().payload(b""), Fault::Udp),
        (eth().ipv4(A, B).ipv6(C, D).tcp(1, 2).bad_checksum().payload(b""), Fault::Tcp),
        (eth().ipv4(A, B).length(999).udp(1, 2).payload(b""), Fault::Truncated),
        (eth().ipv6(C, D).udp(1, 2).length(999).payload(b""), Fault::Truncated),
    ];
    for (frame, fault) in table {
        assert_eq!(verify(&frame), Err(fault), "{frame:02x?}");
    }
}
