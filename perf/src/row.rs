// SPDX-License-Identifier: MIT OR Apache-2.0
//! One line of the table, and why there may be none.

use serde::Serialize;

use crate::cost::Spread;
use crate::latency::Latency;

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// EAL did not start or did not take a thread.
    #[error("{0}")]
    Eal(#[from] dpdk::EalError),
    /// A pool was not made.
    #[error("{0}")]
    Pool(#[from] dpdk::PoolError),
    /// A NIC was not opened or started.
    #[error("{0}")]
    Nic(#[from] dpdk::NicError),
    /// A ring was not made.
    #[error("{0}")]
    Ring(#[from] dpdk::RingError),
    /// There is no memory for a connection table.
    #[error("{0}")]
    Region(#[from] dpdk::RegionError),
    /// The rules were refused.
    #[error("rules: {0}")]
    Rules(#[from] control::rules::RulesError),
    /// A table could not be laid out in its memory.
    #[error("a connection table does not fit its memory; lower the number of connections")]
    Table,
    /// The pool or a ring ran empty or full in mid-lap.
    #[error("only {got} of {wanted} buffers were there; raise the pool's size")]
    Buffers {
        /// Buffers that were asked for.
        wanted: usize,
        /// Buffers that came.
        got: usize,
    },
    /// Frames did not come out.
    #[error("{fed} frames went in, {left} came out ({drops}); nothing may be lost here")]
    Lost {
        /// Frames given to the worker.
        fed: u64,
        /// Frames that it sent.
        left: u64,
        /// Why the others were dropped.
        drops: String,
    },
    /// Not as many connections as opened.
    #[error("{live} of {wanted} connections are in the table; raise its capacity")]
    Connections {
        /// Connections that should be there.
        wanted: u32,
        /// Connections that are.
        live: u32,
    },
    /// A thread of the bench ended early.
    #[error("a thread of the bench panicked; run it again with RUST_BACKTRACE=1")]
    Thread,
    /// testpmd did not do as told.
    #[error("dpdk-testpmd: {0}")]
    Testpmd(String),
    /// A file was not written or read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// What was measured, or why not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// What kind of row: rows of one kind stand together.
    pub group: String,
    /// What was done.
    pub name: String,
    /// Forwarding mode, where there is one.
    pub mode: Option<&'static str>,
    /// 4 or 6, where it matters.
    pub family: Option<u8>,
    /// Connections in the table.
    pub connections: Option<u32>,
    /// Nanoseconds of processor time per packet, or per connection.
    pub ns: Option<Spread>,
    /// TSC cycles of the same.
    pub cycles: Option<Spread>,
    /// TSC cycles of the reference loop in the same seconds.
    pub reference_cycles: Option<Spread>,
    /// Median over median of the reference.
    pub ratio: Option<f64>,
    /// Million packets per second and core.
    pub mpps: Option<f64>,
    /// Connections per second and core.
    pub connections_per_s: Option<f64>,
    /// Bytes of table per connection.
    pub bytes_per_connection: Option<f64>,
    /// Time a frame spends in the worker.
    pub latency: Option<Latency>,
    /// What the other columns do not say, or why there is no figure.
    pub note: String,
}

impl Row {
    /// A row without figures.
    pub fn new(group: &str, name: impl Into<String>) -> Self {
        Self { group: group.to_owned(), name: name.into(), ..Self::default() }
    }

    /// Sets the cost of a packet, and what the reference loop took.
    pub fn packets(mut self, (ns, reference_ns): (Spread, Spread), tsc_hz: u64) -> Self {
        self = self.cost((ns, reference_ns), tsc_hz);
        self.mpps = Some(1000.0 / ns.median);
        self
    }

    /// Sets the cost of a connection, and what the reference loop took for a packet.
    pub fn openings(mut self, (ns, reference_ns): (Spread, Spread), tsc_hz: u64) -> Self {
        self = self.cost((ns, reference_ns), tsc_hz);
        self.connections_per_s = Some(1e9 / ns.median);
        self
    }

    /// Says why there is no figure.
    pub fn failed(mut self, failure: &Failure) -> Self {
        self.note = format!("not measured: {failure}");
        self
    }

    fn cost(mut self, (ns, reference_ns): (Spread, Spread), tsc_hz: u64) -> Self {
        let per_ns = tsc_hz as f64 / 1e9;
        self.ns = Some(ns);
        self.cycles = Some(ns.times(per_ns));
        self.reference_cycles = Some(reference_ns.times(per_ns));
        self.ratio = Some(ns.median / reference_ns.median);
        self
    }
}
