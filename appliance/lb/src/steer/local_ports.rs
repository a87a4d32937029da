// SPDX-License-Identifier: MIT OR Apache-2.0
//! FULLNAT source ports.
//!
//! A port is unique per local address *and* server endpoint: what makes two connections different
//! is the whole tuple of the reply, so the connection table itself says what is free. Ports are
//! tried from a keyed starting point on (RFC 6056 §3.3.3), over all local addresses in turn, a
//! bounded number of times. Each worker uses its own ports only, so that the reply finds its owner:
//! those whose replies the NICs send to its queue where that is known ([`super::rss`]), else those
//! of its class. A port rests as long as the connection's TIME_WAIT entry lives (RFC 9293 §3.4.3).

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use wire::{Endpoint, Family, FamilyId, FlowKey, L4, Port, Tuple};
use zerocopy::IntoBytes;

use crate::conn::ConnFamily;
use crate::conn::table::{ConnTable, Probe};
use crate::hash::Keyed;
use crate::ids::WorkerId;
use crate::limits::PORT_PROBES;
use crate::steer::Wiring;
use crate::steer::rss::Rss;
use crate::verdict::DropReason;

/// The ports of one worker: those of the range that leave the worker's number as remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortClass {
    first: u16,
    count: u16,
    workers: u16,
}

impl PortClass {
    /// The class of one of `workers` workers.
    pub fn new(range: &RangeInclusive<u16>, worker: WorkerId, workers: u16) -> Self {
        let workers = workers.max(1);
        let start = u32::from(*range.start());
        let skip = (u32::from(worker.0) + u32::from(workers) - start % u32::from(workers))
            % u32::from(workers);
        let first = start + skip;
        let end = u32::from(*range.end());
        let count = if first > end { 0 } else { (end - first) / u32::from(workers) + 1 };
        Self { first: first.min(u32::from(u16::MAX)) as u16, count: count as u16, workers }
    }

    /// The worker that a port belongs to.
    #[inline]
    pub fn owner(port: Port, workers: u16) -> WorkerId {
        WorkerId(port.get() % workers.max(1))
    }

    fn port(self, index: u64) -> Option<Port> {
        let index = index.checked_rem(self.count.into())? as u16;
        Some(Port::new(self.first + index * self.workers))
    }
}

/// The ports that one worker may take.
#[derive(Clone, Debug)]
pub struct LocalPorts {
    /// The worker's own, where their numbers decide.
    own: PortClass,
    /// All workers', for what NICs decide of who owns a port.
    all: PortClass,
    rss: Option<Arc<Rss>>,
    here: WorkerId,
    /// Ports of all that are looked at for each that is tried: most belong to others.
    looks: u32,
}

impl LocalPorts {
    /// The ports of the worker `here`.
    pub fn new(wiring: &Wiring, here: WorkerId) -> Self {
        let (range, workers) = (&wiring.local_ports, wiring.workers);
        Self {
            own: PortClass::new(range, here, workers),
            all: PortClass::new(range, WorkerId(0), 1),
            rss: wiring.rss.clone().filter(|_| workers > 1),
            here,
            looks: 4 * u32::from(workers),
        }
    }

    /// The ports to look at for a kind of packet, and how many for each that is tried.
    fn of(&self, family: FamilyId, protocol: L4) -> (PortClass, u32) {
        let decides = |rss: &Arc<Rss>| rss.replies(family, protocol).is_some();
        if self.rss.as_ref().is_some_and(decides) { (self.all, self.looks) } else { (self.own, 1) }
    }

    fn is_own<F: ConnFamily>(&self, reply: &FlowKey<F>) -> bool {
        let owner = self.rss.as_ref().and_then(|rss| rss.reply(reply));
        owner.is_none_or(|owner| owner == self.here)
    }
}

/// What a local endpoint is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<F: Family> {
    /// Transport protocol.
    pub protocol: L4,
    /// The client, whose hash decides where the search starts.
    pub client: Endpoint<F>,
    /// The server's endpoint, towards which the local one must be unique.
    pub server: Endpoint<F>,
}

/// The local endpoints that are tried for a connection, in their order.
struct Search<'a, F: Family> {
    locals: &'a [IpAddr],
    /// Local addresses of the family.
    count: u64,
    class: PortClass,
    /// Ports that are looked at for each that is tried.
    looks: u32,
    start: u64,
    wanted: Wanted<F>,
}

impl<'a, F: ConnFamily> Search<'a, F> {
    /// None if there is no local address of the family.
    fn new(
        locals: &'a [IpAddr],
        ports: &LocalPorts,
        keyed: &Keyed,
        wanted: &Wanted<F>,
    ) -> Option<Self> {
        let count = locals.iter().copied().filter_map(F::from_ip).count() as u64;
        let start = keyed.bytes(Tuple::new(wanted.client, wanted.server).as_bytes());
        let (class, looks) = ports.of(F::ID, wanted.protocol);
        (count > 0).then_some(Self { locals, count, class, looks, start, wanted: *wanted })
    }

    /// The local endpoint that is looked at after `look` others.
    fn local(&self, look: u64) -> Option<Endpoint<F>> {
        let which = self.start.wrapping_add(look) % self.count;
        let mut addresses = self.locals.iter().copied().filter_map(F::from_ip);
        let addr = addresses.nth(which as usize)?;
        let port = self.class.port((self.start >> 32) + look / self.count)?;
        Some(Endpoint { addr, port })
    }

    /// The key of replies to a local endpoint.
    fn reply(&self, local: Endpoint<F>) -> FlowKey<F> {
        let Wanted { protocol, server, .. } = self.wanted;
        FlowKey { tuple: Tuple::new(server, local), protocol }
    }
}

/// The local endpoint that [`find`] tries first.
pub(crate) fn first<F: ConnFamily>(
    locals: &[IpAddr],
    ports: &LocalPorts,
    keyed: &Keyed,
    wanted: &Wanted<F>,
) -> Option<Endpoint<F>> {
    Search::new(locals, ports, keyed, wanted)?.local(0)
}

/// Finds a local endpoint that no connection to the server uses, with the look-up of its replies,
/// and takes what it tried off `budget`.
///
/// # Errors
/// [`DropReason::NoLocalAddress`] if there is no address of the family, and
/// [`DropReason::NoLocalPort`] if no port was free among those tried.
pub fn find<F: ConnFamily>(
    conns: &ConnTable<'_, F>,
    locals: &[IpAddr],
    ports: &LocalPorts,
    keyed: &Keyed,
    wanted: &Wanted<F>,
    budget: &mut u32,
) -> Result<(Endpoint<F>, Probe), DropReason> {
    let search = Search::new(locals, ports, keyed, wanted).ok_or(DropReason::NoLocalAddress)?;
    let all = search.count * u64::from(search.class.count);
    for look in 0..all.min((PORT_PROBES * search.looks).into()) {
        let Some(local) = search.local(look) else {
            break;
        };
        let reply = search.reply(local);
        if !ports.is_own(&reply) {
            continue;
        }
        let Some(left) = budget.checked_sub(1) else {
            break;
        };
        *budget = left;
        let probe = conns.probe(&reply);
        if conns.find(&reply, probe).is_none() {
            return Ok((local, probe));
        }
    }
    Err(DropReason::NoLocalPort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_share_out_every_port_of_the_range_and_name_their_owner() {
        for (range, workers) in
            [(1025..=32767, 4), (5000..=5003, 3), (65_530..=65_535, 5), (7..=7, 1)]
        {
            let mut seen = Vec::new();
            for worker in (0..workers).map(WorkerId) {
                let class = PortClass::new(&range, worker, workers);
                for index in 0..class.count {
                    let port = class.port(index.into()).unwrap();
                    assert_eq!(PortClass::owner(port, workers), worker);
                    seen.push(port.get());
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, range.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_class_of_a_range_that_is_too_small_is_empty() {
        let class = PortClass::new(&(10..=10), WorkerId(3), 4);
        assert_eq!((class.count, class.port(0)), (0, None));
    }
}
