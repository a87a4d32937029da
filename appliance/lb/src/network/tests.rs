// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn route(to: &str, len: u8, via: Option<&str>, nic: Option<u16>) -> Route {
    let to = Prefix { address: ip(to), len };
    Route { to, via: via.map(ip), nic: nic.map(NicId), src: None }
}

fn network() -> Network {
    let mac = |last| Mac([2, 0, 0, 0, 0, last]);
    let mut network = Network::new(vec![
        NicFacts { mac: mac(1), mtu: 1500 },
        NicFacts { mac: mac(2), mtu: 9000 },
    ]);
    network.set_routes(vec![
        route("0.0.0.0", 0, Some("198.51.100.254"), Some(0)),
        route("198.51.100.0", 24, None, Some(0)),
        route("10.0.0.0", 8, None, Some(1)),
        route("10.9.0.0", 16, None, None),
    ]);
    network
}

fn neighbour(nic: u16, address: &str) -> Neighbour {
    Neighbour { nic: NicId(nic), address: ip(address) }
}

fn resolve(network: &Network, to: &str) -> Result<NextHop, Unresolved> {
    let view = network.view();
    let id = view.resolve::<V4>(V4::from_ip(ip(to)).unwrap())?;
    Ok(*view.next_hop(id).unwrap())
}

#[test]
fn the_longest_prefix_wins_and_a_gateway_stands_for_its_destinations() {
    let mut network = network();
    let gateway = neighbour(0, "198.51.100.254");
    assert_eq!(resolve(&network, "8.8.8.8"), Err(Unresolved::NoNeighbour(gateway)));
    network.set_neighbour(gateway, Some(Mac([2, 0, 0, 0, 0, 9])));
    assert_eq!(resolve(&network, "8.8.8.8").unwrap().link.dst, Mac([2, 0, 0, 0, 0, 9]));
    let on_link = neighbour(1, "10.0.0.11");
    assert_eq!(resolve(&network, "10.0.0.11"), Err(Unresolved::NoNeighbour(on_link)));
    assert_eq!(resolve(&network, "10.9.1.1"), Err(Unresolved::NoRoute));
    assert_eq!(
        resolve(&network, "10.255.255.255"),
        Err(Unresolved::NoNeighbour(neighbour(1, "10.255.255.255")))
    );
}

#[test]
fn a_new_mac_keeps_the_id_and_a_new_route_makes_it_stale() {
    let mut network = network();
    let server = neighbour(1, "10.0.0.11");
    network.set_neighbour(server, Some(Mac([2, 0, 0, 0, 0, 11])));
    let to = V4::from_ip(server.address).unwrap();
    let id = network.view().resolve::<V4>(to).unwrap();
    assert!(network.set_neighbour(server, Some(Mac([2, 0, 0, 0, 0, 12]))));
    assert_eq!(network.view().next_hop(id).unwrap().link.dst, Mac([2, 0, 0, 0, 0, 12]));
    assert!(network.set_neighbour(server, None));
    assert_eq!(network.view().next_hop(id), None);
    assert!(network.set_neighbour(server, Some(Mac([2, 0, 0, 0, 0, 13]))));
    assert_eq!(network.view().next_hop(id).unwrap().link.dst, Mac([2, 0, 0, 0, 0, 13]));
    assert!(network.set_routes(vec![route("10.0.0.0", 24, None, Some(1))]));
    assert_eq!(network.view().next_hop(id), None);
    assert_eq!(resolve(&network, "10.0.0.11").unwrap().link.dst, Mac([2, 0, 0, 0, 0, 13]));
}

proptest! {
    #[test]
    fn a_lookup_finds_what_a_scan_of_all_prefixes_finds(
        prefixes in prop::collection::vec((any::<u8>(), 0u8..=8), 0..20),
        probe in any::<u8>(),
    ) {
        let byte = |b: u8| IpAddr::from([b, 0, 0, 0]);
        let routes: Vec<Route> = prefixes
            .iter()
            .enumerate()
            .map(|(i, (b, len))| Route {
                to: Prefix { address: byte(b & !(0xff_u32 >> len) as u8), len: *len },
                via: None,
                nic: Some(NicId(i as u16)),
                src: None,
            })
            .collect();
        let mut network = Network::new(vec![]);
        network.set_routes(routes);
        let best = network
            .routes()
            .iter()
            .filter(|r| {
                let (first, last) = bounds(r.to);
                (first..=last).contains(&(u128::from(probe) << 24))
            })
            .max_by_key(|r| r.to.len);
        let found = network.view().resolve::<V4>(V4::from_ip(byte(probe)).unwrap());
        prop_assert_eq!(found, Err(best.map_or(Unresolved::NoRoute, |r| {
            Unresolved::NoNeighbour(Neighbour { nic: r.nic.unwrap(), address: byte(probe) })
        })));
    }
}
