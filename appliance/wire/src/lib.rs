// SPDX-License-Identifier: MIT OR Apache-2.0
//! Headers, parsing and checksums: bytes and nothing else.
//!
//! A header is a `#[repr(C)]` struct of byte-order fields with alignment 1, viewed in place with
//! zerocopy's `ref_from_prefix` and `mut_from_prefix`. Every bit pattern is legal in every field,
//! so a view proves only that the bytes are there. [`parse()`] proves more, once per frame:
//! a [`Parsed`] is a whole TCP or UDP packet whose lengths agree with each other.
//!
//! | module | header | standard |
//! |---|---|---|
//! | [`eth`] | Ethernet II | RFC 894, IEEE 802.3 |
//! | [`arp`] | ARP for IPv4 | RFC 826 |
//! | [`ipv4`], [`ipv6`] | IPv4; IPv6, fragment header | RFC 791, RFC 8200 |
//! | [`icmp`], [`icmp6`], [`icmp_error`] | ICMP, ICMPv6, what errors quote | RFC 792, RFC 4443 |
//! | [`gre`], [`gue`] | GRE; GUE | RFC 2784, draft-ietf-intarea-gue |
//! | [`tcp`], [`udp`] | TCP, UDP | RFC 9293, RFC 768 |
//! | [`sctp`] | SCTP common and chunk headers | RFC 9260 |
//!
//! Nothing here panics, allocates on the packet path, keeps state or knows what a service is.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod addr;
pub mod arp;
pub mod build;
pub mod crc32c;
pub mod csum;
pub mod eth;
pub mod family;
pub mod flow;
pub mod fragment;
pub mod frame;
pub mod glance;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod icmp6;
pub mod icmp_error;
pub mod intact;
pub mod ip_header;
pub mod ipv4;
pub mod ipv6;
pub mod parse;
pub mod sctp;
pub mod tcp;
pub mod udp;
pub mod verify;

pub use addr::{Addr4, Addr6, Mac, Port};
pub use arp::Arp;
pub use csum::{Delta, Sum};
pub use eth::{Eth, Link};
pub use family::{Family, FamilyId, TTL_DELTA, V4, V6};
pub use flow::{Endpoint, FlowKey, L4, Tuple};
pub use fragment::{Fragment, Piece};
pub use frame::{Frame, VecFrame};
pub use glance::{Glance, IpGlance, glance};
pub use gre::Gre;
pub use gue::Gue;
pub use icmp::Icmp;
pub use icmp_error::{AnyError, IcmpError, IcmpOf, Quote};
pub use icmp6::Icmp6;
pub use intact::is_intact;
pub use ip_header::{IpHeader, ReadHeader};
pub use ipv4::Ipv4;
pub use ipv6::{Ipv6, Ipv6Fragment};
pub use parse::plain::{Plain, PlainFamily, PlainPacket, parse_plain, parse_whole};
pub use parse::{Malformed, Outcome, Parsed, parse};
pub use sctp::{Sctp, SctpChunk, SctpEvent};
pub use tcp::{Tcp, TcpFlags};
pub use udp::Udp;
pub use verify::verify;
pub use zerocopy::network_endian::{U16, U32};
