// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a batch: what was decided of each frame is done and counted, here and nowhere else.

use wire::Frame;

use super::Worker;
use super::in_parts::send_in_parts;
use crate::batch::{Batch, Sink};
use crate::fate::{Fate, Wait, Waits};
use crate::ids::{NicId, Tick};
use crate::verdict::{DropReason, Verdict};
use crate::witness::{End, Witness};

impl<B: Frame> Worker<'_, B> {
    /// Empties a batch into `sink`; frames that leave by the same NIC one after the other leave
    /// together.
    pub(super) fn settle_all(
        &mut self,
        batch: &mut Batch<B>,
        waits: &Waits,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) {
        if let Some(nic) = batch.sorted.fates.take_together(batch.len()) {
            for (index, frame) in (0..).zip(&batch.frames) {
                witness.settled(index, End::Verdict(Verdict::Transmit(nic)), frame);
            }
            return sink.send(nic, batch);
        }
        let Batch { frames, nics, sorted, .. } = batch;
        for ((index, nic), frame) in (0..).zip(nics).zip(frames.drain(..)) {
            match sorted.fates.take(index) {
                Fate::Settled(verdict @ Verdict::Transmit(_)) => {
                    witness.settled(index, End::Verdict(verdict), &frame);
                    sink.take(frame, verdict);
                }
                fate => self.settle((index, *nic, frame), fate, waits, now, sink, witness),
            }
        }
    }

    #[inline(never)]
    pub(super) fn settle(
        &mut self,
        (index, nic, mut frame): (u8, NicId, B),
        fate: Fate,
        waits: &Waits,
        now: Tick,
        sink: &mut impl Sink<B>,
        witness: &mut impl Witness,
    ) {
        let counters = &self.counters;
        let verdict = match fate {
            Fate::Settled(verdict) => verdict,
            Fate::Answered(nic, reason) => {
                counters.frames.drop(reason, 1);
                counters.frames.originated.add(1);
                witness.settled(index, End::Answered(nic, reason), &frame);
                return sink.take(frame, Verdict::Transmit(nic));
            }
            Fate::Held(place) => match waits.get(usize::from(place)).copied() {
                Some(Wait { to, neighbour }) => match self.held.keep(frame, to, neighbour, now) {
                    Ok(()) => {
                        let kept = self.held.newest().into_iter();
                        kept.for_each(|kept| witness.settled(index, End::Held(neighbour), kept));
                        return sink.want(neighbour);
                    }
                    Err(back) => {
                        frame = back;
                        Verdict::Drop(DropReason::HoldFull)
                    }
                },
                None => Verdict::Drop(DropReason::Bug),
            },
            Fate::AwaitsFirst => match self.in_parts.waiting.keep(frame, nic, now) {
                Ok(()) => {
                    let kept = self.in_parts.waiting.newest().into_iter();
                    return kept.for_each(|kept| witness.settled(index, End::AwaitsFirst, kept));
                }
                Err(back) => {
                    frame = back;
                    Verdict::Drop(DropReason::FragmentHoldFull)
                }
            },
            Fate::InParts(leaves, mtu) => {
                self.ip_id = self.ip_id.wrapping_add(self.wiring.workers);
                let (way, frames) = ((leaves, mtu), &counters.frames);
                match send_in_parts(&frame, way, self.ip_id, frames, sink) {
                    Ok(()) => {
                        let end = End::Verdict(Verdict::Transmit(leaves));
                        return witness.settled(index, end, &frame);
                    }
                    Err(reason) => Verdict::Drop(reason),
                }
            }
        };
        if let Verdict::Drop(reason) = verdict {
            counters.dropped(reason, nic, now, &frame);
        }
        witness.settled(index, End::Verdict(verdict), &frame);
        sink.take(frame, verdict);
    }
}
