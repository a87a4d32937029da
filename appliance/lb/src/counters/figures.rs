// SPDX-License-Identifier: MIT OR Apache-2.0
//! What operators see: sums over all workers since the last zero point, and rates.
//!
//! The packets of a service are the sum over its servers, those included that it had. Rates are
//! estimated on the management core, from what the workers count anyway: every two seconds for
//! each service and server, a twentieth of them at a time, so that turns are short.

use std::sync::Arc;

use super::membership::Membership;
use super::rates::{Average, PARTS};
use super::{Rates, ServerCounts, Traffic, WorkerCounters};
use crate::ids::{ServerId, ServiceId};
use crate::limits::Limits;
use crate::verdict::DropReason;

/// What operators see: sums over all workers since the last zero point, and rates.
#[derive(Debug)]
pub struct Figures {
    workers: Vec<Arc<WorkerCounters>>,
    counts: Arc<ServerCounts>,
    membership: Membership,
    services: Vec<Meter>,
    servers: Vec<Meter>,
    /// Which twentieth is estimated next.
    part: usize,
    estimates: bool,
}

/// What is remembered of the traffic of a service or a server.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    zero: Traffic,
    average: Average,
}

impl Figures {
    /// The figures of these workers; no server has its place yet, see [`Self::place`].
    pub fn new(
        workers: Vec<Arc<WorkerCounters>>,
        counts: Arc<ServerCounts>,
        limits: &Limits,
    ) -> Self {
        Self {
            workers,
            counts,
            membership: Membership::new(limits),
            services: vec![Meter::default(); limits.services as usize],
            servers: vec![Meter::default(); limits.servers as usize],
            part: 0,
            estimates: true,
        }
    }

    /// The counters of each worker.
    pub fn workers(&self) -> &[Arc<WorkerCounters>] {
        &self.workers
    }

    /// Active and inactive connections of each server.
    pub fn counts(&self) -> &ServerCounts {
        &self.counts
    }

    /// Traffic of a service since its zero point.
    pub fn service(&self, id: ServiceId) -> Traffic {
        let now = service_sum(&self.workers, &self.membership, id.slot);
        self.shown(self.services.get(id.slot as usize), now)
    }

    /// Traffic of a server since its zero point.
    pub fn server(&self, id: ServerId) -> Traffic {
        let now = server_sum(&self.workers, id.slot);
        self.shown(self.servers.get(id.slot as usize), now)
    }

    /// Rates of a service.
    pub fn service_rates(&self, id: ServiceId) -> Rates {
        self.services.get(id.slot as usize).map_or(Rates::default(), |meter| meter.average.rates())
    }

    /// Rates of a server.
    pub fn server_rates(&self, id: ServerId) -> Rates {
        self.servers.get(id.slot as usize).map_or(Rates::default(), |meter| meter.average.rates())
    }

    /// Lets a server that was added count for its service from now on; what was counted in its
    /// place before stays with the service that it was counted for.
    pub fn place(&mut self, server: ServerId, service: ServiceId) {
        let counted = server_sum(&self.workers, server.slot);
        self.membership.place(server.slot, service.slot, counted);
    }

    /// Sets the zero point of a service to now, and its rates to 0.
    pub fn zero_service(&mut self, id: ServiceId) {
        let sum = service_sum(&self.workers, &self.membership, id.slot);
        if let Some(meter) = self.services.get_mut(id.slot as usize) {
            *meter = Meter { zero: sum, average: Average::from(sum) };
        }
    }

    /// Sets the zero point of a server to now, and its rates to 0.
    pub fn zero_server(&mut self, id: ServerId) {
        let sum = server_sum(&self.workers, id.slot);
        if let Some(meter) = self.servers.get_mut(id.slot as usize) {
            *meter = Meter { zero: sum, average: Average::from(sum) };
        }
    }

    /// Estimates a twentieth of the rates; to be called every [`ESTIMATE_MS`](super::ESTIMATE_MS).
    /// While `runs` is false (`run_estimation=0`) the figures and rates stay as they are.
    pub fn estimate(&mut self, runs: bool) {
        self.estimates = runs;
        if !runs {
            return;
        }
        let Self { workers, membership, services, servers, part, .. } = self;
        for (slot, meter) in twentieth(services, *part) {
            meter.average.sample(service_sum(workers, membership, slot));
        }
        for (slot, meter) in twentieth(servers, *part) {
            meter.average.sample(server_sum(workers, slot));
        }
        *part = (*part + 1) % PARTS;
    }

    /// Frames that all workers dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.workers.iter().map(|worker| worker.frames.dropped(reason)).sum()
    }

    fn shown(&self, meter: Option<&Meter>, now: Traffic) -> Traffic {
        let Some(meter) = meter else { return now };
        let seen = if self.estimates { now } else { meter.average.sampled() };
        seen - meter.zero
    }
}

/// The meters of a twentieth of the slots, with their slots.
fn twentieth(meters: &mut [Meter], part: usize) -> impl Iterator<Item = (u32, &mut Meter)> {
    let size = meters.len().div_ceil(PARTS);
    let first = part * size;
    (first as u32..).zip(meters.iter_mut().skip(first).take(size))
}

fn service_sum(workers: &[Arc<WorkerCounters>], membership: &Membership, slot: u32) -> Traffic {
    let opened = workers.iter().filter_map(|worker| worker.opened(slot));
    let conns = opened.fold(0, |sum: u64, counter| sum.wrapping_add(counter.value()));
    Traffic { conns, ..membership.sum(slot, |server| server_sum(workers, server)) }
}

fn server_sum(workers: &[Arc<WorkerCounters>], slot: u32) -> Traffic {
    let each = workers.iter().filter_map(|worker| worker.server(slot));
    each.fold(Traffic::default(), |sum, counters| sum + counters.read())
}
