// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragments: those that wait leave behind the first of their packet or are given up, and packets
//! that are too long leave in fragments.

use wire::Frame;

use super::Worker;
use crate::batch::{Batch, Origin, Sink};
use crate::counters::FrameCounters;
use crate::fragments::follow::Come;
use crate::fragments::split;
use crate::ids::{NicId, Tick};
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
            witness.released(nic, Verdict::Drop(reason), &frame);
            sink.take(frame, Verdict::Drop(reason));
        });
    }
}

/// Sends a complete frame from a NIC in fragments of at most so many bytes; `id` is theirs if the
/// packet has none.
#[cold]
pub(super) fn send_in_parts<B: Frame>(
    frame: &B,
    (nic, mtu): (NicId, u16),
    id: u16,
    frames: &FrameCounters,
    sink: &mut impl Sink<B>,
) -> Result<(), DropReason> {
    let pieces = split::cut(frame, mtu, id.into(), |headers, start, len| {
        sink.piece(frame, headers, start, len)
    })?;
    // One came in.
    frames.originated.add(pieces.len().saturating_sub(1) as u64);
    pieces.into_iter().for_each(|piece| sink.take(piece, Verdict::Transmit(nic)));
    Ok(())
}
