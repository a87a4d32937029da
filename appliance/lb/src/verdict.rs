// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a frame.
//!
//! Each frame that enters a worker leaves it with exactly one [`Verdict`], and each drop has a
//! name, a counter and a remedy. The conservation law (checked after every batch in tests):
//! received + handed in + from host + originated = sent + punted + handed off + dropped + held.

use wire::Malformed;

use crate::ids::{NicId, WorkerId};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Send it from this NIC; the frame is complete, link-layer addresses included.
    Transmit(NicId),
    /// Not load-balanced: give it to the host through this NIC's host interface.
    Punt(NicId),
    /// The flow belongs to another worker; the frame arrived by this NIC.
    HandOff(WorkerId, NicId),
    /// Free it, and count the reason.
    Drop(DropReason),
}

macro_rules! drop_reasons {
    ($($variant:ident $name:literal $doc:literal $remedy:literal;)*) => {
        /// Why a frame was dropped; the label in metrics and `--drops` comes from here alone.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $doc] $variant,)* }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The reason as metrics and listings name it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happened, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// What an operator can do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

drop_reasons! {
    Truncated "truncated"
        "The frame ends before its headers do, or they are spread over several buffers."
        "A sender or the link is broken: look at the NIC's error counters.";
    BadIpHeader "bad_ip_header"
        "The IP version or header length is impossible."
        "A sender is broken or hostile: capture on the NIC to find it.";
    BadIpLength "bad_ip_length"
        "The IP length disagrees with the frame."
        "A sender is broken or hostile: capture on the NIC to find it.";
    BadIpChecksum "bad_ip_checksum"
        "The IPv4 header checksum is wrong."
        "Look for a damaged link or a device that corrupts packets.";
    BadL4Header "bad_l4_header"
        "The TCP or UDP header is truncated or gives an impossible length."
        "A sender is broken or hostile: capture on the NIC to find it.";
    ExtensionHeaders "extension_headers"
        "The IPv6 packet has more extension headers than are looked at."
        "A sender is hostile: real packets have one or two.";
    FragmentTiny "fragment_tiny"
        "A first fragment without a whole TCP or UDP header, or one that could overwrite it."
        "A sender is hostile, or its MTU is absurd: capture on the NIC to find it.";
    FragmentBad "fragment_bad"
        "A fragment that is empty, ends within a unit of 8 bytes, or lies behind the last one."
        "A sender is broken or hostile: capture on the NIC to find it.";
    FragmentOversize "fragment_oversize"
        "A fragment of a packet that would be longer than 65535 bytes."
        "A sender is hostile (ping of death): capture on the NIC to find it.";
    FragmentOverlap "fragment_overlap"
        "A fragment with bytes of its packet that came before; the first to come went on."
        "Harmless if rare (the network doubled it); else hostile: capture on the NIC to find it.";
    FragmentScattered "fragment_scattered"
        "A fragment of a packet whose fragments come in an order with too many holes."
        "Look for a path that reorders packets: per-packet load sharing.";
    FragmentLate "fragment_late"
        "A fragment whose packet's first fragment did not come in time, or whose connection ended."
        "Fragments get lost before us: let the sender do path MTU discovery, or lower its MTU.";
    FragmentSctp "fragment_sctp"
        "A fragment of an SCTP packet whose ports change: its CRC is over bytes that are not here."
        "Give the server the service's port, or let the ends of SCTP do path MTU discovery.";
    FragmentHoldFull "fragment_hold_full"
        "Too many fragments already wait for the first one of their packet."
        "Look for a flood of fragments, or a path that reorders packets.";
    BadIcmpChecksum "bad_icmp_checksum"
        "An ICMP error about a connection has a wrong checksum, or does not lie in one buffer."
        "Look for a damaged link or a device that corrupts packets.";
    IcmpRedirect "icmp_redirect"
        "An ICMP redirect about a connection: it is for one link only and would name the server."
        "Mend the routing of the machine that sends it, or forbid it to send redirects.";
    IcmpRate "icmp_rate"
        "An ICMP error was not passed on, or its flow not looked for on all workers: too many came."
        "Look at what the routers complain of: a capture. Errors about no flow may be a flood.";
    BadSource "bad_source"
        "The source address is multicast, broadcast, unspecified, or the destination itself."
        "Spoofed traffic: filter it at the edge.";
    OtherHost "other_host"
        "The frame is addressed to another machine's link-layer address."
        "Normal where a switch floods; otherwise look for a stale ARP entry with this NIC's port.";
    TtlExpired "ttl_expired"
        "The packet's TTL or hop limit ran out here; the sender was told by ICMP."
        "Look for a routing loop, or a traceroute.";
    NoConnection "no_connection"
        "The packet is of no connection and opens none; the sender was told by TCP RST or ICMP."
        "Normal after connections expire; if it goes on, compare timeouts here and at the ends.";
    NoServer "no_server"
        "The service has no server that takes new connections; the client was told by ICMP."
        "Add a server (-a), or give one a weight above 0 (-e -w).";
    NoLocalAddress "no_local_address"
        "The server is FULLNAT but its service has no local address of the family."
        "Add one: -P -t VIP:PORT -z ADDRESS.";
    NoLocalPort "no_local_port"
        "No local port is free towards the server on any local address of the service."
        "Add local addresses: -P -t VIP:PORT -z ADDRESS.";
    TupleTaken "tuple_taken"
        "The client already uses its port for another service with the same server endpoint: the \
         server could not tell the two connections apart."
        "Give each of the services its own server port, or use FULLNAT (-b).";
    TemplatesFull "templates_full"
        "There is no place for another persistence template."
        "Raise [limits] templates, or lower the service's -p; look for a flood of sources.";
    NoCallId "no_call_id"
        "The service's engine is sip and the packet is no SIP message with a Call-ID over UDP."
        "Send SIP over UDP to the service, or take --pe sip from it.";
    TableFull "table_full"
        "The worker's connection table is full."
        "Raise [connections] capacity, or lower the timeouts.";
    Defence "defence"
        "drop_packet dropped one in some packets that would have opened a connection."
        "Normal under a flood; --sysctl am_droprate, amemthresh and drop_packet say how many.";
    ServerRemoved "server_removed"
        "The connection's server was removed; its packets are not moved to another one."
        "Add the server again to let its connections go on, or wait until clients reconnect.";
    TooBig "too_big"
        "The packet does not fit its way on; if it may not be fragmented, its sender was told by \
         ICMP."
        "Normal during path MTU discovery; if it goes on, ICMP is filtered before the client.";
    NoBuffer "no_buffer"
        "There was no packet buffer for the fragments that a packet is to leave in."
        "Raise [eal] memory_mb, or spare the work: lower the senders' MTU, use --mss.";
    NoRoute "no_route"
        "There is no route to the packet's next address."
        "Add a route: `ip route add` on the host interface, or [[route]].";
    NoNeighbour "no_neighbour"
        "The next hop's link-layer address is not known and did not answer in time; the sender was \
         told by ICMP."
        "Check that the next hop is up: `ip neigh`; or set it in [[nic.neighbour]].";
    HoldFull "hold_full"
        "Too many packets already wait for link-layer addresses."
        "Check that the next hops are up: `ip neigh`.";
    NoHeadroom "no_headroom"
        "There is no room in front of the frame for another header."
        "Report this: the buffer of the NIC driver has too little headroom.";
    ChainedChecksum "chained_checksum"
        "The tunnel's checksum covers the whole packet, which is spread over several buffers."
        "Leave the checksum out (--tun-nocsum), or use buffers as large as the NIC's MTU.";
    NoHostInterface "no_host_interface"
        "The frame is for the host, but its NIC has no host interface."
        "Set host_interface for the NIC, or ignore it where no host should answer.";
    PuntFull "punt_full"
        "The ring to the host is full."
        "The host cannot keep up: look for a flood to a port that is no service.";
    PuntRate "punt_rate"
        "More frames for the host than its rate limit allows."
        "Look for a flood to a port that is no service.";
    HandoffFull "handoff_full"
        "The ring to the worker that owns the flow is full."
        "That worker is overloaded: use more workers, or a NIC with source-only hashing.";
    TxFull "tx_full"
        "The NIC's transmit queue is full."
        "The link or NIC is saturated: look at its counters.";
    Bug "bug"
        "An invariant did not hold."
        "Report this with the version and the configuration.";
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason as an index into counters.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl From<Malformed> for DropReason {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::TruncatedEthernet | Malformed::TruncatedIp | Malformed::SplitHeaders => {
                Self::Truncated
            }
            Malformed::BadVersion | Malformed::BadHeaderLength => Self::BadIpHeader,
            Malformed::BadTotalLength => Self::BadIpLength,
            Malformed::BadHeaderChecksum => Self::BadIpChecksum,
            Malformed::TruncatedL4 | Malformed::BadTcpHeaderLength | Malformed::BadUdpLength => {
                Self::BadL4Header
            }
            Malformed::TooManyExtensions => Self::ExtensionHeaders,
            Malformed::TinyFragment => Self::FragmentTiny,
            Malformed::BadFragment => Self::FragmentBad,
            Malformed::OversizeFragment => Self::FragmentOversize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_a_remedy() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for reason in DropReason::ALL {
            assert!(
                reason.meaning().ends_with('.') && reason.remedy().ends_with('.'),
                "{reason:?}"
            );
            assert!(reason.name().bytes().all(|b| b.is_ascii_lowercase() || b"_4".contains(&b)));
        }
    }
}
