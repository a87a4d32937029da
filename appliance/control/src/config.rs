// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration: TOML text in, a complete and checked [`Config`] out.
//!
//! Only this module knows key names and defaults. Every value has been checked by itself and
//! against the others, so that whoever takes a `Config` need not ask again; the first mistake is
//! answered by a [`ConfigError`] with the file, line and key, and what would be right.
//! `configs/reference.toml` shows every key. Nothing here looks at the machine: whether a NIC or
//! an interface exists is found at boot and by `doctor`.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use lb::conn::tcp_state::Timeouts;
use lb::ids::NicId;
use lb::knobs::Knobs;
use lb::limits::Limits;
use lb::marks::MarkRule;
use lb::network::{Prefix, Route};
use lb::steer::rss::HashFields;
use lb::steer::toeplitz::Toeplitz;
use wire::Mac;

use crate::text;

pub use changes::{ChangedKnob, ChangedTimeout};
pub use device::Device;
pub use error::{ConfigError, Problem};

mod changes;
mod device;
mod error;
mod keys;
mod marks;
mod nics;
mod prefix;
mod read;
mod section;
#[cfg(test)]
mod tests;

/// Everything an operator decides before the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// DPDK's environment abstraction layer.
    pub eal: Eal,
    /// The poll-mode workers.
    pub workers: Workers,
    /// The NICs; [`NicId`] is the place in this list.
    pub nics: Vec<Nic>,
    /// Static routes, without those that follow from the NICs' addresses.
    pub routes: Vec<Route>,
    /// Which packets carry a firewall mark; the first that fits decides.
    pub marks: Vec<MarkRule>,
    /// How large the tables are.
    pub capacity: Capacity,
    /// Seconds that a connection lives in each state.
    pub timeouts: Timeouts,
    /// What the kernel has in `/proc/sys/net/ipv4/vs`.
    pub knobs: Knobs,
    /// Source ports for FULLNAT; disjoint from the host's `ip_local_port_range`.
    pub local_ports: RangeInclusive<u16>,
    /// The way to the host and back.
    pub host: Host,
    /// The management sockets.
    pub control: Control,
    /// Where Prometheus fetches metrics, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// The rules at the start.
    pub rules: Rules,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The first mistake, or why the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(ConfigError::Missing(file)),
            Err(e) => return Err(ConfigError::Unreadable { file, reason: e.kind() }),
        };
        match text::utf8(&bytes) {
            Ok(text) => Self::parse(text, &file),
            Err(line) => Err(ConfigError::NotText { file, line }),
        }
    }

    /// Reads the text of a configuration; `file_name` is what errors call it.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        read::config(text, file_name)
    }

    /// The limits of one worker's tables and of those that workers share.
    pub fn limits(&self) -> Limits {
        Limits {
            services: self.capacity.services,
            servers: self.capacity.servers,
            connections: self.capacity.connections.div_ceil(u32::from(self.workers.count)),
            half_open: self.capacity.half_open.div_ceil(u32::from(self.workers.count)),
            templates: self.capacity.templates,
        }
    }

    /// The static routes and those to the segments of the NICs' own addresses.
    pub fn all_routes(&self) -> Vec<Route> {
        let nics = (0..).map(NicId).zip(&self.nics);
        let connected = nics.flat_map(|(id, nic)| {
            let segments = nic.addresses.iter().filter(|own| !prefix::is_host(own));
            segments.map(move |own| Route {
                to: prefix::network(own),
                via: None,
                nic: Some(id),
                src: Some(own.address),
            })
        });
        connected.chain(self.routes.iter().copied()).collect()
    }
}

/// `[eal]`: DPDK's environment abstraction layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eal {
    /// Value of DPDK's `--lcores`; by default one core per worker and one for management.
    pub lcores: Option<String>,
    /// Whether memory comes from hugepages.
    pub hugepages: Hugepages,
    /// Memory for packet buffers and rings, in MiB.
    pub memory_mb: u32,
    /// Further arguments for DPDK, as they are.
    pub args: Vec<String>,
}

impl Default for Eal {
    fn default() -> Self {
        Self { lcores: None, hugepages: Hugepages::Auto, memory_mb: 1024, args: Vec::new() }
    }
}

/// Whether memory comes from hugepages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hugepages {
    /// If there are enough; otherwise from normal pages, with a warning.
    Auto,
    /// Only; without enough of them there is no start.
    On,
    /// Never.
    Off,
}

/// `[workers]`: the poll-mode workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// How many there are, 1..=[`lb::limits::WORKERS_MAX`].
    pub count: u16,
    /// Which of them owns a flow.
    pub owner: Owner,
    /// What they do after empty polls.
    pub idle: Idle,
    /// The key of all NICs' hashing over receive queues, [`RSS_KEY`] bytes; random without one.
    pub rss_key: Option<Vec<u8>>,
}

impl Default for Workers {
    fn default() -> Self {
        Self { count: 1, owner: Owner::Hash, idle: Idle::Spin, rss_key: None }
    }
}

/// Which worker owns a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The one that the client's address and port name, whatever the NIC did.
    Hash,
    /// The one whose queue got the request; refuses NAT servers, whose replies land elsewhere.
    Landing,
}

impl Owner {
    /// Says, with the remedy, why NAT servers cannot be served; none if they can.
    pub fn nat_conflict(self) -> Option<&'static str> {
        (self == Self::Landing).then_some(
            "-m needs [workers] owner = \"hash\": with \"landing\" the replies of NAT servers \
             would not find the worker that owns their connection",
        )
    }
}

/// What a worker does after empty polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It polls on: lowest latency, a whole core.
    Spin,
    /// It offers its core to others (`sched_yield`).
    Yield,
    /// It sleeps this many microseconds.
    Sleep(u32),
}

/// `[[nic]]`: a NIC that DPDK drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// What routes, metrics and `replay` call it.
    pub name: String,
    /// What DPDK calls it.
    pub device: Device,
    /// Receive queues, 1 to the number of workers.
    pub queues: u16,
    /// Descriptors of each queue, a power of two.
    pub descriptors: u16,
    /// The link-layer address to use instead of the NIC's own.
    pub mac: Option<Mac>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// How it spreads packets over its receive queues.
    pub rss: NicRss,
    /// The Linux interface that stands for this NIC: addresses, routes and neighbours are its.
    pub host_interface: Option<String>,
    /// Own addresses with the prefix length of their segment, where there is no host interface.
    pub addresses: Vec<Prefix>,
    /// Static neighbours, where there is no host interface.
    pub neighbours: Vec<StaticNeighbour>,
}

/// How a NIC spreads packets over its receive queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicRss {
    /// What of a packet it is to hash; none for what suits the NIC.
    pub fields: Option<HashFields>,
    /// Whether it does so already, set up by others, so that nothing is asked of its driver.
    pub preset: bool,
}

/// `[[nic.neighbour]]`: a neighbour whose link-layer address is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticNeighbour {
    /// Its address, on a segment of the NIC.
    pub address: IpAddr,
    /// Its link-layer address.
    pub mac: Mac,
}

/// `[connections]` and `[limits]`: how large the tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections of all workers together.
    pub connections: u32,
    /// Half-open connections of all workers together.
    pub half_open: u32,
    /// Services.
    pub services: u32,
    /// Real servers of all services together.
    pub servers: u32,
    /// Persistence templates of all services together.
    pub templates: u32,
}

impl Capacity {
    /// What `[limits]` says.
    fn limits(&self) -> [u32; 3] {
        [self.services, self.servers, self.templates]
    }
}

impl Default for Capacity {
    fn default() -> Self {
        let Limits { services, servers, connections, half_open, templates } = Limits::default();
        Self { connections, half_open, services, servers, templates }
    }
}

/// `[host]`: the way of frames that are not load-balanced to the host, and of the host's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Places in the ring for ARP, ND, VRRP, BGP and BFD, a power of two.
    pub vital_ring: u32,
    /// Places in the ring for all other frames, a power of two.
    pub other_ring: u32,
    /// How many frames other than the vital ones go to the host, per second.
    pub punt_rate: u32,
}

impl Default for Host {
    fn default() -> Self {
        Self { vital_ring: 512, other_ring: 1024, punt_rate: 20_000 }
    }
}

/// `[control]`: the management socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The line socket.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/pointsman/control.sock") }
    }
}

/// `[rules]`: the rules at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// A file in the form of `ipvsadm -S -n`, loaded before the first frame is received.
    pub file: Option<PathBuf>,
    /// Whether changes are saved back to it.
    pub persist: bool,
}

/// Source ports for FULLNAT by default: below Linux's default `ip_local_port_range`.
const LOCAL_PORTS: RangeInclusive<u16> = 1025..=32767;
/// Bytes of an RSS key: from what an IPv6 tuple needs to what NICs take at most.
pub const RSS_KEY: RangeInclusive<usize> = Toeplitz::KEY_MIN..=52;
/// Descriptors of a queue by default.
const DESCRIPTORS: u16 = 1024;
/// MTU by default, in bytes.
const MTU: u16 = 1500;
