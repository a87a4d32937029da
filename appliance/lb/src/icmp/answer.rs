// SPDX-License-Identifier: MIT OR Apache-2.0
//! A packet is dropped, and its frame becomes the ICMP error that tells its sender why.

use wire::Frame;
use zerocopy::IntoBytes;

use crate::conn::Direction;
use crate::family::Balanced;
use crate::fate::Fate;
use crate::icmp::error::{self, Error};
use crate::lane::Item;
use crate::stage::Stage;
use crate::verdict::{DropReason, Verdict};
use crate::witness::Witness;

impl<W: Witness> Stage<'_, W> {
    /// What becomes of a packet that cannot go on: the sender of one without route is told.
    #[cold]
    pub(crate) fn no_way<F: Balanced, B: Frame>(
        &mut self,
        fate: Fate,
        item: &Item<F>,
        frame: &mut B,
        direction: Direction,
    ) -> Fate {
        let error = match direction {
            Direction::Request => Error::HostUnreachable,
            Direction::Reply => Error::NetUnreachable,
        };
        match fate {
            Fate::Settled(Verdict::Drop(reason @ DropReason::NoRoute)) => {
                self.answer(item, frame, direction, reason, error)
            }
            other => other,
        }
    }

    /// Drops a packet and makes its frame the answer that tells the sender why, if it may.
    #[cold]
    pub(crate) fn answer<F: Balanced, B: Frame>(
        &mut self,
        item: &Item<F>,
        frame: &mut B,
        direction: Direction,
        reason: DropReason,
        error: Error,
    ) -> Fate {
        let tuple = item.parsed.key().tuple;
        let source = match direction {
            Direction::Request => Some(tuple.dst),
            Direction::Reply => self.snapshot.network.source::<F>(tuple.src),
        };
        let Some((source, nic)) = source.zip(self.wiring.nic(item.nic())) else {
            return reason.into();
        };
        // Nobody is told about fragments but the first (RFC 1122 §3.2.2).
        if item.parsed.is_later_part() {
            return reason.into();
        }
        // As it came: what follows makes it the answer.
        self.counters.last_drops.note(reason, item.nic(), self.now, frame);
        let peer = self.keyed.bytes(tuple.src.as_bytes());
        if self.icmp.allows(peer, error, self.now)
            && error::answer::<F>(frame, item.parsed.ip_len(), source, nic.mac, error)
        {
            Fate::Answered(item.nic(), reason)
        } else {
            reason.into()
        }
    }
}
