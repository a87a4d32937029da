// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that are complete but for their next hop's link-layer address.
//!
//! As the kernel does while it asks by ARP or ND, so that the first packet of a connection is not
//! lost; bounded in number and time.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::ids::Tick;
use crate::limits::{HELD_MAX, HELD_MS, HELD_PER_NEIGHBOUR};
use crate::network::Neighbour;

/// A frame that waits, with the address whose next hop it waits for.
#[derive(Debug)]
pub struct Waiting<B> {
    /// The frame, complete but for its Ethernet addresses.
    pub frame: B,
    /// Where it goes.
    pub to: IpAddr,
    /// Whose link-layer address is not known.
    pub neighbour: Neighbour,
    since: Tick,
}

/// The frames of one worker that wait, the oldest first.
#[derive(Debug)]
pub struct Held<B> {
    waiting: ArrayVec<Waiting<B>, HELD_MAX>,
}

impl<B> Default for Held<B> {
    fn default() -> Self {
        Self { waiting: ArrayVec::new() }
    }
}

impl<B> Held<B> {
    /// Keeps a frame; gives it back if too many wait already, in all or for this neighbour.
    pub fn keep(&mut self, frame: B, to: IpAddr, neighbour: Neighbour, now: Tick) -> Result<(), B> {
        let same = self.waiting.iter().filter(|waiting| waiting.neighbour == neighbour);
        if same.count() >= HELD_PER_NEIGHBOUR {
            return Err(frame);
        }
        let waiting = Waiting { frame, to, neighbour, since: now };
        self.waiting.try_push(waiting).map_err(|full| full.element().frame)
    }

    /// The frame that was kept last.
    pub fn newest(&self) -> Option<&B> {
        self.waiting.last().map(|waiting| &waiting.frame)
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out, in their order, the frames that `ready` says yes to or that waited too long; the
    /// flag says which it was.
    pub fn release(
        &mut self,
        now: Tick,
        ready: impl Fn(&Waiting<B>) -> bool,
        mut out: impl FnMut(Waiting<B>, bool),
    ) {
        let mut kept = ArrayVec::new();
        for waiting in self.waiting.drain(..) {
            if ready(&waiting) {
                out(waiting, true);
            } else if now.since(waiting.since) >= HELD_MS {
                out(waiting, false);
            } else {
                kept.push(waiting);
            }
        }
        self.waiting = kept;
    }
}
