// SPDX-License-Identifier: MIT OR Apache-2.0
//! DPDK made safe: who owns a buffer, who may poll a queue, what outlives what.
//!
//! - An [`Mbuf`] has one owner and goes back to its pool when dropped; a [`Burst`] owns up to
//!   [`BURST_MAX`] of them; queues and rings take and give whole bursts.
//! - An [`RxQueue`], [`TxQueue`] or ring [`Consumer`] is polled through `&mut self`: one thread at
//!   a time, proven by the compiler. A [`Nic`] stops only after its queues are dropped.
//! - [`Eal`] is counted: pools, NICs, rings and registered threads hold it, and its memory is
//!   unmapped after the last of them, never under them.
//! - Receiving, sending, ring calls and freeing neither allocate, lock nor log. Everything else is
//!   for boot and management.

#![allow(unsafe_code, reason = "this crate is the boundary")]

mod burst;
mod eal;
mod error;
mod lcore;
mod mbuf;
mod memory;
mod nic;
mod pool;
mod queue;
mod ring;
mod rss;
mod socket;

pub use burst::{BURST_MAX, Burst};
pub use eal::{Eal, EalError, release};
pub use error::Errno;
pub use lcore::{Cpu, Lcore, LcoreThread};
pub use mbuf::{HEADROOM, Mbuf, Segments};
pub use memory::{Pages, Region, RegionError};
pub use nic::{Descriptors, Direction, Link, Nic, NicConfig, NicError, NicId, NicInfo, NicStats};
pub use nic::{Queues, RssConfig};
pub use pool::{Pool, PoolConfig, PoolError};
pub use queue::{RxQueue, TxQueue};
pub use ring::{Consumer, Producer, RingConfig, RingError, SoleProducer, many_to_one, one_to_one};
pub use rss::{RSS_KEY_MAX, RssKey, RssTypes, toeplitz};
pub use socket::Socket;
