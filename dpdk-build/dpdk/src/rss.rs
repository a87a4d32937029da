// SPDX-License-Identifier: MIT OR Apache-2.0
//! Receive-side scaling: what a NIC hashes, with which key, and the hash itself in software.

use std::fmt;
use std::ops::BitOr;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

/// Bytes the longest key of a NIC has; i40e and ice use 52, others 40.
pub const RSS_KEY_MAX: usize = 64;

/// A set of packet types to hash and of restrictions on what is hashed, `RTE_ETH_RSS_*`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RssTypes(u64);

impl RssTypes {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// IPv4 packets without ports, by addresses.
    pub const IPV4: Self = Self(sys::SHIM_RSS_IPV4);
    /// IPv4 fragments, by addresses.
    pub const FRAG_IPV4: Self = Self(sys::SHIM_RSS_FRAG_IPV4);
    /// TCP over IPv4, by addresses and ports.
    pub const IPV4_TCP: Self = Self(sys::SHIM_RSS_IPV4_TCP);
    /// UDP over IPv4, by addresses and ports.
    pub const IPV4_UDP: Self = Self(sys::SHIM_RSS_IPV4_UDP);
    /// IPv6 packets without ports, by addresses.
    pub const IPV6: Self = Self(sys::SHIM_RSS_IPV6);
    /// IPv6 fragments, by addresses.
    pub const FRAG_IPV6: Self = Self(sys::SHIM_RSS_FRAG_IPV6);
    /// TCP over IPv6, by addresses and ports.
    pub const IPV6_TCP: Self = Self(sys::SHIM_RSS_IPV6_TCP);
    /// UDP over IPv6, by addresses and ports.
    pub const IPV6_UDP: Self = Self(sys::SHIM_RSS_IPV6_UDP);
    /// Restricts the types it is joined with to the source address.
    pub const L3_SRC_ONLY: Self = Self(sys::SHIM_RSS_L3_SRC_ONLY);
    /// Restricts the types it is joined with to the destination address.
    pub const L3_DST_ONLY: Self = Self(sys::SHIM_RSS_L3_DST_ONLY);
    /// Restricts the types it is joined with to the source port.
    pub const L4_SRC_ONLY: Self = Self(sys::SHIM_RSS_L4_SRC_ONLY);
    /// Restricts the types it is joined with to the destination port.
    pub const L4_DST_ONLY: Self = Self(sys::SHIM_RSS_L4_DST_ONLY);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Whether every member of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set has no member.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for RssTypes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The members by name; those without a constant here as one hexadecimal number.
impl fmt::Display for RssTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut rest = *self;
        let mut gap = "";
        for (name, types) in NAMES.iter().filter(|(_, types)| self.contains(*types)) {
            write!(f, "{gap}{name}")?;
            rest = rest.without(*types);
            gap = " ";
        }
        if rest.is_empty() { Ok(()) } else { write!(f, "{gap}{:#x}", rest.0) }
    }
}

impl fmt::Debug for RssTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RssTypes({self})")
    }
}

const NAMES: [(&str, RssTypes); 12] = [
    ("ipv4", RssTypes::IPV4),
    ("ipv4-frag", RssTypes::FRAG_IPV4),
    ("ipv4-tcp", RssTypes::IPV4_TCP),
    ("ipv4-udp", RssTypes::IPV4_UDP),
    ("ipv6", RssTypes::IPV6),
    ("ipv6-frag", RssTypes::FRAG_IPV6),
    ("ipv6-tcp", RssTypes::IPV6_TCP),
    ("ipv6-udp", RssTypes::IPV6_UDP),
    ("l3-src-only", RssTypes::L3_SRC_ONLY),
    ("l3-dst-only", RssTypes::L3_DST_ONLY),
    ("l4-src-only", RssTypes::L4_SRC_ONLY),
    ("l4-dst-only", RssTypes::L4_DST_ONLY),
];

/// The secret of the Toeplitz hash; by default of no bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RssKey(ArrayVec<u8, RSS_KEY_MAX>);

impl RssKey {
    /// A key of these bytes, or `None` if there are more than [`RSS_KEY_MAX`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        ArrayVec::try_from(bytes).ok().map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RssKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RssKey({} bytes)", self.0.len())
    }
}

/// The Toeplitz hash that a NIC computes over `tuple`, 32-bit words in host order: addresses, then
/// source and destination port in one word. `None` if the key is shorter than the tuple needs.
///
/// DPDK's own (`rte_softrss`), for comparison with faster ones; not for the packet path.
#[must_use]
pub fn toeplitz(tuple: &[u32], key: &RssKey) -> Option<u32> {
    let needed_bytes = (tuple.len() + 1) * size_of::<u32>();
    if key.0.len() < needed_bytes {
        return None;
    }
    let mut words = [0_u32; RSS_KEY_MAX / size_of::<u32>()];
    for (word, bytes) in words.iter_mut().zip(key.0.chunks_exact(size_of::<u32>())) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let mut tuple = ArrayVec::<u32, { RSS_KEY_MAX / size_of::<u32>() }>::try_from(tuple).ok()?;
    let count = u32::try_from(tuple.len()).ok()?;
    // SAFETY: `count` words are read from `tuple`, `count + 1` words, aligned, from the key.
    Some(unsafe { sys::shim_softrss(tuple.as_mut_ptr(), count, words.as_ptr().cast()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the vectors of Microsoft's "Verifying the RSS hash calculation".
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    #[test]
    fn the_hash_is_the_one_nics_compute() {
        let key = RssKey::new(&KEY).unwrap();
        let source = u32::from_be_bytes([66, 9, 149, 187]);
        let destination = u32::from_be_bytes([161, 142, 100, 80]);
        let ports = (2794 << 16) | 1766;
        assert_eq!(toeplitz(&[source, destination], &key), Some(0x323e_8fc2));
        assert_eq!(toeplitz(&[source, destination, ports], &key), Some(0x51cc_c178));
    }

    #[test]
    fn a_key_covers_its_tuple_and_one_word_more() {
        let key = RssKey::new(&KEY).unwrap();
        assert!(toeplitz(&[0; 9], &key).is_some());
        assert_eq!(toeplitz(&[0; 10], &key), None);
        assert_eq!(RssKey::new(&[0; RSS_KEY_MAX + 1]), None);
    }

    #[test]
    fn types_print_by_name_and_the_unknown_by_number() {
        let types = RssTypes::IPV4_TCP | RssTypes::L3_SRC_ONLY;
        assert_eq!(types.to_string(), "ipv4-tcp l3-src-only");
        assert_eq!(types.bits(), (1 << 4) | (1 << 63));
        assert_eq!(RssTypes::from_bits(1 << 40).to_string(), "0x10000000000");
        assert_eq!(RssTypes::NONE.to_string(), "none");
    }
}
