// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the kernel's addresses and main routing table to [`Route`]s.
//!
//! A destination that the kernel reaches without us keeps its prefix but gets no NIC, so that the
//! longest prefix wins here as it does there. So do those which we could not follow: by a tunnel
//! of the kernel's, or by a gateway of the other family (RFC 8950).
//!
//! Not mirrored: rules (`ip rule`), tables other than main, routes for one type of service.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb::ids::NicId;
use lb::network::{Prefix, Route};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags,
    RouteType,
};

use super::kernel::LinkIndex;

/// The host interfaces that there are, by their index.
pub(super) type Links = HashMap<LinkIndex, NicId>;

/// An address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The NIC whose host interface has it; none for other interfaces, such as `lo`.
    pub nic: Option<NicId>,
    /// The address.
    pub address: IpAddr,
    /// How many leading bits it shares with its segment: 0..=32 or 0..=128.
    pub len: u8,
}

/// An address as far as choosing a source needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    link: LinkIndex,
    address: IpAddr,
    segment: Prefix,
    /// Whether packets that leave the host may carry it: not while it is being verified or fading
    /// out, not if its scope is too small, and not if it is only a secondary one.
    usable: bool,
}

impl Candidate {
    /// Reads an announced address.
    pub(super) fn read(message: &AddressMessage) -> Option<Self> {
        let header = &message.header;
        let (mut local, mut network) = (None, None);
        let mut flags = AddressFlags::from_bits_retain(header.flags.bits().into());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => network = Some(*address),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        let network = network.or(local)?;
        let address = local.unwrap_or(network);
        let unfit = AddressFlags::Secondary
            | AddressFlags::Tentative
            | AddressFlags::Deprecated
            | AddressFlags::Dadfailed;
        let wide = match header.scope {
            AddressScope::Universe | AddressScope::Site => true,
            AddressScope::Link => address.is_ipv4(),
            _ => false,
        };
        Some(Self {
            link: LinkIndex(header.index),
            address,
            segment: Prefix { address: network, len: header.prefix_len },
            usable: wide && !flags.intersects(unfit),
        })
    }

    /// The address as it is told to others.
    pub(super) fn local(&self, links: &Links) -> LocalAddress {
        let nic = links.get(&self.link).copied();
        LocalAddress { nic, address: self.address, len: self.segment.len }
    }
}

/// The route that the kernel prefers, for each prefix of the main table.
pub(super) fn best(links: &Links, addresses: &[Candidate], table: &[RouteMessage]) -> Vec<Route> {
    let mut best: BTreeMap<Prefix, (u32, Route)> = BTreeMap::new();
    for message in table {
        let Some((metric, route)) = read(links, addresses, message) else {
            continue;
        };
        match best.get(&route.to) {
            Some((lower, _)) if *lower <= metric => {}
            _ => drop(best.insert(route.to, (metric, route))),
        }
    }
    best.into_values().map(|(_, route)| route).collect()
}

/// The metric and the route of an entry, unless it is of no concern or out of use.
fn read(links: &Links, addresses: &[Candidate], message: &RouteMessage) -> Option<(u32, Route)> {
    let header = &message.header;
    let mut to = unspecified(header.address_family)?;
    let (mut metric, mut table, mut src) = (0, u32::from(header.table), None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address)?,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(id) => table = *id,
            RouteAttribute::PrefSource(address) => src = ip(address),
            _ => {}
        }
    }
    let foreign = table != u32::from(RouteHeader::RT_TABLE_MAIN) || header.tos != 0;
    if foreign || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let to = Prefix { address: to, len: header.destination_prefix_length };
    let without_us = Route { to, via: None, nic: None, src: None };
    // A link-local destination means nothing without its interface (RFC 4007).
    if header.kind != RouteType::Unicast || is_link_local(to.address) {
        return Some((metric, without_us));
    }
    let hops = live_hops(message);
    if hops.is_empty() {
        return None;
    }
    let ours = hops.iter().find_map(|hop| {
        let nic = hop.followable.then(|| links.get(&hop.link))?;
        nic.map(|nic| (hop, *nic))
    });
    let Some((hop, nic)) = ours else {
        return Some((metric, without_us));
    };
    let src = src.or_else(|| source(addresses, hop, to));
    Some((metric, Route { to, via: hop.via, nic: Some(nic), src }))
}

/// One way to go on from a route.
struct Hop {
    link: LinkIndex,
    via: Option<IpAddr>,
    /// Whether an Ethernet frame to `via` is all that it takes.
    followable: bool,
}

impl Hop {
    fn read(link: Option<u32>, attributes: &[RouteAttribute]) -> Self {
        let mut this = Self { link: LinkIndex(link.unwrap_or(0)), via: None, followable: true };
        for attribute in attributes {
            match attribute {
                RouteAttribute::Oif(index) => this.link = LinkIndex(*index),
                RouteAttribute::Gateway(address) => this.via = ip(address),
                RouteAttribute::Via(_) | RouteAttribute::Encap(_) => this.followable = false,
                _ => {}
            }
        }
        this
    }
}

/// The next hops of a route that are in use, in the kernel's order.
fn live_hops(message: &RouteMessage) -> Vec<Hop> {
    let several = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    match several {
        Some(hops) => hops
            .iter()
            .filter(|hop| !hop.flags.contains(RouteNextHopFlags::Dead))
            .map(|hop| Hop::read(Some(hop.interface_index), &hop.attributes))
            .collect(),
        None if message.header.flags.contains(RouteFlags::Dead) => Vec::new(),
        None => vec![Hop::read(None, &message.attributes)],
    }
}

/// The address to send from: the one on the neighbour's segment, else the interface's first, else
/// the host's first.
fn source(addresses: &[Candidate], hop: &Hop, to: Prefix) -> Option<IpAddr> {
    let neighbour = hop.via.unwrap_or(to.address);
    let family = |candidate: &&Candidate| {
        candidate.usable && candidate.address.is_ipv4() == to.address.is_ipv4()
    };
    let here = |candidate: &&Candidate| candidate.link == hop.link;
    let usable = || addresses.iter().filter(family);
    usable()
        .filter(here)
        .find(|candidate| covers(candidate.segment, neighbour))
        .or_else(|| usable().find(here))
        .or_else(|| usable().next())
        .map(|candidate| candidate.address)
}

fn covers(prefix: Prefix, address: IpAddr) -> bool {
    let same_bits = match (prefix.address, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    same_bits >= u32::from(prefix.len)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn unspecified(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
