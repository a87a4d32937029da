// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks the cache for the rows and counters of the services and servers that a batch goes to, where
//! there are so many that they would be read from far away one after the other.
//!
//! Nothing is decided here: whether a packet is of the connection that its look-up points at, and
//! of which service it is if not, is found out later, when all of it is near.

use arrayvec::ArrayVec;

use crate::family::Balanced;
use crate::flows::Flows;
use crate::limits::BATCH;
use crate::prefetch;
use crate::snapshot::ServiceView;
use crate::stage::{Item, Stage};
use crate::witness::Witness;

/// Servers of which all rows and counters stay near by themselves: 192 bytes each.
const FEW: usize = 256;

impl<W: Witness> Stage<'_, W> {
    /// Asks for what packets need of their servers and services; the entries of connections were
    /// asked for already.
    #[inline(always)]
    pub(crate) fn look_ahead<F: Balanced>(&self, flows: &mut Flows<'_, F>, items: &[Item<F>]) {
        if self.snapshot.servers.len() > FEW {
            self.look_at_servers(flows, items);
        }
    }

    #[inline(never)]
    fn look_at_servers<F: Balanced>(&self, flows: &mut Flows<'_, F>, items: &[Item<F>]) {
        let mut strangers = false;
        for item in items {
            if let Some((_, conn)) = flows.candidate(item.probe) {
                let slot = conn.server().slot;
                self.snapshot.servers.get(slot as usize).map(prefetch::read);
                self.counters.server(slot).map(prefetch::read);
            } else {
                strangers = true;
            }
        }
        for item in items {
            if let Some((_, conn)) = flows.candidate(item.probe)
                && let Some(view) = self.snapshot.server(conn.server())
                && let Some(service) = view.service
            {
                self.counters.service(service).map(prefetch::read);
            }
        }
        if strangers {
            self.look_at_services(flows, items);
        }
    }

    /// Asks for the services, those of marks apart, that packets of no connection may be for.
    #[inline(never)]
    fn look_at_services<F: Balanced>(&self, flows: &mut Flows<'_, F>, items: &[Item<F>]) {
        let services = self.snapshot.services.family::<F>();
        let strangers = items.iter().filter(|item| flows.candidate(item.probe).is_none());
        let found = strangers.take(BATCH).filter_map(|item| {
            let key = item.parsed.key();
            services.find(key.protocol, key.tuple.destination(), || None)
        });
        let views: ArrayVec<&ServiceView, BATCH> =
            found.inspect(|view| prefetch::whole(*view)).collect();
        for view in views {
            prefetch::read(&*view.state);
            view.candidates.first().map(prefetch::read);
            self.counters.service(view.id.slot).map(prefetch::read);
        }
    }
}
