// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a packet costs.
//!
//! The subject is the whole product path: the appliance's own poll loop with real buffers of a real
//! pool, its counters, TCP tracking and timers. Frames come from a compact generator over an
//! in-memory NIC and leave over another; reference loops take the same frames over the same kind of
//! NIC in the same seconds, so that a ratio means something on any machine.
//!
//! Costs are processor time of the one thread, so that other programs do not count.

pub mod blast;
pub mod callgrind;
pub mod change;
pub mod compare;
pub mod cost;
pub mod established;
pub mod flood;
pub mod instructions;
pub mod latency;
pub mod opening;
pub mod pair;
pub mod plan;
pub mod plot;
pub mod reference;
pub mod rig;
pub mod row;
pub mod run;
pub mod site;
pub mod stand;
pub mod table;
pub mod targets;
pub mod testpmd;
pub mod traffic;
