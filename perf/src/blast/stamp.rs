// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written into each frame so that it is known again: 14 bytes that no director changes.
//!
//! In UDP they are the first of the data. In TCP eight of them are the sequence and acknowledgment
//! numbers, which a balancer passes on, and six are data: so a 64-byte frame of IPv4 has room for
//! a stamp in either protocol (RFC 9293 §3.1, RFC 768).

use wire::ipv6::{self, Walked};
use wire::{Eth, Ipv4, Ipv6, L4, Tcp, Udp, eth, ipv4};
use zerocopy::FromBytes;

/// Bytes of a stamp.
pub const BYTES: usize = 14;
/// Bytes of it that stand in TCP's header.
pub const IN_TCP_HEADER: usize = 8;
/// Where those begin, in TCP's header.
pub const TCP_SEQUENCE_AT: usize = 4;

/// 48 bits.
const MASK: u64 = (1 << 48) - 1;

/// Whose frame it is, which one, and when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run's.
    pub marker: u16,
    /// Number of the frame, 48 bits.
    pub number: u64,
    /// Monotonic time in nanoseconds, the lower 48 bits: they come round after 78 hours.
    pub sent_ns: u64,
}

impl Stamp {
    /// As it stands in a frame.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..2].copy_from_slice(&self.marker.to_be_bytes());
        bytes[2..8].copy_from_slice(&self.number.to_be_bytes()[2..]);
        bytes[8..].copy_from_slice(&self.sent_ns.to_be_bytes()[2..]);
        bytes
    }

    fn from_parts(first: &[u8; 8], last: &[u8; 6]) -> Self {
        let [m0, m1, n0, n1, n2, n3, n4, n5] = *first;
        let [t0, t1, t2, t3, t4, t5] = *last;
        Self {
            marker: u16::from_be_bytes([m0, m1]),
            number: u64::from_be_bytes([0, 0, n0, n1, n2, n3, n4, n5]),
            sent_ns: u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
        }
    }

    /// Nanoseconds from the moment it left to `now_ns`.
    #[must_use]
    pub const fn age_ns(self, now_ns: u64) -> u64 {
        now_ns.wrapping_sub(self.sent_ns) & MASK
    }

    /// The stamp of a frame, which may be inside one outer header (IPIP and its kin); none where
    /// there is no TCP or UDP packet with room for one.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (ethernet, l3) = Eth::ref_from_prefix(frame).ok()?;
        let (mut protocol, mut rest) = match ethernet.ethertype.get() {
            eth::IPV4 => v4(l3)?,
            eth::IPV6 => v6(l3)?,
            _ => return None,
        };
        match protocol {
            ipv4::PROTOCOL_IPIP => (protocol, rest) = v4(rest)?,
            ipv6::PROTOCOL_IPV6 => (protocol, rest) = v6(rest)?,
            _ => {}
        }
        match L4::from_number(protocol)? {
            L4::Udp => {
                let (first, rest) = rest.get(size_of::<Udp>()..)?.split_first_chunk::<8>()?;
                Some(Self::from_parts(first, rest.first_chunk::<6>()?))
            }
            L4::Tcp => {
                let (tcp, _) = Tcp::ref_from_prefix(rest).ok()?;
                let first = rest.get(TCP_SEQUENCE_AT..)?.first_chunk::<8>()?;
                let last = rest.get(tcp.header_len()..)?.first_chunk::<6>()?;
                Some(Self::from_parts(first, last))
            }
            L4::Sctp => None,
        }
    }
}

/// Protocol and content of an IPv4 packet.
fn v4(l3: &[u8]) -> Option<(u8, &[u8])> {
    let (ip, _) = Ipv4::ref_from_prefix(l3).ok()?;
    let packet = l3.get(..ip.total_len.get().into())?;
    Some((ip.protocol, packet.get(ip.header_len()..)?))
}

/// Protocol and content of an IPv6 packet, behind its extension headers.
fn v6(l3: &[u8]) -> Option<(u8, &[u8])> {
    let (ip, rest) = Ipv6::ref_from_prefix(l3).ok()?;
    let body = rest.get(..ip.payload_len.get().into())?;
    match ipv6::walk(ip.next_header, body, body.len()) {
        Ok(Walked::Transport { protocol, at }) => Some((protocol, body.get(at..)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use wire::build;

    use super::*;

    const STAMP: Stamp = Stamp { marker: 0xbeef, number: 0x1234_5678_9abc, sent_ns: MASK - 5 };

    #[test]
    fn a_stamp_is_read_from_udp_and_from_inside_a_tunnel() {
        let plain = build::eth().ipv4([198, 18, 0, 1], [192, 0, 2, 1]).udp(1024, 53);
        assert_eq!(Stamp::read(&plain.payload(&STAMP.to_bytes())), Some(STAMP));
        let inner = build::packet([198, 18, 0, 1], [192, 0, 2, 1]).udp(1024, 53);
        let inner = inner.payload(&STAMP.to_bytes());
        let outer = build::eth().ipv4([10, 0, 0, 1], [10, 0, 0, 2]).protocol(ipv4::PROTOCOL_IPIP);
        assert_eq!(Stamp::read(&outer.payload(&inner)), Some(STAMP));
    }

    #[test]
    fn a_stamp_is_read_from_tcp_whose_options_a_director_added() {
        let bytes = STAMP.to_bytes();
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        for options in [&[][..], &[254, 8, 1, 2, 3, 4, 5, 6]] {
            let segment = build::eth().ipv6([0x20; 16], [0x21; 16]).tcp(1024, 80);
            let segment = segment.seq(word(0)).ack(word(4)).options(options);
            assert_eq!(Stamp::read(&segment.payload(&bytes[8..])), Some(STAMP));
        }
    }

    #[test]
    fn what_has_no_room_for_a_stamp_has_none() {
        let short = build::eth().ipv4([1; 4], [2; 4]).udp(1, 2).payload(&[0; BYTES - 1]);
        assert_eq!(Stamp::read(&short), None);
        assert_eq!(Stamp::read(&build::eth().payload(&[0; 60])), None);
        for len in 0..40 {
            assert_eq!(Stamp::read(&short[..len]), None);
        }
    }

    #[test]
    fn time_on_the_way_is_right_when_the_clock_comes_round() {
        assert_eq!(STAMP.age_ns(MASK), 5);
        assert_eq!(STAMP.age_ns(MASK + 10), 15);
    }
}
