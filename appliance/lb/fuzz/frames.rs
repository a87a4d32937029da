// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of a few bytes: of clients, of servers, and answers to what the director sent.

use std::net::IpAddr;

use lb::ids::NicId;
use wire::ipv6::{Walked, walk};
use wire::{
    Eth, Family, Ipv4, Ipv6, L4, Sctp, SctpEvent, TcpFlags, U16, V4, V6, build, crc32c, csum,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::pipeline::rules::{GUE_PORT, PORTS};
use crate::pipeline::world::{ENDS, VIPS, client, ip};

/// Bytes of the Ethernet header.
const ETH: usize = 14;

/// A frame from words: what, which ends, which ports, control bits, and length in 8 bytes.
///
/// Of the first, bits 0 and 1 are the protocol, 2 the family, 3 "don't fragment", 4 and 5 a
/// fragment, 6 "from a server".
pub fn made(words: [u8; 5]) -> Vec<u8> {
    let [what, ends, ports, flags, len] = words;
    let v6 = usize::from(what >> 2 & 1);
    let who = client(v6, ends >> 3);
    let vip = ip(VIPS[v6][usize::from(ends & 7) % 6]);
    let server = ip(ENDS[v6][[0, 1, 2, 3, 6, 4, 7, 0][usize::from(ends & 7)]]);
    let from_server = what & 0x40 != 0;
    let (port, own) = (PORTS[usize::from(ports & 7)].max(1), 40000 + u16::from(ports >> 3));
    let ((src, sport), (dst, dport)) = match from_server {
        true => ((server, port), (who, own)),
        false => ((who, own), (vip, port)),
    };
    let mut packet = build::eth().ip(src, dst).id(u32::from(ports));
    if what & 8 != 0 {
        packet = packet.dont_fragment();
    }
    let payload = vec![len; 8 * usize::from(len)];
    packet = match what >> 4 & 3 {
        1 => packet.fragment(0, true),
        2 => return packet.fragment(8 * u16::from(flags), false).protocol(17).payload(&payload),
        3 => packet.ttl(flags & 3),
        _ => packet,
    };
    match what & 3 {
        0 => {
            let segment = packet.tcp(sport, dport).flags(TcpFlags(flags)).seq(flags.into());
            let segment =
                if flags & 0x40 == 0 { segment } else { segment.options(&[2, 4, 5, 180]) };
            segment.payload(&payload)
        }
        1 if flags & 1 != 0 => packet.udp(sport, dport).checksum(0).payload(&payload),
        1 if flags & 2 != 0 => packet.udp(sport, dport).payload(&sip(flags)),
        1 => packet.udp(sport, dport).payload(&payload),
        2 => {
            let event = SctpEvent::ALL[usize::from(flags) % SctpEvent::COUNT];
            packet.sctp(sport, dport, event, &payload)
        }
        _ => packet.icmp(if v6 == 1 { 128 } else { 8 }, 0).echo(1, 1).payload(&payload),
    }
}

fn sip(which: u8) -> Vec<u8> {
    format!("INVITE sip:a@b SIP/2.0\r\nCall-ID: {}@c\r\n\r\n", which >> 4).into_bytes()
}

/// An answer to a frame that left the director: its mirror image with other control bits, or an
/// error about it.
pub fn answer(sent: &[u8], how: u8, bits: u8) -> Vec<u8> {
    match how % 4 {
        0 | 1 => mirrored(sent, TcpFlags(bits)),
        2 => error(sent, how >> 2, bits).unwrap_or_default(),
        _ => sent.to_vec(),
    }
}

fn mirrored(sent: &[u8], flags: TcpFlags) -> Vec<u8> {
    let mut frame = sent.to_vec();
    let Ok((eth, l3)) = Eth::mut_from_prefix(&mut frame) else { return frame };
    let body = match eth.ethertype.get() {
        wire::eth::IPV4 => Ipv4::mut_from_prefix(l3).ok().map(|(ip, body)| {
            std::mem::swap(&mut ip.src, &mut ip.dst);
            (ip.protocol, body)
        }),
        _ => Ipv6::mut_from_prefix(l3).ok().map(|(ip, body)| {
            std::mem::swap(&mut ip.src, &mut ip.dst);
            (ip.next_header, body)
        }),
    };
    if let Some((protocol, body)) = body
        && let Some(l4) = L4::from_number(protocol)
        && body.len() >= 16
    {
        let (source, rest) = body.split_at_mut(2);
        source.swap_with_slice(&mut rest[..2]);
        match l4 {
            L4::Tcp => body[13] = flags.0,
            L4::Sctp => body[12] = flags.0 % 16,
            L4::Udp => {}
        }
    }
    frame
}

/// An error from a router, from where the frame went, or from a stranger.
fn error(sent: &[u8], kind: u8, bits: u8) -> Option<Vec<u8>> {
    let (eth, l3) = Eth::ref_from_prefix(sent).ok()?;
    let quoted = |most: usize| &l3[..l3.len().min(most)];
    let (src, dst): (IpAddr, IpAddr) = match eth.ethertype.get() {
        wire::eth::IPV4 => {
            Ipv4::ref_from_prefix(l3).ok().map(|(ip, _)| (ip.src.into(), ip.dst.into()))
        }
        _ => Ipv6::ref_from_prefix(l3).ok().map(|(ip, _)| (ip.src.into(), ip.dst.into())),
    }?;
    let v6 = usize::from(dst.is_ipv6());
    let router = ip(ENDS[v6][7]);
    let packet = build::eth().ip(if kind & 1 == 0 { dst } else { router }, src);
    let mtu = 8 * u16::from(bits);
    let message = match (v6, kind >> 1 & 3) {
        (0, 0) => packet.icmp(3, 4).mtu(mtu),
        (0, 1) => packet.icmp(3, bits % 16),
        (0, 2) => packet.icmp(11, 0),
        (0, _) => packet.icmp(5 + bits % 8, 1),
        (_, 0) => packet.icmp(2, 0).mtu(mtu),
        (_, kind) => packet.icmp(kind, bits % 8),
    };
    Some(message.payload(quoted([28, 60, 576, 1200][usize::from(kind >> 3 & 3)])))
}

/// Makes every checksum of a frame right where that can be told, but for UDP without one.
pub fn mend(frame: &mut [u8]) {
    let Ok((eth, l3)) = Eth::mut_from_prefix(frame) else { return };
    match eth.ethertype.get() {
        wire::eth::IPV4 => mend_v4(l3),
        wire::eth::IPV6 => mend_v6(l3),
        _ => None,
    };
}

fn mend_v4(l3: &mut [u8]) -> Option<()> {
    let (ip, _) = Ipv4::mut_from_prefix(l3).ok()?;
    ip.csum = U16::ZERO;
    ip.csum = ip.checksum();
    let ip = *ip;
    let header = l3.get_mut(..ip.header_len())?;
    header.get_mut(10..12)?.fill(0);
    let csum = csum::sum(header).checksum();
    header.get_mut(10..12)?.copy_from_slice(csum.as_bytes());
    if ip.is_fragment() {
        return None;
    }
    let body = l3.get_mut(ip.header_len()..ip.total_len.get().into())?;
    mend_content::<V4>(ip.src, ip.dst, ip.protocol, body)
}

fn mend_v6(l3: &mut [u8]) -> Option<()> {
    let (ip, body) = Ipv6::mut_from_prefix(l3).ok()?;
    let body = body.get_mut(..ip.payload_len.get().into())?;
    match walk(ip.next_header, body, body.len()) {
        Ok(Walked::Transport { protocol, at }) => {
            mend_content::<V6>(ip.src, ip.dst, protocol, body.get_mut(at..)?)
        }
        _ => None,
    }
}

fn mend_content<F: Family>(
    src: F::Addr,
    dst: F::Addr,
    protocol: u8,
    body: &mut [u8],
) -> Option<()> {
    let at = match L4::from_number(protocol) {
        Some(L4::Tcp) => 16,
        Some(L4::Udp) => 6,
        Some(L4::Sctp) => {
            let (sctp, rest) = Sctp::mut_from_prefix(body).ok()?;
            sctp.csum = 0.into();
            sctp.csum = crc32c::crc32c(&[sctp.as_bytes(), rest].concat()).into();
            return Some(());
        }
        None if protocol == 1 || protocol == 58 => 2,
        None => return None,
    };
    let is_udp = L4::from_number(protocol) == Some(L4::Udp);
    if is_udp && body.get(6..8)? == [0, 0] && src.as_bytes().len() == 4 {
        return None;
    }
    let covered = match is_udp {
        true => usize::from(u16::from_be_bytes(body.get(4..6)?.try_into().ok()?)),
        false => body.len(),
    };
    let body = body.get_mut(..covered)?;
    body.get_mut(at..at + 2)?.fill(0);
    let pseudo = match protocol {
        1 => csum::Sum::default(),
        _ => F::pseudo_header_sum(src, dst, body.len(), protocol),
    };
    let csum = pseudo.plus(csum::sum(body)).checksum();
    let csum = if is_udp { csum::nonzero(csum) } else { csum };
    body.get_mut(at..at + 2)?.copy_from_slice(csum.as_bytes());
    Some(())
}

/// By which NIC a frame with this source comes.
pub fn nic_of(frame: &[u8]) -> NicId {
    let is_ours = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets()[0] == 10,
        IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
    };
    NicId(u16::from(ends(frame).is_some_and(|(src, _)| is_ours(src))))
}

/// Source and destination of a frame's IP packet.
pub fn ends(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let (eth, l3) = Eth::ref_from_prefix(frame).ok()?;
    match eth.ethertype.get() {
        wire::eth::IPV4 => {
            Ipv4::ref_from_prefix(l3).ok().map(|(ip, _)| (ip.src.into(), ip.dst.into()))
        }
        wire::eth::IPV6 => {
            Ipv6::ref_from_prefix(l3).ok().map(|(ip, _)| (ip.src.into(), ip.dst.into()))
        }
        _ => None,
    }
}

/// Whether an IPv6 frame is a tunnel's of Generic UDP Encapsulation.
pub fn is_gue(frame: &[u8]) -> bool {
    frame.get(ETH + 40 + 2..ETH + 40 + 4) == Some(&GUE_PORT.to_be_bytes())
}

/// The ends of the packet that an ICMP error quotes.
pub fn quoted_ends(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let (src, _) = ends(frame)?;
    let header = if src.is_ipv6() { 40 } else { 20 };
    let mut inner = frame.get(..ETH)?.to_vec();
    inner.extend_from_slice(frame.get(ETH + header + 8..)?);
    ends(&inner)
}
