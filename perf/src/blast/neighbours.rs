// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARP (RFC 826) and neighbour discovery (RFC 4861) for the addresses that a NIC plays.

use std::net::{IpAddr, Ipv6Addr};

use wire::ipv6::NEXT_ICMP6;
use wire::{Addr4, Arp, Eth, Icmp6, Ipv6, Mac, arp, build, eth};
use zerocopy::FromBytes;

use super::flows::Addresses;

/// Type of a neighbour solicitation.
const SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement.
const ADVERTISEMENT: u8 = 136;
/// Flags of an advertisement: solicited, override.
const SOLICITED_OVERRIDE: [u8; 4] = [0x60, 0, 0, 0];
/// Option: the sender's link-layer address, one unit of 8 bytes.
const SOURCE_OPTION: [u8; 2] = [1, 1];
/// Option: the target's link-layer address.
const TARGET_OPTION: [u8; 2] = [2, 1];
/// Hop limit of all neighbour discovery.
const HOP_LIMIT: u8 = 255;

/// A NIC's address and those that it answers for.
#[derive(Clone, Debug)]
pub struct Station {
    /// The NIC's.
    pub mac: Mac,
    /// Those that it plays.
    pub own: Vec<Addresses>,
}

impl Station {
    fn plays(&self, address: IpAddr) -> bool {
        self.own.iter().any(|range| range.contains(address))
    }

    /// The answer to a frame that asks for an address of ours.
    #[must_use]
    pub fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let (ethernet, rest) = Eth::ref_from_prefix(frame).ok()?;
        let to = build::eth().src(self.mac).dst(ethernet.src);
        if ethernet.ethertype.get() == eth::ARP {
            let (asked, _) = Arp::ref_from_prefix(rest).ok()?;
            let is_asked = asked.operation.get() == arp::REQUEST;
            let ours = is_asked && self.plays(asked.target.into());
            let reply = Arp::reply((self.mac, asked.target), (asked.sender_mac, asked.sender));
            return ours.then(|| to.padded().arp(&reply));
        }
        let (ip, target) = discovery(rest, ethernet, SOLICITATION)?;
        // An address that is asked for from nowhere is being tested by its would-be owner.
        let asker = IpAddr::from(ip.src);
        if !self.plays(target.into()) || asker.is_unspecified() {
            return None;
        }
        let body = [&target.octets()[..], &TARGET_OPTION, &self.mac.0].concat();
        let message = to.ip(IpAddr::from(target), asker).ttl(HOP_LIMIT);
        Some(message.icmp(ADVERTISEMENT, 0).rest(SOLICITED_OVERRIDE).payload(&body))
    }

    /// Asks everybody who has `target`, for `from`, an address of ours of the same family.
    #[must_use]
    pub fn ask(&self, from: IpAddr, target: IpAddr) -> Vec<u8> {
        let everybody = build::eth().src(self.mac);
        match (from, target) {
            (IpAddr::V4(from), IpAddr::V4(target)) => {
                let arp = Arp::request(self.mac, Addr4::from(from), Addr4::from(target));
                everybody.dst(Mac::BROADCAST).padded().arp(&arp)
            }
            (from, target) => {
                let target = match target {
                    IpAddr::V6(target) => target,
                    IpAddr::V4(target) => target.to_ipv6_mapped(),
                };
                let [.., a, b, c] = target.octets();
                let group = Ipv6Addr::from_bits(
                    0xff02_0000_0000_0000_0000_0001_ff00_0000
                        | u128::from(u32::from_be_bytes([0, a, b, c])),
                );
                let body = [&target.octets()[..], &SOURCE_OPTION, &self.mac.0].concat();
                let to = everybody.dst(Mac([0x33, 0x33, 0xff, a, b, c]));
                let message = to.ip(from, IpAddr::from(group)).ttl(HOP_LIMIT);
                message.icmp(SOLICITATION, 0).payload(&body)
            }
        }
    }
}

/// Who has `target`, if a frame tells.
#[must_use]
pub fn told(frame: &[u8], target: IpAddr) -> Option<Mac> {
    let (ethernet, rest) = Eth::ref_from_prefix(frame).ok()?;
    if ethernet.ethertype.get() == eth::ARP {
        let (told, _) = Arp::ref_from_prefix(rest).ok()?;
        let is_reply = told.operation.get() == arp::REPLY;
        return (is_reply && IpAddr::from(told.sender) == target).then_some(told.sender_mac);
    }
    let (_, about) = discovery(rest, ethernet, ADVERTISEMENT)?;
    (IpAddr::from(about) == target).then_some(ethernet.src)
}

/// IP header and target of a message of neighbour discovery.
fn discovery<'a>(l3: &'a [u8], ethernet: &Eth, kind: u8) -> Option<(&'a Ipv6, Ipv6Addr)> {
    if ethernet.ethertype.get() != eth::IPV6 {
        return None;
    }
    let (ip, rest) = Ipv6::ref_from_prefix(l3).ok()?;
    let (icmp, rest) = Icmp6::ref_from_prefix(rest).ok()?;
    let ours = ip.next_header == NEXT_ICMP6 && ip.hop_limit == HOP_LIMIT && icmp.kind == kind;
    let target = rest.first_chunk::<16>()?;
    ours.then_some((ip, Ipv6Addr::from(*target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(mac: u8, own: &str) -> Station {
        Station { mac: Mac([2, 0, 0, 0, 0, mac]), own: vec![own.parse().unwrap()] }
    }

    #[test]
    fn who_asks_for_an_address_of_ours_is_told() {
        for (us, them, other) in [
            ("198.18.0.1-198.18.0.9", "192.0.2.1", "198.18.0.10"),
            ("2001:2::1-2001:2::9", "2001:db8::1", "2001:2::a"),
        ] {
            let (blast, director) = (station(9, us), station(1, them));
            let (first, them) = (blast.own[0].first(), director.own[0].first());
            let question = director.ask(them, first);
            assert_eq!(wire::verify(&question), Ok(()));
            let answer = blast.answer(&question).expect("an answer");
            assert_eq!(wire::verify(&answer), Ok(()));
            assert_eq!(told(&answer, first), Some(blast.mac));
            assert_eq!(told(&answer, them), None);
            assert_eq!(blast.answer(&director.ask(them, other.parse().unwrap())), None);
            assert_eq!(blast.answer(&answer), None);
        }
    }
}
