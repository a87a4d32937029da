// SPDX-License-Identifier: MIT OR Apache-2.0
//! The appliance: what of Pointsman needs DPDK or the kernel.
//!
//! [`boot`] joins the parts. A [`worker`] polls receive queues and gives frames to its [`outlets`];
//! the [`host_thread`] carries frames between workers and the host's interfaces; everything else
//! runs on the management core.

pub mod boot;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod cpus;
pub mod ctl;
pub mod doctor;
pub mod host;
pub mod host_thread;
pub mod http;
pub mod inlets;
pub mod listen;
pub mod listing;
pub mod manage;
pub mod outlets;
pub mod plane;
pub mod punt;
pub mod replay;
pub mod shares;
pub mod tell;
pub mod wires;
pub mod worker;
