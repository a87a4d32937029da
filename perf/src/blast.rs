// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman-blast`: load for a director from real or virtual NICs, and what came back of it.
//!
//! Every frame carries a stamp: whose it is, its number and when it left. So lost, doubled and
//! overtaken frames are told apart, and the time on the way is measured per frame. The NIC named
//! `wan` plays clients; the one named `lan` plays servers: it counts what arrives, or answers it.
//! Both answer ARP and ND for the addresses that they play.
//!
//! Addresses of clients are those of RFC 2544 (198.18.0.0/15) and RFC 5180 (2001:2::/48) unless
//! named; sizes have the FCS in them, as RFC 2544 has it.

pub mod arrivals;
pub mod books;
pub mod end;
pub mod flows;
pub mod frames;
pub mod neighbours;
pub mod nics;
pub mod options;
pub mod rate;
pub mod reflect;
pub mod report;
pub mod search;
pub mod settle;
pub mod stage;
pub mod stamp;
pub mod trials;

/// Bytes of the frame check sequence, which NICs add and take away.
pub const FCS: u16 = 4;
/// Bytes that each frame takes on the wire beside its own: preamble and gap (IEEE 802.3).
pub const PREAMBLE_AND_GAP: u16 = 20;
