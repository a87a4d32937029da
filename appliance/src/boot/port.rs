// SPDX-License-Identifier: MIT OR Apache-2.0
//! A NIC, opened and started, with its host interface.

use control::config::{self, Config};
use dpdk::{Descriptors, Eal, Nic, NicConfig, NicInfo, Pool, Queues};
use lb::network::NicFacts;
use lb::steer::rss::Hashed;
use tracing::{info, warn};
use wire::Eth;

use super::BootError;
use super::rss::Spreading;
use crate::host::HostInterface;

/// A NIC and what the workers need of it.
pub(super) struct Port {
    pub(super) name: String,
    pub(super) nic: Nic,
    pub(super) facts: NicFacts,
    pub(super) queues: Queues,
    pub(super) host: Option<HostInterface>,
    /// What of a packet chooses its receive queue, as far as it is known.
    pub(super) hashes: Hashed,
}

impl Port {
    pub(super) fn open(
        eal: &Eal,
        pool: &Pool,
        config: &config::Nic,
        host: Option<HostInterface>,
        all: &Config,
        rss_key: &[u8],
    ) -> Result<Self, BootError> {
        let name = config.name.clone();
        let failed = |error| BootError::Nic { nic: name.clone(), error };
        let mut nic = Nic::open(eal, &config.device.to_string()).map_err(failed)?;
        let info = nic.info().map_err(failed)?;
        check_chains(pool, &info, config, all)?;
        if let Some(mac) = config.mac {
            let failed = |error| BootError::Mac { nic: name.clone(), error };
            nic.set_mac(mac).map_err(failed)?;
        }
        let tx_queues = if info.driver == "net_tap" {
            config.queues
        } else {
            all.workers.count.min(info.tx_queues_max)
        };
        let spreading = Spreading::plan(&info, config, rss_key);
        let descriptors = Descriptors::Count(config.descriptors);
        let wanted = NicConfig {
            rx_queues: config.queues,
            tx_queues,
            rx_descriptors: descriptors,
            tx_descriptors: descriptors,
            mtu: config.mtu,
            rss: spreading.config.clone(),
        };
        nic.configure(&wanted, pool).map_err(failed)?;
        let queues = nic.start().map_err(failed)?;
        let hashes = spreading.complete(&mut nic, &config.name);
        hear_multicast(&mut nic, &config.name);
        let mac = nic.mac().map_err(failed)?;
        if let Some(host) = &host {
            host.configure(mac, config.mtu)?;
        }
        info!(
            nic = config.name, driver = info.driver, %mac, mtu = config.mtu,
            rx_queues = queues.rx.len(), tx_queues = queues.tx.len(),
            host_interface = config.host_interface.as_deref().unwrap_or("none"), "NIC is up"
        );
        let facts = NicFacts { mac, mtu: config.mtu };
        Ok(Self { name: config.name.clone(), nic, facts, queues, host, hashes })
    }
}

/// Frames that came by a NIC with a large MTU are chains of buffers; they can leave by any NIC.
fn check_chains(
    pool: &Pool,
    info: &NicInfo,
    config: &config::Nic,
    all: &Config,
) -> Result<(), BootError> {
    let widest = all.nics.iter().max_by_key(|nic| nic.mtu).unwrap_or(config);
    let frame_bytes = usize::from(widest.mtu) + size_of::<Eth>();
    if frame_bytes <= usize::from(pool.segment_bytes()) || info.sends_chains() {
        return Ok(());
    }
    let (nic, wide) = (config.name.clone(), widest.name.clone());
    Err(BootError::NoChains { nic, wide, driver: info.driver.clone() })
}

/// VRRP, routing protocols and neighbour discovery of IPv6 speak to multicast addresses.
fn hear_multicast(nic: &mut Nic, name: &str) {
    if nic.receive_all_multicast().is_err()
        && let Err(error) = nic.set_promiscuous(true)
    {
        warn!("NIC {name} may not hear VRRP and IPv6 neighbour discovery: {error}");
    }
}
