// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a batch's packets are tracked by.

use crate::conn::tcp_state::{TcpTables, Timeouts};
use crate::counters::ServerCounts;
use crate::ids::Tick;
use crate::knobs::Knobs;

/// The moment, the settings and tables in force, and where connections are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regime<'a> {
    pub(crate) now: Tick,
    pub(crate) timeouts: &'a Timeouts,
    pub(crate) knobs: &'a Knobs,
    pub(crate) tcp: &'static TcpTables,
    pub(crate) counts: &'a ServerCounts,
}
