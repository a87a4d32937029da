// SPDX-License-Identifier: MIT OR Apache-2.0
//! The immutable view of the services and the network that workers read.
//!
//! Built on the management core, swapped in between two batches, freed on the management core. A
//! new snapshot shares with the one before what did not change.

mod endpoints;
mod servers;

use std::collections::{HashMap, HashSet};
use std::mem::offset_of;
use std::net::IpAddr;
use std::sync::Arc;

use wire::{Endpoint, Family, FamilyId, L4, Port, V4, V6};

use crate::catalog::{Catalog, Entry};
use crate::encap::Outer;
use crate::hash::Keyed;
use crate::ids::{Seed, ServerId, ServiceId};
use crate::knobs::{Knob, Knobs};
use crate::network::{Network, NetworkFamily, NetworkView, NextHopId};
use crate::sched::{SchedState, Tables};
use endpoints::Endpoints;

use crate::conn::tcp_state::Timeouts;
use crate::service::{FTP, ForwardMode, Mss, Service, ServiceKey, ServiceOptions, Tunnel};

/// Everything a worker needs to know about the configuration of the moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which snapshot this is: 0 for the first, then one more each time.
    pub generation: u64,
    /// Services by what packets carry.
    pub services: Arc<Services>,
    /// Servers by slot; shorter than the highest slot if that was never used.
    pub servers: Arc<[ServerView]>,
    /// Routes and next hops.
    pub network: Arc<NetworkView>,
    /// Seconds that connections live in each state.
    pub timeouts: Timeouts,
    /// What the kernel has in `/proc/sys/net/ipv4/vs`.
    pub knobs: Knobs,
}

/// What changed since the last snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Services, servers, local addresses, timeouts or settings.
    pub catalog: bool,
    /// Routes, and with them the sources of tunnels.
    pub routes: bool,
    /// Neighbours.
    pub neighbours: bool,
}

impl Changed {
    /// Everything.
    pub const ALL: Self = Self { catalog: true, routes: true, neighbours: true };

    /// Whether anything changed.
    pub fn any(self) -> bool {
        self.catalog || self.routes || self.neighbours
    }
}

impl Snapshot {
    /// The first snapshot; `seed` keys the maps that packets are looked up in.
    pub fn new(catalog: &Catalog, network: &Network, seed: Seed) -> Self {
        let view = network.view();
        let nothing = HashMap::new();
        Self {
            generation: 0,
            services: Arc::new(Services::new(catalog, seed, &nothing)),
            servers: servers::following(&[], &nothing, catalog, &view),
            network: Arc::new(view),
            timeouts: *catalog.timeouts(),
            knobs: *catalog.knobs(),
        }
    }

    /// The snapshot that follows this one.
    pub fn next(&self, catalog: &Catalog, network: &Network, changed: Changed) -> Self {
        let mut next = self.rewired(network, changed);
        if changed.catalog {
            let before = &self.services.views;
            next.services = Arc::new(Services::new(catalog, self.services.seed, before));
            next.timeouts = *catalog.timeouts();
            next.knobs = *catalog.knobs();
            next.servers = servers::following(&next.servers, before, catalog, &next.network);
        }
        next
    }

    /// The snapshot that follows this one when only routes or neighbours changed.
    pub fn rewired(&self, network: &Network, changed: Changed) -> Self {
        let mut next = Self { generation: self.generation + 1, ..self.clone() };
        if changed.routes || changed.neighbours {
            next.network = Arc::new(network.view());
        }
        if changed.routes || changed.neighbours && servers::are_nearer(&self.servers, &next.network)
        {
            let placed = self.servers.iter().map(|view| servers::placed(*view, &next.network));
            next.servers = placed.collect();
        }
        next
    }

    /// The server of an id, unless another one lives in its slot by now.
    #[inline]
    pub fn server(&self, id: ServerId) -> Option<&ServerView> {
        server(&self.servers, id)
    }
}

/// The server of an id, of all by slot, unless another one lives in its slot by now.
#[inline]
pub(crate) fn server(servers: &[ServerView], id: ServerId) -> Option<&ServerView> {
    servers.get(id.slot as usize).filter(|view| view.generation == id.generation)
}

/// A server as workers see it; what packets of known connections need is in the first cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct ServerView {
    /// Which of the servers that lived in the slot.
    pub generation: u32,
    /// Whether it is in its service: requests to a removed one are dropped, replies not counted.
    pub in_service: bool,
    /// The tunnel to it, whatever its mode is; none without a source address towards it.
    pub outer: Option<Outer>,
    /// Place in its service's list, the head being 0.
    pub position: u32,
    /// Its weight; 0 takes no new connections but those of its clients.
    pub weight: u32,
    /// How packets of new connections reach it.
    pub mode: ForwardMode,
    /// Its address.
    pub address: IpAddr,
    /// Its port; the service's own for DR and TUN, 0 for the one that the client speaks to.
    pub port: u16,
    /// Connections from which it takes no new ones; 0 for no limit.
    pub upper: u32,
    /// Connections below which it takes new ones again; 0 for three quarters of `upper`.
    pub lower: u32,
    /// The encapsulation of [`ForwardMode::Tunnel`].
    pub tunnel: Tunnel,
    /// The address family of its service's clients.
    pub clients: FamilyId,
    /// Where packets to it go next, if that was known when the snapshot was made.
    pub next_hop: NextHopId,
    /// The bound on the MSS that its service's connections learn.
    pub mss: Option<Mss>,
}

const _: () = assert!(offset_of!(ServerView, position) <= 64 && size_of::<ServerView>() == 128);

impl ServerView {
    /// Where it listens for what came to `asked`. A server of the other family is reached by a
    /// tunnel, in which packets keep the VIP.
    #[inline]
    pub(crate) fn endpoint<F: Family>(&self, asked: Endpoint<F>) -> Endpoint<F> {
        Endpoint {
            addr: F::from_ip(self.address).unwrap_or(asked.addr),
            port: if self.port == 0 { asked.port } else { self.port.into() },
        }
    }
}

/// A server that a scheduler may choose.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The server.
    pub id: ServerId,
    /// Its weight; 0 takes no new connections.
    pub weight: u32,
}

/// A service as workers see it.
#[derive(Debug)]
pub struct ServiceView {
    /// Its place in the tables.
    pub id: ServiceId,
    /// Its name.
    pub key: ServiceKey,
    /// How a server is chosen, and what else can be edited.
    pub options: ServiceOptions,
    /// Its servers, the last added first.
    pub candidates: Box<[Candidate]>,
    /// What the scheduler looks up.
    pub tables: Tables,
    /// Source addresses for FULLNAT.
    pub locals: Box<[IpAddr]>,
    /// What the workers share of the scheduler.
    pub state: Arc<SchedState>,
    revision: u64,
}

impl ServiceView {
    fn new(entry: &Entry) -> Self {
        let Service { id, key, options, servers, locals } = &entry.service;
        let candidate = |server: &crate::service::Server| Candidate {
            id: server.id,
            weight: server.options.weight,
        };
        Self {
            id: *id,
            key: *key,
            options: *options,
            candidates: servers.iter().map(candidate).collect(),
            tables: Tables::new(&entry.service),
            locals: locals.as_slice().into(),
            state: Arc::clone(&entry.state),
            revision: entry.revision,
        }
    }
}

/// The services by what packets carry.
#[derive(Debug)]
pub struct Services {
    seed: Seed,
    views: HashMap<ServiceId, Arc<ServiceView>>,
    v4: FamilyServices<V4>,
    v6: FamilyServices<V6>,
}

impl Services {
    fn new(catalog: &Catalog, seed: Seed, before: &HashMap<ServiceId, Arc<ServiceView>>) -> Self {
        let mut services = Self {
            seed,
            views: HashMap::with_capacity(before.len()),
            v4: FamilyServices::new(seed, before.len()),
            v6: FamilyServices::new(seed, before.len()),
        };
        for entry in catalog.entries() {
            let same = before.get(&entry.service.id);
            let view = match same.filter(|view| view.revision == entry.revision) {
                Some(view) => Arc::clone(view),
                None => Arc::new(ServiceView::new(entry)),
            };
            services.v4.add(entry, &view);
            services.v6.add(entry, &view);
            services.views.insert(entry.service.id, view);
            if catalog.knobs().is_on(Knob::NatIcmpSend) {
                services.v4.add_nat_servers(entry);
                services.v6.add_nat_servers(entry);
            }
        }
        services.v4.remember(catalog);
        services.v6.remember(catalog);
        services
    }

    /// One service.
    #[cfg(test)]
    pub(crate) fn view(&self, id: ServiceId) -> Option<&ServiceView> {
        self.views.get(&id).map(Arc::as_ref)
    }

    /// The services of one family.
    #[inline]
    pub fn family<F: SnapshotFamily>(&self) -> &FamilyServices<F> {
        F::services(self)
    }
}

/// The port that active FTP's data comes from.
const FTP_DATA: u16 = 20;
/// The first port that any process may bind (`inet_port_requires_bind_service`).
const FIRST_UNPRIVILEGED: u16 = 1024;

/// One family's services.
#[derive(Debug)]
pub struct FamilyServices<F: Family> {
    by_endpoint: Endpoints<F>,
    by_mark: HashMap<u32, Arc<ServiceView>, Keyed>,
    /// The marks that services have, or had.
    marks: HashSet<u32, Keyed>,
    /// Whether there is a service of FTP.
    has_ftp: bool,
    /// Whether there is a service for all ports of an address.
    has_all_ports: bool,
    vips: HashSet<F::Addr, Keyed>,
    locals: HashSet<F::Addr, Keyed>,
    servers: HashSet<F::Addr, Keyed>,
    /// Where NAT servers listen; kept only if `nat_icmp_send` asks for it.
    nat_servers: HashSet<(L4, Endpoint<F>), Keyed>,
}

impl<F: Family> FamilyServices<F> {
    fn new(seed: Seed, count: usize) -> Self {
        let keyed = Keyed::new(seed);
        Self {
            by_endpoint: Endpoints::new(seed, count),
            by_mark: HashMap::with_hasher(keyed),
            marks: HashSet::with_hasher(keyed),
            has_ftp: false,
            has_all_ports: false,
            vips: HashSet::with_hasher(keyed),
            locals: HashSet::with_hasher(keyed),
            servers: HashSet::with_hasher(keyed),
            nat_servers: HashSet::with_hasher(keyed),
        }
    }

    fn add(&mut self, entry: &Entry, view: &Arc<ServiceView>) {
        match entry.service.key {
            ServiceKey::Endpoint { protocol, address, port } => {
                if let Some(addr) = F::from_ip(address) {
                    let endpoint = Endpoint { addr, port: port.into() };
                    self.by_endpoint.insert(protocol, endpoint, Arc::clone(view));
                    self.vips.insert(addr);
                    self.has_ftp |= port == FTP;
                    self.has_all_ports |= port == 0;
                }
            }
            ServiceKey::Mark { mark, family } if family == F::ID => {
                self.by_mark.insert(mark, Arc::clone(view));
                self.marks.insert(mark);
            }
            ServiceKey::Mark { .. } => {}
        }
        self.locals.extend(entry.service.locals.iter().copied().filter_map(F::from_ip));
        let servers = entry.service.servers.iter();
        self.servers.extend(servers.filter_map(|server| F::from_ip(server.key.address)));
    }

    fn add_nat_servers(&mut self, entry: &Entry) {
        let own = entry.service.key.protocol();
        let protocols =
            L4::ALL.into_iter().filter(|protocol| own.is_none_or(|own| own == *protocol));
        for protocol in protocols {
            let servers = entry.service.servers.iter();
            let nat = servers.filter(|server| server.options.mode == ForwardMode::Masquerade);
            self.nat_servers.extend(nat.filter_map(|server| {
                let addr = F::from_ip(server.key.address)?;
                Some((protocol, Endpoint { addr, port: server.key.port.into() }))
            }));
        }
    }

    /// Packets of connections that outlive their service or local address are still steered by it.
    fn remember(&mut self, catalog: &Catalog) {
        self.vips.extend(catalog.former_vips().filter_map(F::from_ip));
        self.marks.extend(catalog.former_marks(F::ID));
        self.locals.extend(catalog.former_locals().filter_map(F::from_ip));
        self.servers.extend(catalog.removed().filter_map(|(_, key)| F::from_ip(key.address)));
    }

    /// The service that a packet to this endpoint is for (`ip_vs_service_find`): that of its mark,
    /// which is asked for only if there are such services; that of its port; FTP, whose data may
    /// use any port; that of all ports.
    pub fn find(
        &self,
        protocol: L4,
        to: Endpoint<F>,
        mark: impl FnOnce() -> Option<u32>,
    ) -> Option<&ServiceView> {
        let at = |port: Port| self.by_endpoint.find(protocol, Endpoint { port, ..to });
        let marked = (!self.by_mark.is_empty()).then(mark).flatten();
        let ftp = || {
            let may_be_data = matches!(to.port.get(), FTP_DATA | FIRST_UNPRIVILEGED..);
            (self.has_ftp && protocol == L4::Tcp && may_be_data).then(|| at(FTP.into())).flatten()
        };
        let all_ports = || self.has_all_ports.then(|| at(Port::default())).flatten();
        let found = marked.and_then(|mark| self.by_mark.get(&mark)).map(Arc::as_ref);
        found.or_else(|| at(to.port)).or_else(ftp).or_else(all_ports)
    }

    /// Asks the cache for what [`Self::find`] looks at first, where there are so many services that
    /// it may not lie there.
    #[inline]
    pub(crate) fn prefetch(&self, protocol: L4, to: Endpoint<F>) {
        if self.are_many() {
            self.by_endpoint.prefetch(protocol, to);
        }
    }

    /// Whether so many services do not lie in the cache.
    #[inline]
    pub(crate) fn are_many(&self) -> bool {
        self.by_endpoint.are_many()
    }

    /// Whether a packet has a mark that a service has, or had.
    #[inline]
    pub fn is_marked(&self, mark: impl FnOnce() -> Option<u32>) -> bool {
        !self.marks.is_empty() && mark().is_some_and(|mark| self.marks.contains(&mark))
    }

    /// Whether a mark is one that a service has, or had.
    pub(crate) fn has_mark(&self, mark: u32) -> bool {
        self.marks.contains(&mark)
    }

    /// Whether an address is, or was, a service's virtual address.
    #[inline]
    pub fn is_vip(&self, address: F::Addr) -> bool {
        self.vips.contains(&address)
    }

    /// Whether an address is, or was, a real server's.
    #[inline]
    pub fn is_server(&self, address: F::Addr) -> bool {
        self.servers.contains(&address)
    }

    /// Whether a NAT server of the protocol listens here, where `nat_icmp_send` asks for it.
    pub fn is_nat_server(&self, protocol: L4, endpoint: Endpoint<F>) -> bool {
        self.nat_servers.contains(&(protocol, endpoint))
    }

    /// Whether an address is, or was, a FULLNAT local address.
    #[inline]
    pub fn is_local(&self, address: F::Addr) -> bool {
        self.locals.contains(&address)
    }
}

/// A family whose part can be picked out of a [`Snapshot`].
pub trait SnapshotFamily: NetworkFamily {
    /// The family's services.
    fn services(services: &Services) -> &FamilyServices<Self>;
}

impl SnapshotFamily for V4 {
    #[inline]
    fn services(services: &Services) -> &FamilyServices<Self> {
        &services.v4
    }
}

impl SnapshotFamily for V6 {
    #[inline]
    fn services(services: &Services) -> &FamilyServices<Self> {
        &services.v6
    }
}
