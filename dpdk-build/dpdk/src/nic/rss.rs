// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hashing over the receive queues: what is in force, the table of queues, and flow rules by which
//! some NICs hash a part of the tuple.

use dpdk_sys as sys;

use super::info::raw_info;
use super::{NicError, NicId, RssConfig, driver};
use crate::{Errno, RssKey, RssTypes};

/// Types and key in force.
pub(super) fn read(nic: NicId) -> Result<RssConfig, NicError> {
    let mut bytes = [0; crate::RSS_KEY_MAX];
    let length = raw_info(nic)?.hash_key_size.min(crate::RSS_KEY_MAX as u8);
    let mut raw = sys::rte_eth_rss_conf {
        rss_key: if length > 0 { bytes.as_mut_ptr() } else { std::ptr::null_mut() },
        rss_key_len: length,
        ..Default::default()
    };
    // SAFETY: the NIC is open; `raw` and the key's bytes, as many as it takes, are written.
    let returned = unsafe { sys::rte_eth_dev_rss_hash_conf_get(nic.index(), &raw mut raw) };
    driver("read its hashing", returned)?;
    let key = RssKey::new(&bytes[..usize::from(length)]).filter(|_| length > 0);
    Ok(RssConfig { types: RssTypes::from_bits(raw.rss_hf), key })
}

/// The table from hash to queue.
pub(super) fn read_table(nic: NicId) -> Result<Vec<u16>, NicError> {
    let action = "read its table of queues";
    let size = raw_info(nic)?.reta_size;
    if size == 0 {
        return Err(NicError::Driver { action, errno: Errno::NotSupported });
    }
    let groups = usize::from(size).div_ceil(GROUP);
    let all = sys::rte_eth_rss_reta_entry64 { mask: u64::MAX, ..Default::default() };
    let mut raw = vec![all; groups];
    // SAFETY: the NIC is open; `raw` has a group for each 64 of `size` entries.
    let returned = unsafe { sys::rte_eth_dev_rss_reta_query(nic.index(), raw.as_mut_ptr(), size) };
    driver(action, returned)?;
    let queues = raw.iter().flat_map(|group| group.reta);
    Ok(queues.take(size.into()).collect())
}

/// Fills the table from hash to queue.
pub(super) fn write_table(nic: NicId, queue_of: impl Fn(u16) -> u16) -> Result<(), NicError> {
    let action = "fill its table of queues";
    let size = raw_info(nic)?.reta_size;
    if size == 0 {
        return Err(NicError::Driver { action, errno: Errno::NotSupported });
    }
    let all = sys::rte_eth_rss_reta_entry64 { mask: u64::MAX, ..Default::default() };
    let mut raw = vec![all; usize::from(size).div_ceil(GROUP)];
    let entries = raw.iter_mut().flat_map(|group| &mut group.reta);
    for (value, entry) in (0..size).zip(entries) {
        *entry = queue_of(value);
    }
    // SAFETY: the NIC is open; `raw` has a group for each 64 of `size` entries.
    let returned = unsafe { sys::rte_eth_dev_rss_reta_update(nic.index(), raw.as_mut_ptr(), size) };
    driver(action, returned)
}

/// Lets TCP and UDP packets of both families be spread over `queues` by a part of their tuples;
/// `only` says which, as `RTE_ETH_RSS_L3_*` and `RTE_ETH_RSS_L4_*` do.
pub(super) fn hash_only(
    nic: NicId,
    only: RssTypes,
    key: &RssKey,
    queues: &[u16],
) -> Result<(), NicError> {
    for (ipv6, udp, types) in [
        (false, false, RssTypes::IPV4_TCP),
        (false, true, RssTypes::IPV4_UDP),
        (true, false, RssTypes::IPV6_TCP),
        (true, true, RssTypes::IPV6_UDP),
    ] {
        let types = (types | only).bits();
        let key = key.as_bytes();
        // SAFETY: the NIC is open; key and queues, as long as said, are copied by the driver.
        let returned = unsafe {
            sys::shim_flow_rss(
                nic.index(),
                ipv6.into(),
                udp.into(),
                types,
                key.as_ptr(),
                key.len() as u32,
                queues.as_ptr(),
                queues.len() as u32,
            )
        };
        driver("hash a part of the tuple", returned)?;
    }
    Ok(())
}

/// Entries in a group of the table.
const GROUP: usize = sys::RTE_ETH_RETA_GROUP_SIZE as usize;
