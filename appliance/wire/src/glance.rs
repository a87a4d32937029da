// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be told of any frame at a glance: for people, never for the packet path.
//!
//! Unlike [`crate::parse()`] it proves nothing and refuses nothing: of a frame that is cut short, a
//! fragment or of an unknown protocol it tells what is there. IPv6 extension headers are passed
//! over, a few of them at most.

use std::fmt;
use std::net::IpAddr;

use zerocopy::FromBytes;

use crate::ipv6::{NEXT_FRAGMENT, NEXT_ICMP6};
use crate::{Eth, Icmp, Ipv4, Ipv6, Ipv6Fragment, Port, Tcp, TcpFlags, eth, ipv4};

/// Extension headers that are passed over at most.
const EXTENSIONS_MAX: usize = 8;
/// Hop-by-hop options, routing and destination options: RFC 8200 §4.
const EXTENSIONS: [u8; 3] = [0, 43, 60];

/// A frame at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// Not even an Ethernet header.
    Short,
    /// Neither IPv4 nor IPv6, or cut short within that header.
    Other {
        /// The EtherType.
        ethertype: u16,
    },
    /// An IP packet.
    Ip(IpGlance),
}

/// An IP packet at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpGlance {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol number of what follows the IP header and its extensions.
    pub protocol: u8,
    /// TTL or hop limit, in hops.
    pub ttl: u8,
    /// Length of the packet in bytes, as its header says.
    pub length: usize,
    /// What of the transport header is there.
    pub transport: Transport,
}

/// A transport header at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Cut off, of an unknown protocol, or in another fragment.
    Unknown,
    /// A later fragment, which has none.
    Fragment,
    /// Source and destination ports, and the flags of TCP.
    Ports(u16, u16, Option<TcpFlags>),
    /// Type and code of ICMP or ICMPv6.
    Icmp(u8, u8),
}

/// Tells what a frame is, by its first bytes.
#[must_use]
pub fn glance(head: &[u8]) -> Glance {
    let Ok((ethernet, l3)) = Eth::ref_from_prefix(head) else {
        return Glance::Short;
    };
    let ethertype = ethernet.ethertype.get();
    let packet = match ethertype {
        eth::IPV4 => glance_v4(l3),
        eth::IPV6 => glance_v6(l3),
        _ => None,
    };
    packet.map_or(Glance::Other { ethertype }, Glance::Ip)
}

fn glance_v4(l3: &[u8]) -> Option<IpGlance> {
    let (ip, _) = Ipv4::ref_from_prefix(l3).ok()?;
    let l4 = l3.get(ip.header_len()..).unwrap_or_default();
    let is_later = ip.frag.get() & ipv4::OFFSET != 0;
    Some(IpGlance {
        source: ip.src.into(),
        destination: ip.dst.into(),
        protocol: ip.protocol,
        ttl: ip.ttl,
        length: ip.total_len.get().into(),
        transport: if is_later { Transport::Fragment } else { transport(ip.protocol, l4) },
    })
}

fn glance_v6(l3: &[u8]) -> Option<IpGlance> {
    let (ip, mut rest) = Ipv6::ref_from_prefix(l3).ok()?;
    let (mut protocol, mut is_later) = (ip.next_header, false);
    for _ in 0..EXTENSIONS_MAX {
        let skipped = if protocol == NEXT_FRAGMENT {
            let Ok((fragment, _)) = Ipv6Fragment::ref_from_prefix(rest) else { break };
            is_later |= fragment.offset_more.get() >> 3 != 0;
            size_of::<Ipv6Fragment>()
        } else if EXTENSIONS.contains(&protocol) {
            let Some(units) = rest.get(1) else { break };
            8 * (usize::from(*units) + 1)
        } else {
            break;
        };
        let Some(next) = rest.first() else { break };
        protocol = *next;
        rest = rest.get(skipped..).unwrap_or_default();
        if is_later {
            break;
        }
    }
    Some(IpGlance {
        source: ip.src.into(),
        destination: ip.dst.into(),
        protocol,
        ttl: ip.hop_limit,
        length: size_of::<Ipv6>() + usize::from(ip.payload_len.get()),
        transport: if is_later { Transport::Fragment } else { transport(protocol, rest) },
    })
}

fn transport(protocol: u8, l4: &[u8]) -> Transport {
    let ports = |flags| {
        let (source, rest) = Port::ref_from_prefix(l4).ok()?;
        let (destination, _) = Port::ref_from_prefix(rest).ok()?;
        Some(Transport::Ports(source.get(), destination.get(), flags))
    };
    let flags = || Tcp::ref_from_prefix(l4).ok().map(|(tcp, _)| tcp.flags);
    let known = match protocol {
        TCP => ports(flags()),
        UDP | SCTP => ports(None),
        ipv4::PROTOCOL_ICMP | NEXT_ICMP6 => {
            Icmp::ref_from_prefix(l4).ok().map(|(icmp, _)| Transport::Icmp(icmp.kind, icmp.code))
        }
        _ => None,
    };
    known.unwrap_or(Transport::Unknown)
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

impl Glance {
    /// Protocol, source and destination, each without a space; `-` for what the frame has not.
    #[must_use]
    pub fn columns(&self) -> [String; 3] {
        let none = || "-".to_owned();
        match self {
            Self::Short => [none(), none(), none()],
            Self::Other { ethertype } => [ethertype_name(*ethertype), none(), none()],
            Self::Ip(packet) => packet.columns(),
        }
    }
}

impl IpGlance {
    fn columns(&self) -> [String; 3] {
        let [source, destination] = [self.source, self.destination];
        let ends = match self.transport {
            Transport::Ports(from, to, _) => [(source, from), (destination, to)]
                .map(|end| std::net::SocketAddr::from(end).to_string()),
            _ => [source.to_string(), destination.to_string()],
        };
        let [source, destination] = ends;
        [protocol_name(self.protocol), source, destination]
    }
}

/// `TCP 198.51.100.7:40000 > 192.0.2.1:80 S, TTL 64, 60 bytes`.
impl fmt::Display for IpGlance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [protocol, source, destination] = self.columns();
        write!(f, "{protocol} {source} > {destination}")?;
        match self.transport {
            Transport::Ports(_, _, Some(flags)) => write!(f, " {}", Letters(flags))?,
            Transport::Icmp(kind, code) => write!(f, " type {kind} code {code}")?,
            Transport::Fragment => write!(f, " later fragment")?,
            Transport::Ports(_, _, None) | Transport::Unknown => {}
        }
        let hops = if self.source.is_ipv4() { "TTL" } else { "hop limit" };
        write!(f, ", {hops} {}, {} bytes", self.ttl, self.length)
    }
}

impl fmt::Display for Glance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("less than an Ethernet header"),
            Self::Other { ethertype } => f.write_str(&ethertype_name(*ethertype)),
            Self::Ip(packet) => packet.fmt(f),
        }
    }
}

/// TCP flags as letters, one each, `.` for none.
struct Letters(TcpFlags);

impl fmt::Display for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(TcpFlags, &str); 8] = [
            (TcpFlags::SYN, "S"),
            (TcpFlags::FIN, "F"),
            (TcpFlags::RST, "R"),
            (TcpFlags::PSH, "P"),
            (TcpFlags::ACK, "A"),
            (TcpFlags::URG, "U"),
            (TcpFlags::ECE, "E"),
            (TcpFlags::CWR, "W"),
        ];
        if self.0 == TcpFlags::NONE {
            return f.write_str(".");
        }
        let set = LETTERS.iter().filter(|(flag, _)| self.0.contains(*flag));
        set.map(|(_, letter)| letter).try_for_each(|letter| f.write_str(letter))
    }
}

fn protocol_name(protocol: u8) -> String {
    let known = match protocol {
        ipv4::PROTOCOL_ICMP => "ICMP",
        ipv4::PROTOCOL_IPIP => "IPIP",
        TCP => "TCP",
        UDP => "UDP",
        crate::ipv6::PROTOCOL_IPV6 => "IPv6",
        47 => "GRE",
        NEXT_ICMP6 => "ICMPv6",
        112 => "VRRP",
        SCTP => "SCTP",
        _ => return format!("protocol-{protocol}"),
    };
    known.to_owned()
}

fn ethertype_name(ethertype: u16) -> String {
    match ethertype {
        eth::ARP => "ARP".to_owned(),
        eth::IPV4 => "IPv4".to_owned(),
        eth::IPV6 => "IPv6".to_owned(),
        _ => format!("ethertype-{ethertype:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build;
    use std::net::Ipv6Addr;

    const ENDS: ([u8; 4], [u8; 4]) = ([198, 51, 100, 7], [192, 0, 2, 1]);

    #[test]
    fn a_packet_is_told_by_its_ends_flags_ttl_and_length() {
        let v4 = || build::eth().ipv4(ENDS.0, ENDS.1).ttl(9);
        let syn = v4().tcp(40000, 80).flags(TcpFlags(0x12)).payload(b"data");
        let [protocol, source, destination] = glance(&syn).columns();
        assert_eq!(
            [&*protocol, &source, &destination],
            ["TCP", "198.51.100.7:40000", "192.0.2.1:80"]
        );
        assert_eq!(
            glance(&syn).to_string(),
            "TCP 198.51.100.7:40000 > 192.0.2.1:80 SA, TTL 9, 44 bytes"
        );
        let v6 = build::eth().ip(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let text = glance(&v6.udp(1, 53).payload(&[])).to_string();
        assert_eq!(text, "UDP [::1]:1 > [::1]:53, hop limit 64, 48 bytes");
        let ping = glance(&v4().icmp(8, 0).payload(&[])).to_string();
        assert_eq!(ping, "ICMP 198.51.100.7 > 192.0.2.1 type 8 code 0, TTL 9, 28 bytes");
    }

    #[test]
    fn a_frame_cut_anywhere_is_told_as_far_as_it_goes() {
        let frame = build::eth().ipv4(ENDS.0, ENDS.1).tcp(40000, 80).payload(&[]);
        let tell = |len: usize| glance(&frame[..len]).columns().join(" ");
        assert_eq!(tell(13), "- - -");
        assert_eq!(tell(14), "IPv4 - -");
        assert_eq!(tell(34), "TCP 198.51.100.7 192.0.2.1");
        assert_eq!(tell(38), "TCP 198.51.100.7:40000 192.0.2.1:80");
        let later = {
            let mut frame = frame.clone();
            frame[14 + 7] = 5;
            frame
        };
        assert_eq!(glance(&later).columns()[1], "198.51.100.7");
        assert!(glance(&later).to_string().contains("later fragment"));
    }

    #[test]
    fn extension_headers_are_passed_over_within_a_bound() {
        let plain =
            build::eth().ip(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST).udp(7, 53).payload(&[]);
        let extended = |headers: &[[u8; 8]]| {
            let mut frame = plain.clone();
            frame[14 + 6] = headers.first().map_or(17, |_| 60);
            frame.splice(54..54, headers.concat());
            glance(&frame)
        };
        let (last, more) = ([17, 0, 0, 0, 0, 0, 0, 0], [60, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(extended(&[more, last]).columns(), ["UDP", "[::1]:7", "[::1]:53"]);
        let bomb = [more; 40];
        assert_eq!(extended(&bomb).columns(), ["protocol-60", "::1", "::1"]);
    }
}
