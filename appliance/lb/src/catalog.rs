// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mutable truth about services, owned by the management core.
//!
//! A [`Change`] is applied as a whole or refused as a whole. Workers never see the catalog; they
//! see a [`crate::snapshot::Snapshot`] built from it. A removed server keeps its place while
//! connections refer to it, and comes back to it when it is added again (the kernel's trash,
//! `ip_vs_ctl.c`), so that its connections go on.

mod addresses;
mod change;
mod places;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use wire::FamilyId;

use crate::conn::tcp_state::Timeouts;
use crate::counters::ServerCounts;
use crate::ids::{ServerId, ServiceId, Tick};
use crate::knobs::Knobs;
use crate::limits::Limits;
use crate::sched::{self, SchedState, Scheduler};
use crate::service::{Server, ServerKey, ServerOptions, Service, ServiceKey, ServiceOptions};
use addresses::Addresses;
pub use change::{Applied, Change, Refusal};
use places::Places;

/// How long a removed server that no connection refers to keeps its place, in milliseconds.
const TRASH_MS: u64 = 120_000;

/// A service as the catalog holds it: the description, and what its schedulers share.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) service: Service,
    pub(crate) state: Arc<SchedState>,
    /// Changes with every change, so that a snapshot can share what did not.
    pub(crate) revision: u64,
}

/// A removed server whose place is not free yet.
#[derive(Clone, Copy, Debug)]
struct Trashed {
    id: ServerId,
    /// The service that it was removed from, or with.
    service: ServiceId,
    last_weight: u32,
    idle_since: Option<Tick>,
}

impl Trashed {
    fn new(server: &Server, service: ServiceId) -> Self {
        Self { id: server.id, service, last_weight: server.last_weight, idle_since: None }
    }
}

/// Where a server is added.
struct Place {
    id: ServerId,
    /// The last weight it had there.
    last_weight: u32,
    /// The service that it was there in before.
    of: Option<ServiceId>,
}

/// The services, their servers and the timeouts.
#[derive(Clone, Debug)]
pub struct Catalog {
    entries: HashMap<ServiceKey, Entry>,
    timeouts: Timeouts,
    knobs: Knobs,
    trash: HashMap<(ServiceKey, ServerKey), Trashed>,
    /// Virtual addresses of services.
    vips: Addresses,
    /// Local addresses of services.
    locals: Addresses,
    /// Local addresses that were removed: connections that use them still have their owner.
    former_locals: HashSet<IpAddr>,
    service_places: Places,
    server_places: Places,
    server_names: Vec<Option<(ServiceKey, ServerKey)>>,
    revisions: u64,
}

impl Catalog {
    /// An empty catalog with the default timeouts and room as `limits` say.
    pub fn new(limits: &Limits) -> Self {
        Self {
            entries: HashMap::new(),
            timeouts: Timeouts::default(),
            knobs: Knobs::default(),
            trash: HashMap::new(),
            vips: Addresses::default(),
            locals: Addresses::default(),
            former_locals: HashSet::new(),
            service_places: Places::new(limits.services),
            server_places: Places::new(limits.servers),
            server_names: vec![None; limits.servers as usize],
            revisions: 0,
        }
    }

    /// Applies one change.
    ///
    /// # Errors
    /// A [`Refusal`] says why nothing was changed.
    pub fn apply(&mut self, change: Change) -> Result<Applied, Refusal> {
        match change {
            Change::AddService(key, options) => self.add_service(key, options),
            Change::EditService(key, options) => self.edit_service(key, options),
            Change::DeleteService(key) => self.delete_service(key),
            Change::Clear => Ok(self.clear()),
            Change::AddServer(service, key, options) => self.add_server(service, key, options),
            Change::EditServer(service, key, options) => self.edit_server(service, key, options),
            Change::DeleteServer(service, key) => self.delete_server(service, key),
            Change::AddLocal(service, address) => self.add_local(service, address),
            Change::DeleteLocal(service, address) => self.delete_local(service, address),
            Change::SetTimeouts(timeouts) => {
                self.timeouts = timeouts;
                Ok(Applied::default())
            }
            Change::SetKnobs(knobs) => {
                self.knobs = knobs;
                Ok(Applied::default())
            }
        }
    }

    /// A copy on which changes can be tried; what workers share stays untouched.
    pub fn rehearsal(&self) -> Self {
        let mut copy = self.clone();
        // Nobody schedules by a copy: the state of the simplest scheduler does for all.
        let options = ServiceOptions::of(Scheduler::RoundRobin);
        for (key, entry) in &mut copy.entries {
            entry.state = Arc::new(SchedState::new(key, &options));
        }
        copy
    }

    /// Frees the places of removed servers to which no connection has referred for two minutes.
    pub fn sweep(&mut self, counts: &ServerCounts, now: Tick) {
        self.free_removed(counts, |trashed| {
            now.since(*trashed.idle_since.get_or_insert(now)) >= TRASH_MS
        });
    }

    /// Frees the places of all removed servers to which no connection refers. Every worker must
    /// have seen their removal.
    pub fn reclaim(&mut self, counts: &ServerCounts) {
        self.free_removed(counts, |_| true);
    }

    fn free_removed(
        &mut self,
        counts: &ServerCounts,
        mut is_over: impl FnMut(&mut Trashed) -> bool,
    ) {
        let places = &mut self.server_places;
        let names = &mut self.server_names;
        self.trash.retain(|_, trashed| {
            let templates = counts.templates().of_server(trashed.id.slot);
            if counts.total(trashed.id.slot) != 0 || templates != 0 {
                trashed.idle_since = None;
                return true;
            }
            if !is_over(trashed) {
                return true;
            }
            if let Some(name) = names.get_mut(trashed.id.slot as usize) {
                *name = None;
            }
            places.give_back(trashed.id.slot);
            false
        });
    }

    /// The services in no particular order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.entries.values().map(|entry| &entry.service)
    }

    /// One service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.entries.get(key).map(|entry| &entry.service)
    }

    /// The names of a server by its id, also of a removed one that connections refer to.
    pub fn server_name(&self, id: ServerId) -> Option<(ServiceKey, ServerKey)> {
        if self.server_places.generation(id.slot) != Some(id.generation) {
            return None;
        }
        *self.server_names.get(id.slot as usize)?
    }

    /// The timeouts in force for packets to come.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The settings in force for packets to come.
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The servers that were removed and to which connections may refer.
    pub(crate) fn removed(&self) -> impl Iterator<Item = (ServerId, &ServerKey)> {
        self.trash.iter().map(|((_, key), trashed)| (trashed.id, key))
    }

    /// The virtual addresses of connections that may be left of removed services.
    pub(crate) fn former_vips(&self) -> impl Iterator<Item = IpAddr> {
        self.trash.keys().filter_map(|(service, _)| service.address())
    }

    /// The marks of connections that may be left of removed services of a family.
    pub(crate) fn former_marks(&self, of: FamilyId) -> impl Iterator<Item = u32> {
        self.trash.keys().filter_map(move |(service, _)| match service {
            ServiceKey::Mark { mark, family } if *family == of => Some(*mark),
            _ => None,
        })
    }

    /// The local addresses of connections that may be left; each until it becomes a VIP.
    pub(crate) fn former_locals(&self) -> impl Iterator<Item = IpAddr> {
        self.former_locals.iter().copied()
    }

    fn add_service(
        &mut self,
        key: ServiceKey,
        options: ServiceOptions,
    ) -> Result<Applied, Refusal> {
        if self.entries.contains_key(&key) {
            return Err(Refusal::ServiceExists(key));
        }
        change::check_service(&key, &options)?;
        if let Some(vip) = key.address().filter(|vip| self.locals.contains(vip)) {
            return Err(Refusal::VipIsLocal(vip));
        }
        let (slot, generation) = self
            .service_places
            .take()
            .ok_or(Refusal::TooManyServices(self.service_places.capacity()))?;
        if let Some(vip) = key.address() {
            self.former_locals.remove(&vip);
            self.vips.add(vip);
        }
        let id = ServiceId { slot, generation };
        let service = Service { id, key, options, servers: Vec::new(), locals: Vec::new() };
        self.revisions += 1;
        let state = Arc::new(SchedState::new(&key, &options));
        let entry = Entry { service, state, revision: self.revisions };
        self.entries.insert(key, entry);
        Ok(Applied { service: Some(id), ..Applied::default() })
    }

    fn edit_service(
        &mut self,
        key: ServiceKey,
        options: ServiceOptions,
    ) -> Result<Applied, Refusal> {
        change::check_service(&key, &options)?;
        let entry = self.entry(key)?;
        let same_scheduler = entry.service.options.scheduler == options.scheduler;
        entry.service.options = options;
        if !same_scheduler {
            entry.state = Arc::new(SchedState::new(&key, &options));
            sched::servers_changed(&entry.service, &entry.state);
        }
        Ok(Applied::default())
    }

    fn delete_service(&mut self, key: ServiceKey) -> Result<Applied, Refusal> {
        let entry = self.entries.remove(&key).ok_or(Refusal::NoService(key))?;
        for server in &entry.service.servers {
            let trashed = Trashed::new(server, entry.service.id);
            self.trash.insert((key, server.key), trashed);
        }
        if let Some(vip) = key.address() {
            self.vips.remove(vip);
        }
        for local in entry.service.locals {
            self.locals.remove(local);
            self.former_locals.insert(local);
        }
        self.service_places.retire(entry.service.id.slot);
        Ok(Applied::default())
    }

    fn clear(&mut self) -> Applied {
        let keys: Vec<_> = self.entries.keys().copied().collect();
        for key in keys {
            let removed = self.delete_service(key);
            debug_assert!(removed.is_ok());
        }
        Applied::default()
    }

    fn add_server(
        &mut self,
        service: ServiceKey,
        key: ServerKey,
        options: ServerOptions,
    ) -> Result<Applied, Refusal> {
        let known = self.service(&service).ok_or(Refusal::NoService(service))?;
        change::check_counts(&options)?;
        if known.servers.iter().any(|server| server.key == key) {
            return Err(Refusal::ServerExists(service, key));
        }
        change::check_server(&service, key.address, &options)?;
        if known.locals.contains(&key.address) {
            return Err(Refusal::ServerIsLocal(key.address));
        }
        let owner = known.id;
        let Place { id, last_weight, of } = self.server_place(service, key)?;
        let entry = self.entry(service)?;
        let server = Server { id, key, options, last_weight };
        entry.service.servers.insert(0, server.with(options));
        sched::servers_changed(&entry.service, &entry.state);
        let thresholds = Some((id, options.thresholds()));
        let server = (of != Some(owner)).then_some((id, owner));
        Ok(Applied { service: None, server, thresholds })
    }

    /// The place of a server to be added: the one it had before, or a free one.
    fn server_place(&mut self, service: ServiceKey, key: ServerKey) -> Result<Place, Refusal> {
        if let Some(Trashed { id, service, last_weight, .. }) = self.trash.remove(&(service, key)) {
            return Ok(Place { id, last_weight, of: Some(service) });
        }
        let taken = self.server_places.take();
        let (slot, generation) =
            taken.ok_or(Refusal::TooManyServers(self.server_places.capacity()))?;
        if let Some(name) = self.server_names.get_mut(slot as usize) {
            *name = Some((service, key));
        }
        Ok(Place { id: ServerId { slot, generation }, last_weight: 0, of: None })
    }

    fn edit_server(
        &mut self,
        service: ServiceKey,
        key: ServerKey,
        options: ServerOptions,
    ) -> Result<Applied, Refusal> {
        let known = self.service(&service).ok_or(Refusal::NoService(service))?;
        change::check_counts(&options)?;
        let position = known.servers.iter().position(|server| server.key == key);
        let position = position.ok_or(Refusal::NoServer(service, key))?;
        change::check_server(&service, key.address, &options)?;
        let entry = self.entry(service)?;
        let mut applied = Applied::default();
        if let Some(server) = entry.service.servers.get_mut(position) {
            *server = server.clone().with(options);
            applied.thresholds = Some((server.id, options.thresholds()));
        }
        sched::servers_changed(&entry.service, &entry.state);
        Ok(applied)
    }

    fn delete_server(&mut self, service: ServiceKey, key: ServerKey) -> Result<Applied, Refusal> {
        let entry = self.entry(service)?;
        let servers = &mut entry.service.servers;
        let position = servers
            .iter()
            .position(|server| server.key == key)
            .ok_or(Refusal::NoServer(service, key))?;
        let before = position.checked_sub(1).and_then(|i| servers.get(i)).map(|s| s.id.slot);
        let removed = servers.remove(position);
        sched::server_removed(&entry.service, &entry.state, removed.id.slot, before);
        let trashed = Trashed::new(&removed, entry.service.id);
        self.trash.insert((service, key), trashed);
        Ok(Applied::default())
    }

    fn add_local(&mut self, service: ServiceKey, address: IpAddr) -> Result<Applied, Refusal> {
        let known = self.service(&service).ok_or(Refusal::NoService(service))?;
        change::check_local(&service, address)?;
        if self.vips.contains(&address) {
            return Err(Refusal::VipIsLocal(address));
        }
        if known.servers.iter().any(|server| server.key.address == address) {
            return Err(Refusal::ServerIsLocal(address));
        }
        if known.locals.contains(&address) {
            return Err(Refusal::LocalExists(service, address));
        }
        self.entry(service)?.service.locals.push(address);
        self.locals.add(address);
        Ok(Applied::default())
    }

    fn delete_local(&mut self, service: ServiceKey, address: IpAddr) -> Result<Applied, Refusal> {
        let known = self.service(&service).ok_or(Refusal::NoService(service))?;
        let position = known.locals.iter().position(|local| *local == address);
        let position = position.ok_or(Refusal::NoLocal(service, address))?;
        self.entry(service)?.service.locals.remove(position);
        self.locals.remove(address);
        self.former_locals.insert(address);
        Ok(Applied::default())
    }

    /// The entry of a service about to be changed.
    fn entry(&mut self, key: ServiceKey) -> Result<&mut Entry, Refusal> {
        let entry = self.entries.get_mut(&key).ok_or(Refusal::NoService(key))?;
        self.revisions += 1;
        entry.revision = self.revisions;
        Ok(entry)
    }
}
