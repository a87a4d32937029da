// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranges of addresses and ports, and the flows that they make.
//!
//! A flow is a number below the count of flows; its addresses and ports are the digits of that
//! number, VIPs first, so that even a few flows reach every VIP. Flows take turns in an order far
//! from that of their numbers, so that neighbours in it share no cache line of a table.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use wire::FamilyId;

use crate::traffic::Flow;

/// Addresses one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    first: IpAddr,
    count: u32,
}

/// Ports one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    count: u32,
}

/// What is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARange {
    /// Of addresses.
    #[error(
        "{0} is no range of addresses; write one address, or two of a family, the lower first: \
         198.18.0.1-198.18.0.250"
    )]
    Addresses(String),
    /// Of ports.
    #[error("{0} is no range of ports; write one, or two, the lower first: 1024-65535")]
    Ports(String),
}

impl FromStr for Addresses {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let wrong = || NotARange::Addresses(text.to_owned());
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let read = |text: &str| text.parse::<IpAddr>().map_err(|_| wrong());
        let (first, last) = (read(first)?, read(last)?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err(wrong());
        }
        let count = number(last).checked_sub(number(first)).ok_or_else(wrong)?;
        let count = u32::try_from(count).ok().and_then(|count| count.checked_add(1));
        Ok(Self { first, count: count.ok_or_else(wrong)? })
    }
}

impl FromStr for Ports {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let wrong = || NotARange::Ports(text.to_owned());
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let read = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        let (first, last) = (read(first)?, read(last)?);
        let count = last.checked_sub(first).ok_or_else(wrong)?;
        Ok(Self { first, count: u32::from(count) + 1 })
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => self.first.fmt(f),
            count => write!(f, "{}-{}", self.first, self.at(count - 1)),
        }
    }
}

impl Addresses {
    /// `count` addresses from the first on.
    #[must_use]
    pub const fn new(first: IpAddr, count: u32) -> Self {
        Self { first, count }
    }

    /// The family.
    #[must_use]
    pub fn family(self) -> FamilyId {
        if self.first.is_ipv4() { FamilyId::V4 } else { FamilyId::V6 }
    }

    /// The lowest.
    #[must_use]
    pub const fn first(self) -> IpAddr {
        self.first
    }

    /// Whether an address is one of these.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4()
            && number(address)
                .checked_sub(number(self.first))
                .is_some_and(|place| place < u128::from(self.count))
    }

    fn at(self, place: u32) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + place).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + u128::from(place)).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Where flows come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Clients.
    pub clients: Addresses,
    /// Their ports.
    pub client_ports: Ports,
    /// Virtual addresses.
    pub vips: Addresses,
    /// Their ports.
    pub vip_ports: Ports,
}

/// The flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    ends: Ends,
    count: u32,
    /// From one flow's number to that of the next in turn; shares no factor with the count.
    step: u64,
}

/// Flows that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowsError {
    /// More than the ranges have.
    #[error(
        "{asked} flows cannot be: clients, their ports, VIPs and their ports make {most}; widen \
         --client or --cport"
    )]
    TooMany {
        /// Flows asked for.
        asked: u32,
        /// Flows that there can be.
        most: u128,
    },
    /// None at all.
    #[error("no flow is no load; ask for one or more with --flows")]
    None,
    /// Clients of one family, VIPs of another.
    #[error("clients and VIPs are of two families; name both of one with --client and --vip")]
    Families,
}

impl Flows {
    /// The first `count` flows.
    ///
    /// # Errors
    /// There are not as many, or families differ.
    pub fn new(ends: Ends, count: u32) -> Result<Self, FlowsError> {
        let Ends { clients, client_ports, vips, vip_ports } = ends;
        if clients.family() != vips.family() {
            return Err(FlowsError::Families);
        }
        let counts = [clients.count, client_ports.count, vips.count, vip_ports.count];
        let most = counts.into_iter().map(u128::from).product();
        if u128::from(count) > most {
            return Err(FlowsError::TooMany { asked: count, most });
        }
        if count == 0 {
            return Err(FlowsError::None);
        }
        Ok(Self { ends, count, step: step(count.into()) })
    }

    /// One flow from nobody to nobody: for who sends nothing.
    #[must_use]
    pub const fn nobody() -> Self {
        let address = Addresses::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1);
        let port = Ports { first: 0, count: 1 };
        let ends = Ends { clients: address, client_ports: port, vips: address, vip_ports: port };
        Self { ends, count: 1, step: 1 }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The family of all of them.
    #[must_use]
    pub fn family(self) -> FamilyId {
        self.ends.vips.family()
    }

    /// The flow whose turn it is, as a place among all.
    #[must_use]
    pub fn place(self, turn: u64) -> u64 {
        turn % u64::from(self.count)
    }

    /// The flow of a turn.
    #[must_use]
    pub fn of(self, turn: u64) -> Flow {
        let number = self.place(turn) * self.step % u64::from(self.count);
        let mut rest = number as u32;
        let mut digit = |count: u32| {
            let digit = rest % count;
            rest /= count;
            digit
        };
        let Ends { clients, client_ports, vips, vip_ports } = self.ends;
        let vip = vips.at(digit(vips.count));
        let vip_port = vip_ports.first + digit(vip_ports.count) as u16;
        let client = clients.at(digit(clients.count));
        let client_port = client_ports.first + digit(client_ports.count) as u16;
        Flow { src: SocketAddr::new(client, client_port), dst: SocketAddr::new(vip, vip_port) }
    }
}

/// The number nearest to the golden section of `count` that shares no factor with it: neighbours
/// in turn are far apart, and every flow has its turn.
fn step(count: u64) -> u64 {
    let divides = |a: u64, b: u64| {
        let (mut a, mut b) = (a, b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (count as f64 * 0.618_034) as u64;
    (golden.max(1)..).find(|step| divides(count, *step) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ends() -> Ends {
        Ends {
            clients: "198.18.0.1-198.18.0.5".parse().unwrap(),
            client_ports: "1024-1033".parse().unwrap(),
            vips: "192.0.2.1-192.0.2.3".parse().unwrap(),
            vip_ports: "80-81".parse().unwrap(),
        }
    }

    #[test]
    fn every_flow_has_its_turn_before_one_has_two() {
        for count in [1, 2, 7, 100, 256, 300] {
            let flows = Flows::new(ends(), count).unwrap();
            let all: HashSet<_> =
                (0..u64::from(count)).map(|turn| format!("{:?}", flows.of(turn))).collect();
            assert_eq!(all.len(), count as usize);
            assert_eq!(flows.of(0), flows.of(count.into()));
        }
    }

    #[test]
    fn a_few_flows_reach_every_vip() {
        let flows = Flows::new(ends(), 6).unwrap();
        let vips: HashSet<_> = (0..6).map(|turn| flows.of(turn).dst).collect();
        assert_eq!(vips.len(), 6);
    }

    #[test]
    fn more_flows_than_the_ranges_have_are_refused() {
        assert_eq!(Flows::new(ends(), 301), Err(FlowsError::TooMany { asked: 301, most: 300 }));
        assert_eq!(Flows::new(ends(), 0), Err(FlowsError::None));
        let mixed = Ends { clients: "2001:2::1".parse().unwrap(), ..ends() };
        assert_eq!(Flows::new(mixed, 1), Err(FlowsError::Families));
    }

    #[test]
    fn ranges_are_read_and_wrong_ones_are_explained() {
        let six: Addresses = "2001:2::1-2001:2::ff".parse().unwrap();
        assert_eq!((six.count, six.to_string()), (255, "2001:2::1-2001:2::ff".to_owned()));
        assert!(six.contains("2001:2::80".parse().unwrap()));
        assert!(!six.contains("2001:2::1:0".parse().unwrap()));
        for wrong in ["198.18.0.9-198.18.0.1", "198.18.0.1-2001:2::1", "198.18.0", ""] {
            assert!(wrong.parse::<Addresses>().is_err(), "{wrong}");
        }
        for wrong in ["90-80", "http", "1-65536"] {
            assert!(wrong.parse::<Ports>().is_err(), "{wrong}");
        }
    }
}
