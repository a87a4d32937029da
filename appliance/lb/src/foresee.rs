// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the new connections of a batch will need, asked of the cache before the first is opened.
//!
//! An opening goes from one cold line to the next: service, scheduler, server, counters, the bucket
//! that its replies are found by. A batch of them need not wait for each other's: here all are
//! followed at once, a step at a time. That decides nothing and changes nothing. Each connection
//! is opened at its turn as if it had come alone; what was foreseen of it is only used where it
//! comes out the same, and where not it is slower.

use arrayvec::ArrayVec;
use wire::{Endpoint, FlowKey, L4, Tuple};

use crate::conn::flows::Flows;
use crate::conn::table::Probe;
use crate::family::Balanced;
use crate::ids::ServerId;
use crate::limits::BATCH;
use crate::prefetch;
use crate::sched;
use crate::service::ForwardMode;
use crate::snapshot::{ServerView, ServiceView};
use crate::stage::{Item, Stage};
use crate::steer::local_ports::{self, Wanted};
use crate::witness::Witness;

/// What is foreseen of a packet that may open a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreseen<'a> {
    /// The packet's place in its batch.
    index: u8,
    /// The service that it is for.
    pub(crate) service: &'a ServiceView,
    /// The server that may take it, and the look-up of the replies.
    pub(crate) server: Option<(ServerId, Probe)>,
}

/// What is foreseen of a batch, in the order of its packets.
#[derive(Debug, Default)]
pub(crate) struct Ahead<'a> {
    foreseen: ArrayVec<Foreseen<'a>, BATCH>,
    /// How many of them had their turn.
    past: usize,
}

impl<'a> Ahead<'a> {
    /// What was foreseen of the packet in a place, whose turn it is.
    #[inline]
    pub(crate) fn take(&mut self, index: u8) -> Option<Foreseen<'a>> {
        while let Some(next) = self.foreseen.get(self.past).filter(|next| next.index <= index) {
            self.past += 1;
            if next.index == index {
                return Some(*next);
            }
        }
        None
    }
}

impl<'a, W: Witness> Stage<'a, W> {
    /// Looks ahead from the first packet of a family that may open a connection to all others
    /// behind it; once in a batch.
    #[inline(never)]
    pub(crate) fn foresee<F: Balanced>(
        &self,
        flows: &Flows<'_, F>,
        first: &Item<F>,
        others: &[Item<F>],
    ) -> Ahead<'a> {
        let mut ahead = Ahead::default();
        let (snapshot, marks) = (self.snapshot, &self.wiring.marks);
        let services = snapshot.services.family::<F>();
        let may_open = |item: &&Item<F>| {
            let parsed = &item.parsed;
            item.probe.is_miss() && (parsed.tcp_flags().syn() || parsed.protocol() == L4::Udp)
        };
        let openings = || std::iter::once(first).chain(others).filter(may_open);
        if services.are_many() {
            for item in openings() {
                services.prefetch(item.parsed.protocol(), item.parsed.key().tuple.destination());
            }
        }
        for item in openings() {
            let (index, key) = (item.index(), item.parsed.key());
            let mark = || marks.mark(&key, item.nic());
            if let Some(service) = services.find(key.protocol, key.tuple.destination(), mark) {
                ahead.foreseen.push(Foreseen { index, service, server: None });
            }
        }
        if services.are_many() {
            self.look_into_services(&ahead.foreseen);
        }
        self.foresee_servers(flows, openings(), &mut ahead.foreseen);
        flows.prefetch_oldest(ahead.foreseen.len() as u32);
        ahead
    }

    /// Asks for what schedulers look at.
    fn look_into_services(&self, openings: &[Foreseen<'_>]) {
        let foreseen = || openings.iter().map(|foreseen| foreseen.service);
        for service in foreseen() {
            prefetch::read(&service.candidates);
            prefetch::read(&service.options);
            prefetch::read(&service.state);
            prefetch::read(&service.key);
        }
        for service in foreseen() {
            sched::prefetch(service);
            if let Some(counters) = self.counters.service(service.id.slot) {
                prefetch::read(counters);
            }
        }
        let servers = &self.snapshot.servers;
        for last in foreseen().filter_map(sched::last) {
            if let Some(view) = servers.get(last as usize) {
                prefetch::read(&view.position);
            }
        }
    }

    /// Foresees servers where that can be done, and asks for what of theirs is touched.
    fn foresee_servers<'i, F: Balanced>(
        &self,
        flows: &Flows<'_, F>,
        mut items: impl Iterator<Item = &'i Item<F>>,
        openings: &mut [Foreseen<'_>],
    ) {
        let (servers, counts) = (&self.snapshot.servers, self.counts);
        let mut before: Option<(u32, u32)> = None;
        for foreseen in openings.iter_mut() {
            let service = foreseen.service;
            if service.options.persistence.is_some() {
                continue;
            }
            let last = before.filter(|(slot, _)| *slot == service.id.slot).map(|(_, last)| last);
            let Some(next) = sched::foresee(service, servers, counts, last) else {
                continue;
            };
            before = Some((service.id.slot, next.id.slot));
            foreseen.server = Some((next.id, Probe::default()));
            counts.prefetch(next.id.slot);
            if let Some(view) = servers.get(next.id.slot as usize) {
                prefetch::read(&view.generation);
                prefetch::read(&view.mss);
            }
            if let Some(counters) = self.counters.server(next.id.slot) {
                prefetch::read(counters);
            }
        }
        let (ports, keyed) = (self.ports, self.keyed);
        for foreseen in openings.iter_mut() {
            let item = items.find(|item| item.index() == foreseen.index);
            let Some((item, (id, probe))) = item.zip(foreseen.server.as_mut()) else {
                continue;
            };
            if let Some(view) = self.snapshot.server(*id).filter(|view| view.mode.sees_replies()) {
                let key = item.parsed.key();
                let reply = reply(&key, view, |wanted| {
                    local_ports::first(&foreseen.service.locals, ports, keyed, wanted)
                });
                *probe = flows.conns().probe_both(&reply);
            }
        }
    }
}

/// The key of the replies if this server takes the connection of a request; over FULLNAT, if the
/// local endpoint that is tried `first` is free.
fn reply<F: Balanced>(
    request: &FlowKey<F>,
    view: &ServerView,
    first: impl FnOnce(&Wanted<F>) -> Option<Endpoint<F>>,
) -> FlowKey<F> {
    let FlowKey { tuple, protocol } = *request;
    let client = tuple.source();
    let server = view.endpoint(tuple.destination());
    let local = match view.mode {
        ForwardMode::FullNat => first(&Wanted { protocol, client, server }),
        _ => None,
    };
    FlowKey { tuple: Tuple::new(server, local.unwrap_or(client)), protocol }
}
