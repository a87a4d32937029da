// SPDX-License-Identifier: MIT OR Apache-2.0
//! The management side without sockets, threads or DPDK.
//!
//! A line becomes words, a command, a change; every worker sees the new snapshot between two
//! batches:
//!
//! ```text
//! line -> words -> scan, options, parse -> Command -> apply -> Catalog -> publish -> workers
//!                                             |
//!                                             +-> listing -> reply
//! ```
//!
//! [`session`] does this for a client of the control socket, [`rules`] for a file. The dialect is
//! ipvsadm 1.31's, byte for byte; `docs/CONTROL.md` says where it is not, and why.

pub mod apply;
pub mod capture;
pub mod command;
pub mod config;
mod daemons;
pub mod drops;
pub mod help;
pub mod listing;
pub mod locals;
pub mod metrics;
pub mod names;
mod options;
mod order;
pub mod parse;
pub mod publish;
pub mod render;
pub mod reply;
pub mod rules;
mod scan;
mod sched_flags;
pub mod session;
pub mod sysctl;
mod text;
mod values;
pub mod words;
