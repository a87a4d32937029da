// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet II header and the EtherTypes the balancer knows.
//!
//! RFC 894 (IPv4 over Ethernet), RFC 2464 (IPv6 over Ethernet); numbers from IANA's "IEEE 802
//! Numbers". A VLAN tag is another EtherType: such frames are not ours.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Mac;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// Shortest frame on the wire without its check sequence, in bytes; shorter ones are padded.
pub const FRAME_MIN: usize = 60;

/// The link-layer addresses of a frame, which an [`Eth`] begins with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Link {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
}

/// Ethernet II header, RFC 894.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Eth {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// What the frame carries.
    pub ethertype: U16,
}

const _: () = assert!(size_of::<Eth>() == 14);

impl Eth {
    /// Writes both addresses, in one piece.
    #[inline]
    pub fn set_link(&mut self, link: Link) {
        if let Ok((front, _)) = Link::mut_from_prefix(self.as_mut_bytes()) {
            *front = link;
        }
    }
}
