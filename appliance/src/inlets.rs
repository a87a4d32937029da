// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where frames enter a worker: receive queues of NICs, and rings from other workers and the host.

use dpdk::{Consumer, Mbuf, RxQueue};
use lb::batch::{Batch, Origin};
use lb::ids::NicId;
use lb::pipeline::Worker;

/// Where frames come from.
pub struct Inlets {
    /// Receive queues that this worker polls.
    pub queues: Vec<Inlet>,
    /// Frames of flows that this worker owns, from the others.
    pub handed_in: Consumer,
    /// Frames that this worker sends for the others.
    pub relayed: Consumer,
    /// Frames that this worker sends for the host.
    pub from_host: Consumer,
}

/// A receive queue, and two batches that came from it: one that is due to be served, and one to
/// come. It shares no cache line, nor pair of lines, with what another worker writes.
#[repr(align(128))]
pub struct Inlet {
    nic: NicId,
    queue: RxQueue,
    batches: [Batch<Mbuf>; 2],
    /// Whether the second one is due.
    is_second: bool,
}

impl Inlet {
    /// A queue of a NIC of which nothing was received yet.
    pub fn new(nic: NicId, queue: RxQueue) -> Self {
        Self { nic, queue, batches: Default::default(), is_second: false }
    }

    /// The batch that is due.
    #[inline]
    pub fn due(&mut self) -> &mut Batch<Mbuf> {
        let [first, second] = &mut self.batches;
        if self.is_second { second } else { first }
    }

    /// Receives the batch to come, and begins to look its packets up; returns how many frames came.
    #[inline]
    pub fn receive(&mut self, worker: &Worker<'static, Mbuf>) -> usize {
        let [first, second] = &mut self.batches;
        let coming = if self.is_second { first } else { second };
        let frames = coming.receive(self.nic, |frames| self.queue.receive_into(frames));
        worker.sort(coming, Origin::Wire);
        frames
    }

    /// Makes the batch to come the one that is due, which must be empty.
    #[inline]
    pub fn advance(&mut self) {
        self.is_second = !self.is_second;
    }
}
