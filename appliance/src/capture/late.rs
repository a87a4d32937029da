// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that a worker meant to send and that no queue or ring took.

use std::sync::Arc;

use control::capture::Filter;
use lb::ids::{NicId, WorkerId};
use lb::verdict::{DropReason, Verdict};
use lb::witness::End;
use wire::Frame;

use super::{Asides, Record, SNAP, Shared, Way};

/// Which frames are wanted in a turn.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub(super) filter: Filter,
    pub(super) number: u64,
    pub(super) at_ns: u64,
}

/// Records drops behind the worker, while somebody captures.
#[derive(Debug)]
pub struct LateDrops {
    shared: Arc<Shared>,
    wanted: Option<Wanted>,
}

impl LateDrops {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, wanted: None }
    }

    /// Which frames are wanted in this turn, as [`super::Recorder::wanted`] says.
    pub fn set_wanted(&mut self, wanted: Option<Wanted>) {
        self.wanted = wanted;
    }

    /// A frame that was to leave by a NIC was dropped.
    #[inline]
    pub fn dropped(&self, worker: WorkerId, nic: NicId, reason: DropReason, frame: &impl Frame) {
        let Some(Wanted { filter, number, at_ns }) = self.wanted else { return };
        if filter == Filter::Drops || filter == Filter::Nic(nic) {
            let mut head = [0; SNAP];
            head.iter_mut().zip(frame.head()).for_each(|(to, from)| *to = *from);
            self.shared.put(Record {
                at_ns,
                worker,
                nic,
                way: Way::Out,
                end: Some(End::Verdict(Verdict::Drop(reason))),
                meeting: None,
                asides: Asides::default(),
                length: frame.len(),
                head,
                kept: frame.head().len().min(SNAP),
                number,
            });
        }
    }
}
