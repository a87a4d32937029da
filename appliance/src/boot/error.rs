// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the appliance does not start, each with its remedy.

use control::config::ConfigError;
use dpdk::{EalError, NicError, PoolError, RegionError, RingError};

use crate::cpus::CpusError;
use crate::host::HostInterfaceError;
use crate::manage::{DoorError, ManageError};

/// Why the appliance does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// CPUs cannot be assigned.
    #[error(transparent)]
    Cpus(#[from] CpusError),
    /// DPDK does not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// There is no memory for packet buffers.
    #[error("packet buffers: {0}; raise [eal] memory_mb or lower descriptors")]
    Pool(#[from] PoolError),
    /// There is no memory for rings.
    #[error("rings: {0}; raise [eal] memory_mb")]
    Ring(#[from] RingError),
    /// There is no memory for connections.
    #[error("connection tables: {0}; lower [connections] capacity")]
    Region(#[from] RegionError),
    /// A NIC does not do what it should.
    #[error("NIC {nic}: {error}")]
    Nic {
        /// Its name in the configuration.
        nic: String,
        /// What is wrong.
        error: NicError,
    },
    /// A NIC keeps its own address.
    #[error(
        "NIC {nic}: {error}; leave out its [[nic]] mac, and the NIC keeps the address that it has"
    )]
    Mac {
        /// Its name in the configuration.
        nic: String,
        /// What is wrong.
        error: NicError,
    },
    /// A NIC cannot send what another one receives.
    #[error(
        "NIC {nic}: its driver, {driver}, does not send frames of several buffers, which NIC \
         {wide} with its [[nic]] mtu receives; lower that mtu to 2000 or less"
    )]
    NoChains {
        /// The NIC that cannot send.
        nic: String,
        /// The NIC with the largest MTU.
        wide: String,
        /// The driver of the first.
        driver: String,
    },
    /// A host interface cannot be had.
    #[error(transparent)]
    HostInterface(#[from] HostInterfaceError),
    /// The hugepages that the configuration insists on are not there.
    #[error(
        "[eal] hugepages = \"on\", but only {free_mb} of {wanted_mb} MiB are free; reserve more \
         (echo {pages} > /proc/sys/vm/nr_hugepages), or set \"auto\""
    )]
    Hugepages {
        /// MiB in free hugepages.
        free_mb: u64,
        /// MiB that are wanted.
        wanted_mb: u32,
        /// Pages of 2 MiB that would do.
        pages: u32,
    },
    /// The packet buffers that queues and rings can hold do not fit the memory.
    #[error(
        "[eal] memory_mb = {memory_mb} has room for {room} packet buffers, but queues and rings \
         need {needed}; set at least {enough_mb}, or lower descriptors"
    )]
    MemoryTooSmall {
        /// MiB that there are.
        memory_mb: u32,
        /// Buffers that fit.
        room: u64,
        /// Buffers that are needed.
        needed: u64,
        /// MiB that would do.
        enough_mb: u64,
    },
    /// A table could not be laid out in its memory.
    #[error("[connections] capacity is beyond what one worker's table can hold, 2^30")]
    Table,
    /// A thread ended that must not.
    #[error("a worker ended by itself; please report this with the configuration")]
    WorkerEnded,
    /// The control socket or the metrics port cannot be had.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The management side.
    #[error(transparent)]
    Manage(#[from] ManageError),
}
