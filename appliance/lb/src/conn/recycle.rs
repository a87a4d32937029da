// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that end before their time: the oldest half-open one for a new one, some at random
//! under a flood, and all of a removed server; and connections that find their next hops anew.

use crate::conn::flows::Flows;
use crate::conn::{Conn, Direction};
use crate::defence::Defence;
use crate::family::Balanced;
use crate::ids::ConnId;
use crate::limits::EXPIRE_PER_POLL;
use crate::network::NextHopId;
use crate::persist::templates::Leaving;
use crate::regime::Regime;
use crate::snapshot::Snapshot;

/// Looks at entries that are still to be done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Looks {
    /// At every entry from this one on, in turn.
    next: u32,
    /// How many in turn.
    in_turn: u32,
    /// How many at random.
    at_random: u32,
    /// At the first so many, for next hops to be let go of.
    hops: u32,
}

impl Looks {
    fn any(self) -> bool {
        self.in_turn > 0 || self.at_random > 0 || self.hops > 0
    }
}

impl<F: Balanced> Flows<'_, F> {
    /// Ends the oldest half-open connection; false if there is none.
    pub(crate) fn recycle(&mut self, regime: &Regime<'_>) -> bool {
        let oldest = self.half_open.oldest();
        if let Some(id) = oldest {
            self.close(id, Leaving::Dropped, regime.now, regime.counts);
            self.recycled = self.recycled.wrapping_add(1);
        }
        oldest.is_some()
    }

    /// Has all entries looked at, for connections of removed servers.
    pub(crate) fn begin_purge(&mut self) {
        self.looks.in_turn = self.conns().capacity();
    }

    /// Has all connections find their next hops anew.
    pub(crate) fn begin_rerouting(&mut self) {
        self.looks.hops = self.conns().capacity();
    }

    /// Has some entries looked at, at random.
    pub(crate) fn begin_random_drops(&mut self) {
        self.looks.at_random = Defence::looks(self.conns().capacity());
    }

    /// Looks at entries that are to be looked at, a bounded number; says whether there are more.
    pub(crate) fn look_on(
        &mut self,
        snapshot: &Snapshot,
        defence: &mut Defence,
        regime: &Regime<'_>,
    ) -> bool {
        if !self.looks.any() {
            return false;
        }
        for _ in 0..EXPIRE_PER_POLL {
            if self.looks.in_turn > 0 {
                self.looks.in_turn -= 1;
                self.purge_next(snapshot, regime);
            } else if self.looks.at_random > 0 {
                self.looks.at_random -= 1;
                self.drop_at_random(defence, regime);
            } else if self.looks.hops > 0 {
                self.looks.hops -= 1;
                self.reroute(ConnId(self.looks.hops));
            }
        }
        self.looks.any()
    }

    fn reroute(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id).filter(|conn| conn.is_live()) {
            for direction in [Direction::Request, Direction::Reply] {
                conn.action_mut(direction).next_hop = NextHopId::UNRESOLVED;
            }
        }
    }

    fn purge_next(&mut self, snapshot: &Snapshot, regime: &Regime<'_>) {
        let id = ConnId(self.looks.next);
        self.looks.next = (id.0 + 1) % self.conns().capacity().max(1);
        let has_server = |conn: &Conn<F>| {
            let server = snapshot.server(conn.server());
            server.is_some_and(|server| server.in_service)
        };
        let conn = self.conns().conn(id).filter(|conn| conn.is_live());
        if conn.is_some_and(|conn| !has_server(conn)) {
            self.close(id, Leaving::Ended, regime.now, regime.counts);
        }
    }

    fn drop_at_random(&mut self, defence: &mut Defence, regime: &Regime<'_>) {
        let id = ConnId(defence.pick(self.conns().capacity()));
        let conn = self.conns().conn(id).filter(|conn| conn.is_live());
        let drops = conn.is_some_and(|conn| {
            defence.drops_entry(conn, regime.timeouts.of(conn.state()), regime.now)
        });
        if drops {
            self.close(id, Leaving::Dropped, regime.now, regime.counts);
            self.dropped_at_random = self.dropped_at_random.wrapping_add(1);
        }
    }
}
