// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 header and fragment header, RFC 8200.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Addr6;

/// Protocol number of IPv6 inside IP, RFC 2473 and RFC 4213.
pub const PROTOCOL_IPV6: u8 = 41;
/// Next header: fragment header.
pub const NEXT_FRAGMENT: u8 = 44;
/// Next header: ICMPv6.
pub const NEXT_ICMP6: u8 = 58;

/// IPv6 header, RFC 8200 §3.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv6 {
    /// Version, traffic class and flow label: see [`Ipv6::word`].
    pub version_class_label: U32,
    /// Length of what follows this header, in bytes.
    pub payload_len: U16,
    /// What follows: a protocol number or an extension header.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Source.
    pub src: Addr6,
    /// Destination.
    pub dst: Addr6,
}

const _: () = assert!(size_of::<Ipv6>() == 40);

impl Ipv6 {
    /// The first word of a header: version 6, traffic class, and the low 20 bits of a flow label.
    #[inline]
    #[must_use]
    pub const fn word(traffic_class: u8, flow_label: u32) -> U32 {
        U32::new(6 << 28 | (traffic_class as u32) << 20 | flow_label & 0xf_ffff)
    }

    /// Version; 6 in any packet that is what its EtherType says.
    #[inline]
    #[must_use]
    pub const fn version(&self) -> u8 {
        (self.version_class_label.get() >> 28) as u8
    }

    /// Traffic class: DSCP and ECN.
    #[inline]
    #[must_use]
    pub const fn traffic_class(&self) -> u8 {
        (self.version_class_label.get() >> 20) as u8
    }

    /// Flow label, 20 bits.
    #[inline]
    #[must_use]
    pub const fn flow_label(&self) -> u32 {
        self.version_class_label.get() & 0xf_ffff
    }
}

/// IPv6 fragment header, RFC 8200 §4.5.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv6Fragment {
    /// What the fragmented part starts with.
    pub next_header: u8,
    /// Zero when sent, ignored when received.
    pub reserved: u8,
    /// Offset in units of 8 bytes (upper 13 bits) and the more-fragments flag (lowest bit).
    pub offset_more: U16,
    /// Identification, the same in all fragments of a packet.
    pub id: U32,
}

const _: () = assert!(size_of::<Ipv6Fragment>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bits_are_told_apart() {
        let mut ip = Ipv6::read_from_bytes(&[0; 40]).unwrap();
        ip.version_class_label = Ipv6::word(0xb8, 0xfff_beef0);
        assert_eq!(ip.as_bytes().first_chunk(), Some(&[0x6b, 0x8b, 0xee, 0xf0]));
        assert_eq!((ip.version(), ip.traffic_class(), ip.flow_label()), (6, 0xb8, 0xb_eef0));
    }
}
