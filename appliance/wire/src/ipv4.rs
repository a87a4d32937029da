// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv4 header, RFC 791; the field once called type of service as RFC 2474 and RFC 3168 use it.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Addr4, csum};

/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of IPv4 inside IP, RFC 2003.
pub const PROTOCOL_IPIP: u8 = 4;

/// First byte of a header without options: version 4, five words.
pub const VERSION_IHL: u8 = 0x45;
/// Bit of `frag`: do not fragment.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// Bit of `frag`: more fragments follow.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// Bits of `frag`: place of the fragment in units of 8 bytes.
pub const OFFSET: u16 = 0x1fff;

/// IPv4 header without options, RFC 791.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv4 {
    /// Version and header length in words of 4 bytes.
    pub version_ihl: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Length of the packet in bytes, header included.
    pub total_len: U16,
    /// Identification, the same in all fragments of a packet.
    pub id: U16,
    /// [`DONT_FRAGMENT`], [`MORE_FRAGMENTS`] and [`OFFSET`].
    pub frag: U16,
    /// Time to live, in hops.
    pub ttl: u8,
    /// What the packet carries.
    pub protocol: u8,
    /// Checksum of the header, options included.
    pub csum: U16,
    /// Source.
    pub src: Addr4,
    /// Destination.
    pub dst: Addr4,
}

const _: () = assert!(size_of::<Ipv4>() == 20);

impl Ipv4 {
    /// Version; 4 in any packet that is what its EtherType says.
    #[inline]
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Length of the header in bytes, options included, as it claims: 0 to 60.
    #[inline]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Whether routers must not fragment the packet.
    #[inline]
    #[must_use]
    pub const fn dont_fragment(&self) -> bool {
        self.frag.get() & DONT_FRAGMENT != 0
    }

    /// Whether this is a part of a packet, the first included.
    #[inline]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.frag.get() & (MORE_FRAGMENTS | OFFSET) != 0
    }

    /// The checksum that a header without options should have.
    #[must_use]
    pub fn checksum(&self) -> U16 {
        csum::sum(Self { csum: U16::ZERO, ..*self }.as_bytes()).checksum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bits_are_told_apart() {
        let mut ip = Ipv4::read_from_bytes(&[0; 20]).unwrap();
        ip.version_ihl = 0x4f;
        assert_eq!((ip.version(), ip.header_len()), (4, 60));
        for (frag, dont, is) in [(0, false, false), (0x4000, true, false), (0x2000, false, true)] {
            ip.frag = U16::new(frag);
            assert_eq!((ip.dont_fragment(), ip.is_fragment()), (dont, is), "{frag:#x}");
        }
        ip.frag = U16::new(1);
        assert!(ip.is_fragment(), "a last fragment has no flag, only an offset");
    }

    #[test]
    fn the_checksum_does_not_depend_on_what_the_field_holds() {
        let mut ip = Ipv4::read_from_bytes(&[0x45; 20]).unwrap();
        ip.csum = ip.checksum();
        assert_eq!(ip.csum, ip.checksum());
        assert!(csum::sum(ip.as_bytes()).is_intact());
    }
}
