// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the new connections of a batch will need, asked of the cache before the first is opened.
//!
//! An opening goes from one cold line to the next: service, scheduler, server, counters, the bucket
//! that its replies are found by. A batch of them need not wait for each other's: here all are
//! followed at once, a step at a time. That decides nothing and changes nothing. Each connection
//! is opened at its turn as if it had come alone; what was foreseen of it is only used where it
//! comes out the same, and where not it is slower.

use arrayvec::ArrayVec;
use wire::{Endpoint, Family, FlowKey, Frame, L4, Tuple};

use crate::conn::flows::Flows;
use crate::conn::table::Probe;
use crate::family::Balanced;
use crate::ids::ServerId;
use crate::lane::{Item, Lane};
use crate::limits::BATCH;
use crate::prefetch;
use crate::sched;
use crate::service::ForwardMode;
use crate::snapshot::{ServerView, ServiceView};
use crate::stage::Stage;
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
#[derive(Debug)]
pub(crate) struct Ahead<'a, F: Family> {
    openings: ArrayVec<Item<F>, BATCH>,
    foreseen: ArrayVec<Foreseen<'a>, BATCH>,
    /// How many of either had their turn.
    past: (usize, usize),
}

impl<'a, F: Family> Ahead<'a, F> {
    /// The packet in a place, whose turn it is, if it may open a connection; and what was foreseen
    /// of it.
    #[inline]
    pub(crate) fn take(&mut self, at: usize) -> (Option<Item<F>>, Option<Foreseen<'a>>) {
        let Self { openings, foreseen, past } = self;
        let opening = next_of(openings, &mut past.0, at, Item::index);
        let foreseen = next_of(foreseen, &mut past.1, at, |foreseen| foreseen.index);
        (opening, foreseen)
    }
}

/// That of place `at`, of some in the order of their places of which `past` are over.
fn next_of<T: Copy>(all: &[T], past: &mut usize, at: usize, place: impl Fn(&T) -> u8) -> Option<T> {
    while let Some(next) = all.get(*past).filter(|next| usize::from(place(next)) <= at) {
        *past += 1;
        if usize::from(place(next)) == at {
            return Some(*next);
        }
    }
    None
}

impl<'a, W: Witness> Stage<'a, W> {
    /// Looks ahead from the first packet of a family that may open a connection, in place `first`,
    /// to all others behind it; once in a batch.
    #[inline(never)]
    pub(crate) fn foresee<F: Balanced, B: Frame>(
        &self,
        flows: &Flows<'_, F>,
        lane: &Lane<'_, B>,
        first: usize,
    ) -> Ahead<'a, F> {
        let misses = lane.places_from(first).filter(|at| lane.probe(*at).is_miss());
        let misses = misses.filter(|at| !lane.is_amid_tcp::<F>(*at));
        let may_open =
            |item: &Item<F>| item.parsed.tcp_flags().syn() || item.parsed.protocol() == L4::Udp;
        let openings = misses.filter_map(|at| lane.item(at)).filter(may_open).collect();
        let mut ahead = Ahead { openings, foreseen: ArrayVec::new(), past: (0, 0) };
        let openings = &ahead.openings;
        let (snapshot, marks) = (self.snapshot, &self.wiring.marks);
        let services = snapshot.services.family::<F>();
        if services.are_many() {
            for item in openings {
                services.prefetch(item.parsed.protocol(), item.parsed.key().tuple.destination());
            }
        }
        for item in openings {
            let (index, key) = (item.index(), item.parsed.key());
            let mark = || marks.mark(&key, item.nic());
            if let Some(service) = services.find(key.protocol, key.tuple.destination(), mark) {
                ahead.foreseen.push(Foreseen { index, service, server: None });
            }
        }
        if services.are_many() {
            self.look_into_services(&ahead.foreseen);
        }
        self.foresee_servers(flows, openings, &mut ahead.foreseen);
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
            if let Some(opened) = self.counters.opened(service.id.slot) {
                prefetch::read(opened);
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
    fn foresee_servers<F: Balanced>(
        &self,
        flows: &Flows<'_, F>,
        items: &[Item<F>],
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
        let (ports, keyed, mut items) = (self.ports, self.keyed, items.iter());
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
