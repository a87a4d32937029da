// SPDX-License-Identifier: MIT OR Apache-2.0
//! Outer headers: IP in IP of one family (RFC 2003, RFC 2473), as the kernel's `ipip` and `ip6ip6`.
//!
//! The DSCP is copied, and of ECN all but "congestion experienced", which becomes ECT(0) (RFC 6040
//! §4.1, compatibility left aside as the kernel does); the outer TTL is the inner one after its
//! decrement; "don't fragment" is copied, so that path MTU discovery works through the tunnel.

use std::net::IpAddr;

use wire::{Eth, Family, Frame, Ipv4, Ipv6, V4, V6};
use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

/// A family that can be the outer one.
pub trait Outer: Family {
    /// The outer header of a packet; `id` is used where the packet may be fragmented on its way.
    type Header: IntoBytes + zerocopy::Immutable;

    /// Builds the outer header around `inner`, which starts at its IP header.
    fn header(
        ends: (Self::Addr, Self::Addr),
        inner: &[u8],
        inner_len: usize,
        id: u16,
    ) -> Option<Self::Header>;
}

/// Bytes that the outer header of a family adds.
pub const fn overhead<F: Family>() -> usize {
    F::HEADER_LEN
}

/// Puts an outer header from `source` to `server` before the IP packet of a frame; false if there
/// is no headroom or an address is of another family.
pub fn encapsulate<F: Outer>(
    frame: &mut impl Frame,
    ip_len: usize,
    source: IpAddr,
    server: IpAddr,
    id: u16,
) -> bool {
    let Some(ends) = F::from_ip(source).zip(F::from_ip(server)) else {
        return false;
    };
    let Some(inner) = frame.head().get(size_of::<Eth>()..) else {
        return false;
    };
    let Some(header) = F::header(ends, inner, ip_len, id) else {
        return false;
    };
    if !frame.push_front(F::HEADER_LEN) {
        return false;
    }
    let Some(l3) = frame.head_mut().get_mut(size_of::<Eth>()..) else {
        return false;
    };
    header.write_to_prefix(l3).is_ok()
}

impl Outer for V4 {
    type Header = Ipv4;

    fn header(
        (src, dst): (Self::Addr, Self::Addr),
        inner: &[u8],
        inner_len: usize,
        id: u16,
    ) -> Option<Ipv4> {
        let (inner, _) = Ipv4::ref_from_prefix(inner).ok()?;
        let dont_fragment = inner.dont_fragment();
        let mut header = Ipv4 {
            version_ihl: wire::ipv4::VERSION_IHL,
            tos: outer_tos(inner.tos),
            total_len: U16::new(u16::try_from(inner_len + Self::HEADER_LEN).ok()?),
            id: U16::new(if dont_fragment { 0 } else { id }),
            frag: U16::new(if dont_fragment { wire::ipv4::DONT_FRAGMENT } else { 0 }),
            ttl: inner.ttl,
            protocol: Self::PROTOCOL,
            csum: U16::ZERO,
            src,
            dst,
        };
        header.csum = header.checksum();
        Some(header)
    }
}

impl Outer for V6 {
    type Header = Ipv6;

    fn header(
        (src, dst): (Self::Addr, Self::Addr),
        inner: &[u8],
        inner_len: usize,
        _: u16,
    ) -> Option<Ipv6> {
        let (inner, _) = Ipv6::ref_from_prefix(inner).ok()?;
        Some(Ipv6 {
            version_class_label: Ipv6::word(outer_tos(inner.traffic_class()), 0),
            payload_len: U16::new(u16::try_from(inner_len).ok()?),
            next_header: Self::PROTOCOL,
            hop_limit: inner.hop_limit,
            src,
            dst,
        })
    }
}

fn outer_tos(inner: u8) -> u8 {
    const ECN: u8 = 3;
    const CONGESTION_EXPERIENCED: u8 = 3;
    const ECT_0: u8 = 2;
    if inner & ECN == CONGESTION_EXPERIENCED { inner & !ECN | ECT_0 } else { inner }
}
