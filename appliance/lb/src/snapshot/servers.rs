// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of servers, made of the one before and of what changed.
//!
//! A box with very many servers must not pay for all of them when one changes: services whose
//! revision is the same keep their servers' rows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use wire::{V4, V6};

use super::{ServerView, ServiceView};
use crate::catalog::{Catalog, Entry};
use crate::encap::Outer;
use crate::ids::{ServerId, ServiceId};
use crate::network::{NetworkView, NextHopId};
use crate::service::{ForwardMode, ServerKey, Tunnel, family};

/// The table that follows `table`, in which the services of `before` had their servers. The row of
/// a server that nothing refers to any more stays until its place has another one.
pub(super) fn following(
    table: &[ServerView],
    before: &HashMap<ServiceId, Arc<ServiceView>>,
    catalog: &Catalog,
    network: &NetworkView,
) -> Arc<[ServerView]> {
    let mut rows = table.to_vec();
    let mut put = |id: ServerId, row: ServerView| {
        let index = id.slot as usize;
        if rows.len() <= index {
            rows.resize(index + 1, ServerView { generation: 0, in_service: false, ..row });
        }
        if let Some(place) = rows.get_mut(index) {
            *place = row;
        }
    };
    let is_same = |entry: &&Entry| {
        let view = before.get(&entry.service.id);
        view.is_some_and(|view| view.revision == entry.revision)
    };
    for entry in catalog.entries().filter(|entry| !is_same(entry)) {
        for (position, server) in (0..).zip(&entry.service.servers) {
            put(server.id, row(entry, position, server, network));
        }
    }
    for (id, key) in catalog.removed() {
        put(id, removed(id, key));
    }
    rows.into()
}

fn row(
    entry: &Entry,
    position: u32,
    server: &crate::service::Server,
    network: &NetworkView,
) -> ServerView {
    let view = ServerView {
        generation: server.id.generation,
        in_service: true,
        outer: None,
        position,
        mode: server.options.mode,
        address: server.key.address,
        port: server.key.port,
        weight: server.options.weight,
        upper: server.options.upper,
        lower: server.options.lower,
        tunnel: server.options.tunnel,
        clients: entry.service.key.family(),
        next_hop: NextHopId::UNRESOLVED,
        mss: entry.service.options.mss,
    };
    placed(view, network)
}

/// A row with what the routes and neighbours say about its server.
pub(super) fn placed(view: ServerView, network: &NetworkView) -> ServerView {
    let ServerView { address, tunnel, clients, .. } = view;
    if !view.in_service {
        return view;
    }
    let source = match address {
        IpAddr::V4(to) => network.source::<V4>(to.into()).map(IpAddr::from),
        IpAddr::V6(to) => network.source::<V6>(to.into()).map(IpAddr::from),
    };
    let outer = source.and_then(|source| Outer::new(source, address, tunnel, clients));
    let next_hop = network.resolve_ip(address).unwrap_or(NextHopId::UNRESOLVED);
    ServerView { outer, next_hop, ..view }
}

/// Whether the next hop of a server became known with new neighbours. One that is not known any
/// more need not be looked for: its place says so.
pub(super) fn are_nearer(rows: &[ServerView], network: &NetworkView) -> bool {
    let is_unknown =
        |view: &&ServerView| view.in_service && network.next_hop(view.next_hop).is_none();
    let mut unknown = rows.iter().filter(is_unknown);
    unknown.any(|view| network.resolve_ip(view.address).is_ok())
}

fn removed(id: ServerId, key: &ServerKey) -> ServerView {
    ServerView {
        generation: id.generation,
        in_service: false,
        outer: None,
        position: 0,
        mode: ForwardMode::Direct,
        address: key.address,
        port: key.port,
        weight: 0,
        upper: 0,
        lower: 0,
        tunnel: Tunnel::Ipip,
        clients: family(key.address),
        next_hop: NextHopId::UNRESOLVED,
        mss: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Change;
    use crate::counters::ServerCounts;
    use crate::ids::{NicId, Seed, Tick};
    use crate::limits::Limits;
    use crate::network::{Neighbour, Network, NicFacts, Prefix, Route};
    use crate::sched::Scheduler;
    use crate::service::{ServerOptions, ServiceKey, ServiceOptions};
    use crate::snapshot::{Changed, Snapshot};
    use proptest::prelude::*;
    use wire::{L4, Mac};

    const LIMITS: Limits = Limits { services: 3, servers: 8, connections: 1, ..Limits::DEFAULT };

    fn service(number: u8) -> ServiceKey {
        let (protocol, address) = (L4::Tcp, [192, 0, 2, number].into());
        ServiceKey::Endpoint { protocol, address, port: 80 }
    }

    fn change(what: u8, at: u8, of: u8) -> Change {
        let key = ServerKey { address: [10, 0, of, at].into(), port: 80 };
        let options = ServerOptions::of(ForwardMode::Tunnel, what.into());
        match what {
            0..3 => Change::AddService(service(of), ServiceOptions::of(Scheduler::RoundRobin)),
            3..8 => Change::AddServer(service(of), key, options),
            8..10 => Change::EditServer(service(of), key, options),
            10..12 => Change::DeleteServer(service(of), key),
            12 => Change::DeleteService(service(of)),
            _ => Change::Clear,
        }
    }

    #[test]
    fn the_way_to_a_server_is_known_as_soon_as_its_neighbour_is() {
        let (mac, of) = (Mac([2, 0, 0, 0, 0, 9]), 1);
        let mut network = Network::new(vec![NicFacts { mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500 }]);
        let to = |len| Prefix { address: [10, 0, 0, 0].into(), len };
        let route = |len| Route { to: to(len), via: None, nic: Some(NicId(0)), src: None };
        network.set_routes(vec![route(8)]);
        let mut catalog = Catalog::new(&LIMITS);
        catalog.apply(change(0, 7, of)).unwrap();
        catalog.apply(change(3, 7, of)).unwrap();
        let mut snapshot = Snapshot::new(&catalog, &network, Seed::fixed(1));
        let server = catalog.services().next().unwrap().servers[0].id;
        let hop = |snapshot: &Snapshot| {
            let view = snapshot.server(server).unwrap();
            snapshot.network.next_hop(view.next_hop).map(|hop| hop.link.dst)
        };
        assert_eq!(hop(&snapshot), None);
        let neighbour = Neighbour { nic: NicId(0), address: [10, 0, of, 7].into() };
        network.set_neighbour(neighbour, Some(mac));
        let neighbours = Changed { neighbours: true, ..Changed::default() };
        snapshot = snapshot.next(&catalog, &network, neighbours);
        assert_eq!(hop(&snapshot), Some(mac));
        network.set_routes(vec![route(8), route(16)]);
        snapshot = snapshot.next(&catalog, &network, Changed { routes: true, ..neighbours });
        assert_eq!(hop(&snapshot), Some(mac), "routes changed");
        network.set_neighbour(neighbour, None);
        snapshot = snapshot.next(&catalog, &network, neighbours);
        assert_eq!(hop(&snapshot), None, "the neighbour is gone");
    }

    proptest! {
        #[test]
        fn a_table_that_follows_is_the_one_that_is_made_anew(
            steps in prop::collection::vec((0..15u8, 1..5u8, 1..4u8, any::<bool>()), 1..60)
        ) {
            let (mut catalog, network) = (Catalog::new(&LIMITS), Network::new(vec![]));
            let counts = ServerCounts::new(&LIMITS);
            let mut snapshot = Snapshot::new(&catalog, &network, Seed::fixed(1));
            for (what, at, of, is_seen) in steps {
                if what == 14 {
                    snapshot = snapshot.next(&catalog, &network, Changed::ALL);
                    catalog.sweep(&counts, Tick::from_secs(0));
                    catalog.sweep(&counts, Tick::from_secs(1000));
                } else {
                    // A refusal is as good as no change.
                    let _ = catalog.apply(change(what, at, of));
                }
                if is_seen {
                    snapshot = snapshot.next(&catalog, &network, Changed::ALL);
                    let anew = Snapshot::new(&catalog, &network, Seed::fixed(1));
                    let live = catalog.services().flat_map(|s| &s.servers).map(|s| s.id);
                    for id in live.chain(catalog.removed().map(|(id, _)| id)) {
                        let rows = [&snapshot, &anew].map(|s| format!("{:?}", s.server(id)));
                        prop_assert_eq!(&rows[0], &rows[1]);
                        prop_assert!(snapshot.server(id).is_some());
                    }
                }
            }
        }
    }
}
