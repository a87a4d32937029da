// SPDX-License-Identifier: MIT OR Apache-2.0
//! Firewall marks: what a packet is marked by, in the place of netfilter's rules.
//!
//! A flat table, looked through from the first rule on; the first that fits gives the mark. It is
//! asked only where there are services of marked packets, and only for packets of no connection
//! and to see whose a packet is. The rules hold from the start, so that all workers agree.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use wire::{Family, FamilyId, FlowKey, L4};

use crate::ids::NicId;
use crate::network::Prefix;

/// A rule as an operator writes it; what is absent fits every packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// Transport protocol.
    pub protocol: Option<L4>,
    /// Where the packet comes from.
    pub source: Option<Prefix>,
    /// Where it goes to.
    pub destination: Option<Prefix>,
    /// Its destination port.
    pub ports: RangeInclusive<u16>,
    /// The NIC that it came by.
    pub nic: Option<NicId>,
    /// The mark, 1 or more.
    pub mark: u32,
}

/// The rules, for workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkRules {
    v4: Box<[Rule]>,
    v6: Box<[Rule]>,
}

/// A rule of one family: a packet fits that agrees with `value` in all bits of `mask`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Its place, the first being 1.
    number: u32,
    source: Match,
    destination: Match,
    ports: RangeInclusive<u16>,
    protocol: Option<L4>,
    nic: Option<NicId>,
    mark: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Match {
    value: u128,
    mask: u128,
}

impl MarkRules {
    /// The rules in their order.
    pub fn new(rules: &[MarkRule]) -> Self {
        let numbered = || (1..).zip(rules);
        let of = |family| numbered().filter_map(|rule| Rule::of(rule, family)).collect();
        Self { v4: of(FamilyId::V4), v6: of(FamilyId::V6) }
    }

    /// The mark of a packet that came by a NIC.
    pub fn mark<F: Family>(&self, key: &FlowKey<F>, nic: NicId) -> Option<u32> {
        self.rule(key, nic).map(|rule| rule.mark)
    }

    /// The number of the rule that marks a packet, the first being 1.
    pub fn number<F: Family>(&self, key: &FlowKey<F>, nic: NicId) -> Option<u32> {
        self.rule(key, nic).map(|rule| rule.number)
    }

    fn rule<F: Family>(&self, key: &FlowKey<F>, nic: NicId) -> Option<&Rule> {
        let (source, destination) = (bits(key.tuple.src.into()), bits(key.tuple.dst.into()));
        let port = key.tuple.dport.get();
        let fits = |rule: &&Rule| {
            rule.source.fits(source)
                && rule.destination.fits(destination)
                && rule.ports.contains(&port)
                && rule.protocol.is_none_or(|protocol| protocol == key.protocol)
                && rule.nic.is_none_or(|of| of == nic)
        };
        self.of::<F>().iter().find(fits)
    }

    /// Whether a packet whose ports are not known, that came by a NIC, may have a mark that
    /// `wanted` says yes to.
    pub(crate) fn may_mark<F: Family>(
        &self,
        (src, dst, protocol): (F::Addr, F::Addr, L4),
        nic: NicId,
        wanted: impl Fn(u32) -> bool,
    ) -> bool {
        let (source, destination) = (bits(src.into()), bits(dst.into()));
        let mut fitting = self.of::<F>().iter().filter(|rule| {
            rule.source.fits(source)
                && rule.destination.fits(destination)
                && rule.protocol.is_none_or(|of| of == protocol)
                && rule.nic.is_none_or(|of| of == nic)
        });
        // Behind a rule that fits all ports no other one decides.
        let deciding = fitting.find(|rule| wanted(rule.mark) || rule.ports == (0..=u16::MAX));
        deciding.is_some_and(|rule| wanted(rule.mark))
    }

    fn of<F: Family>(&self) -> &[Rule] {
        if F::ID == FamilyId::V4 { &self.v4 } else { &self.v6 }
    }
}

impl Rule {
    /// The rule for packets of a family, if any can fit.
    fn of((number, rule): (u32, &MarkRule), family: FamilyId) -> Option<Self> {
        Some(Self {
            number,
            source: Match::of(rule.source, family)?,
            destination: Match::of(rule.destination, family)?,
            ports: rule.ports.clone(),
            protocol: rule.protocol,
            nic: rule.nic,
            mark: rule.mark,
        })
    }
}

impl Match {
    fn of(prefix: Option<Prefix>, family: FamilyId) -> Option<Self> {
        let Some(Prefix { address, len }) = prefix else {
            return Some(Self::default());
        };
        let (is_v6, width) = (address.is_ipv6(), if address.is_ipv6() { 128 } else { 32 });
        let below = u128::MAX.checked_shl(u32::from(width - len.min(width))).unwrap_or(0);
        let mask = below & (u128::MAX >> (128 - u32::from(width)));
        (is_v6 == (family == FamilyId::V6)).then(|| Self { value: bits(address) & mask, mask })
    }

    fn fits(self, address: u128) -> bool {
        address & self.mask == self.value
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Endpoint, Tuple, V4, V6};

    const ANY: MarkRule = MarkRule {
        protocol: None,
        source: None,
        destination: None,
        ports: 0..=u16::MAX,
        nic: None,
        mark: 9,
    };

    fn prefix(text: &str, len: u8) -> Option<Prefix> {
        Some(Prefix { address: text.parse().unwrap(), len })
    }

    fn key<F: Family>(from: &str, to: &str, port: u16, protocol: L4) -> FlowKey<F> {
        let at = |text: &str, port: u16| Endpoint {
            addr: F::from_ip(text.parse().unwrap()).unwrap(),
            port: port.into(),
        };
        FlowKey { tuple: Tuple::new(at(from, 40_000), at(to, port)), protocol }
    }

    #[test]
    fn the_first_rule_that_fits_gives_the_mark() {
        let rules = MarkRules::new(&[
            MarkRule { protocol: Some(L4::Udp), mark: 1, ..ANY },
            MarkRule { source: prefix("198.51.100.128", 25), ports: 80..=81, mark: 2, ..ANY },
            MarkRule { destination: prefix("192.0.2.0", 24), nic: Some(NicId(1)), mark: 3, ..ANY },
            MarkRule { destination: prefix("2001:db8::", 32), mark: 4, ..ANY },
        ]);
        let v4 = |from, to, port, protocol, nic| {
            rules.mark::<V4>(&key(from, to, port, protocol), NicId(nic))
        };
        assert_eq!(v4("198.51.100.200", "192.0.2.1", 80, L4::Udp, 1), Some(1));
        assert_eq!(v4("198.51.100.200", "192.0.2.1", 81, L4::Tcp, 1), Some(2));
        assert_eq!(v4("198.51.100.200", "192.0.2.1", 82, L4::Tcp, 1), Some(3));
        assert_eq!(v4("198.51.100.100", "192.0.2.1", 80, L4::Tcp, 1), Some(3));
        assert_eq!(v4("198.51.100.100", "192.0.2.1", 80, L4::Tcp, 0), None);
        assert_eq!(v4("198.51.100.100", "192.0.3.1", 80, L4::Tcp, 1), None);
        let v6 =
            |to, protocol| rules.mark::<V6>(&key("2001:db8:51::7", to, 80, protocol), NicId(0));
        assert_eq!(v6("2001:db8::1", L4::Tcp), Some(4));
        assert_eq!(v6("2001:db9::1", L4::Tcp), None);
        assert_eq!(v6("2001:db9::1", L4::Udp), Some(1), "without addresses both families fit");
    }

    #[test]
    fn without_ports_a_packet_may_have_each_mark_up_to_the_first_rule_for_all_ports() {
        let rules = MarkRules::new(&[
            MarkRule { protocol: Some(L4::Udp), ports: 80..=89, mark: 1, ..ANY },
            MarkRule { source: prefix("198.51.100.0", 24), mark: 2, ..ANY },
            MarkRule { mark: 3, ..ANY },
        ]);
        let may = |from: [u8; 4], protocol, mark| {
            let ends = (wire::Addr4(from), wire::Addr4([192, 0, 2, 1]), protocol);
            rules.may_mark::<V4>(ends, NicId(0), |wanted| wanted == mark)
        };
        let (near, far) = ([198, 51, 100, 7], [203, 0, 113, 7]);
        assert_eq!([1, 2, 3].map(|mark| may(near, L4::Udp, mark)), [true, true, false]);
        assert_eq!([1, 2, 3].map(|mark| may(near, L4::Tcp, mark)), [false, true, false]);
        assert_eq!([1, 2, 3].map(|mark| may(far, L4::Udp, mark)), [true, false, true]);
    }

    #[test]
    fn a_prefix_of_length_0_fits_its_family_only() {
        let rules = MarkRules::new(&[MarkRule { source: prefix("0.0.0.0", 0), ..ANY }]);
        let v4 = rules.mark::<V4>(&key("198.51.100.1", "192.0.2.1", 80, L4::Tcp), NicId(0));
        let v6 = rules.mark::<V6>(&key("2001:db8::1", "2001:db8::2", 80, L4::Tcp), NicId(0));
        assert_eq!((v4, v6), (Some(9), None));
    }
}
