// SPDX-License-Identifier: MIT OR Apache-2.0
//! The order of services and servers in listings: ipvsadm's, with its flaw.
//!
//! ipvsadm compares 32-bit words by the sign of their difference, so that addresses more than 2^31
//! apart compare the wrong way round (192.168.0.1 comes before 10.0.0.1). That is no order in the
//! mathematical sense, and what comes out depends on the algorithm: glibc's `qsort`, a merge sort
//! that halves the list. Scripts compare listings, so this is done alike.

use std::cmp::Ordering;
use std::net::IpAddr;

use lb::service::{Server, Service, ServiceKey};

/// Sorts services: mark, which is 0 for an address, then address family, protocol number, address,
/// port.
pub(crate) fn services(mut services: Vec<&Service>, unsorted: bool) -> Vec<&Service> {
    // The catalog has no order of its own, and the result must not depend on chance.
    services.sort_unstable_by_key(|service| service.key);
    if unsorted {
        return services;
    }
    merge_sort(services, &|a, b| {
        let family = a.key.family().cmp(&b.key.family());
        mark(a.key)
            .cmp(&mark(b.key))
            .then(family)
            .then_with(|| a.key.protocol().cmp(&b.key.protocol()))
            .then_with(|| match (a.key.address(), b.key.address()) {
                (Some(a), Some(b)) => addresses(a, b),
                _ => Ordering::Equal,
            })
            .then_with(|| a.key.port().cmp(&b.key.port()))
    })
}

/// Sorts the servers of a service: address, port.
pub(crate) fn servers(servers: &[Server], unsorted: bool) -> Vec<&Server> {
    let servers: Vec<&Server> = servers.iter().collect();
    if unsorted {
        return servers;
    }
    merge_sort(servers, &|a, b| {
        addresses(a.key.address, b.key.address).then_with(|| a.key.port.cmp(&b.key.port))
    })
}

/// The mark of a service, which none without one has.
fn mark(key: ServiceKey) -> u32 {
    match key {
        ServiceKey::Mark { mark, .. } => mark,
        ServiceKey::Endpoint { .. } => 0,
    }
}

fn addresses(a: IpAddr, b: IpAddr) -> Ordering {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => by_difference(a.to_bits(), b.to_bits()),
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let word = |bits: u128, index: u32| (bits >> (96 - 32 * index)) as u32;
            let (a, b) = (a.to_bits(), b.to_bits());
            let words = (0..4).map(|index| by_difference(word(a, index), word(b, index)));
            words.fold(Ordering::Equal, Ordering::then)
        }
        (a, b) => a.cmp(&b),
    }
}

/// The sign of the 32-bit difference.
fn by_difference(a: u32, b: u32) -> Ordering {
    (a.wrapping_sub(b) as i32).cmp(&0)
}

/// Halves, sorts both, merges; the first half wins a tie. Any comparison ends, also one that is no
/// order.
fn merge_sort<'a, T>(mut items: Vec<&'a T>, compare: &dyn Fn(&T, &T) -> Ordering) -> Vec<&'a T> {
    if items.len() < 2 {
        return items;
    }
    let second = items.split_off(items.len() / 2);
    let mut first = merge_sort(items, compare).into_iter().peekable();
    let mut second = merge_sort(second, compare).into_iter().peekable();
    let mut merged = Vec::with_capacity(first.len() + second.len());
    while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
        let from = if compare(a, b) == Ordering::Greater { &mut second } else { &mut first };
        merged.extend(from.next());
    }
    merged.extend(first);
    merged.extend(second);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(texts: &[&str]) -> Vec<String> {
        let parsed: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let sorted = merge_sort(parsed.iter().collect(), &|a, b| addresses(*a, *b));
        sorted.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_far_apart_compare_the_wrong_way_round_as_in_ipvsadm() {
        assert_eq!(sorted(&["10.0.0.1", "192.168.0.1"]), ["192.168.0.1", "10.0.0.1"]);
        assert_eq!(sorted(&["10.0.0.2", "10.0.0.1"]), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(
            sorted(&["2001:db8::1", "::1", "fe80::1", "fd00::1"]),
            ["fd00::1", "fe80::1", "::1", "2001:db8::1"]
        );
    }
}
