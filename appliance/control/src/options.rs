// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two tables of the dialect: how verbs and options are spelled, and which go together.
//!
//! Both are ipvsadm 1.31's (`ipvsadm.c`, `options_table` and `commands_v_options`), with the verbs
//! and options that users of DPVS know for FULLNAT, and `--drops`. Errors name a verb or an option
//! by its name here, which is not always its long spelling.

use Token::Option as Just;
use Value::{None as Bare, Optional, Required};

/// What a command line asks for; the first option must be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    AddService,
    EditService,
    DeleteService,
    Clear,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
    AddLocal,
    DeleteLocal,
    ListLocals,
    Drops,
    Sysctl,
    Help,
    Version,
}

/// What an option says, whatever its spelling; in the order in which errors look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forward,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    OnePacket,
    Engine,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxLen,
    TunnelInfo,
    TunnelType,
    TunnelPort,
    TunnelNoCsum,
    TunnelCsum,
    TunnelRemCsum,
    LocalAddress,
    LocalInterface,
    Mss,
    Atomic,
    Client,
    Vip,
    OfMark,
    OfServer,
}

impl Opt {
    /// Every option with the name that errors give it.
    #[rustfmt::skip]
    const NAMES: [(Self, &'static str); 42] = [
        (Self::Numeric, "numeric"), (Self::Connection, "connection"),
        (Self::Service, "service-address"), (Self::Scheduler, "scheduler"),
        (Self::Persistent, "persistent"), (Self::Netmask, "netmask"),
        (Self::Server, "real-server"), (Self::Forward, "forwarding-method"),
        (Self::Weight, "weight"), (Self::UpperThreshold, "u-threshold"),
        (Self::LowerThreshold, "l-threshold"), (Self::McastInterface, "mcast-interface"),
        (Self::Timeout, "timeout"), (Self::Daemon, "daemon"), (Self::Stats, "stats"),
        (Self::Rate, "rate"), (Self::Thresholds, "thresholds"),
        (Self::PersistentConn, "persistent-conn"), (Self::NoSort, "nosort"),
        (Self::SyncId, "syncid"), (Self::Exact, "exact"), (Self::OnePacket, "ops"),
        (Self::Engine, "pe"), (Self::SchedulerFlags, "sched-flags"),
        (Self::McastGroup, "mcast-group"), (Self::McastPort, "mcast-port"),
        (Self::McastTtl, "mcast-ttl"), (Self::SyncMaxLen, "sync-maxlen"),
        (Self::TunnelInfo, "tun-info"), (Self::TunnelType, "tun-type"),
        (Self::TunnelPort, "tun-port"), (Self::TunnelNoCsum, "tun-nocsum"),
        (Self::TunnelCsum, "tun-csum"), (Self::TunnelRemCsum, "tun-remcsum"),
        (Self::LocalAddress, "local-address"), (Self::LocalInterface, "ifname"),
        (Self::Mss, "mss"), (Self::Atomic, "atomic"),
        (Self::Client, "client"), (Self::Vip, "vip"),
        (Self::OfMark, "mark"), (Self::OfServer, "server"),
    ];

    /// Every option, in the order in which errors look at them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::NAMES.iter().map(|(option, _)| *option)
    }

    /// The name in errors.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.get(self as usize).map_or("", |(_, name)| name)
    }
}

/// The options that a command line gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given(u64);

impl Given {
    pub(crate) fn insert(&mut self, option: Opt) {
        self.0 |= 1 << option as u64;
    }

    pub(crate) fn contains(self, option: Opt) -> bool {
        self.0 & 1 << option as u64 != 0
    }

    pub(crate) fn any(self, options: &[Opt]) -> bool {
        options.iter().any(|option| self.contains(*option))
    }
}

/// What a spelling stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Verb(Verb),
    /// An option that one spelling stands for.
    Option(Opt),
    Tcp,
    Udp,
    Sctp,
    Mark,
    Ipv6,
    Masquerade,
    FullNat,
    Direct,
    Tunnel,
    Sort,
}

impl Token {
    /// The option that is given by this token; none for a verb and for what may be repeated.
    pub(crate) fn option(self) -> Option<Opt> {
        match self {
            Self::Option(option) => Some(option),
            Self::Tcp | Self::Udp | Self::Sctp | Self::Mark => Some(Opt::Service),
            Self::Masquerade | Self::FullNat | Self::Direct | Self::Tunnel => Some(Opt::Forward),
            Self::Verb(_) | Self::Ipv6 | Self::Sort => None,
        }
    }
}

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    Required,
    /// The next word, unless it starts with a dash.
    Optional,
}

/// One way to write a verb or an option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) token: Token,
    pub(crate) value: Value,
}

const fn verb(long: &'static str, short: char, verb: Verb) -> Spelling {
    Spelling { long, short: Some(short), token: Token::Verb(verb), value: Value::None }
}

const fn long_verb(long: &'static str, verb: Verb, value: Value) -> Spelling {
    Spelling { long, short: None, token: Token::Verb(verb), value }
}

const fn both(long: &'static str, short: char, token: Token, value: Value) -> Spelling {
    Spelling { long, short: Some(short), token, value }
}

const fn long(long: &'static str, token: Token, value: Value) -> Spelling {
    Spelling { long, short: None, token, value }
}

/// Every spelling but that of `-b`, which depends on the verb.
#[rustfmt::skip]
const SPELLINGS: &[Spelling] = &[
    verb("add-service", 'A', Verb::AddService),
    verb("edit-service", 'E', Verb::EditService),
    verb("delete-service", 'D', Verb::DeleteService),
    verb("clear", 'C', Verb::Clear),
    verb("list", 'L', Verb::List),
    verb("list", 'l', Verb::List),
    verb("zero", 'Z', Verb::Zero),
    verb("add-server", 'a', Verb::AddServer),
    verb("edit-server", 'e', Verb::EditServer),
    verb("delete-server", 'd', Verb::DeleteServer),
    verb("help", 'h', Verb::Help),
    verb("version", 'v', Verb::Version),
    verb("restore", 'R', Verb::Restore),
    verb("save", 'S', Verb::Save),
    verb("add-laddr", 'P', Verb::AddLocal),
    verb("del-laddr", 'Q', Verb::DeleteLocal),
    verb("get-laddr", 'G', Verb::ListLocals),
    long_verb("set", Verb::Set, Bare),
    long_verb("start-daemon", Verb::StartDaemon, Required),
    long_verb("stop-daemon", Verb::StopDaemon, Required),
    long_verb("drops", Verb::Drops, Bare),
    long_verb("sysctl", Verb::Sysctl, Optional),
    both("tcp-service", 't', Token::Tcp, Required),
    both("udp-service", 'u', Token::Udp, Required),
    long("sctp-service", Token::Sctp, Required),
    both("fwmark-service", 'f', Token::Mark, Required),
    both("ipv6", '6', Token::Ipv6, Bare),
    both("scheduler", 's', Just(Opt::Scheduler), Required),
    both("persistent", 'p', Just(Opt::Persistent), Optional),
    both("netmask", 'M', Just(Opt::Netmask), Required),
    long("pe", Just(Opt::Engine), Required),
    both("ops", 'o', Just(Opt::OnePacket), Bare),
    both("real-server", 'r', Just(Opt::Server), Required),
    both("masquerading", 'm', Token::Masquerade, Bare),
    both("ipip", 'i', Token::Tunnel, Bare),
    both("gatewaying", 'g', Token::Direct, Bare),
    both("weight", 'w', Just(Opt::Weight), Required),
    both("u-threshold", 'x', Just(Opt::UpperThreshold), Required),
    both("l-threshold", 'y', Just(Opt::LowerThreshold), Required),
    long("mss", Just(Opt::Mss), Required),
    long("atomic", Just(Opt::Atomic), Bare),
    long("tun-type", Just(Opt::TunnelType), Required),
    long("tun-port", Just(Opt::TunnelPort), Required),
    long("tun-nocsum", Just(Opt::TunnelNoCsum), Bare),
    long("tun-csum", Just(Opt::TunnelCsum), Bare),
    long("tun-remcsum", Just(Opt::TunnelRemCsum), Bare),
    both("numeric", 'n', Just(Opt::Numeric), Bare),
    both("connection", 'c', Just(Opt::Connection), Bare),
    long("client", Just(Opt::Client), Required),
    long("vip", Just(Opt::Vip), Required),
    long("mark", Just(Opt::OfMark), Required),
    long("server", Just(Opt::OfServer), Required),
    long("timeout", Just(Opt::Timeout), Bare),
    long("daemon", Just(Opt::Daemon), Bare),
    long("stats", Just(Opt::Stats), Bare),
    long("rate", Just(Opt::Rate), Bare),
    long("thresholds", Just(Opt::Thresholds), Bare),
    long("persistent-conn", Just(Opt::PersistentConn), Bare),
    long("tun-info", Just(Opt::TunnelInfo), Bare),
    long("nosort", Just(Opt::NoSort), Bare),
    long("sort", Token::Sort, Bare),
    both("exact", 'X', Just(Opt::Exact), Bare),
    long("mcast-interface", Just(Opt::McastInterface), Required),
    long("mcast-group", Just(Opt::McastGroup), Required),
    long("mcast-port", Just(Opt::McastPort), Required),
    long("mcast-ttl", Just(Opt::McastTtl), Required),
    long("syncid", Just(Opt::SyncId), Required),
    long("sync-maxlen", Just(Opt::SyncMaxLen), Required),
    both("laddr", 'z', Just(Opt::LocalAddress), Required),
    both("ifname", 'F', Just(Opt::LocalInterface), Required),
    long("fullnat", Token::FullNat, Bare),
    long("sched-flags", Just(Opt::SchedulerFlags), Required),
];

/// `-b` with a verb about servers.
const FULLNAT: Spelling = both("fullnat", 'b', Token::FullNat, Bare);
/// `-b` with any other verb.
const SCHED_FLAGS: Spelling = both("sched-flags", 'b', Just(Opt::SchedulerFlags), Required);

/// The spelling with this long name.
pub(crate) fn by_long(name: &str) -> Option<&'static Spelling> {
    SPELLINGS.iter().find(|spelling| spelling.long == name)
}

/// The spelling with this letter; `-b` means FULLNAT of servers and scheduler flags of services.
pub(crate) fn by_short(letter: char, verb: Option<Verb>) -> Option<&'static Spelling> {
    if letter == 'b' {
        let servers = matches!(verb, Some(Verb::AddServer | Verb::EditServer));
        return Some(if servers { &FULLNAT } else { &SCHED_FLAGS });
    }
    SPELLINGS.iter().find(|spelling| spelling.short == Some(letter))
}

/// Which options go with a verb; all others are illegal.
#[derive(Debug)]
pub(crate) struct Legality {
    pub(crate) verb: Verb,
    /// The name in errors.
    pub(crate) name: &'static str,
    /// Must be given.
    pub(crate) needs: &'static [Opt],
    /// May be given.
    pub(crate) takes: &'static [Opt],
    /// At most one of them may be given.
    pub(crate) one_of: &'static [Opt],
}

const SERVICE_OPTIONS: &[Opt] = &[
    Opt::Scheduler,
    Opt::Persistent,
    Opt::Netmask,
    Opt::OnePacket,
    Opt::Engine,
    Opt::SchedulerFlags,
    Opt::Mss,
];

const SERVER_OPTIONS: &[Opt] = &[
    Opt::Forward,
    Opt::Weight,
    Opt::UpperThreshold,
    Opt::LowerThreshold,
    Opt::TunnelType,
    Opt::TunnelPort,
    Opt::TunnelNoCsum,
    Opt::TunnelCsum,
    Opt::TunnelRemCsum,
];

const LIST_OPTIONS: &[Opt] = &[
    Opt::Numeric,
    Opt::Stats,
    Opt::Rate,
    Opt::Thresholds,
    Opt::PersistentConn,
    Opt::NoSort,
    Opt::SyncId,
    Opt::Exact,
    Opt::TunnelInfo,
    Opt::Client,
    Opt::Vip,
    Opt::OfMark,
    Opt::OfServer,
];

/// What chooses connections, with `-c`.
pub(crate) const CONNECTION_OPTIONS: [Opt; 4] = [Opt::Client, Opt::Vip, Opt::OfMark, Opt::OfServer];

const DAEMON_OPTIONS: &[Opt] = &[
    Opt::McastInterface,
    Opt::SyncId,
    Opt::McastGroup,
    Opt::McastPort,
    Opt::McastTtl,
    Opt::SyncMaxLen,
];

const fn legal(
    verb: Verb,
    name: &'static str,
    needs: &'static [Opt],
    takes: &'static [Opt],
) -> Legality {
    Legality { verb, name, needs, takes, one_of: &[] }
}

const LEGALITY: &[Legality] = &[
    legal(Verb::AddService, "add-service", &[Opt::Service], SERVICE_OPTIONS),
    legal(Verb::EditService, "edit-service", &[Opt::Service], SERVICE_OPTIONS),
    legal(Verb::DeleteService, "delete-service", &[Opt::Service], &[]),
    legal(Verb::Clear, "flush", &[], &[]),
    Legality {
        verb: Verb::List,
        name: "list",
        needs: &[],
        takes: LIST_OPTIONS,
        one_of: &[Opt::Connection, Opt::Service, Opt::Timeout, Opt::Daemon],
    },
    legal(Verb::AddServer, "add-server", &[Opt::Service, Opt::Server], SERVER_OPTIONS),
    legal(Verb::DeleteServer, "delete-server", &[Opt::Service, Opt::Server], &[]),
    legal(Verb::EditServer, "edit-server", &[Opt::Service, Opt::Server], SERVER_OPTIONS),
    legal(Verb::Set, "set", &[], &[]),
    legal(Verb::StartDaemon, "start-daemon", &[], DAEMON_OPTIONS),
    legal(Verb::StopDaemon, "stop-daemon", &[], &[Opt::SyncId]),
    legal(Verb::Restore, "restore", &[], &[Opt::Atomic]),
    legal(Verb::Save, "save", &[], &[Opt::Numeric]),
    legal(Verb::Zero, "zero", &[], &[Opt::Service]),
    legal(Verb::AddLocal, "add-laddr", &[Opt::Service, Opt::LocalAddress], &[Opt::LocalInterface]),
    legal(
        Verb::DeleteLocal,
        "del-laddr",
        &[Opt::Service, Opt::LocalAddress],
        &[Opt::LocalInterface],
    ),
    legal(Verb::ListLocals, "get-laddr", &[], &[Opt::Service, Opt::Numeric]),
    legal(Verb::Drops, "drops", &[], &[]),
    legal(Verb::Sysctl, "sysctl", &[], &[]),
];

/// Which options go with `verb`; none for help and version, which look at nothing else.
pub(crate) fn legality(verb: Verb) -> Option<&'static Legality> {
    LEGALITY.iter().find(|legality| legality.verb == verb)
}

/// Which options go with a tunnel type; all other tunnel options are illegal.
#[derive(Debug)]
pub(crate) struct TunnelLegality {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Opt],
    pub(crate) one_of: &'static [Opt],
}

/// The options that depend on the tunnel type, in the order in which errors look at them.
pub(crate) const TUNNEL_OPTIONS: [Opt; 4] =
    [Opt::TunnelPort, Opt::TunnelNoCsum, Opt::TunnelCsum, Opt::TunnelRemCsum];

/// ipip, gue and gre.
pub(crate) const TUNNELS: [TunnelLegality; 3] = [
    TunnelLegality { name: "ipip", needs: &[], one_of: &[] },
    TunnelLegality {
        name: "gue",
        needs: &[Opt::TunnelPort],
        one_of: &[Opt::TunnelNoCsum, Opt::TunnelCsum, Opt::TunnelRemCsum],
    },
    TunnelLegality { name: "gre", needs: &[], one_of: &[Opt::TunnelNoCsum, Opt::TunnelCsum] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_names_stand_in_the_order_of_the_options() {
        for (index, option) in Opt::all().enumerate() {
            assert_eq!(option as usize, index, "{option:?}");
        }
    }

    #[test]
    fn no_letter_and_no_long_name_is_ambiguous() {
        for spelling in SPELLINGS {
            let same_long: Vec<_> = SPELLINGS.iter().filter(|s| s.long == spelling.long).collect();
            assert!(same_long.len() == 1 || spelling.long == "list", "--{}", spelling.long);
            if let Some(short) = spelling.short {
                let same = SPELLINGS.iter().filter(|s| s.short == Some(short)).count();
                assert_eq!(same, 1, "-{short}");
            }
        }
    }
}
