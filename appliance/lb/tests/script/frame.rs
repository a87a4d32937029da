// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of a script → a frame from scratch.
//!
//! `SRC > DST` and the protocol come first, then what differs from the builder's defaults, as
//! `key=value`, as a pair `seq 7`, or as a bare word (`df`, `pad`):
//!
//! ```text
//! 198.51.100.7:40000 > 192.0.2.1:80 tcp SA seq 1 ack 2 len 10 ttl=9 tos=0xb8 id=7 df
//! 198.51.100.7:53 > 192.0.2.1:53 udp len 5 csum=0
//! 198.51.100.7:9 > 192.0.2.1:9 sctp cookie-echo len 20
//! 192.0.2.1 > 198.51.100.7 icmp 3/4 mtu 1480 about 198.51.100.7:40000 > 192.0.2.1:80 tcp A
//! 10.0.0.1 > 10.0.0.11 ipip df | 198.51.100.7:40000 > 192.0.2.1:80 tcp S
//! 10.0.0.1 > 10.0.0.11 gre csum=1 | 198.51.100.7:40000 > 192.0.2.1:80 tcp S
//! 10.0.0.1:50000 > 10.0.0.11:6080 gue | 198.51.100.7:40000 > 192.0.2.1:80 tcp S
//! 198.51.100.7:1000 > 192.0.2.1:53 udp len 3000 part=1480+1480 id=7
//! [2001:db8::7]:5353 > [2001:db8:2::1]:53 udp ext=60:010400000000
//! arp 198.51.100.7 asks 192.0.2.1
//! hex 020000000001...
//! ```
//!
//! `text=WORDS` is a payload, in which `\s` stands for a space and `\n` for the end of a line.
//! `part=OFFSET+LEN` is a fragment cut out of the whole packet that the other words describe
//! (`inner=` where that is the packet in a tunnel); `frag=OFFSET` makes what they describe a
//! fragment as it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use wire::build::{self, EthFrame, IpPacket};
use wire::{Arp, Eth, Family, Mac, SctpEvent, TcpFlags, V4, V6, VecFrame};

use super::part::{self, Part};
use crate::lab::{Nic, mac_of};

/// Which way a frame goes; decides whose addresses the Ethernet header has, and the TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the director: from the packet's source, TTL 64.
    In,
    /// From the director: to the packet's destination, TTL 63 as of a forwarded packet.
    Out,
}

/// Longest answer of the director about a packet, IP header included, in bytes.
const ANSWER_MAX_V4: usize = 576;
const ANSWER_MAX_V6: usize = 1280;

/// Builds the frame that the words describe.
pub fn frame(way: Way, nic: &Nic, words: &[&str]) -> Result<VecFrame, String> {
    let mut spec = Spec::read(words)?;
    let ether = spec.ether(way, nic)?;
    let tail_len = spec.number("chain")?.unwrap_or(0);
    let ttl = if way == Way::In { 64 } else { 63 };
    let bytes = match spec.kind {
        "hex" => hex(spec.first()?)?,
        "arp" => {
            let [asking, wanted] = [spec.ends.0.0, spec.ends.1.0];
            match (asking, wanted) {
                (IpAddr::V4(asking), IpAddr::V4(wanted)) => {
                    ether.arp(&Arp::request(mac_of(asking.into()), asking.into(), wanted.into()))
                }
                _ => return Err("ARP is for IPv4".to_owned()),
            }
        }
        _ => {
            let ((src, _), (dst, _)) = spec.ends;
            let part = spec.part("part")?;
            let bytes = spec.packet(ether.ip(src, dst), ttl)?;
            part.map_or(Ok(bytes.clone()), |part| part::cut(&bytes, part))?
        }
    };
    spec.all_used()?;
    Ok(VecFrame::chained(&bytes, tail_len))
}

/// Every address that the words name.
pub fn addresses(words: &[&str]) -> Vec<IpAddr> {
    let named = words.iter().map(|word| word.rsplit('=').next().unwrap_or(word));
    named.filter_map(|word| end(word).ok()).map(|(address, _)| address).collect()
}

type End = (IpAddr, u16);

struct Spec<'a> {
    kind: &'a str,
    ends: (End, End),
    positional: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
    /// The packet inside or the packet quoted.
    inner: &'a [&'a str],
}

impl<'a> Spec<'a> {
    fn read(words: &'a [&'a str]) -> Result<Self, String> {
        let nowhere = (IpAddr::from([0; 4]), 0);
        let mut spec = Spec {
            kind: "",
            ends: (nowhere, nowhere),
            positional: Vec::new(),
            named: BTreeMap::new(),
            inner: &[],
        };
        let mut rest = match words {
            ["hex", rest @ ..] => {
                spec.kind = "hex";
                rest
            }
            ["arp", asking, "asks", wanted, rest @ ..] => {
                spec.kind = "arp";
                spec.ends = (end(asking)?, end(wanted)?);
                rest
            }
            [src, ">", dst, kind, rest @ ..] => {
                spec.kind = kind;
                spec.ends = (end(src)?, end(dst)?);
                rest
            }
            _ => return Err(format!("not a frame: {}", words.join(" "))),
        };
        loop {
            rest = match rest {
                [] => return Ok(spec),
                ["|" | "about", inner @ ..] => {
                    spec.inner = inner;
                    return Ok(spec);
                }
                [key @ ("seq" | "ack" | "len" | "mtu" | "win"), value, rest @ ..] => {
                    spec.name(key, value)?;
                    rest
                }
                [flag @ ("df" | "pad"), rest @ ..] => {
                    spec.name(flag, "1")?;
                    rest
                }
                [word, rest @ ..] => {
                    match word.split_once('=') {
                        Some((key, value)) => spec.name(key, value)?,
                        None => spec.positional.push(word),
                    }
                    rest
                }
            };
        }
    }

    fn name(&mut self, key: &'a str, value: &'a str) -> Result<(), String> {
        match self.named.insert(key, value) {
            Some(_) => Err(format!("{key} is given twice")),
            None => Ok(()),
        }
    }

    fn ether(&mut self, way: Way, nic: &Nic) -> Result<EthFrame, String> {
        let ((src, _), (dst, _)) = self.ends;
        let (peer, dst) = match way {
            Way::In => (self.value::<IpAddr>("from")?.unwrap_or(src), None),
            Way::Out => (self.value::<IpAddr>("to")?.unwrap_or(dst), Some(())),
        };
        let other = self.value::<Mac>("mac")?;
        let ether = match dst {
            None => build::eth().src(mac_of(peer)).dst(other.unwrap_or(nic.mac)),
            Some(()) => build::eth().src(nic.mac).dst(other.unwrap_or(mac_of(peer))),
        };
        let ether = match self.number("ethertype")? {
            Some(number) => ether.ethertype(number),
            None => ether,
        };
        Ok(if self.named.remove("pad").is_some() { ether.padded() } else { ether })
    }

    fn packet(&mut self, ip: IpPacket, ttl: u8) -> Result<Vec<u8>, String> {
        let ip = self.ip(ip, ttl)?;
        let ((_, sport), (_, dport)) = self.ends;
        let payload: Vec<u8> = match self.named.remove("text") {
            Some(text) => text.replace("\\s", " ").replace("\\n", "\r\n").into_bytes(),
            None => (0..self.number("len")?.unwrap_or(0)).map(pattern).collect(),
        };
        match self.kind {
            "tcp" => self.tcp(ip.tcp(sport, dport), &payload),
            "udp" => {
                let mut udp = ip.udp(sport, dport);
                udp = match self.named.remove("csum") {
                    None => udp,
                    Some("bad") => udp.bad_checksum(),
                    Some(number) => udp.checksum(parse(number)?),
                };
                if let Some(length) = self.number("length")? {
                    udp = udp.length(length);
                }
                Ok(udp.payload(&payload))
            }
            "sctp" => {
                let bytes = ip.sctp(sport, dport, event(self.first()?)?, &payload);
                Ok(bytes)
            }
            "icmp" => self.icmp(ip, &payload),
            "ipip" => {
                let mut inner = Spec::read(self.inner)?;
                let ((src, _), (dst, _)) = inner.ends;
                let part = inner.part("inner")?;
                let Some(part) = part else {
                    let bytes = inner.packet(ip.ip(src, dst), 63)?;
                    inner.all_used()?;
                    return Ok(bytes);
                };
                let bytes = inner.packet(build::eth().ip(src, dst), 63)?;
                inner.all_used()?;
                let protocol = if src.is_ipv4() { V4::PROTOCOL } else { V6::PROTOCOL };
                let packet = &part::cut(&bytes, part)?[size_of::<Eth>()..];
                Ok(ip.protocol(protocol).payload(packet))
            }
            "gre" => {
                let summed = self.named.remove("csum").is_some();
                let (protocol, inner) = self.carried()?;
                let bytes = if summed {
                    let unsummed = [&[0x80, 0], &protocol[..], &[0; 4], &inner].concat();
                    let sum = wire::csum::sum(&unsummed).checksum().to_bytes();
                    [&[0x80, 0], &protocol[..], &sum, &[0; 2], &inner].concat()
                } else {
                    [&[0, 0], &protocol[..], &inner].concat()
                };
                Ok(ip.protocol(wire::gre::PROTOCOL_GRE).payload(&bytes))
            }
            "gue" => {
                let udp = ip.udp(sport, dport);
                let summed = self.named.remove("csum").is_some();
                let (protocol, inner) = self.carried()?;
                let carried = if protocol == [0x08, 0] { 4 } else { 41 };
                let udp = if summed { udp } else { udp.checksum(0) };
                Ok(udp.payload(&[&[0, carried, 0, 0], &inner[..]].concat()))
            }
            number => Ok(ip.protocol(parse(number)?).payload(&payload)),
        }
    }

    /// The packet inside, with its EtherType.
    fn carried(&mut self) -> Result<([u8; 2], Vec<u8>), String> {
        let mut inner = Spec::read(self.inner)?;
        let ((src, _), (dst, _)) = inner.ends;
        let bytes = inner.packet(build::packet(src, dst), 63)?;
        inner.all_used()?;
        let ethertype = if src.is_ipv4() { wire::eth::IPV4 } else { wire::eth::IPV6 };
        Ok((ethertype.to_be_bytes(), bytes))
    }

    fn ip(&mut self, mut ip: IpPacket, ttl: u8) -> Result<IpPacket, String> {
        ip = ip.ttl(self.number("ttl")?.unwrap_or(ttl));
        ip = ip.tos(self.number("tos")?.unwrap_or(0)).id(self.number("id")?.unwrap_or(0));
        ip = ip.flow_label(self.number("flow")?.unwrap_or(0));
        if self.named.remove("df").is_some() {
            ip = ip.dont_fragment();
        }
        if let Some(options) = self.named.remove("ipopt") {
            ip = ip.options(&hex(options)?);
        }
        for extension in self.named.remove("ext").iter().flat_map(|all| all.split(',')) {
            let (number, rest) = extension.split_once(':').ok_or("ext wants NUMBER:HEX")?;
            ip = ip.extension(parse(number)?, &hex(rest)?);
        }
        if let Some(length) = self.number("iplen")? {
            ip = ip.length(length);
        }
        if self.named.remove("ipcsum").is_some() {
            ip = ip.bad_checksum();
        }
        if let Some(place) = self.named.remove("frag") {
            let offset = place.trim_end_matches('+');
            ip = ip.fragment(parse(offset)?, offset != place);
        }
        Ok(ip)
    }

    fn part(&mut self, key: &str) -> Result<Option<Part>, String> {
        let Some(place) = self.named.remove(key) else {
            return Ok(None);
        };
        let (offset, len) = place.split_once('+').ok_or("part wants OFFSET+LEN")?;
        let id = self.named.get("id").copied().map_or(Ok(0), parse)?;
        Ok(Some(Part { offset: parse(offset)?, len: parse(len)?, id }))
    }

    fn tcp(&mut self, tcp: build::TcpSegment, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut tcp = tcp.flags(flags(self.first()?)?);
        tcp = tcp.seq(self.number("seq")?.unwrap_or(0)).ack(self.number("ack")?.unwrap_or(0));
        if let Some(window) = self.number("win")? {
            tcp = tcp.window(window);
        }
        if let Some(options) = self.named.remove("opt") {
            tcp = tcp.options(&hex(options)?);
        }
        if let Some(words) = self.number("offset")? {
            tcp = tcp.data_offset(words);
        }
        tcp = match self.named.remove("csum") {
            None => tcp,
            Some("bad") => tcp.bad_checksum(),
            Some(number) => tcp.checksum(parse(number)?),
        };
        Ok(tcp.payload(payload))
    }

    fn icmp(&mut self, ip: IpPacket, payload: &[u8]) -> Result<Vec<u8>, String> {
        let (kind, code) = self.first()?.split_once('/').ok_or("icmp wants TYPE/CODE")?;
        let mut icmp = ip.icmp(parse(kind)?, parse(code)?);
        if let Some(mtu) = self.number("mtu")? {
            icmp = icmp.mtu(mtu);
        }
        if self.named.remove("icmpcsum").is_some() {
            icmp = icmp.bad_checksum();
        }
        if self.inner.is_empty() {
            return Ok(icmp.payload(payload));
        }
        let mut quoted = Spec::read(self.inner)?;
        let ((src, _), (dst, _)) = quoted.ends;
        let mut bytes = quoted.packet(build::packet(src, dst), 64)?;
        quoted.all_used()?;
        let most = if src.is_ipv4() { ANSWER_MAX_V4 - 28 } else { ANSWER_MAX_V6 - 48 };
        bytes.truncate(self.number("quote")?.unwrap_or(most));
        Ok(icmp.payload(&bytes))
    }

    fn first(&mut self) -> Result<&'a str, String> {
        if self.positional.is_empty() {
            return Err(format!("{} wants a word more", self.kind));
        }
        Ok(self.positional.remove(0))
    }

    fn value<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        let Some(text) = self.named.remove(key) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| format!("not a value for {key}: {text}"))
    }

    fn number<T: TryFrom<u64>>(&mut self, key: &str) -> Result<Option<T>, String> {
        self.named.remove(key).map(parse).transpose()
    }

    fn all_used(&self) -> Result<(), String> {
        let mut left = self.positional.iter().chain(self.named.keys());
        left.next().map_or(Ok(()), |word| Err(format!("{word} means nothing here")))
    }
}

fn end(word: &str) -> Result<End, String> {
    let full: Result<SocketAddr, _> = word.parse();
    full.map(|end| (end.ip(), end.port()))
        .or_else(|_| word.parse().map(|address: IpAddr| (address, 0)))
        .map_err(|_| format!("not an address: {word}"))
}

fn flags(letters: &str) -> Result<TcpFlags, String> {
    let known = [
        ('F', TcpFlags::FIN),
        ('S', TcpFlags::SYN),
        ('R', TcpFlags::RST),
        ('P', TcpFlags::PSH),
        ('A', TcpFlags::ACK),
        ('U', TcpFlags::URG),
        ('E', TcpFlags::ECE),
        ('C', TcpFlags::CWR),
        ('.', TcpFlags::NONE),
    ];
    letters.chars().try_fold(TcpFlags::NONE, |all, letter| {
        let flag = known.iter().find(|(name, _)| *name == letter);
        flag.map(|(_, flag)| all | *flag).ok_or(format!("not a TCP flag: {letter}"))
    })
}

fn event(word: &str) -> Result<SctpEvent, String> {
    let name = word.replace('-', "");
    let known = SctpEvent::ALL.into_iter();
    let mut named = known.filter(|event| format!("{event:?}").eq_ignore_ascii_case(&name));
    named.next().ok_or(format!("not an SCTP chunk: {word}"))
}

fn parse<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let number = number.map_err(|_| format!("not a number: {text}"))?;
    T::try_from(number).map_err(|_| format!("too large: {text}"))
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        u8::from_str_radix(pair, 16).map_err(|_| format!("not hexadecimal: {text}"))
    });
    pairs.collect()
}

fn pattern(index: usize) -> u8 {
    (index % 251) as u8
}
