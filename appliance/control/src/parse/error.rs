// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with the words of a command, in ipvsadm's sentences.

use crate::capture::CaptureError;
use crate::scan::ScanError;
use crate::sysctl::SysctlError;

/// Why words are no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first option is no verb.
    #[error("Try `ipvsadm -h' or 'ipvsadm --help' for more information.")]
    TryHelp,
    /// A word is not in the table of options, or its value is missing.
    #[error("{word}: {reason}")]
    Scan {
        /// The word.
        word: String,
        /// What is wrong with it.
        reason: ScanError,
    },
    /// A second verb.
    #[error("invalid option `{0}'")]
    NotAnOption(String),
    /// A word that belongs to no option.
    #[error("unexpected argument {0}")]
    Unexpected(String),
    /// An option that the verb needs.
    #[error("You need to supply the '{option}' option for the '{verb}' command")]
    Missing {
        /// The option's name.
        option: &'static str,
        /// The verb's name.
        verb: &'static str,
    },
    /// An option that does not go with the verb.
    #[error("Illegal '{option}' option with the '{verb}' command")]
    Illegal {
        /// The option's name.
        option: &'static str,
        /// The verb's name.
        verb: &'static str,
    },
    /// Two options that do not go together.
    #[error("The option '{option}' conflicts with the '{with}' option in the '{verb}' command")]
    Conflict {
        /// The later option's name.
        option: &'static str,
        /// The earlier option's name.
        with: &'static str,
        /// The verb's name.
        verb: &'static str,
    },
    /// An option that was given before.
    #[error("multiple '{0}' options specified")]
    Repeated(&'static str),
    /// `-L` of what has no such columns.
    #[error("options conflicts in the list command")]
    ListConflict,
    /// `-t`, `-u` or `--sctp-service`.
    #[error("illegal virtual server address[:port] specified")]
    Service,
    /// `-r`.
    #[error("illegal real server address[:port] specified")]
    Server,
    /// `-z`.
    #[error("illegal local address specified; an address without port")]
    Local,
    /// `-f`.
    #[error("invalid fwmark value `{0}' specified")]
    Mark(String),
    /// `-6`, which only marks have; the sentence ends with an empty line.
    #[error("-6 used before -f\n")]
    Ipv6BeforeMark,
    /// `-p` or `--set`.
    #[error("invalid timeout value `{0}' specified")]
    Timeout(String),
    /// `--set` without its three values.
    #[error("--set option requires 3 timeout values")]
    SetValues,
    /// `-M` of an IPv4 service.
    #[error("illegal virtual server persistent mask specified")]
    Netmask,
    /// `-M` of an IPv6 service.
    #[error("illegal ipv6 netmask specified")]
    Netmask6,
    /// Port 0 means every port, and only persistence keeps a client's ports together.
    #[error("Zero port specified for non-persistent service")]
    ZeroPort,
    /// `-o`.
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacket,
    /// `-b` of a service: no such flag.
    #[error("invalid scheduler flag `{0}'")]
    SchedulerFlag(String),
    /// `-b` of a service: the flag of another scheduler.
    #[error("incompatible scheduler flag `{0}'")]
    ForeignSchedulerFlag(String),
    /// `--client`.
    #[error("illegal client specified; an address, or a range like 198.51.100.0/24")]
    Client,
    /// `--vip`.
    #[error("illegal virtual address[:port] specified")]
    Vip,
    /// `--server`.
    #[error("illegal real server address[:port] specified")]
    OfServer,
    /// What chooses connections, without `-c`.
    #[error("--client, --vip, --mark and --server choose connections; give -c with them")]
    NoConnections,
    /// `--mss`.
    #[error("illegal mss specified; auto, or 536 to 65535 bytes")]
    Mss,
    /// `-w`.
    #[error("illegal weight specified")]
    Weight,
    /// `-x`.
    #[error("illegal u_threshold specified")]
    UpperThreshold,
    /// `-y`.
    #[error("illegal l_threshold specified")]
    LowerThreshold,
    /// Service and server of different families without `-i`.
    #[error("Different address family is allowed only for tunneling servers")]
    FamilyMismatch,
    /// `--tun-type`.
    #[error("illegal tunnel type specified")]
    TunnelType,
    /// `--tun-port`.
    #[error("illegal tunnel port specified")]
    TunnelPort,
    /// A tunnel option without `-i`.
    #[error("Tunnel options conflict with forward method")]
    NoTunnel,
    /// An option that the tunnel type needs.
    #[error("You need to supply the '{option}' option for the '{tunnel}' tunnel type")]
    TunnelMissing {
        /// The option's name.
        option: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// An option that does not go with the tunnel type.
    #[error("Illegal '{option}' option with the '{tunnel}' tunnel type")]
    TunnelIllegal {
        /// The option's name.
        option: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// Two options that do not go together.
    #[error(
        "The option '{option}' conflicts with the '{with}' option in the '{tunnel}' tunnel type"
    )]
    TunnelConflict {
        /// The later option's name.
        option: &'static str,
        /// The earlier option's name.
        with: &'static str,
        /// The tunnel type.
        tunnel: &'static str,
    },
    /// `--start-daemon`.
    #[error("illegal start-daemon parameter specified")]
    StartDaemon,
    /// `--stop-daemon`.
    #[error("illegal start_daemon specified")]
    StopDaemon,
    /// `--syncid`.
    #[error("illegal syncid specified")]
    SyncId,
    /// `--mcast-group` with a colon.
    #[error("invalid IPv6 mcast-group `{0}'")]
    McastGroup6(String),
    /// `--mcast-group` without one.
    #[error("invalid IPv4 mcast-group `{0}'")]
    McastGroup4(String),
    /// `--mcast-port`.
    #[error("illegal mcast-port specified")]
    McastPort,
    /// `--mcast-ttl`.
    #[error("illegal mcast-ttl specified")]
    McastTtl,
    /// `--sysctl`.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// `--capture`.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// `--sync-maxlen`.
    #[error("illegal sync-maxlen specified")]
    SyncMaxLen,
}

impl ParseError {
    /// The exit status: 2 for a check of ipvsadm's own, 255 for popt's.
    pub fn status(&self) -> u8 {
        match self {
            Self::TryHelp | Self::Scan { .. } | Self::Sysctl(_) => 255,
            _ => 2,
        }
    }

    /// Whether it ends `-R`; an error of popt's spoils its own line only.
    pub fn ends_restore(&self) -> bool {
        !matches!(self, Self::Scan { .. })
    }
}
