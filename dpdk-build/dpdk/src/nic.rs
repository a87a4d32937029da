// SPDX-License-Identifier: MIT OR Apache-2.0
//! A NIC: opened by name, configured, started, and closed when dropped.
//!
//! The one rule beside Rust's own: queues come from [`Nic::start`] and each keeps the NIC open, so
//! that [`Nic::stop`] refuses while one exists, and a worker never polls a NIC that is not running.
//! Control calls are not made for several threads: a [`Nic`] can be sent to another thread but not
//! shared.

mod config;
mod device;
mod info;
mod rss;

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys as sys;
use wire::Mac;

use crate::error::check;
use crate::{Eal, Errno, Pool, RssKey, RssTypes, RxQueue, TxQueue};

pub use config::{Descriptors, NicConfig, RssConfig};
pub(crate) use device::Device;
pub use info::{Link, NicInfo, NicStats};

/// A NIC by DPDK's number, or any other number a frame is tagged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NicId(u16);

impl NicId {
    /// The NIC of this number.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.0
    }
}

/// An open NIC.
#[derive(Debug)]
pub struct Nic {
    device: Arc<Device>,
    _not_shared: PhantomData<Cell<()>>,
}

impl Nic {
    /// Names of the NICs that DPDK has found or made.
    #[must_use]
    pub fn names(eal: &Eal) -> Vec<String> {
        device::names(eal)
    }

    /// Opens a NIC: a PCI address (`0000:03:00.0`), or the arguments of a virtual device
    /// (`net_tap0,iface=wan0`), which is made unless it exists. It can be open once.
    pub fn open(eal: &Eal, device: &str) -> Result<Self, NicError> {
        Ok(Self { device: Arc::new(Device::open(eal, device)?), _not_shared: PhantomData })
    }

    /// Gives the NIC its queues, sizes and hashing; received frames go to buffers of `pool`.
    ///
    /// The NIC must be stopped; everything is checked against what the driver offers first.
    pub fn configure(&mut self, config: &NicConfig, pool: &Pool) -> Result<(), NicError> {
        let device = self.stopped()?;
        device.configure(config, pool)
    }

    /// Starts receiving and sending, and hands out all queues.
    pub fn start(&mut self) -> Result<Queues, NicError> {
        let device = self.stopped()?;
        let (rx_count, tx_count) = device.start()?;
        let (rx, tx) = (&self.device, &self.device);
        Ok(Queues {
            rx: (0..rx_count).map(|queue| RxQueue::new(Arc::clone(rx), queue)).collect(),
            tx: (0..tx_count).map(|queue| TxQueue::new(Arc::clone(tx), queue)).collect(),
        })
    }

    /// Stops the NIC; refused while a queue exists. A stopped NIC can be configured and started
    /// again.
    pub fn stop(&mut self) -> Result<(), NicError> {
        Arc::get_mut(&mut self.device).ok_or(NicError::QueuesInUse)?.stop()
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> NicId {
        self.device.id()
    }

    /// What the driver says about the NIC.
    pub fn info(&self) -> Result<NicInfo, NicError> {
        NicInfo::read(self.id())
    }

    /// The address it receives frames for.
    pub fn mac(&self) -> Result<Mac, NicError> {
        let mut address = sys::rte_ether_addr::default();
        // SAFETY: the NIC is open; `address` is written.
        let returned = unsafe { sys::rte_eth_macaddr_get(self.port(), &raw mut address) };
        driver("read the MAC address", returned)?;
        Ok(Mac(address.addr_bytes))
    }

    /// Changes the address it receives frames for.
    pub fn set_mac(&mut self, mac: Mac) -> Result<(), NicError> {
        let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
        // SAFETY: the NIC is open; `address` is read.
        let returned =
            unsafe { sys::rte_eth_dev_default_mac_addr_set(self.port(), &raw mut address) };
        driver("set the MAC address", returned)
    }

    /// Bytes of the largest IP packet it receives and sends.
    pub fn mtu(&self) -> Result<u16, NicError> {
        let mut mtu = 0;
        // SAFETY: the NIC is open; `mtu` is written.
        let returned = unsafe { sys::rte_eth_dev_get_mtu(self.port(), &raw mut mtu) };
        driver("read the MTU", returned)?;
        Ok(mtu)
    }

    /// Changes the MTU, in bytes; some drivers want the NIC stopped.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), NicError> {
        self.info()?.check_mtu(mtu)?;
        // SAFETY: the NIC is open.
        driver("set the MTU", unsafe { sys::rte_eth_dev_set_mtu(self.port(), mtu) })
    }

    /// Whether it receives frames for any address.
    #[must_use]
    pub fn is_promiscuous(&self) -> bool {
        // SAFETY: the NIC is open.
        unsafe { sys::rte_eth_promiscuous_get(self.port()) == 1 }
    }

    /// Receives frames for any address, or for its own only.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), NicError> {
        // SAFETY: the NIC is open.
        let returned = unsafe {
            if on {
                sys::rte_eth_promiscuous_enable(self.port())
            } else {
                sys::rte_eth_promiscuous_disable(self.port())
            }
        };
        driver("change promiscuous mode", returned)
    }

    /// Whether it receives frames for every multicast address.
    #[must_use]
    pub fn is_all_multicast(&self) -> bool {
        // SAFETY: the NIC is open.
        unsafe { sys::rte_eth_allmulticast_get(self.port()) == 1 }
    }

    /// Receives frames for every multicast address from now on.
    pub fn receive_all_multicast(&mut self) -> Result<(), NicError> {
        // SAFETY: the NIC is open.
        let returned = unsafe { sys::rte_eth_allmulticast_enable(self.port()) };
        driver("receive all multicast", returned)
    }

    /// The state of the link, without waiting. net_tap whose interface was moved to another
    /// network namespace says "down" for ever.
    pub fn link(&self) -> Result<Link, NicError> {
        Link::read(self.id())
    }

    /// The NIC's counters since start or reset.
    pub fn stats(&self) -> Result<NicStats, NicError> {
        NicStats::read(self.id())
    }

    /// Sets the NIC's counters to zero.
    pub fn reset_stats(&mut self) -> Result<(), NicError> {
        // SAFETY: the NIC is open.
        driver("reset the counters", unsafe { sys::rte_eth_stats_reset(self.port()) })
    }

    /// The hashing in force: types and key. Of a configured NIC only.
    pub fn rss(&self) -> Result<RssConfig, NicError> {
        rss::read(self.id())
    }

    /// The queue each value of (hash modulo table size) goes to. Of a started NIC only.
    pub fn rss_table(&self) -> Result<Vec<u16>, NicError> {
        rss::read_table(self.id())
    }

    /// Sends each value of (hash modulo table size) to the queue that `queue_of` gives. Of a
    /// started NIC only.
    pub fn set_rss_table(&mut self, queue_of: impl Fn(u16) -> u16) -> Result<(), NicError> {
        rss::write_table(self.id(), queue_of)
    }

    /// Spreads TCP and UDP packets over queues by the part of their tuples that `only` names, by
    /// flow rules (`rte_flow`). Of a started NIC only; few NICs can.
    pub fn hash_only(
        &mut self,
        only: RssTypes,
        key: &RssKey,
        queues: &[u16],
    ) -> Result<(), NicError> {
        rss::hash_only(self.id(), only, key, queues)
    }

    fn port(&self) -> u16 {
        self.id().index()
    }

    /// The device, if no queue exists and it is stopped.
    fn stopped(&mut self) -> Result<&mut Device, NicError> {
        let device = Arc::get_mut(&mut self.device).ok_or(NicError::QueuesInUse)?;
        if device.is_started() { Err(NicError::Started) } else { Ok(device) }
    }
}

/// The queues of a started NIC, by number.
#[derive(Debug)]
pub struct Queues {
    /// Receive queues.
    pub rx: Vec<RxQueue>,
    /// Transmit queues.
    pub tx: Vec<TxQueue>,
}

/// Which of a NIC's two kinds of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the wire.
    Receive,
    /// To the wire.
    Transmit,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receive => "receive",
            Self::Transmit => "transmit",
        })
    }
}

/// Why a NIC does not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NicError {
    /// No such device, or no driver took it.
    #[error(
        "no such NIC: {0}; `dpdk-devbind.py --status` lists PCI addresses, and a virtual \
             device is written like net_tap0,iface=wan0"
    )]
    NotFound(Errno),
    /// The name holds a zero byte.
    #[error("a device's name cannot contain a zero byte; remove it")]
    Name,
    /// A second `open`.
    #[error("the NIC is open already; open each NIC once")]
    AlreadyOpen,
    /// Started before it was configured.
    #[error("the NIC has no queues; configure it first")]
    NotConfigured,
    /// Configured or started while it runs.
    #[error("the NIC is running; stop it first")]
    Started,
    /// Stopped while somebody may poll it.
    #[error("queues of the NIC are in use; end their threads first")]
    QueuesInUse,
    /// More queues than the NIC has, or none.
    #[error("{asked} {direction} queues cannot be; the NIC offers 1 to {max}")]
    QueueCount {
        /// Which kind.
        direction: Direction,
        /// What was asked for.
        asked: u16,
        /// What the driver offers.
        max: u16,
    },
    /// net_tap pairs each receive queue with a transmit queue.
    #[error("net_tap needs as many receive queues ({rx}) as transmit queues ({tx})")]
    UnequalQueues {
        /// Receive queues asked for.
        rx: u16,
        /// Transmit queues asked for.
        tx: u16,
    },
    /// A queue length out of range.
    #[error("{asked} {direction} descriptors cannot be; {min} to {max} can, in steps of {step}")]
    DescriptorCount {
        /// Which kind.
        direction: Direction,
        /// What was asked for.
        asked: u16,
        /// The fewest.
        min: u16,
        /// The most.
        max: u16,
        /// What the number must be a multiple of.
        step: u16,
    },
    /// An MTU out of range.
    #[error("an MTU of {asked} bytes cannot be; the driver takes {min} to {max}")]
    Mtu {
        /// What was asked for.
        asked: u16,
        /// The smallest.
        min: u16,
        /// The largest.
        max: u16,
    },
    /// A frame of this MTU does not fit a segment, and the driver makes no chains.
    #[error(
        "a frame of {frame_bytes} bytes does not fit a segment of {segment_bytes} and the \
             driver makes no chains; lower the MTU or use larger segments"
    )]
    Segment {
        /// The largest frame of the MTU.
        frame_bytes: u32,
        /// What a segment of the pool holds.
        segment_bytes: u16,
    },
    /// Hashing the NIC does not offer.
    #[error("the NIC cannot hash {0}; ask for types its info lists")]
    RssTypes(RssTypes),
    /// A key of the wrong length.
    #[error("an RSS key of {asked} bytes does not fit; this NIC's has {needed}")]
    RssKey {
        /// What was given.
        asked: usize,
        /// What the NIC takes.
        needed: u8,
    },
    /// The driver refused.
    #[error("the driver could not {action}: {errno}")]
    Driver {
        /// What was asked of it.
        action: &'static str,
        /// Its answer.
        errno: Errno,
    },
}

/// A driver's return value as a result.
fn driver(action: &'static str, returned: i32) -> Result<(), NicError> {
    check(returned).map_err(|errno| NicError::Driver { action, errno })
}
