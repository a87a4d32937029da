// SPDX-License-Identifier: MIT OR Apache-2.0
//! One service whose scheduler is asked directly.

use std::net::IpAddr;

use wire::{FamilyId, L4};

use crate::catalog::{Catalog, Change};
use crate::counters::{ServerCounts, Thresholds};
use crate::hash::Keyed;
use crate::ids::{Seed, ServerId, ServiceId, Tick, WorkerId};
use crate::knobs::Knobs;
use crate::limits::Limits;
use crate::network::Network;
use crate::random::Random;
use crate::sched::{Request, Scheduler, pick};
use crate::service::{
    ForwardMode, SchedFlags, ServerKey, ServerOptions, ServiceKey, ServiceOptions,
};
use crate::snapshot::{Changed, Snapshot};

/// A service with servers 1, 2, ..., and the connections that they have.
pub(super) struct Desk {
    pub(super) snapshot: Snapshot,
    pub(super) vip: IpAddr,
    pub(super) now_s: u64,
    pub(super) knobs: Knobs,
    catalog: Catalog,
    network: Network,
    counts: std::sync::Arc<ServerCounts>,
    keyed: Keyed,
    random: Random,
    key: ServiceKey,
    id: ServiceId,
    /// The address of server `n` is this one with `n` added to its last byte.
    server_zero: IpAddr,
    server_port: u16,
}

impl Desk {
    pub(super) fn new(scheduler: &str) -> Self {
        Self::with_flags(scheduler, &[])
    }

    pub(super) fn with_flags(scheduler: &str, flags: &[u8]) -> Self {
        let (protocol, address) = (L4::Tcp, [192, 0, 2, 1].into());
        let key = ServiceKey::Endpoint { protocol, address, port: 80 };
        Self::of(key, scheduler, flags, [10, 2, 0, 10].into(), 80)
    }

    /// A service behind a firewall mark.
    pub(super) fn marked(scheduler: &str) -> Self {
        let key = ServiceKey::Mark { mark: 1, family: FamilyId::V4 };
        Self::of(key, scheduler, &[], [10, 2, 0, 10].into(), 0)
    }

    pub(super) fn of(
        key: ServiceKey,
        scheduler: &str,
        flags: &[u8],
        server_zero: IpAddr,
        server_port: u16,
    ) -> Self {
        let mut limits = Limits { services: 1, servers: 64, connections: 1, ..Limits::DEFAULT };
        limits.templates = 0;
        let (mut catalog, network) = (Catalog::new(&limits), Network::new(vec![]));
        let scheduler = Scheduler::from_name(scheduler).unwrap();
        let flags = flags.iter().fold(SchedFlags::NONE, |flags, number| flags.with(*number));
        let options = ServiceOptions { flags, ..ServiceOptions::of(scheduler) };
        let id = catalog.apply(Change::AddService(key, options)).unwrap().service.unwrap();
        let seed = Seed::fixed(7);
        Self {
            snapshot: Snapshot::new(&catalog, &network, seed),
            vip: key.address().unwrap_or([192, 0, 2, 1].into()),
            now_s: 100,
            knobs: Knobs::default(),
            catalog,
            network,
            counts: ServerCounts::new(&limits),
            keyed: Keyed::new(seed),
            random: Random::new(seed, WorkerId(0)),
            key,
            id,
            server_zero,
            server_port,
        }
    }

    pub(super) fn add(&mut self, server: u8, weight: u32) {
        let options = ServerOptions::of(ForwardMode::Masquerade, weight);
        self.apply(Change::AddServer(self.key, self.server_key(server), options));
    }

    pub(super) fn edit(&mut self, server: u8, weight: u32) {
        let options = ServerOptions::of(ForwardMode::Masquerade, weight);
        self.apply(Change::EditServer(self.key, self.server_key(server), options));
    }

    pub(super) fn delete(&mut self, server: u8) {
        self.apply(Change::DeleteServer(self.key, self.server_key(server)));
    }

    /// Makes a server overloaded, or not any more; it has one connection as long as it is.
    pub(super) fn overload(&mut self, server: u8, is_overloaded: bool) {
        let slot = self.slot(server);
        if is_overloaded {
            self.counts.set_thresholds(slot, Thresholds { upper: 1, lower: 1 });
            self.counts.opened(slot, true);
        } else {
            self.counts.closed(slot, true);
            self.counts.set_thresholds(slot, Thresholds::default());
        }
    }

    /// Sets the upper threshold of a server.
    pub(super) fn limit(&mut self, server: u8, upper: u32) {
        let thresholds = Thresholds { upper, lower: 0 };
        self.counts.set_thresholds(self.slot(server), thresholds);
    }

    /// The server for a connection that is not opened.
    pub(super) fn pick(&mut self, client: IpAddr, port: u16) -> Option<u8> {
        let draw = self.random.draw();
        self.choose(client, port, draw).map(|id| self.number(id))
    }

    /// As [`Self::pick`], for several workers at once.
    pub(super) fn look(&self, client: IpAddr, port: u16) -> Option<u8> {
        self.choose(client, port, 0).map(|id| self.number(id))
    }

    /// Opens a connection that becomes active.
    pub(super) fn open(&mut self, client: IpAddr, port: u16) -> Option<u8> {
        let draw = self.random.draw();
        let id = self.choose(client, port, draw)?;
        self.counts.opened(id.slot, true);
        Some(self.number(id))
    }

    /// Makes an active connection of a server an inactive one.
    pub(super) fn settle(&self, server: u8) {
        self.counts.changed(self.slot(server), false);
    }

    pub(super) fn active(&self, server: u8) -> u32 {
        self.counts.active(self.slot(server))
    }

    fn choose(&self, client: IpAddr, client_port: u16, draw: u64) -> Option<ServerId> {
        let view = self.snapshot.services.view(self.id).unwrap();
        let now = Tick::from_secs(self.now_s);
        let Self { vip, keyed, knobs, .. } = self;
        let request = Request { client, client_port, vip: *vip, now, draw, keyed, knobs };
        pick(view, &self.snapshot.servers, &self.counts, || request).map(|candidate| candidate.id)
    }

    fn apply(&mut self, change: Change) {
        self.catalog.apply(change).unwrap();
        self.snapshot = self.snapshot.next(&self.catalog, &self.network, Changed::ALL);
    }

    fn server_key(&self, server: u8) -> ServerKey {
        let address = match self.server_zero {
            IpAddr::V4(v4) => (u32::from(v4) + u32::from(server)).to_be_bytes().into(),
            IpAddr::V6(v6) => (u128::from(v6) + u128::from(server)).to_be_bytes().into(),
        };
        ServerKey { address, port: self.server_port }
    }

    fn slot(&self, server: u8) -> u32 {
        let key = self.server_key(server);
        let servers = &self.catalog.service(&self.key).unwrap().servers;
        servers.iter().find(|server| server.key == key).unwrap().id.slot
    }

    fn number(&self, id: ServerId) -> u8 {
        let address = self.snapshot.server(id).unwrap().address;
        (1..=64).find(|number| self.server_key(*number).address == address).unwrap()
    }
}
