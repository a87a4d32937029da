// SPDX-License-Identifier: MIT OR Apache-2.0
//! Receive and transmit queues of a started NIC.
//!
//! A queue is owned by the thread that polls it, and keeps its NIC open and started.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::burst::take;
use crate::nic::Device;
use crate::{Burst, Mbuf, NicId};

/// A receive queue.
#[derive(Debug)]
pub struct RxQueue {
    device: Arc<Device>,
    queue: u16,
}

impl RxQueue {
    pub(crate) fn new(device: Arc<Device>, queue: u16) -> Self {
        Self { device, queue }
    }

    /// Adds at most `max` waiting frames to the burst; returns how many came.
    pub fn receive(&mut self, burst: &mut Burst, max: usize) -> usize {
        let (nic, queue) = (self.device.id().index(), self.queue);
        // SAFETY: the NIC is started while a queue exists, and `&mut self` proves that one thread
        // polls it. The driver writes only chains it owned, at most `room`.
        unsafe { burst.take(max, |slots, room| sys::shim_rx_burst(nic, queue, slots, room)) }
    }

    /// Adds waiting frames to an array until it is full; returns how many came.
    pub fn receive_into<const N: usize>(&mut self, frames: &mut ArrayVec<Mbuf, N>) -> usize {
        let (nic, queue) = (self.device.id().index(), self.queue);
        // SAFETY: as in `receive`.
        unsafe { take(frames, N, |slots, room| sys::shim_rx_burst(nic, queue, slots, room)) }
    }

    /// The NIC it belongs to.
    #[must_use]
    pub fn nic(&self) -> NicId {
        self.device.id()
    }

    /// Its number among the NIC's receive queues, from 0.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.queue
    }
}

/// A transmit queue.
#[derive(Debug)]
pub struct TxQueue {
    device: Arc<Device>,
    queue: u16,
}

impl TxQueue {
    pub(crate) fn new(device: Arc<Device>, queue: u16) -> Self {
        Self { device, queue }
    }

    /// Sends frames from the front of the burst; returns how many the NIC accepted.
    ///
    /// The others stay in the burst, in order, to be tried again or dropped by the caller.
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        let (nic, queue) = (self.device.id().index(), self.queue);
        // SAFETY: the NIC is started while a queue exists, and `&mut self` proves that one thread
        // uses it. The driver owns the frames it accepts, from the first on.
        unsafe { burst.give(|frames, count| sys::shim_tx_burst(nic, queue, frames, count)) }
    }

    /// The NIC it belongs to.
    #[must_use]
    pub fn nic(&self) -> NicId {
        self.device.id()
    }

    /// Its number among the NIC's transmit queues, from 0.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.queue
    }
}
