// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools of buffers, `rte_mempool` of `rte_mbuf`, fixed in size when made.
//!
//! A pool is freed after its last handle is dropped *and* its last buffer is back: at once if that
//! can be known, else when EAL ends. A NIC holds the pools it receives into.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::{Eal, Errno, HEADROOM, Mbuf, Socket};

/// A pool of buffers; clones are handles of the same pool.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Handle>);

impl Pool {
    /// Makes a pool of `config.mbufs` buffers.
    pub fn new(eal: &Eal, config: &PoolConfig<'_>) -> Result<Self, PoolError> {
        config.check()?;
        let name = config.terminated_name()?;
        // SAFETY: EAL is up (`eal`); `name` is terminated and outlives the call.
        let raw = unsafe {
            sys::rte_pktmbuf_pool_create(
                name.as_ptr(),
                config.mbufs,
                config.cache,
                0,
                config.segment_bytes + HEADROOM,
                config.socket.raw(),
            )
        };
        let raw = NonNull::new(raw).ok_or_else(|| PoolError::Refused(Errno::of_thread()))?;
        let mempool = Mempool { raw, mbufs: config.mbufs };
        let segment_bytes = config.segment_bytes;
        Ok(Self(Arc::new(Handle { mempool, segment_bytes, eal: eal.clone() })))
    }

    /// An empty frame of one segment with the full headroom, or `None` if the pool is empty.
    #[must_use]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as `self`.
        let raw = unsafe { sys::shim_mbuf_alloc(self.raw().as_ptr()) };
        // SAFETY: a buffer that a pool gives has no other owner and is reset to an empty frame.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// A frame with these bytes, a chain if they do not fit one segment, or `None` if the pool
    /// runs empty.
    #[must_use]
    pub fn alloc_from(&self, bytes: &[u8]) -> Option<Mbuf> {
        let room = usize::from(self.segment_bytes());
        let (first, rest) = bytes.split_at(bytes.len().min(room));
        let mut frame = self.alloc()?;
        frame.append(first);
        for part in rest.chunks(room) {
            let mut segment = self.alloc()?;
            segment.append(part);
            frame.chain(segment);
        }
        Some(frame)
    }

    /// A frame of `headers` and then `len` bytes of another frame, from byte `start` on; `None` if
    /// that one is shorter or the pool runs empty.
    #[must_use]
    pub fn piece(&self, of: &Mbuf, headers: &[u8], start: usize, len: usize) -> Option<Mbuf> {
        let mut frame = self.alloc()?;
        if !frame.append(headers) {
            return None;
        }
        let (mut skip, mut left) = (start, len);
        for segment in of.segments() {
            let rest = segment.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(segment.len());
            let part = rest.get(..left).unwrap_or(rest);
            left -= part.len();
            self.extend(&mut frame, part)?;
            if left == 0 {
                break;
            }
        }
        (left == 0).then_some(frame)
    }

    /// Adds bytes behind a frame, in new segments where the last one is full.
    fn extend(&self, frame: &mut Mbuf, bytes: &[u8]) -> Option<()> {
        let (here, mut rest) = bytes.split_at(bytes.len().min(frame.tailroom()));
        frame.append(here);
        while !rest.is_empty() {
            let part;
            (part, rest) = rest.split_at(rest.len().min(self.segment_bytes().into()));
            let mut segment = self.alloc()?;
            segment.append(part);
            frame.chain(segment);
        }
        Some(())
    }

    /// Bytes a segment holds beside its headroom.
    #[must_use]
    pub fn segment_bytes(&self) -> u16 {
        self.0.segment_bytes
    }

    /// Number of buffers that are not in use, caches included; an estimate while others work.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.0.mempool.available()
    }

    pub(crate) fn raw(&self) -> NonNull<sys::rte_mempool> {
        self.0.mempool.raw
    }
}

#[derive(Debug)]
struct Handle {
    mempool: Mempool,
    segment_bytes: u16,
    eal: Eal,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.eal.retire(self.mempool);
    }
}

/// The pool itself, without the promise that it is alive; [`Handle`] keeps that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mempool {
    raw: NonNull<sys::rte_mempool>,
    mbufs: u32,
}

// SAFETY: `rte_mempool` is made for use by several threads; its counters are read racily at worst.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    fn available(self) -> u32 {
        // SAFETY: alive, since its `Handle` is or `free_if_unused` has not run.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// Frees the pool if every buffer is back, else gives it back.
    ///
    /// # Safety
    ///
    /// The last handle is gone, and no other thread with a cache in the pool runs.
    pub(crate) unsafe fn free_if_unused(self) -> Result<(), Self> {
        if self.available() < self.mbufs {
            return Err(self);
        }
        // SAFETY: no handle can take a buffer, none is out, and nobody is about to return one:
        // without a cache a buffer counts as returned only after the last access to the pool.
        unsafe { sys::rte_mempool_free(self.raw.as_ptr()) };
        Ok(())
    }
}

/// What a pool is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig<'a> {
    /// Its name, unique in the process; at most 25 bytes.
    pub name: &'a str,
    /// Number of buffers; a power of two less one wastes no memory.
    pub mbufs: u32,
    /// Number of buffers each registered thread may keep for itself; at most 512.
    pub cache: u32,
    /// Bytes of a segment beside its headroom; 2048 holds every frame of the usual MTU.
    pub segment_bytes: u16,
    /// Where its memory is to lie: the NIC's node.
    pub socket: Socket,
}

impl PoolConfig<'_> {
    /// The configuration of most pools: caches of 256 buffers, segments of 2048 bytes, anywhere.
    #[must_use]
    pub const fn new(name: &str, mbufs: u32) -> PoolConfig<'_> {
        PoolConfig { name, mbufs, cache: 256, segment_bytes: 2048, socket: Socket::Any }
    }

    fn terminated_name(&self) -> Result<CString, PoolError> {
        let name = CString::new(self.name).map_err(|_| PoolError::Name)?;
        let fits = name.as_bytes_with_nul().len() <= sys::SHIM_POOL_NAME_BYTES as usize;
        if fits && !self.name.is_empty() { Ok(name) } else { Err(PoolError::Name) }
    }

    /// DPDK wants one and a half caches to fit the pool; `rte_mempool.c`.
    fn check(&self) -> Result<(), PoolError> {
        let cache_max = sys::RTE_MEMPOOL_CACHE_MAX_SIZE.min(self.mbufs / 3 * 2);
        if self.cache > cache_max {
            return Err(PoolError::Cache { asked: self.cache, max: cache_max });
        }
        let segment_max = u16::MAX - HEADROOM;
        if self.segment_bytes == 0 || self.segment_bytes > segment_max {
            return Err(PoolError::Segment { asked: self.segment_bytes, max: segment_max });
        }
        Ok(())
    }
}

/// Why a pool was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The name does not fit.
    #[error("a pool's name has 1 to {max} bytes", max = sys::SHIM_POOL_NAME_BYTES - 1)]
    Name,
    /// The caches are too large for the pool.
    #[error("a cache of {asked} buffers is too large; at most {max} here")]
    Cache {
        /// What was asked for.
        asked: u32,
        /// The largest allowed.
        max: u32,
    },
    /// The segments are too large for an mbuf.
    #[error("segments of {asked} bytes cannot be; 1 to {max} can")]
    Segment {
        /// What was asked for.
        asked: u16,
        /// The largest allowed.
        max: u16,
    },
    /// DPDK refused.
    #[error("the pool was not made: {0}")]
    Refused(Errno),
}
