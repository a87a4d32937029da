// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames: templates of headers over which a flow and a stamp are laid. All checksums are right.

use std::net::IpAddr;

use wire::csum::Delta;
use wire::{FamilyId, L4, Mac, TcpFlags, build};
use zerocopy::network_endian::U16;

use super::FCS;
use super::stamp::{self, Stamp};
use crate::traffic::{Flow, Segment};

/// Bytes of an Ethernet header.
const ETH: usize = 14;
/// Bytes of the longest frame without FCS.
pub const FRAME_MAX: usize = 1514;
/// Seven short, four middling and one full frame, FCS included.
const IMIX: [u16; 12] = [64, 570, 64, 64, 570, 64, 1518, 64, 570, 64, 64, 570];

/// Sizes of frames, in turn, FCS included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(Vec<u16>);

/// What is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a size of frames; write bytes with the FCS, 64 to 1518, or imix")]
pub struct NotASize(String);

impl std::str::FromStr for Sizes {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self(IMIX.to_vec()));
        }
        match text.parse() {
            Ok(bytes @ 64..=1518) => Ok(Self(vec![bytes])),
            _ => Err(NotASize(text.to_owned())),
        }
    }
}

/// What all frames have in common.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Address family.
    pub family: FamilyId,
    /// TCP or UDP.
    pub protocol: L4,
    /// The sender.
    pub src: Mac,
    /// The next hop.
    pub dst: Mac,
}

/// Templates, by segment and size.
#[derive(Clone, Debug)]
pub struct Frames {
    kind: Kind,
    open: Vec<Vec<u8>>,
    data: Vec<Vec<u8>>,
    is_raised: bool,
}

impl Frames {
    /// Templates of these sizes, each raised to what headers and stamp need.
    #[must_use]
    pub fn new(kind: Kind, sizes: &Sizes) -> Self {
        let all = |flags| sizes.0.iter().map(|size| template(kind, *size, flags)).collect();
        let data: Vec<Vec<u8>> = all(TcpFlags::ACK);
        let is_raised =
            data.iter().zip(&sizes.0).any(|(frame, size)| frame.len() > usize::from(size - FCS));
        Self { kind, open: all(TcpFlags::SYN), data, is_raised }
    }

    /// Whether a frame is longer than its size says, since headers and stamp need it.
    #[must_use]
    pub const fn is_raised(&self) -> bool {
        self.is_raised
    }

    /// The template for a turn; [`Self::lay`] makes a frame of its copy.
    #[must_use]
    pub fn template(&self, turn: u64, segment: Segment) -> &[u8] {
        let templates = if segment == Segment::Open { &self.open } else { &self.data };
        templates.get((turn % templates.len() as u64) as usize).map_or(&[], Vec::as_slice)
    }

    /// Mean length without FCS, in bytes.
    #[must_use]
    pub fn mean_bytes(&self) -> f64 {
        self.data.iter().map(Vec::len).sum::<usize>() as f64 / self.data.len() as f64
    }

    /// Lays a flow and a stamp over the copy of a template.
    pub fn lay(&self, frame: &mut [u8], flow: Flow, stamp: Stamp) {
        let mut addresses = [0; 32];
        let len = put(&mut addresses, flow.src.ip());
        let both = len + put(&mut addresses[len..], flow.dst.ip());
        let addresses = &addresses[..both];
        let mut ports = [0; 4];
        ports[..2].copy_from_slice(&flow.src.port().to_be_bytes());
        ports[2..].copy_from_slice(&flow.dst.port().to_be_bytes());
        let stamp = stamp.to_bytes();
        let added = |bytes: &[u8]| Delta::between(&[], bytes);
        let l3 = added(addresses);
        let l4 = l3.combine(added(&ports)).combine(added(&stamp));
        let at = Places::of(self.kind);
        write(frame, at.addresses, addresses);
        write(frame, at.l4, &ports);
        match self.kind.protocol {
            L4::Tcp => {
                let (first, last) = stamp.split_at(stamp::IN_TCP_HEADER);
                write(frame, at.l4 + stamp::TCP_SEQUENCE_AT, first);
                write(frame, at.data, last);
            }
            L4::Udp | L4::Sctp => write(frame, at.data, &stamp),
        }
        if let Some(csum) = at.ip_csum {
            mend(frame, csum, |old| l3.apply(old));
        }
        mend(frame, at.l4_csum, |old| match self.kind.protocol {
            L4::Udp => l4.apply_udp(old),
            L4::Tcp | L4::Sctp => l4.apply(old),
        });
    }
}

/// Where the parts of a frame are, in bytes from its start.
struct Places {
    ip_csum: Option<usize>,
    addresses: usize,
    l4: usize,
    l4_csum: usize,
    data: usize,
}

impl Places {
    const fn of(kind: Kind) -> Self {
        let (ip_csum, addresses, l4) = match kind.family {
            FamilyId::V4 => (Some(ETH + 10), ETH + 12, ETH + 20),
            FamilyId::V6 => (None, ETH + 8, ETH + 40),
        };
        let (csum, header) = if matches!(kind.protocol, L4::Tcp) { (16, 20) } else { (6, 8) };
        Self { ip_csum, addresses, l4, l4_csum: l4 + csum, data: l4 + header }
    }
}

/// A frame from nobody to nobody with room for a stamp.
fn template(kind: Kind, size: u16, flags: TcpFlags) -> Vec<u8> {
    let data_at = Places::of(kind).data;
    let needed =
        if kind.protocol == L4::Tcp { stamp::BYTES - stamp::IN_TCP_HEADER } else { stamp::BYTES };
    let len = usize::from(size - FCS).clamp(data_at + needed, FRAME_MAX);
    let data = vec![0; len - data_at];
    let frame = build::eth().src(kind.src).dst(kind.dst);
    let packet = match kind.family {
        FamilyId::V4 => frame.ipv4([0; 4], [0; 4]),
        FamilyId::V6 => frame.ipv6([0; 16], [0; 16]),
    };
    match kind.protocol {
        L4::Tcp => packet.tcp(0, 0).flags(flags).payload(&data),
        L4::Udp | L4::Sctp => packet.udp(0, 0).payload(&data),
    }
}

fn put(to: &mut [u8], address: IpAddr) -> usize {
    match address {
        IpAddr::V4(address) => write(to, 0, &address.octets()),
        IpAddr::V6(address) => write(to, 0, &address.octets()),
    }
    if address.is_ipv4() { 4 } else { 16 }
}

fn write(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = frame.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

fn mend(frame: &mut [u8], at: usize, change: impl Fn(U16) -> U16) {
    if let Some(field) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *field = change(U16::from_bytes(*field)).to_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(family: FamilyId, protocol: L4) -> Kind {
        Kind { family, protocol, src: Mac([2, 0, 0, 0, 0, 9]), dst: Mac([2, 0, 0, 0, 0, 1]) }
    }

    #[test]
    fn every_frame_is_right_and_has_its_stamp() {
        for (family, src, dst) in [
            (FamilyId::V4, "198.18.0.77:1024", "192.0.2.1:80"),
            (FamilyId::V6, "[2001:2::4d]:65535", "[2001:db8::1]:443"),
        ] {
            let flow = Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() };
            for protocol in [L4::Tcp, L4::Udp] {
                let frames = Frames::new(kind(family, protocol), &"imix".parse().unwrap());
                for turn in 0..500 {
                    let stamp = Stamp { marker: 7, number: turn * 977, sent_ns: turn << 30 };
                    for segment in [Segment::Open, Segment::Data] {
                        let mut frame = frames.template(turn, segment).to_vec();
                        frames.lay(&mut frame, flow, stamp);
                        assert_eq!(wire::verify(&frame), Ok(()), "{family:?} {protocol} {turn}");
                        assert_eq!(Stamp::read(&frame), Some(stamp));
                        assert_eq!(lookup(&frame), (flow.src, flow.dst));
                    }
                }
            }
        }
    }

    fn lookup(frame: &[u8]) -> (std::net::SocketAddr, std::net::SocketAddr) {
        let wire::Glance::Ip(ip) = wire::glance(frame) else { panic!("not IP") };
        let wire::glance::Transport::Ports(from, to, _) = ip.transport else { panic!("no ports") };
        ((ip.source, from).into(), (ip.destination, to).into())
    }

    #[test]
    fn the_shortest_frames_of_ipv4_are_those_of_ethernet() {
        let shortest = |family, protocol| {
            let frames = Frames::new(kind(family, protocol), &"64".parse().unwrap());
            (frames.mean_bytes() + f64::from(FCS), frames.is_raised())
        };
        assert_eq!(shortest(FamilyId::V4, L4::Udp), (64.0, false));
        assert_eq!(shortest(FamilyId::V4, L4::Tcp), (64.0, false));
        assert_eq!(shortest(FamilyId::V6, L4::Udp), (80.0, true));
        assert_eq!(shortest(FamilyId::V6, L4::Tcp), (84.0, true));
    }

    #[test]
    fn sizes_beyond_ethernets_are_refused() {
        for wrong in ["63", "1519", "jumbo"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
    }
}
