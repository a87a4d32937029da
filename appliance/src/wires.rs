// SPDX-License-Identifier: MIT OR Apache-2.0
//! What NICs and the host thread count: frames as they are before a worker has them, and after.

use std::fmt;
use std::sync::Arc;

use control::metrics::{HostStats, NicStats};
use dpdk::Nic;

use crate::host_thread::HostCounters;

/// The NICs with their names, and the way to the host.
pub struct Wires {
    /// In the order of the configuration.
    pub nics: Vec<(String, Nic)>,
    /// What the host thread counts.
    pub host: Arc<HostCounters>,
}

impl Wires {
    /// The counters of each NIC; one whose driver does not tell is left out.
    pub fn nic_stats(&self) -> Vec<NicStats> {
        let stats = |(name, nic): &(String, Nic)| {
            let stats = nic.stats().ok()?;
            Some(NicStats {
                name: name.clone(),
                rx_packets: stats.rx_frames,
                rx_bytes: stats.rx_bytes,
                tx_packets: stats.tx_frames,
                tx_bytes: stats.tx_bytes,
                rx_missed: stats.rx_missed,
                rx_errors: stats.rx_errors,
                tx_errors: stats.tx_errors,
                rx_nombuf: stats.rx_no_mbuf,
            })
        };
        self.nics.iter().filter_map(stats).collect()
    }

    /// The counters of the host thread.
    pub fn host_stats(&self) -> HostStats {
        let host = &self.host;
        HostStats {
            to_host: host.to_host.value(),
            to_host_lost: host.to_host_refused.value(),
            from_host: host.from_host.value(),
            from_host_lost: host.from_host_lost.value(),
        }
    }
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nics.iter().map(|(name, _)| name)).finish()
    }
}
