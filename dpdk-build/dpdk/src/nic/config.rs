// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a NIC is to be, checked against what its driver offers before the driver is asked.

use dpdk_sys as sys;

use super::{Direction, NicError, NicInfo};
use crate::{RssKey, RssTypes};

/// How a NIC is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicConfig {
    /// Number of receive queues, 1 or more.
    pub rx_queues: u16,
    /// Number of transmit queues, 1 or more; net_tap wants as many as receive queues.
    pub tx_queues: u16,
    /// Length of each receive queue.
    pub rx_descriptors: Descriptors,
    /// Length of each transmit queue.
    pub tx_descriptors: Descriptors,
    /// Bytes of the largest IP packet.
    pub mtu: u16,
    /// Hashing over the receive queues; without it the driver's own way holds.
    pub rss: Option<RssConfig>,
}

impl Default for NicConfig {
    /// One queue each way, an MTU of 1500 bytes, no hashing.
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: Descriptors::Recommended,
            tx_descriptors: Descriptors::Recommended,
            mtu: 1500,
            rss: None,
        }
    }
}

/// The length of a queue in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptors {
    /// What the driver recommends; 1024, or the nearest it takes, if it does not say.
    #[default]
    Recommended,
    /// This many.
    Count(u16),
}

/// Hashing over receive queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RssConfig {
    /// What is hashed.
    pub types: RssTypes,
    /// The key; `None` leaves the driver's own.
    pub key: Option<RssKey>,
}

/// Numbers of descriptors a driver takes, `struct rte_eth_desc_lim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescriptorLimits {
    pub min: u16,
    pub max: u16,
    pub step: u16,
    /// Zero if the driver recommends nothing.
    pub recommended: u16,
}

impl DescriptorLimits {
    pub(super) fn new(raw: &sys::rte_eth_desc_lim, recommended: u16) -> Self {
        Self { min: raw.nb_min, max: raw.nb_max, step: raw.nb_align.max(1), recommended }
    }

    /// The number to ask the driver for.
    fn choose(self, asked: Descriptors, direction: Direction) -> Result<u16, NicError> {
        let Self { min, max, step, recommended } = self;
        match asked {
            Descriptors::Count(asked) => {
                let fits = asked > 0 && (min..=max).contains(&asked) && asked % step == 0;
                let error = NicError::DescriptorCount { direction, asked, min, max, step };
                if fits { Ok(asked) } else { Err(error) }
            }
            Descriptors::Recommended if recommended > 0 => Ok(recommended),
            Descriptors::Recommended => {
                let wanted = DESCRIPTORS_USUAL.min(max).max(min);
                let rounded = wanted - wanted % step;
                Ok(if rounded < min { wanted } else { rounded })
            }
        }
    }
}

/// A [`NicConfig`] the driver should accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    pub rx_descriptors: u16,
    pub tx_descriptors: u16,
    pub rx_offloads: u64,
    pub tx_offloads: u64,
}

impl NicConfig {
    /// Compares with what the driver offers; `segment_bytes` is what one buffer holds.
    pub(super) fn check(&self, info: &NicInfo, segment_bytes: u16) -> Result<Checked, NicError> {
        check_count(Direction::Receive, self.rx_queues, info.rx_queues_max)?;
        check_count(Direction::Transmit, self.tx_queues, info.tx_queues_max)?;
        if info.driver == "net_tap" && self.rx_queues != self.tx_queues {
            return Err(NicError::UnequalQueues { rx: self.rx_queues, tx: self.tx_queues });
        }
        info.check_mtu(self.mtu)?;
        if let Some(rss) = &self.rss {
            check_rss(rss, info)?;
        }
        Ok(Checked {
            rx_descriptors: info.rx_limits.choose(self.rx_descriptors, Direction::Receive)?,
            tx_descriptors: info.tx_limits.choose(self.tx_descriptors, Direction::Transmit)?,
            rx_offloads: self.scatter(info, segment_bytes)?,
            tx_offloads: info.tx_offloads & sys::SHIM_TX_OFFLOAD_MULTI_SEGS,
        })
    }

    /// The offload that spreads frames over segments, if they do not fit one.
    fn scatter(&self, info: &NicInfo, segment_bytes: u16) -> Result<u64, NicError> {
        let frame_bytes = u32::from(self.mtu) + info.frame_overhead_bytes;
        let offered = info.rx_offloads & sys::SHIM_RX_OFFLOAD_SCATTER;
        if frame_bytes <= u32::from(segment_bytes) || info.chains_unasked() {
            Ok(0)
        } else if offered != 0 {
            Ok(offered)
        } else {
            Err(NicError::Segment { frame_bytes, segment_bytes })
        }
    }
}

fn check_count(direction: Direction, asked: u16, max: u16) -> Result<(), NicError> {
    if (1..=max).contains(&asked) {
        Ok(())
    } else {
        Err(NicError::QueueCount { direction, asked, max })
    }
}

fn check_rss(rss: &RssConfig, info: &NicInfo) -> Result<(), NicError> {
    let refused = rss.types.without(info.rss_types);
    if !refused.is_empty() {
        return Err(NicError::RssTypes(refused));
    }
    match &rss.key {
        Some(key) if key.as_bytes().len() != usize::from(info.rss_key_bytes) => {
            let asked = key.as_bytes().len();
            Err(NicError::RssKey { asked, needed: info.rss_key_bytes })
        }
        _ => Ok(()),
    }
}

/// Queue length where the driver recommends none.
const DESCRIPTORS_USUAL: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Socket;

    fn info() -> NicInfo {
        let limits = DescriptorLimits { min: 64, max: 4096, step: 32, recommended: 0 };
        NicInfo {
            driver: "net_ice".into(),
            device: "0000:03:00.0".into(),
            socket: Socket::Node(0),
            rx_queues_max: 8,
            tx_queues_max: 8,
            mtu_min: 68,
            mtu_max: 9702,
            rss_types: RssTypes::IPV4_TCP | RssTypes::L3_SRC_ONLY,
            rss_table_size: 512,
            rss_key_bytes: 52,
            rx_limits: limits,
            tx_limits: limits,
            rx_offloads: 0,
            tx_offloads: 0,
            frame_overhead_bytes: 18,
        }
    }

    #[test]
    fn queues_are_one_to_what_the_nic_has() {
        let ask = |rx_queues, tx_queues| {
            NicConfig { rx_queues, tx_queues, ..NicConfig::default() }.check(&info(), 2048)
        };
        assert!(ask(8, 8).is_ok());
        let direction = Direction::Receive;
        assert_eq!(ask(9, 1), Err(NicError::QueueCount { direction, asked: 9, max: 8 }));
        assert_eq!(ask(0, 1), Err(NicError::QueueCount { direction, asked: 0, max: 8 }));
    }

    #[test]
    fn net_tap_pairs_its_queues() {
        let tap = NicInfo { driver: "net_tap".into(), ..info() };
        let config = NicConfig { rx_queues: 1, tx_queues: 2, ..NicConfig::default() };
        assert_eq!(config.check(&tap, 2048), Err(NicError::UnequalQueues { rx: 1, tx: 2 }));
        assert!(config.check(&info(), 2048).is_ok());
    }

    #[test]
    fn descriptors_keep_to_the_drivers_limits() {
        let limits = info().rx_limits;
        let choose = |asked| limits.choose(asked, Direction::Receive);
        assert_eq!(choose(Descriptors::Count(96)), Ok(96));
        for asked in [0, 32, 100, 4128] {
            assert!(choose(Descriptors::Count(asked)).is_err(), "{asked} descriptors were taken");
        }
        assert_eq!(choose(Descriptors::Recommended), Ok(1024));
        let short = DescriptorLimits { min: 256, max: 256, step: 1, recommended: 0 };
        assert_eq!(short.choose(Descriptors::Recommended, Direction::Receive), Ok(256));
    }

    #[test]
    fn jumbo_frames_need_chains_or_large_segments() {
        let jumbo = NicConfig { mtu: 9000, ..NicConfig::default() };
        let error = NicError::Segment { frame_bytes: 9018, segment_bytes: 2048 };
        assert_eq!(jumbo.check(&info(), 2048), Err(error));
        assert_eq!(jumbo.check(&info(), 9216).unwrap().rx_offloads, 0);
        let chains = NicInfo { rx_offloads: sys::SHIM_RX_OFFLOAD_SCATTER, ..info() };
        let offloads = jumbo.check(&chains, 2048).unwrap().rx_offloads;
        assert_eq!(offloads, sys::SHIM_RX_OFFLOAD_SCATTER);
        let pcap = NicInfo { driver: "net_pcap".into(), ..info() };
        assert_eq!(jumbo.check(&pcap, 2048).unwrap().rx_offloads, 0, "it is not asked");
        assert!(pcap.sends_chains());
    }

    #[test]
    fn hashing_is_what_the_nic_offers() {
        let ask = |types, key: &[u8]| {
            let rss = Some(RssConfig { types, key: RssKey::new(key) });
            NicConfig { rss, ..NicConfig::default() }.check(&info(), 2048)
        };
        assert!(ask(RssTypes::IPV4_TCP | RssTypes::L3_SRC_ONLY, &[7; 52]).is_ok());
        let refused = ask(RssTypes::IPV4_TCP | RssTypes::L3_DST_ONLY, &[7; 52]);
        assert_eq!(refused, Err(NicError::RssTypes(RssTypes::L3_DST_ONLY)));
        let short = ask(RssTypes::IPV4_TCP, &[7; 40]);
        assert_eq!(short, Err(NicError::RssKey { asked: 40, needed: 52 }));
    }
}
