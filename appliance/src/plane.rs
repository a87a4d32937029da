// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running workers, as the commands and the kernel's network reach them.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use control::apply::{Pace, Plane};
use control::config::Owner;
use control::drops::{self, Loss};
use control::publish::Publisher;
use lb::catalog::Catalog;
use lb::counters::Figures;
use lb::network::{Neighbour, Network, Route};
use lb::snapshot::Changed;

use crate::host::{NetworkChange, interface_mtu, local_port_range};
use crate::wires::Wires;

/// How long a command waits for the workers.
const SETTLED_WITHIN: Duration = Duration::from_millis(20);
/// How many times longer than a publication the time until the next one that may wait is, so that
/// a box with very many services spends a small part of its time on them.
const PAUSE: u32 = 4;
/// How often it looks whether they are there.
const LOOK_EVERY: Duration = Duration::from_micros(20);

/// What leads to the workers: snapshots, made of the services and of the network.
pub struct DataPlane {
    publisher: Publisher,
    network: Network,
    /// Routes of the configuration, which the kernel's join.
    static_routes: Vec<Route>,
    constraints: Constraints,
    wires: Rc<Wires>,
    pending: Changed,
    /// When what may wait can be published.
    not_before: Instant,
    /// Whether workers run that could take a snapshot.
    running: bool,
    /// Whether services changed since [`Self::take_rules_changed`].
    rules_changed: bool,
}

/// What the configuration says about which servers can be served.
#[derive(Clone, Debug)]
pub struct Constraints {
    /// Source ports for FULLNAT.
    pub local_ports: RangeInclusive<u16>,
    /// Which worker owns a flow.
    pub owner: Owner,
}

impl DataPlane {
    /// The way to workers that do not run yet.
    pub fn new(
        publisher: Publisher,
        network: Network,
        wires: Rc<Wires>,
        constraints: Constraints,
    ) -> Self {
        Self {
            static_routes: network.routes().to_vec(),
            publisher,
            network,
            constraints,
            wires,
            pending: Changed::default(),
            not_before: Instant::now(),
            running: false,
            rules_changed: false,
        }
    }

    /// From now on a change waits for the workers.
    pub fn set_running(&mut self) {
        self.running = true;
    }

    /// Takes over what changed in the kernel's network.
    pub fn adopt(&mut self, change: NetworkChange) {
        if let Some(mut routes) = change.routes {
            routes.extend_from_slice(&self.static_routes);
            self.pending.routes |= self.network.set_routes(routes);
        }
        for (neighbour, mac) in change.neighbours {
            self.pending.neighbours |= self.network.set_neighbour(neighbour, mac);
        }
    }

    /// Publishes what is pending; returns whether anything was.
    pub fn flush(&mut self, catalog: &Catalog) -> bool {
        let changed = std::mem::take(&mut self.pending);
        let begun = Instant::now();
        if changed.any() {
            let next = self.publisher.current().next(catalog, &self.network, changed);
            self.publisher.publish(next);
        }
        self.publisher.collect();
        let ended = Instant::now();
        self.not_before = ended + (ended - begun) * PAUSE;
        changed.any()
    }

    /// Whether something waits to be published, and has waited long enough.
    pub fn is_due(&self) -> bool {
        self.pending.any() && Instant::now() >= self.not_before
    }

    /// Whether services changed since the last call.
    pub fn take_rules_changed(&mut self) -> bool {
        std::mem::take(&mut self.rules_changed)
    }

    /// The neighbours that must be known for packets to flow: those towards servers and gateways,
    /// and those that workers sent to of late.
    pub fn neighbours_in_use(&self, catalog: &Catalog, figures: &Figures) -> HashSet<Neighbour> {
        let view = &self.publisher.current().network;
        let servers = catalog.services().flat_map(|service| &service.servers);
        let towards_servers = servers.filter_map(|server| view.neighbour(server.key.address));
        let routes = self.network.routes().iter();
        let gateways =
            routes.filter_map(|route| Some(Neighbour { nic: route.nic?, address: route.via? }));
        let sent_to = self.network.placed().filter(|(place, _)| {
            // Every worker is asked, so that each forgets.
            let workers = figures.workers().iter();
            workers.filter(|worker| worker.next_hops.take(*place)).count() > 0
        });
        let sent_to = sent_to.map(|(_, neighbour)| neighbour);
        towards_servers.chain(gateways).chain(sent_to).collect()
    }

    /// Whether a neighbour's link-layer address is known.
    pub fn knows(&self, neighbour: &Neighbour) -> bool {
        self.network.knows(neighbour)
    }

    fn settle(&self) {
        let deadline = Instant::now() + SETTLED_WITHIN;
        while self.running && !self.publisher.is_settled() && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Plane for DataPlane {
    fn publish(&mut self, catalog: &Catalog, pace: Pace) {
        self.pending.catalog = true;
        self.rules_changed = true;
        if pace == Pace::Now {
            self.flush(catalog);
            self.settle();
        }
    }

    fn local_ports_conflict(&self) -> Option<String> {
        let host = local_port_range().ok()?;
        let (ours, apart) = (&self.constraints.local_ports, "net.ipv4.ip_local_port_range");
        let disjoint = ours.end() < host.start() || host.end() < ours.start();
        (!disjoint).then(|| {
            format!(
                "FULLNAT source ports {}-{} overlap the host's own, {}-{}: set [local_ports] range \
                 or {apart} so that they do not",
                ours.start(),
                ours.end(),
                host.start(),
                host.end()
            )
        })
    }

    fn interface_mtu(&self, interface: &str) -> Option<u16> {
        interface_mtu(interface)
    }

    fn nat_conflict(&self) -> Option<&'static str> {
        self.constraints.owner.nat_conflict()
    }

    fn nic_names(&self) -> Vec<String> {
        self.wires.nics.iter().map(|(name, _)| name.clone()).collect()
    }

    fn losses(&self) -> Vec<Loss> {
        drops::beside_workers(&self.wires.nic_stats(), self.wires.host_stats())
    }
}
