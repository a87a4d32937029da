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
//! batch -> parse -> find -> whose? -> admit misses -> track -> rewrite -> encapsulate -> address
//!            |                 |          |    |                                    |
//!         drop,              hand       punt   no server, no port,               hold, too big
//!         punt               off               table full: drop
//! ```
//!
//! Nothing here does I/O, reads a clock, spawns a thread, takes a lock, logs, or allocates after
//! the start. Time, randomness and memory are arguments; so every test is exact.

pub mod action;
mod admit;
mod ahead;
mod answer;
pub mod batch;
mod call_id;
pub mod catalog;
pub mod conn;
pub mod conn_filter;
pub mod conn_table;
pub mod counters;
mod defence;
pub mod encap;
pub mod ensemble;
pub mod expiry;
mod express;
pub mod family;
pub mod flows;
mod follow;
mod foresee;
mod fragment_out;
pub mod fragments;
mod half_open;
pub mod hash;
pub mod held;
pub mod icmp_error;
pub mod ids;
pub mod knobs;
pub mod last_drops;
pub mod limits;
pub mod local_ports;
pub mod marks;
pub mod memory;
pub mod mss;
pub mod network;
mod opening;
mod outer_error;
pub mod path_mtu;
mod persist;
pub mod pipeline;
mod prefetch;
mod random;
mod recycle;
mod regime;
mod related;
mod reset;
pub mod rewrite;
pub mod rss;
pub mod sched;
pub mod sctp_state;
pub mod service;
pub mod snapshot;
mod sort;
mod stage;
pub mod steer;
mod stranger;
pub mod tcp_state;
pub mod templates;
pub mod toeplitz;
mod too_big;
mod tunnel;
mod undelivered;
pub mod verdict;
pub mod witness;
