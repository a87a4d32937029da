// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks the cache for the rows and counters of the servers that a batch goes to, where there are so
//! many that they would be read from far away one after the other. New connections have
//! [`crate::foresee`] for that.
//!
//! Nothing is decided here: whether a packet is of the connection that its look-up points at is
//! found out later, when all of it is near.

use wire::Frame;

use crate::conn::flows::Flows;
use crate::family::Balanced;
use crate::lane::Lane;
use crate::prefetch;
use crate::stage::Stage;
use crate::witness::Witness;

/// Servers of which all rows and counters stay near by themselves: 192 bytes each.
const FEW: usize = 256;

impl<W: Witness> Stage<'_, W> {
    /// Asks for what packets need of their servers; the entries of connections were asked for
    /// already.
    #[inline(always)]
    pub(crate) fn look_ahead<F: Balanced, B: Frame>(
        &self,
        flows: &mut Flows<'_, F>,
        lane: &Lane<'_, B>,
    ) {
        if self.snapshot.servers.len() > FEW {
            self.look_at_servers(flows, lane);
        }
    }

    #[inline(never)]
    fn look_at_servers<F: Balanced, B: Frame>(&self, flows: &mut Flows<'_, F>, lane: &Lane<'_, B>) {
        for at in lane.places_from(0) {
            if let Some((_, conn)) = flows.candidate(lane.probe(at)) {
                let slot = conn.server().slot;
                self.snapshot.servers.get(slot as usize).map(prefetch::read);
                self.counters.server(slot).map(prefetch::read);
            }
        }
    }
}
