// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 header and extension headers, RFC 8200.
//!
//! [`walk`] steps over the extension headers that a host reads, at most [`EXTENSIONS_MAX`] of
//! them, to what the packet carries; a fragment header ends the walk unless the fragment is the
//! whole packet (RFC 6946).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Addr6, Malformed};

/// Protocol number of IPv6 inside IP, RFC 2473 and RFC 4213.
pub const PROTOCOL_IPV6: u8 = 41;
/// Next header: hop-by-hop options; only first.
pub const NEXT_HOP_BY_HOP: u8 = 0;
/// Next header: routing header.
pub const NEXT_ROUTING: u8 = 43;
/// Next header: destination options.
pub const NEXT_DESTINATION: u8 = 60;
/// Extension headers that are looked at; a packet with more is not believed.
pub const EXTENSIONS_MAX: usize = 8;
/// Next header: fragment header.
pub const NEXT_FRAGMENT: u8 = 44;
/// What every link carries whole, in bytes (RFC 8200 §5).
pub const MTU_MIN: u16 = 1280;
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

impl Ipv6Fragment {
    /// Where the fragment belongs in the fragmented part, in bytes.
    #[must_use]
    pub const fn offset(&self) -> u16 {
        self.offset_more.get() & !7
    }

    /// Whether more fragments follow.
    #[must_use]
    pub const fn more(&self) -> bool {
        self.offset_more.get() & 1 != 0
    }

    /// Whether the only fragment is the whole packet, RFC 6946.
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset() == 0 && !self.more()
    }
}

/// What lies behind the extension headers; offsets count from the end of the IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// A protocol's header.
    Transport {
        /// The protocol's number.
        protocol: u8,
        /// Where its header is, in bytes.
        at: usize,
    },
    /// A part of a packet.
    Fragment {
        /// The fragment header.
        header: Ipv6Fragment,
        /// Where the bytes that it carries are.
        at: usize,
    },
    /// The packet is to visit further addresses: we are a router for it, not its destination.
    ForRouters,
}

/// The first bytes of each extension header but the fragment header, RFC 8200 §4.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Extension {
    next_header: u8,
    /// Length behind the first 8 bytes, in units of 8 bytes.
    len: u8,
    /// Of a routing header only.
    _kind: u8,
    /// Of a routing header only: addresses still to be visited.
    segments_left: u8,
}

/// Steps over extension headers. `payload` is what can be read behind the IPv6 header,
/// `payload_len` how much there is by its length field.
///
/// # Errors
/// Headers beyond the payload, beyond what can be read, or too many of them.
pub fn walk(next_header: u8, payload: &[u8], payload_len: usize) -> Result<Walked, Malformed> {
    let (mut next, mut at) = (next_header, 0);
    for passed in 0..=EXTENSIONS_MAX {
        let is_extension = match next {
            NEXT_HOP_BY_HOP => passed == 0,
            NEXT_ROUTING | NEXT_DESTINATION | NEXT_FRAGMENT => true,
            _ => false,
        };
        if !is_extension {
            return Ok(Walked::Transport { protocol: next, at });
        }
        if at + size_of::<Ipv6Fragment>() > payload_len {
            return Err(Malformed::TruncatedL4);
        }
        let rest = payload.get(at..).ok_or(Malformed::SplitHeaders)?;
        if next == NEXT_FRAGMENT {
            let (header, _) =
                Ipv6Fragment::ref_from_prefix(rest).map_err(|_| Malformed::SplitHeaders)?;
            at += size_of::<Ipv6Fragment>();
            if !header.is_atomic() {
                return Ok(Walked::Fragment { header: *header, at });
            }
            next = header.next_header;
            continue;
        }
        let (extension, _) =
            Extension::ref_from_prefix(rest).map_err(|_| Malformed::SplitHeaders)?;
        if next == NEXT_ROUTING && extension.segments_left != 0 {
            return Ok(Walked::ForRouters);
        }
        at += (usize::from(extension.len) + 1) * 8;
        if at > payload_len {
            return Err(Malformed::TruncatedL4);
        }
        next = extension.next_header;
    }
    Err(Malformed::TooManyExtensions)
}

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
