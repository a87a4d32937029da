// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]
//! The balancer as pure code.
//!
//! A frame enters a worker, becomes a [`verdict::Verdict`], and leaves:
//!
//! ```text
//! batch -> parse -> whose? -> find -> admit misses -> track -> rewrite -> encapsulate -> address
//!            |        |                   |    |                                    |
//!         drop,     hand                punt   no server, no port,               hold, too big
//!         punt      off                        table full: drop
//! ```
//!
//! Whose the usual packet is, is not asked: its connection is here.
//!
//! Nothing here does I/O, reads a clock, spawns a thread, takes a lock, logs, or allocates after
//! the start. Time, randomness and memory are arguments; so every test is exact.

pub mod action;
mod admit;
mod ahead;
pub mod batch;
pub mod catalog;
pub mod conn;
pub mod counters;
mod defence;
pub mod encap;
pub mod ensemble;
mod express;
pub mod family;
mod fate;
mod foresee;
pub mod fragments;
pub mod hash;
pub mod held;
pub mod icmp;
pub mod ids;
pub mod knobs;
mod lane;
pub mod limits;
pub mod marks;
pub mod memory;
pub mod mss;
pub mod network;
mod opening;
pub mod persist;
pub mod pipeline;
mod prefetch;
mod random;
mod regime;
pub mod rewrite;
pub mod sched;
pub mod service;
pub mod snapshot;
mod sort;
mod stage;
pub mod steer;
mod stranger;
pub mod verdict;
pub mod witness;
