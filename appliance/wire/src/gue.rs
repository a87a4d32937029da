// SPDX-License-Identifier: MIT OR Apache-2.0
//! GUE header, draft-ietf-intarea-gue: version 0, data messages; it lies in a UDP datagram.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{FamilyId, ipv4, ipv6};

/// Low bits of the first byte: length of the optional fields in words of 4 bytes.
const LENGTH: u8 = 0x1f;

/// GUE header of version 0, draft-ietf-intarea-gue-09 §3.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Gue {
    /// Version (2 bits), control bit, length of what follows in words of 4 bytes (5 bits).
    pub version_length: u8,
    /// IP protocol number of what is carried.
    pub protocol: u8,
    /// Which optional fields there are.
    pub flags: U16,
}

const _: () = assert!(size_of::<Gue>() == 4);

/// The family of the packet that a GUE header carries and where it begins, in bytes from the
/// header; none for other packets, other versions and control messages.
#[must_use]
pub fn carried(gue: &[u8]) -> Option<(FamilyId, usize)> {
    let (header, _) = Gue::ref_from_prefix(gue).ok()?;
    if header.version_length & !LENGTH != 0 {
        return None;
    }
    let at = size_of::<Gue>() + usize::from(header.version_length & LENGTH) * 4;
    match header.protocol {
        ipv4::PROTOCOL_IPIP => Some((FamilyId::V4, at)),
        ipv6::PROTOCOL_IPV6 => Some((FamilyId::V6, at)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ip_in_a_data_message_of_version_0_is_seen() {
        let cases: [(&[u8], _); 6] = [
            (&[0, 4, 0, 0], Some((FamilyId::V4, 4))),
            (&[2, 41, 0, 0], Some((FamilyId::V6, 12))),
            (&[0x20, 4, 0, 0], None),
            (&[0x45, 4, 0, 0], None),
            (&[0, 6, 0, 0], None),
            (&[0, 4, 0], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(carried(bytes), expected, "{bytes:02x?}");
        }
    }
}
