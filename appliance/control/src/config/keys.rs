// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every section and key that a configuration file may have.

use lb::conn::tcp_state::State;
use lb::knobs::Knob;

/// A section's name and its keys.
pub(super) type Keys = (&'static str, &'static [&'static str]);

pub(super) const EAL: Keys = ("eal", &["lcores", "hugepages", "memory_mb", "args"]);
pub(super) const WORKERS: Keys = ("workers", &["count", "owner", "idle", "rss_key"]);
pub(super) const NIC: Keys = (
    "nic",
    &[
        "name",
        "device",
        "queues",
        "descriptors",
        "mac",
        "mtu",
        "rss",
        "rss_preset",
        "host_interface",
        "addresses",
        "neighbour",
    ],
);
pub(super) const NEIGHBOUR: Keys = ("nic.neighbour", &["address", "mac"]);
pub(super) const ROUTE: Keys = ("route", &["to", "via", "nic", "src"]);
pub(super) const MARK: Keys =
    ("mark", &["mark", "protocol", "source", "destination", "ports", "nic"]);
pub(super) const CONNECTIONS: Keys = ("connections", &["capacity"]);
pub(super) const LIMITS: Keys = ("limits", &["half_open", "services", "servers", "templates"]);
pub(super) const TIMEOUTS: Keys = ("timeouts", &TIMEOUT_KEYS);
pub(super) const IPVS: Keys = ("ipvs", &KNOB_KEYS);
pub(super) const LOCAL_PORTS: Keys = ("local_ports", &["range"]);
pub(super) const HOST: Keys = ("host", &["vital_ring", "other_ring", "punt_rate"]);
pub(super) const CONTROL: Keys = ("control", &["socket"]);
pub(super) const METRICS: Keys = ("metrics", &["listen"]);
pub(super) const RULES: Keys = ("rules", &["file", "persist"]);

/// The sections at the top of a file.
pub(super) const TOP: Keys = (
    "",
    &[
        EAL.0,
        WORKERS.0,
        NIC.0,
        ROUTE.0,
        MARK.0,
        CONNECTIONS.0,
        LIMITS.0,
        TIMEOUTS.0,
        IPVS.0,
        LOCAL_PORTS.0,
        HOST.0,
        CONTROL.0,
        METRICS.0,
        RULES.0,
    ],
);

/// Every section with keys of its own.
pub(super) const SECTIONS: [Keys; 15] = [
    EAL,
    WORKERS,
    NIC,
    NEIGHBOUR,
    ROUTE,
    MARK,
    CONNECTIONS,
    LIMITS,
    TIMEOUTS,
    IPVS,
    LOCAL_PORTS,
    HOST,
    CONTROL,
    METRICS,
    RULES,
];

/// The section that has this key, if it is only one.
pub(super) fn section_of(key: &str) -> Option<&'static str> {
    let mut having = SECTIONS.iter().filter(|(_, keys)| keys.contains(&key));
    let (section, _) = having.next()?;
    having.next().is_none().then_some(*section)
}

/// The key that was meant, if one is written almost like this: with a slip in four letters, and one
/// more.
pub(super) fn nearest(written: &str, known: &[&'static str]) -> Option<&'static str> {
    let slips = |known: &&str| strsim::damerau_levenshtein(written, known);
    let nearest = known.iter().copied().min_by_key(slips)?;
    (slips(&nearest) <= 1 + nearest.len() / 4).then_some(nearest)
}

/// Keys that have a place, and no use in this release.
pub(super) const UNAVAILABLE: [(&str, &str); 1] = [(CONTROL.0, "netlink")];

/// The key of each state's timeout.
pub(super) const TIMEOUT_STATES: [(&str, State); 26] = [
    ("tcp_none", State::None),
    ("tcp_established", State::Established),
    ("tcp_syn_sent", State::SynSent),
    ("tcp_syn_recv", State::SynRecv),
    ("tcp_fin_wait", State::FinWait),
    ("tcp_time_wait", State::TimeWait),
    ("tcp_close", State::Close),
    ("tcp_close_wait", State::CloseWait),
    ("tcp_last_ack", State::LastAck),
    ("tcp_listen", State::Listen),
    ("tcp_syn_ack", State::SynAck),
    ("udp", State::Udp),
    ("sctp_none", State::SctpNone),
    ("sctp_init1", State::SctpInit1),
    ("sctp_init", State::SctpInit),
    ("sctp_cookie_sent", State::SctpCookieSent),
    ("sctp_cookie_replied", State::SctpCookieReplied),
    ("sctp_cookie_wait", State::SctpCookieWait),
    ("sctp_cookie", State::SctpCookie),
    ("sctp_cookie_echoed", State::SctpCookieEchoed),
    ("sctp_established", State::SctpEstablished),
    ("sctp_shutdown_sent", State::SctpShutdownSent),
    ("sctp_shutdown_received", State::SctpShutdownReceived),
    ("sctp_shutdown_ack_sent", State::SctpShutdownAckSent),
    ("sctp_rejected", State::SctpRejected),
    ("sctp_closed", State::SctpClosed),
];

const TIMEOUT_KEYS: [&str; TIMEOUT_STATES.len()] = {
    let mut keys = [""; TIMEOUT_STATES.len()];
    let mut index = 0;
    while index < keys.len() {
        keys[index] = TIMEOUT_STATES[index].0;
        index += 1;
    }
    keys
};

const KNOB_KEYS: [&str; Knob::ALL.len()] = {
    let mut keys = [""; Knob::ALL.len()];
    let mut index = 0;
    while index < keys.len() {
        keys[index] = Knob::ALL[index].name();
        index += 1;
    }
    keys
};
