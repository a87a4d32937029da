// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings of frames between threads, `rte_ring`: fixed in size, lock-free, first in first out.
//!
//! The handles say who may do what: a [`Producer`] is shared, a [`SoleProducer`] and a
//! [`Consumer`] exist once. Frames still inside when the last handle is dropped are freed.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::{Burst, Eal, Errno, Socket};

/// Makes a ring with any number of producers.
pub fn many_to_one(eal: &Eal, config: &RingConfig<'_>) -> Result<(Producer, Consumer), RingError> {
    // Relaxed tail synchronisation: where threads outnumber CPUs, a producer that lost its CPU in
    // mid-enqueue must not hold up the others.
    let ring = Arc::new(Ring::new(eal, config, sys::RING_F_MP_RTS_ENQ | sys::RING_F_SC_DEQ)?);
    Ok((Producer(Arc::clone(&ring)), Consumer(ring)))
}

/// Makes a ring with one producer.
pub fn one_to_one(
    eal: &Eal,
    config: &RingConfig<'_>,
) -> Result<(SoleProducer, Consumer), RingError> {
    let ring = Arc::new(Ring::new(eal, config, sys::RING_F_SP_ENQ | sys::RING_F_SC_DEQ)?);
    Ok((SoleProducer(Arc::clone(&ring)), Consumer(ring)))
}

/// What a ring is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingConfig<'a> {
    /// Its name, unique in the process; at most 28 bytes.
    pub name: &'a str,
    /// A power of two, from 2 on; the ring holds one frame less.
    pub slots: u32,
    /// Where its memory is to lie: the consumer's node.
    pub socket: Socket,
}

/// The handle that puts frames in, from any number of threads.
#[derive(Clone, Debug)]
pub struct Producer(Arc<Ring>);

impl Producer {
    /// Puts frames in from the front of the burst; returns how many found room. The rest stays.
    pub fn enqueue(&self, burst: &mut Burst) -> usize {
        // SAFETY: the ring was made for many producers.
        unsafe { self.0.enqueue(burst) }
    }
}

/// The only handle that puts frames in.
#[derive(Debug)]
pub struct SoleProducer(Arc<Ring>);

impl SoleProducer {
    /// Puts frames in from the front of the burst; returns how many found room. The rest stays.
    pub fn enqueue(&mut self, burst: &mut Burst) -> usize {
        // SAFETY: `&mut self` of a handle that exists once.
        unsafe { self.0.enqueue(burst) }
    }
}

/// The only handle that takes frames out.
#[derive(Debug)]
pub struct Consumer(Arc<Ring>);

impl Consumer {
    /// Adds at most `max` waiting frames to the burst; returns how many came.
    pub fn dequeue(&mut self, burst: &mut Burst, max: usize) -> usize {
        // SAFETY: `&mut self` of a handle that exists once.
        unsafe { self.0.dequeue(burst, max) }
    }

    /// Number of frames waiting; an estimate while producers work.
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: the ring is alive.
        unsafe { sys::shim_ring_count(self.0.raw.as_ptr()) as usize }
    }

    /// Whether no frame was waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
struct Ring {
    raw: NonNull<sys::rte_ring>,
    /// Keeps the ring's memory mapped.
    _eal: Eal,
}

// SAFETY: an `rte_ring` is made for use by several threads; the handles keep to its flags.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    fn new(eal: &Eal, config: &RingConfig<'_>, flags: u32) -> Result<Self, RingError> {
        if config.slots < 2 || !config.slots.is_power_of_two() || config.slots > SLOTS_MAX {
            return Err(RingError::Slots(config.slots));
        }
        let name = CString::new(config.name).map_err(|_| RingError::Name)?;
        let fits = name.as_bytes_with_nul().len() <= sys::SHIM_RING_NAME_BYTES as usize;
        if !fits || config.name.is_empty() {
            return Err(RingError::Name);
        }
        // SAFETY: EAL is up (`eal`); `name` is terminated and copied.
        let raw = unsafe {
            sys::rte_ring_create(name.as_ptr(), config.slots, config.socket.raw(), flags)
        };
        let raw = NonNull::new(raw).ok_or_else(|| RingError::Refused(Errno::of_thread()))?;
        Ok(Self { raw, _eal: eal.clone() })
    }

    /// # Safety
    ///
    /// One thread at a time, unless the ring was made for many producers.
    unsafe fn enqueue(&self, burst: &mut Burst) -> usize {
        let ring = self.raw.as_ptr();
        // SAFETY: the ring is alive and owns the frames it accepts, from the first on; it never
        // accepts more than `count`.
        unsafe {
            burst.give(|frames, count| sys::shim_ring_enqueue(ring, frames, count.into()) as u16)
        }
    }

    /// # Safety
    ///
    /// One thread at a time.
    unsafe fn dequeue(&self, burst: &mut Burst, max: usize) -> usize {
        let ring = self.raw.as_ptr();
        // SAFETY: the ring is alive and gives up what producers gave it: valid chains, at most
        // `room`.
        unsafe {
            burst.take(max, |slots, room| sys::shim_ring_dequeue(ring, slots, room.into()) as u16)
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut rest = Burst::new();
        // SAFETY: no handle is left, so this thread is the only one; the ring is freed empty.
        unsafe {
            while self.dequeue(&mut rest, crate::BURST_MAX) > 0 {
                rest.clear();
            }
            sys::rte_ring_free(self.raw.as_ptr());
        }
    }
}

/// Slots a ring has at most: far more than frames can wait, far less than `RTE_RING_SZ_MASK`.
const SLOTS_MAX: u32 = 1 << 24;

/// Why a ring was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The name does not fit.
    #[error("a ring's name has 1 to {max} bytes", max = sys::SHIM_RING_NAME_BYTES - 1)]
    Name,
    /// The size is no power of two or out of range.
    #[error("{0} slots cannot be; a power of two from 2 to {SLOTS_MAX} can")]
    Slots(u32),
    /// DPDK refused.
    #[error("the ring was not made: {0}")]
    Refused(Errno),
}
