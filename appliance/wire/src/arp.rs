// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARP for IPv4 over Ethernet, RFC 826.
//!
//! The balancer leaves ARP to the host; the view serves tests and tools that make such frames.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Addr4, Mac, eth};

/// Operation "who has".
pub const REQUEST: u16 = 1;
/// Operation "is at".
pub const REPLY: u16 = 2;

/// ARP packet for IPv4 addresses on Ethernet, RFC 826.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Arp {
    /// Hardware type; 1 is Ethernet.
    pub hardware: U16,
    /// Protocol type, an EtherType.
    pub protocol: U16,
    /// Length of a hardware address in bytes.
    pub hardware_len: u8,
    /// Length of a protocol address in bytes.
    pub protocol_len: u8,
    /// [`REQUEST`] or [`REPLY`].
    pub operation: U16,
    /// Sender's MAC.
    pub sender_mac: Mac,
    /// Sender's address.
    pub sender: Addr4,
    /// Target's MAC, ignored in requests.
    pub target_mac: Mac,
    /// Target's address.
    pub target: Addr4,
}

const _: () = assert!(size_of::<Arp>() == 28);

impl Arp {
    /// Asks who has `target`.
    #[must_use]
    pub const fn request(sender_mac: Mac, sender: Addr4, target: Addr4) -> Self {
        Self::new(REQUEST, (sender_mac, sender), (Mac([0; 6]), target))
    }

    /// Tells `target` that `sender` is at `sender_mac`.
    #[must_use]
    pub const fn reply(sender: (Mac, Addr4), target: (Mac, Addr4)) -> Self {
        Self::new(REPLY, sender, target)
    }

    const fn new(operation: u16, sender: (Mac, Addr4), target: (Mac, Addr4)) -> Self {
        Self {
            hardware: U16::new(1),
            protocol: U16::new(eth::IPV4),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(operation),
            sender_mac: sender.0,
            sender: sender.1,
            target_mac: target.0,
            target: target.1,
        }
    }
}
