// SPDX-License-Identifier: MIT OR Apache-2.0
//! GRE header, RFC 2784: version 0, without the key and sequence number of RFC 2890.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{FamilyId, eth};

/// Protocol number of GRE inside IP.
pub const PROTOCOL_GRE: u8 = 47;
/// Bit of `flags`: a [`Checksum`] follows.
pub const CHECKSUM_PRESENT: u16 = 0x8000;

/// GRE header, RFC 2784 §2.1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Gre {
    /// [`CHECKSUM_PRESENT`], reserved bits and the version.
    pub flags: U16,
    /// EtherType of what is carried.
    pub protocol: U16,
}

/// The optional part of the header, RFC 2784 §2.5.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Checksum {
    /// Checksum over the GRE header and what it carries.
    pub csum: U16,
    /// Zero when sent.
    pub reserved: U16,
}

const _: () = assert!(size_of::<Gre>() == 4 && size_of::<Checksum>() == 4);

/// The family of the packet that a GRE header carries and where it begins, in bytes from the
/// header; none for other packets and for options that are not spoken here.
#[must_use]
pub fn carried(gre: &[u8]) -> Option<(FamilyId, usize)> {
    let (header, _) = Gre::ref_from_prefix(gre).ok()?;
    let at = match header.flags.get() {
        0 => size_of::<Gre>(),
        CHECKSUM_PRESENT => size_of::<Gre>() + size_of::<Checksum>(),
        _ => return None,
    };
    match header.protocol.get() {
        eth::IPV4 => Some((FamilyId::V4, at)),
        eth::IPV6 => Some((FamilyId::V6, at)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ip_in_a_plain_header_is_seen() {
        let cases: [(&[u8], _); 6] = [
            (&[0, 0, 8, 0], Some((FamilyId::V4, 4))),
            (&[0x80, 0, 0x86, 0xdd], Some((FamilyId::V6, 8))),
            (&[0x20, 0, 8, 0], None),
            (&[0, 1, 8, 0], None),
            (&[0, 0, 8, 6], None),
            (&[0, 0, 8], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(carried(bytes), expected, "{bytes:02x?}");
        }
    }
}
