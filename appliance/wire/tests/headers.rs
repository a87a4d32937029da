// SPDX-License-Identifier: MIT OR Apache-2.0
//! Header layouts against byte samples: each field read where its standard puts it.

use wire::{Addr4, Addr6, Arp, Eth, Icmp, Icmp6, Ipv4, Ipv6, Ipv6Fragment, Mac, Port, Tcp};
use wire::{TcpFlags, U16, U32, Udp};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The bytes 0, 1, 2, ... so that each field shows its own place.
fn counting<const LEN: usize>() -> [u8; LEN] {
    std::array::from_fn(|i| i as u8)
}

/// The header viewed in counting bytes is `expected`, and any bytes survive a round trip.
fn lies_as<H, const LEN: usize>(expected: H)
where
    H: FromBytes + IntoBytes + Immutable + KnownLayout + PartialEq + std::fmt::Debug,
{
    assert_eq!(size_of::<H>(), LEN);
    let longer = [&counting::<LEN>()[..], &[0xaa]].concat();
    let (view, rest) = H::ref_from_prefix(&longer).expect("the bytes are there");
    assert_eq!((view, rest), (&expected, &[0xaa][..]));
    for fill in [[0; LEN], [0xff; LEN], counting()] {
        assert_eq!(H::read_from_bytes(&fill).expect("any bytes are legal").as_bytes(), fill);
    }
    assert!(H::ref_from_prefix(&longer[..LEN - 1]).is_err(), "a byte is missing");
}

#[test]
fn ethernet() {
    lies_as::<_, 14>(Eth {
        dst: Mac([0, 1, 2, 3, 4, 5]),
        src: Mac([6, 7, 8, 9, 10, 11]),
        ethertype: U16::new(0x0c0d),
    });
}

#[test]
fn arp() {
    lies_as::<_, 28>(Arp {
        hardware: U16::new(0x0001),
        protocol: U16::new(0x0203),
        hardware_len: 4,
        protocol_len: 5,
        operation: U16::new(0x0607),
        sender_mac: Mac([8, 9, 10, 11, 12, 13]),
        sender: Addr4([14, 15, 16, 17]),
        target_mac: Mac([18, 19, 20, 21, 22, 23]),
        target: Addr4([24, 25, 26, 27]),
    });
}

#[test]
fn ipv4() {
    lies_as::<_, 20>(Ipv4 {
        version_ihl: 0,
        tos: 1,
        total_len: U16::new(0x0203),
        id: U16::new(0x0405),
        frag: U16::new(0x0607),
        ttl: 8,
        protocol: 9,
        csum: U16::new(0x0a0b),
        src: Addr4([12, 13, 14, 15]),
        dst: Addr4([16, 17, 18, 19]),
    });
}

#[test]
fn ipv6() {
    lies_as::<_, 40>(Ipv6 {
        version_class_label: U32::new(0x0001_0203),
        payload_len: U16::new(0x0405),
        next_header: 6,
        hop_limit: 7,
        src: Addr6(std::array::from_fn(|i| i as u8 + 8)),
        dst: Addr6(std::array::from_fn(|i| i as u8 + 24)),
    });
}

#[test]
fn ipv6_fragment() {
    lies_as::<_, 8>(Ipv6Fragment {
        next_header: 0,
        reserved: 1,
        offset_more: U16::new(0x0203),
        id: U32::new(0x0405_0607),
    });
}

#[test]
fn tcp() {
    lies_as::<_, 20>(Tcp {
        src: Port::new(0x0001),
        dst: Port::new(0x0203),
        seq: U32::new(0x0405_0607),
        ack: U32::new(0x0809_0a0b),
        data_offset: 12,
        flags: TcpFlags(13),
        window: U16::new(0x0e0f),
        csum: U16::new(0x1011),
        urgent: U16::new(0x1213),
    });
}

#[test]
fn udp() {
    lies_as::<_, 8>(Udp {
        src: Port::new(0x0001),
        dst: Port::new(0x0203),
        len: U16::new(0x0405),
        csum: U16::new(0x0607),
    });
}

#[test]
fn icmp() {
    lies_as::<_, 8>(Icmp {
        kind: 0,
        code: 1,
        csum: U16::new(0x0203),
        id: U16::new(0x0405),
        sequence_or_mtu: U16::new(0x0607),
    });
}

#[test]
fn icmp6() {
    lies_as::<_, 8>(Icmp6 {
        kind: 0,
        code: 1,
        csum: U16::new(0x0203),
        mtu_or_echo: U32::new(0x0405_0607),
    });
}
