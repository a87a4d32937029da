// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator can ask for: the public interface of the management side.
//!
//! The same [`Command`] comes from a line of the control socket, from a rules file and from the
//! netlink socket. It says what the words said, options whose execution is not available yet
//! included; whether it can be done is decided where it is applied.

use std::net::{IpAddr, Ipv4Addr};

pub use lb::conn::filter::ConnFilter;
use lb::service::family;
pub use lb::service::{Mss, SchedFlags, Tunnel, TunnelChecksum};
use wire::FamilyId;

use crate::capture;
use crate::sysctl::Request;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-h`: the help text.
    Help,
    /// `-v`: the version that ipvsadm 1.31 shows, since scripts ask for it.
    Version,
    /// `-A`: add a service.
    AddService(VirtualService, ServiceSpec),
    /// `-E`: replace the options of a service; what is not given becomes the default.
    EditService(VirtualService, ServiceSpec),
    /// `-D`: remove a service with its servers.
    DeleteService(VirtualService),
    /// `-C`: remove all services.
    Clear,
    /// `-a`: add a real server.
    AddServer(VirtualService, RealServer, ServerSpec),
    /// `-e`: replace the options of a real server; what is not given becomes the default.
    EditServer(VirtualService, RealServer, ServerSpec),
    /// `-d`: remove a real server.
    DeleteServer(VirtualService, RealServer),
    /// `-P -z`: add a FULLNAT local address.
    AddLocal(VirtualService, IpAddr),
    /// `-Q -z`: remove a FULLNAT local address.
    DeleteLocal(VirtualService, IpAddr),
    /// `-G`: list the FULLNAT local addresses of one service or of all.
    ListLocals(Option<VirtualService>),
    /// `-L`: list.
    List(Subject, Format),
    /// `-S`: print the rules that restore the table; with `-n` as numbers.
    Save {
        /// Addresses and ports as numbers (`-n`).
        numeric: bool,
    },
    /// `-R`: apply the rules that follow.
    Restore {
        /// All of them or none (`--atomic`).
        atomic: bool,
    },
    /// `-Z`: set the counters of one service or of all to zero.
    Zero(Option<VirtualService>),
    /// `--set`: timeouts in seconds; 0 keeps the present one.
    SetTimeouts {
        /// Established TCP connections.
        tcp: u32,
        /// TCP connections that one side has finished.
        tcp_fin: u32,
        /// UDP.
        udp: u32,
    },
    /// `--start-daemon`: start connection synchronisation.
    StartDaemon(DaemonSpec),
    /// `--stop-daemon`: stop connection synchronisation.
    StopDaemon {
        /// Which of the two daemons.
        role: DaemonRole,
        /// Its id, 0..=255.
        sync_id: u8,
    },
    /// `--drops`: what was dropped, why, and what to do about it; of one cause in full.
    Drops(Option<String>),
    /// `--capture`: frames as they come and go, with what became of them.
    Capture(capture::Request),
    /// `--sysctl`: show or change what the kernel has in `/proc/sys/net/ipv4/vs`.
    Sysctl(Request),
}

impl Command {
    /// Whether it is a line that `-S` prints: a change that belongs in a rules file.
    pub fn is_rule(&self) -> bool {
        matches!(self, Self::AddService(..) | Self::AddServer(..) | Self::AddLocal(..))
    }

    /// Whether it asks and changes nothing.
    pub fn is_query(&self) -> bool {
        matches!(
            self,
            Self::Help
                | Self::Version
                | Self::ListLocals(_)
                | Self::List(..)
                | Self::Save { .. }
                | Self::Drops(_)
                | Self::Sysctl(Request::ShowAll | Request::Show(_))
        )
    }
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

impl Transport {
    /// The name in listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// What names a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VirtualService {
    /// `-t`, `-u`, `--sctp-service`: protocol, virtual address and port.
    Address {
        /// Transport protocol.
        transport: Transport,
        /// Virtual address (VIP).
        address: IpAddr,
        /// Virtual port; 0 means every port.
        port: u16,
    },
    /// `-f`: packets that carry a firewall mark.
    Mark {
        /// The mark, 1 or more.
        mark: u32,
        /// Address family of the packets (`-6`).
        family: FamilyId,
    },
}

impl VirtualService {
    /// The virtual port; 0 for a mark.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address { port, .. } => *port,
            Self::Mark { .. } => 0,
        }
    }

    /// The address family of its clients.
    pub fn family(&self) -> FamilyId {
        match self {
            Self::Address { address, .. } => family(*address),
            Self::Mark { family, .. } => *family,
        }
    }
}

/// The options of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Name of the scheduler (`-s`).
    pub scheduler: String,
    /// Scheduler flags (`-b`).
    pub flags: SchedFlags,
    /// Seconds that a client stays with its server (`-p`); none if it does not.
    pub persistence_s: Option<u32>,
    /// How much of a client's address counts for persistence (`-M`); none for all of it.
    pub netmask: Option<Netmask>,
    /// Name of the persistence engine (`--pe`).
    pub engine: Option<String>,
    /// One-packet scheduling (`-o`).
    pub one_packet: bool,
    /// What MSS the ends of TCP connections may at most learn (`--mss`).
    pub mss: Option<Mss>,
}

impl ServiceSpec {
    /// The scheduler of a service that names none.
    pub const DEFAULT_SCHEDULER: &'static str = "wlc";
    /// How long a client stays with its server where `-p` has no value, in seconds.
    pub const DEFAULT_PERSISTENCE_S: u32 = 360;
}

impl Default for ServiceSpec {
    fn default() -> Self {
        Self {
            scheduler: Self::DEFAULT_SCHEDULER.to_owned(),
            flags: SchedFlags::default(),
            persistence_s: None,
            netmask: None,
            engine: None,
            one_packet: false,
            mss: None,
        }
    }
}

/// Which part of a client's address counts for persistence; never the whole address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netmask {
    /// Any 32-bit mask.
    V4(Ipv4Addr),
    /// Prefix length, 1..=127.
    V6(u8),
}

/// What names a real server within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0 is the port that the client asked for.
    pub port: u16,
}

/// The options of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// How packets reach it.
    pub forward: Forward,
    /// Its share of new connections, 0..=2147483647 (`-w`).
    pub weight: u32,
    /// Connections from which it takes no new ones (`-x`); 0 for no limit.
    pub upper: u32,
    /// Connections below which it takes new ones again (`-y`).
    pub lower: u32,
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// `-m`: NAT.
    Masquerade,
    /// `-b`: NAT of both ends, with a local address as the source.
    FullNat,
    /// `-g`: direct routing.
    Direct,
    /// `-i`: inside another IP packet.
    Tunnel(Tunnel),
}

/// What `-L` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Every service with its servers.
    All,
    /// One service with its servers.
    Service(VirtualService),
    /// Connections (`-c`), all or some (`--client`, `--vip`).
    Connections(ConnFilter),
    /// Timeouts (`--timeout`).
    Timeouts,
    /// The synchronisation daemons (`--daemon`).
    Daemons,
}

/// How `-L` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// Addresses and ports as numbers (`-n`).
    pub numeric: bool,
    /// Large numbers in full (`-X`, `--exact`).
    pub exact: bool,
    /// In the order of the table (`--nosort`).
    pub unsorted: bool,
    /// Which columns.
    pub columns: Columns,
}

/// Which columns a listing of services has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// Forwarding, weight and connections.
    #[default]
    Plain,
    /// Connections, packets and bytes so far (`--stats`).
    Stats,
    /// The same per second (`--rate`).
    Rate,
    /// Connection limits (`--thresholds`).
    Thresholds,
    /// Persistence templates (`--persistent-conn`).
    PersistentConn,
    /// Encapsulation (`--tun-info`).
    TunnelInfo,
}

/// One of the two synchronisation daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonRole {
    /// Sends connections.
    Master,
    /// Receives connections.
    Backup,
}

/// The options of a synchronisation daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSpec {
    /// Which of the two daemons.
    pub role: DaemonRole,
    /// Interface of the multicast group (`--mcast-interface`).
    pub interface: String,
    /// Id of the group of directors, 0..=255 (`--syncid`).
    pub sync_id: u8,
    /// Multicast group (`--mcast-group`); none for 224.0.0.81.
    pub group: Option<IpAddr>,
    /// UDP port, 1..65535 (`--mcast-port`); none for 8848.
    pub port: Option<u16>,
    /// TTL or hop limit, 1..=255 (`--mcast-ttl`); none for 1.
    pub ttl: Option<u8>,
    /// Longest message in bytes (`--sync-maxlen`); none for what the interface's MTU allows.
    pub message_max: Option<u16>,
}

impl DaemonSpec {
    /// The interface of a daemon that names none.
    pub const DEFAULT_INTERFACE: &'static str = "eth0";
}
