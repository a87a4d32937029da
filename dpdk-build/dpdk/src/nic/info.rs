// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a NIC says of itself: abilities, link, counters, hashing in force.

use std::ffi::{CStr, c_char};

use dpdk_sys as sys;

use super::config::DescriptorLimits;
use super::{NicError, NicId, driver};
use crate::{RssTypes, Socket};

/// Abilities and limits of a NIC, from its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicInfo {
    /// The driver, such as `net_ice`.
    pub driver: String,
    /// The device: a PCI address or a virtual device's name.
    pub device: String,
    /// The NUMA node it is attached to.
    pub socket: Socket,
    /// Receive queues it can have.
    pub rx_queues_max: u16,
    /// Transmit queues it can have.
    pub tx_queues_max: u16,
    /// Smallest MTU, in bytes.
    pub mtu_min: u16,
    /// Largest MTU, in bytes.
    pub mtu_max: u16,
    /// What the driver says it can hash. net_tap lists types too, but can only where the kernel
    /// has the traffic-control modules it needs.
    pub rss_types: RssTypes,
    /// Entries of its table from hash to queue; 0 without one.
    pub rss_table_size: u16,
    /// Bytes of its hash key; 0 if the key cannot be set.
    pub rss_key_bytes: u8,
    pub(super) rx_limits: DescriptorLimits,
    pub(super) tx_limits: DescriptorLimits,
    pub(super) rx_offloads: u64,
    pub(super) tx_offloads: u64,
    pub(super) frame_overhead_bytes: u32,
}

impl NicInfo {
    /// Whether it sends frames of several segments.
    #[must_use]
    pub fn sends_chains(&self) -> bool {
        self.tx_offloads & sys::SHIM_TX_OFFLOAD_MULTI_SEGS != 0 || self.chains_unasked()
    }

    /// Whether it sends and receives frames of several segments without an offload for it: net_pcap
    /// copies them to and from libpcap's buffer, and says nothing of it.
    pub(super) fn chains_unasked(&self) -> bool {
        self.driver == "net_pcap"
    }

    pub(super) fn read(nic: NicId) -> Result<Self, NicError> {
        let raw = raw_info(nic)?;
        let overhead = frame_overhead_bytes(&raw);
        let largest = raw.max_rx_pktlen.saturating_sub(overhead);
        // SAFETY: the NIC is open.
        let socket = unsafe { sys::rte_eth_dev_socket_id(nic.index()) };
        Ok(Self {
            driver: text(raw.driver_name),
            device: device_name(&raw),
            socket: Socket::from_raw(socket),
            rx_queues_max: raw.max_rx_queues,
            tx_queues_max: raw.max_tx_queues,
            mtu_min: raw.min_mtu,
            mtu_max: u16::try_from(largest).unwrap_or(u16::MAX).min(raw.max_mtu),
            rss_types: RssTypes::from_bits(raw.flow_type_rss_offloads),
            rss_table_size: raw.reta_size,
            rss_key_bytes: raw.hash_key_size,
            rx_limits: DescriptorLimits::new(&raw.rx_desc_lim, raw.default_rxportconf.ring_size),
            tx_limits: DescriptorLimits::new(&raw.tx_desc_lim, raw.default_txportconf.ring_size),
            rx_offloads: raw.rx_offload_capa,
            tx_offloads: raw.tx_offload_capa,
            frame_overhead_bytes: overhead,
        })
    }

    pub(super) fn check_mtu(&self, asked: u16) -> Result<(), NicError> {
        let (min, max) = (self.mtu_min, self.mtu_max);
        if (min..=max).contains(&asked) { Ok(()) } else { Err(NicError::Mtu { asked, min, max }) }
    }
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one.
    pub up: bool,
    /// Its speed in Mbit/s, if known.
    pub speed_mbps: Option<u32>,
    /// Whether it carries both directions at once.
    pub full_duplex: bool,
}

impl Link {
    pub(super) fn read(nic: NicId) -> Result<Self, NicError> {
        let mut raw = sys::shim_link::default();
        // SAFETY: the NIC is open; `raw` is written.
        let returned = unsafe { sys::shim_link_status(nic.index(), &raw mut raw) };
        driver("read the link", returned)?;
        let known = raw.speed_mbps != 0 && raw.speed_mbps != u32::MAX;
        Ok(Self {
            up: raw.up != 0,
            speed_mbps: known.then_some(raw.speed_mbps),
            full_duplex: raw.full_duplex != 0,
        })
    }
}

/// A NIC's counters, `struct rte_eth_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost because the receive queues were full: the workers are too slow. net_tap's own
    /// losses are not here but in the interface's `TX dropped`.
    pub rx_missed: u64,
    /// Frames received damaged.
    pub rx_errors: u64,
    /// Frames not sent.
    pub tx_errors: u64,
    /// Times the pool had no buffer for a received frame.
    pub rx_no_mbuf: u64,
}

impl NicStats {
    pub(super) fn read(nic: NicId) -> Result<Self, NicError> {
        let mut raw = sys::rte_eth_stats::default();
        // SAFETY: the NIC is open; `raw` is written.
        let returned = unsafe { sys::rte_eth_stats_get(nic.index(), &raw mut raw) };
        driver("read the counters", returned)?;
        Ok(Self {
            rx_frames: raw.ipackets,
            tx_frames: raw.opackets,
            rx_bytes: raw.ibytes,
            tx_bytes: raw.obytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            tx_errors: raw.oerrors,
            rx_no_mbuf: raw.rx_nombuf,
        })
    }
}

/// The driver's raw answer.
pub(super) fn raw_info(nic: NicId) -> Result<sys::rte_eth_dev_info, NicError> {
    let mut raw = sys::rte_eth_dev_info::default();
    // SAFETY: `rte_eth_dev_info_get` checks the number; `raw` is written.
    let returned = unsafe { sys::rte_eth_dev_info_get(nic.index(), &raw mut raw) };
    driver("describe the NIC", returned)?;
    Ok(raw)
}

/// The device's name on its bus.
pub(super) fn device_name(raw: &sys::rte_eth_dev_info) -> String {
    if raw.device.is_null() {
        return String::new();
    }
    // SAFETY: the driver's answer refers to the device, which lives while the NIC exists.
    text(unsafe { sys::rte_dev_name(raw.device) })
}

/// Frame bytes beside the MTU, reckoned as `rte_eth_dev_configure` does.
fn frame_overhead_bytes(raw: &sys::rte_eth_dev_info) -> u32 {
    let max_mtu = u32::from(raw.max_mtu);
    if raw.max_mtu != u16::MAX && raw.max_rx_pktlen > max_mtu {
        raw.max_rx_pktlen - max_mtu
    } else {
        sys::SHIM_ETHER_OVERHEAD
    }
}

/// A driver's string; empty for null.
fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: DPDK's strings are terminated and live while their device does.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}
