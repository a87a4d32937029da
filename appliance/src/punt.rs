// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which frames for the host must not be lost in a flood of others.
//!
//! Address resolution, routing and failover protocols have a ring of their own; whatever else is
//! not load-balanced shares one with a rate limit, so that a flood to a closed port cannot end a
//! BGP session or a VRRP mastership.

use lb::ids::Tick;
use wire::{Eth, Icmp6, Ipv4, Ipv6, Tcp, Udp, eth, ipv6};
use zerocopy::FromBytes;

/// How important a frame for the host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// ARP, neighbour discovery, VRRP, BGP, BFD.
    Vital,
    /// Anything else.
    Other,
}

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
/// RFC 9568.
const PROTOCOL_VRRP: u8 = 112;
/// RFC 4271.
const PORT_BGP: u16 = 179;
/// Single hop, echo, and multi-hop: RFC 5881, RFC 5883.
const PORTS_BFD: [u16; 3] = [3784, 3785, 4784];
/// Router and neighbour solicitations and advertisements, and redirects: RFC 4861.
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;

/// The class of a frame, by its first segment.
pub fn classify(head: &[u8]) -> Class {
    if is_vital(head).unwrap_or(false) { Class::Vital } else { Class::Other }
}

fn is_vital(head: &[u8]) -> Option<bool> {
    let (ethernet, l3) = Eth::ref_from_prefix(head).ok()?;
    match ethernet.ethertype.get() {
        eth::ARP => Some(true),
        eth::IPV4 => {
            let (ip, _) = Ipv4::ref_from_prefix(l3).ok()?;
            is_vital_protocol(ip.protocol, l3.get(ip.header_len()..)?)
        }
        eth::IPV6 => {
            let (ip, rest) = Ipv6::ref_from_prefix(l3).ok()?;
            is_vital_protocol(ip.next_header, rest)
        }
        _ => Some(false),
    }
}

fn is_vital_protocol(protocol: u8, l4: &[u8]) -> Option<bool> {
    Some(match protocol {
        PROTOCOL_VRRP => true,
        PROTOCOL_TCP => {
            let (tcp, _) = Tcp::ref_from_prefix(l4).ok()?;
            tcp.src.get() == PORT_BGP || tcp.dst.get() == PORT_BGP
        }
        PROTOCOL_UDP => {
            let (udp, _) = Udp::ref_from_prefix(l4).ok()?;
            PORTS_BFD.contains(&udp.dst.get())
        }
        ipv6::NEXT_ICMP6 => {
            let (icmp, _) = Icmp6::ref_from_prefix(l4).ok()?;
            NEIGHBOUR_DISCOVERY.contains(&icmp.kind)
        }
        _ => false,
    })
}

/// A token bucket that is refilled every millisecond and holds a tenth of a second's frames.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    per_second: u64,
    /// In thousandths of a frame.
    tokens: u64,
    refilled: Tick,
}

impl RateLimit {
    /// A full bucket for `per_second` frames a second.
    pub fn new(per_second: u32, now: Tick) -> Self {
        let mut limit = Self { per_second: per_second.into(), tokens: 0, refilled: now };
        limit.tokens = limit.capacity();
        limit
    }

    /// Takes a frame's token if there is one.
    pub fn allows(&mut self, now: Tick) -> bool {
        let earned = now.since(self.refilled).saturating_mul(self.per_second);
        self.tokens = self.tokens.saturating_add(earned).min(self.capacity());
        self.refilled = now;
        match self.tokens.checked_sub(1000) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    fn capacity(self) -> u64 {
        (self.per_second * 100).max(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;
    use wire::{Arp, build};
    use zerocopy::FromZeros;

    const HOST: ([u8; 4], [u8; 4]) = ([198, 51, 100, 7], [198, 51, 100, 1]);

    #[test]
    fn routing_and_resolution_are_vital_and_the_rest_is_not() {
        let v4 = || build::eth().ipv4(HOST.0, HOST.1);
        let v6 = || build::eth().ip(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let vital = [
            build::eth().arp(&Arp::new_zeroed()),
            v4().tcp(40000, 179).payload(&[]),
            v4().tcp(179, 40000).payload(&[]),
            v4().udp(50000, 3784).payload(&[]),
            v6().icmp(135, 0).payload(&[0; 24]),
        ];
        for frame in vital {
            assert_eq!(classify(&frame), Class::Vital, "{frame:02x?}");
        }
        let other = [
            v4().tcp(40000, 22).payload(&[]),
            v4().udp(3784, 50000).payload(&[]),
            v4().icmp(8, 0).payload(&[]),
            v6().icmp(128, 0).payload(&[]),
            vec![0; 5],
        ];
        for frame in other {
            assert_eq!(classify(&frame), Class::Other, "{frame:02x?}");
        }
        let mut vrrp = v4().udp(1, 2).payload(&[]);
        vrrp[14 + 9] = PROTOCOL_VRRP;
        assert_eq!(classify(&vrrp), Class::Vital);
    }

    #[test]
    fn a_flood_is_held_to_its_rate() {
        let start = Tick::from_secs(5);
        let mut limit = RateLimit::new(2000, start);
        assert_eq!((0..1000).filter(|_| limit.allows(start)).count(), 200, "the burst");
        let passed = (1..=1000_u64).flat_map(|ms| [Tick::from_millis(5000 + ms); 10]);
        assert_eq!(passed.filter(|now| limit.allows(*now)).count(), 2000);
        let mut slow = RateLimit::new(1, start);
        assert!(slow.allows(start) && !slow.allows(Tick::from_millis(5999)));
        assert!(slow.allows(Tick::from_secs(6)));
    }
}
