// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lazy timer wheel: which connections are due.
//!
//! A packet only moves its connection's deadline. The wheel learns of that when it comes to the
//! slot where the connection sits: it then puts it where the deadline is by now. Only a deadline
//! that moves closer (a change of state) is told at once. Each live connection is in exactly one
//! slot; the slots' lists run through the entries. Work per call is bounded.

use zerocopy::native_endian::U32;

use crate::conn::{Conn, ConnFamily};
use crate::ids::{ConnId, Tick};

const SLOT_MS: u64 = 256;
const SLOTS: usize = 4096;
const END: u32 = u32::MAX;
/// Marks a `previous` link that names a slot, not an entry.
const SLOT: u32 = 1 << 31;

/// The slots of the wheel: over 17 minutes; later deadlines wait in the last slot.
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32]>,
    /// The next slot to be looked at, counted from the origin of time.
    cursor: u64,
}

impl Wheel {
    /// An empty wheel; time starts at `now`.
    pub fn new(now: Tick) -> Self {
        Self { heads: vec![END; SLOTS].into(), cursor: now.millis() / SLOT_MS }
    }

    /// Puts a connection that is in no slot where its deadline is.
    pub fn arm<F: ConnFamily>(&mut self, conns: &mut [Conn<F>], id: ConnId) {
        let Some(conn) = conns.get_mut(id.index()) else {
            return;
        };
        let due = conn.deadline().millis() / SLOT_MS;
        let slot = due.clamp(self.cursor, self.cursor + SLOTS as u64 - 1) as usize % SLOTS;
        let Some(head) = self.heads.get_mut(slot) else {
            return;
        };
        let next = std::mem::replace(head, id.0);
        conn.next = U32::new(next);
        conn.previous = U32::new(SLOT | slot as u32);
        if let Some(next) = conns.get_mut(next as usize) {
            next.previous = U32::new(id.0);
        }
    }

    /// Takes a connection out of its slot.
    pub fn disarm<F: ConnFamily>(&mut self, conns: &mut [Conn<F>], id: ConnId) {
        let Some(conn) = conns.get(id.index()) else {
            return;
        };
        let (next, previous) = (conn.next, conn.previous);
        if let Some(next) = conns.get_mut(next.get() as usize) {
            next.previous = previous;
        }
        if previous.get() & SLOT == 0 {
            if let Some(previous) = conns.get_mut(previous.get() as usize) {
                previous.next = next;
            }
        } else if let Some(head) = self.heads.get_mut((previous.get() & !SLOT) as usize) {
            *head = next.get();
        }
    }

    /// Looks at up to `max` connections whose slot has passed: those that are due are taken out and
    /// given to `expired`, the others go where their deadline is by now.
    ///
    /// Returns how many it looked at; `max` means that there may be more.
    pub fn turn<F: ConnFamily>(
        &mut self,
        conns: &mut [Conn<F>],
        now: Tick,
        max: usize,
        mut expired: impl FnMut(ConnId),
    ) -> usize {
        let passed = now.millis() / SLOT_MS;
        // After a leap of time one turn of the wheel comes by every connection.
        self.cursor = self.cursor.max(passed.saturating_sub(SLOTS as u64));
        let mut looked = 0;
        while self.cursor < passed {
            let slot = self.cursor as usize % SLOTS;
            let id = ConnId(self.heads.get(slot).copied().unwrap_or(END));
            let Some(conn) = conns.get(id.index()) else {
                self.cursor += 1;
                continue;
            };
            if looked == max {
                break;
            }
            looked += 1;
            let due = conn.deadline() <= now;
            self.disarm(conns, id);
            if due {
                expired(id);
            } else {
                self.arm(conns, id);
            }
        }
        looked
    }

    /// Panics unless each live connection is in exactly one slot.
    #[cfg(any(test, debug_assertions))]
    pub fn check<F: ConnFamily>(&self, conns: &[Conn<F>]) {
        let mut seen = vec![false; conns.len()];
        for (slot, head) in self.heads.iter().enumerate() {
            let (mut at, mut previous) = (*head, SLOT | slot as u32);
            while let Some(conn) = conns.get(at as usize) {
                assert!(conn.is_live(), "a dead connection is in slot {slot}");
                assert_eq!(conn.previous.get(), previous, "broken list in slot {slot}");
                let twice =
                    seen.get_mut(at as usize).is_none_or(|seen| std::mem::replace(seen, true));
                assert!(!twice, "a connection is in two slots");
                (previous, at) = (at, conn.next.get());
            }
        }
        let alive = conns.iter().map(Conn::is_live);
        assert!(alive.eq(seen), "a live connection is in no slot");
    }
}
