// SPDX-License-Identifier: MIT OR Apache-2.0

use rtnetlink::packet_route::route::{RouteNextHop, RouteVia};

use super::*;

const WAN: NicId = NicId(0);
const WAN_LINK: u32 = 7;
const ELSEWHERE: u32 = 2;

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn address(link: u32, address: IpAddr, len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link;
    message.header.prefix_len = len;
    message.attributes = vec![AddressAttribute::Address(address)];
    message
}

fn default_route(attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.kind = RouteType::Unicast;
    message.attributes = attributes;
    message
}

fn via(last: u8) -> Vec<RouteAttribute> {
    vec![RouteAttribute::Oif(WAN_LINK), RouteAttribute::Gateway(v4(last).into())]
}

fn mirrored(addresses: &[AddressMessage], table: &[RouteMessage]) -> Vec<Route> {
    let links = Links::from([(LinkIndex(WAN_LINK), WAN)]);
    let addresses: Vec<_> = addresses.iter().filter_map(Candidate::read).collect();
    best(&links, &addresses, table)
}

fn source_towards_gateway(addresses: &[AddressMessage]) -> Option<IpAddr> {
    let routes = mirrored(addresses, &[default_route(via(254))]);
    routes.first().expect("one route").src
}

#[test]
fn the_source_is_on_the_gateways_segment_though_a_vip_came_first() {
    let vip = Ipv4Addr::new(203, 0, 113, 80).into();
    let addresses = [address(WAN_LINK, vip, 32), address(WAN_LINK, v4(2), 24)];
    assert_eq!(source_towards_gateway(&addresses), Some(v4(2)));
    assert_eq!(source_towards_gateway(&addresses[..1]), Some(vip));
}

#[test]
fn an_address_of_another_interface_is_the_source_of_last_resort() {
    let elsewhere = address(ELSEWHERE, Ipv4Addr::new(203, 0, 113, 1).into(), 32);
    let own = address(WAN_LINK, Ipv4Addr::new(198, 51, 100, 1).into(), 32);
    let expected = Some(Ipv4Addr::new(203, 0, 113, 1).into());
    assert_eq!(source_towards_gateway(std::slice::from_ref(&elsewhere)), expected);
    let expected = Some(Ipv4Addr::new(198, 51, 100, 1).into());
    assert_eq!(source_towards_gateway(&[elsewhere, own]), expected);
    assert_eq!(source_towards_gateway(&[]), None);
}

#[test]
fn an_address_that_is_not_fit_for_packets_that_leave_is_no_source() {
    let flagged = |flag| {
        let mut message = address(WAN_LINK, v4(2), 24);
        message.attributes.push(AddressAttribute::Flags(flag));
        message
    };
    for flag in [AddressFlags::Tentative, AddressFlags::Deprecated, AddressFlags::Secondary] {
        assert_eq!(source_towards_gateway(&[flagged(flag)]), None, "{flag:?}");
    }
    let mut host_only = address(WAN_LINK, v4(2), 24);
    host_only.header.scope = AddressScope::Host;
    assert_eq!(source_towards_gateway(&[host_only]), None);
}

#[test]
fn of_a_point_to_point_address_the_local_end_is_the_source() {
    let mut message = address(WAN_LINK, v4(254), 32);
    message.attributes.push(AddressAttribute::Local(v4(2)));
    assert_eq!(source_towards_gateway(&[message]), Some(v4(2)));
}

#[test]
fn of_equal_metrics_the_first_counts() {
    let routes = mirrored(&[], &[default_route(via(1)), default_route(via(2))]);
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0].via, Some(v4(1)));
}

#[test]
fn a_dead_next_hop_is_passed_over_and_a_dead_route_is_none() {
    let hop = |last, flags| {
        let mut hop = RouteNextHop::default();
        (hop.interface_index, hop.flags) = (WAN_LINK, flags);
        hop.attributes = vec![RouteAttribute::Gateway(v4(last).into())];
        hop
    };
    let dead = RouteNextHopFlags::Dead;
    let hops = vec![hop(1, dead), hop(2, RouteNextHopFlags::Linkdown)];
    let routes = mirrored(&[], &[default_route(vec![RouteAttribute::MultiPath(hops)])]);
    assert_eq!(routes[0].via, Some(v4(2)));

    let hops = vec![hop(1, dead), hop(2, dead)];
    assert_eq!(mirrored(&[], &[default_route(vec![RouteAttribute::MultiPath(hops)])]), []);
    let mut single = default_route(via(1));
    single.header.flags = RouteFlags::Dead;
    assert_eq!(mirrored(&[], &[single]), []);
}

#[test]
fn a_way_that_a_frame_cannot_take_has_no_nic() {
    let other_family = RouteAttribute::Via(RouteVia::Inet6(Ipv6Addr::LOCALHOST));
    let tunnel = RouteAttribute::Encap(Vec::new());
    for attribute in [other_family, tunnel] {
        let route = default_route(vec![RouteAttribute::Oif(WAN_LINK), attribute]);
        assert_eq!(mirrored(&[], &[route])[0].nic, None);
    }
}

#[test]
fn a_prefix_covers_what_shares_its_leading_bits() {
    let net = |len| Prefix { address: v4(128), len };
    assert!(covers(net(25), v4(255)) && !covers(net(25), v4(127)));
    assert!(covers(net(32), v4(128)) && !covers(net(32), v4(129)));
    assert!(covers(net(0), Ipv4Addr::LOCALHOST.into()));
    assert!(!covers(net(0), Ipv6Addr::LOCALHOST.into()));
}
