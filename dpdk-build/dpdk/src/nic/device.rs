// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device behind a [`Nic`](super::Nic) and its queues: whoever of them is last closes it.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use dpdk_sys as sys;

use super::config::{Checked, NicConfig, RssConfig};
use super::info::{self, NicInfo};
use super::{NicError, NicId, driver};
use crate::error::check;
use crate::{Eal, Errno, Pool, RssKey};

/// An open ethdev port.
#[derive(Debug)]
pub(crate) struct Device {
    id: NicId,
    /// Whether we made it appear and have to remove it.
    probed: bool,
    state: State,
    /// Every pool its queues were given; buffers may wait in the hardware until it is closed.
    pools: Vec<Pool>,
    /// Drivers keep a pointer to the key they were configured with.
    rss_key: Option<Box<RssKey>>,
    eal: Eal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opened,
    Configured { rx_queues: u16, tx_queues: u16 },
    Started { rx_queues: u16, tx_queues: u16 },
}

impl Device {
    /// Finds the device or makes it, and claims it.
    pub(super) fn open(eal: &Eal, device: &str) -> Result<Self, NicError> {
        let devargs = CString::new(device).map_err(|_| NicError::Name)?;
        let name = device.split(',').next().unwrap_or_default();
        let mut open = eal.open_nics();
        let (id, probed) = match find(name) {
            Some(id) => (id, false),
            None => {
                // SAFETY: EAL is up, `devargs` is terminated, the lock keeps other probes out.
                let returned = unsafe { sys::rte_dev_probe(devargs.as_ptr()) };
                check(returned).map_err(NicError::NotFound)?;
                (find(name).ok_or(NicError::NotFound(Errno::NoDevice))?, true)
            }
        };
        if !open.insert(id) {
            return Err(NicError::AlreadyOpen);
        }
        drop(open);
        let (state, pools, rss_key) = (State::Opened, Vec::new(), None);
        Ok(Self { id, probed, state, pools, rss_key, eal: eal.clone() })
    }

    pub(crate) fn id(&self) -> NicId {
        self.id
    }

    pub(super) fn is_started(&self) -> bool {
        matches!(self.state, State::Started { .. })
    }

    /// Sets up queues; the device is stopped and `&mut self` proves that it has none in use.
    pub(super) fn configure(&mut self, config: &NicConfig, pool: &Pool) -> Result<(), NicError> {
        let info = info::NicInfo::read(self.id)?;
        let checked = config.check(&info, pool.segment_bytes())?;
        // Before the driver is asked: it may keep a part of what fails.
        self.pools.push(pool.clone());
        self.state = State::Opened;
        self.configure_port(config, &checked)?;
        self.set_up_queues(config, &checked, &info, pool)?;
        let NicConfig { rx_queues, tx_queues, .. } = *config;
        self.state = State::Configured { rx_queues, tx_queues };
        Ok(())
    }

    /// Starts; returns the numbers of receive and transmit queues.
    pub(super) fn start(&mut self) -> Result<(u16, u16), NicError> {
        let State::Configured { rx_queues, tx_queues } = self.state else {
            return Err(NicError::NotConfigured);
        };
        // SAFETY: the port is ours, configured and stopped.
        driver("start", unsafe { sys::rte_eth_dev_start(self.id.index()) })?;
        self.state = State::Started { rx_queues, tx_queues };
        Ok((rx_queues, tx_queues))
    }

    /// Stops, if it runs; `&mut self` proves that no queue is in use.
    pub(super) fn stop(&mut self) -> Result<(), NicError> {
        if let State::Started { rx_queues, tx_queues } = self.state {
            // SAFETY: the port is ours.
            driver("stop", unsafe { sys::rte_eth_dev_stop(self.id.index()) })?;
            self.state = State::Configured { rx_queues, tx_queues };
        }
        Ok(())
    }

    fn configure_port(&mut self, config: &NicConfig, checked: &Checked) -> Result<(), NicError> {
        let mut raw = sys::rte_eth_conf::default();
        raw.rxmode.mtu = config.mtu.into();
        raw.rxmode.offloads = checked.rx_offloads;
        raw.txmode.offloads = checked.tx_offloads;
        let key = config.rss.as_ref().and_then(|rss| rss.key.clone()).map(Box::new);
        if let Some(RssConfig { types, .. }) = &config.rss {
            raw.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            raw.rx_adv_conf.rss_conf.rss_hf = types.bits();
        }
        if let Some(key) = &key {
            let bytes = key.as_bytes();
            raw.rx_adv_conf.rss_conf.rss_key = bytes.as_ptr().cast_mut();
            raw.rx_adv_conf.rss_conf.rss_key_len = bytes.len() as u8;
        }
        // SAFETY: the port is ours and stopped. `raw` is copied with its pointer to the key's
        // bytes, which `self` keeps until another configuration takes its place.
        let returned = unsafe {
            sys::rte_eth_dev_configure(
                self.id.index(),
                config.rx_queues,
                config.tx_queues,
                &raw const raw,
            )
        };
        driver("take the configuration", returned)?;
        self.rss_key = key;
        Ok(())
    }

    fn set_up_queues(
        &self,
        config: &NicConfig,
        checked: &Checked,
        info: &NicInfo,
        pool: &Pool,
    ) -> Result<(), NicError> {
        let (port, node) = (self.id.index(), node(info));
        for queue in 0..config.rx_queues {
            // SAFETY: configured with this many queues; no own queue configuration; the pool lives
            // as long as the device.
            let returned = unsafe {
                let (length, pool) = (checked.rx_descriptors, pool.raw().as_ptr());
                sys::rte_eth_rx_queue_setup(port, queue, length, node, ptr::null(), pool)
            };
            driver("set up a receive queue", returned)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as above.
            let returned = unsafe {
                let length = checked.tx_descriptors;
                sys::rte_eth_tx_queue_setup(port, queue, length, node, ptr::null())
            };
            driver("set up a transmit queue", returned)?;
        }
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let mut open = self.eal.open_nics();
        let port = self.id.index();
        let device = info::raw_info(self.id).map_or(ptr::null_mut(), |raw| raw.device);
        // SAFETY: neither a `Nic` nor a queue is left. The lock keeps other probes out. A device
        // that we did not probe stays with EAL.
        unsafe {
            if matches!(self.state, State::Started { .. }) {
                sys::rte_eth_dev_stop(port);
            }
            sys::rte_eth_dev_close(port);
            if self.probed && !device.is_null() {
                sys::rte_dev_remove(device);
            }
        }
        open.remove(&self.id);
    }
}

/// Names of all ports nobody else owns.
pub(super) fn names(eal: &Eal) -> Vec<String> {
    let _no_changes = eal.open_nics();
    ports().filter_map(port_name).collect()
}

/// The port of this name, or of the device of this name.
fn find(name: &str) -> Option<NicId> {
    ports().find(|nic| {
        let of_device = || info::raw_info(*nic).map(|raw| info::device_name(&raw));
        port_name(*nic).is_some_and(|own| own == name) || of_device().is_ok_and(|own| own == name)
    })
}

/// Ports that no other driver (bonding, failsafe) has taken for itself.
fn ports() -> impl Iterator<Item = NicId> {
    let next = |from: u16| {
        // SAFETY: any number may be asked for.
        let found = unsafe { sys::rte_eth_find_next_owned_by(from, NO_OWNER) };
        u16::try_from(found).ok().filter(|id| u32::from(*id) < sys::RTE_MAX_ETHPORTS)
    };
    std::iter::successors(next(0), move |id| next(id + 1)).map(NicId::new)
}

fn port_name(nic: NicId) -> Option<String> {
    let mut name = [0 as c_char; sys::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: the name, terminated, has at most RTE_ETH_NAME_MAX_LEN bytes.
    let returned = unsafe { sys::rte_eth_dev_get_name_by_port(nic.index(), name.as_mut_ptr()) };
    if returned != 0 {
        return None;
    }
    // SAFETY: filled and terminated, since the call succeeded.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Some(name.to_string_lossy().into_owned())
}

/// The node for a queue's memory, as DPDK numbers it: -1 becomes its "any" as unsigned.
fn node(info: &NicInfo) -> u32 {
    info.socket.raw().cast_unsigned()
}

/// `RTE_ETH_DEV_NO_OWNER`.
const NO_OWNER: u64 = 0;
