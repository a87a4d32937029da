// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragments that wait: they leave behind the first of their packet, or are given up.

use wire::Frame;

use super::Worker;
use crate::batch::{Batch, Origin, Sink};
use crate::follow::Come;
use crate::ids::Tick;
use crate::limits::{BATCH, FRAGMENTS_WAITING};
use crate::verdict::{DropReason, Verdict};
use crate::witness::Witness;

impl<B: Frame> Worker<'_, B> {
    /// Lets the fragments that waited follow the first of their packets.
    #[cold]
    pub(super) fn follow_first(
        &mut self,
        come: &Come,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) {
        let mut batch = Batch::default();
        for _ in 0..FRAGMENTS_WAITING / BATCH {
            self.in_parts.waiting.follow(come, |frame, nic| {
                let pushed = batch.push(frame, nic);
                debug_assert!(pushed.is_ok(), "no more than a batch is taken out");
            });
            if batch.is_empty() {
                return;
            }
            self.process(&mut batch, Origin::Waited, now, sink, witness);
        }
    }

    /// Drops the fragments that waited too long for the first of their packets.
    #[cold]
    pub(super) fn give_up_fragments(
        &mut self,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) {
        let Self { in_parts, counters, .. } = self;
        in_parts.waiting.give_up(now, |frame, nic| {
            let reason = DropReason::FragmentLate;
            counters.dropped(reason, nic, now, &frame);
            witness.released(Verdict::Drop(reason), &frame);
            sink.take(frame, Verdict::Drop(reason));
        });
    }
}
