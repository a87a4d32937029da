// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames as the recordings of the kernel describe them → bytes.
//!
//! A line gives every field of the headers and every checksum, but of the data only the length: it
//! is one of a few texts, and the checksum tells which. Some lines are followed by the bytes.

use std::net::IpAddr;

use wire::build::{self, EthFrame, IpPacket};
use wire::{Eth, Ipv4, Mac, TcpFlags, U16};
use zerocopy::{FromBytes, IntoBytes};

/// A packet and what was seen of it.
#[derive(Debug, Default)]
pub struct Case {
    pub title: String,
    pub frames: Vec<Line>,
    /// What is odd about the machine at that moment (`sysctl`), if anything.
    pub settings: Vec<String>,
}

/// A frame seen at one of the director's interfaces.
#[derive(Debug)]
pub struct Line {
    pub nic: &'static str,
    pub arrives: bool,
    /// Its bytes, or what this reader has no word for.
    pub frame: Result<Vec<u8>, String>,
    part: Option<Part>,
}

/// What of an IPv4 packet is in a frame.
#[derive(Clone, Copy, Debug)]
struct Part {
    id: u16,
    /// Where its bytes belong in the packet's payload.
    offset: usize,
    /// Bytes of the payload.
    len: usize,
    more: bool,
}

impl Part {
    /// The part that a line tells of, if it is one.
    fn read(words: &[&str]) -> Option<Self> {
        let outer = words.split(|word| *word == "[").next()?;
        let after = |name| Some(*outer.get(outer.iter().position(|word| *word == name)? + 1)?);
        let more = outer.contains(&"MF");
        let offset = after("off").map_or(0, |word| number(word).unwrap_or_default());
        (more || offset > 0).then(|| Self {
            id: after("id").and_then(|word| hex(word).ok()).unwrap_or_default() as u16,
            offset,
            len: after("len").map_or(0, |word| number(word).unwrap_or_default() - 20),
            more,
        })
    }

    /// Cuts it out of the frame of the whole packet.
    fn cut(self, whole: &[u8]) -> Vec<u8> {
        const HEADERS_LEN: usize = size_of::<Eth>() + size_of::<Ipv4>();
        let (headers, payload) = whole.split_at(HEADERS_LEN);
        let (mut ip, _) = Ipv4::read_from_prefix(&headers[size_of::<Eth>()..]).unwrap();
        ip.id = U16::new(self.id);
        ip.total_len = U16::new((size_of::<Ipv4>() + self.len) as u16);
        ip.frag = U16::new(u16::from(self.more) << 13 | (self.offset / 8) as u16);
        ip.csum = U16::ZERO;
        ip.csum = ip.checksum();
        let bytes = &payload[self.offset..self.offset + self.len];
        [&headers[..size_of::<Eth>()], ip.as_bytes(), bytes].concat()
    }
}

impl Line {
    /// Takes the bytes as they were dumped, unless they are of a kind that has no word here.
    fn dump(&mut self, bytes: Vec<u8>) {
        if self.frame.is_ok() {
            self.frame = Ok(bytes);
        }
    }
}

/// The output of each recorded command, with the title of its section.
pub fn sections(text: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut outputs = Vec::new();
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(title) = entry["section"].as_str() {
            title.clone_into(&mut section);
        } else if let Some(stdout) = entry["stdout"].as_str() {
            outputs.push((section.clone(), stdout.to_owned()));
        }
    }
    outputs
}

/// The cases of one recorded command's output.
pub fn cases(stdout: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut settings: Vec<String> = Vec::new();
    for text in stdout.lines() {
        if let Some(setting) = text.strip_prefix("# ") {
            let name = setting.split(' ').next().unwrap_or_default();
            settings.retain(|known| !known.starts_with(name));
            settings.push(setting.to_owned());
        } else if let Some(title) = text.strip_prefix("-- ") {
            let (title, settings) = (title.to_owned(), settings.clone());
            cases.push(Case { title, settings, frames: Vec::new() });
        } else if let Some(case) = cases.last_mut() {
            match text.strip_prefix("    0").map(|rest| bytes(&format!("0{rest}"))) {
                Some(bytes) => case.frames.last_mut().unwrap().dump(bytes),
                None => case.frames.extend(line(text)),
            }
        }
    }
    let mut wholes = [None, None];
    cases.iter_mut().for_each(|case| cut(&mut case.frames, &mut wholes));
    cases
}

/// Makes parts of whole packets where lines tell of parts. A line about the first part says what
/// the packet is; it may come after the others, or in an earlier case (`wholes`).
fn cut(lines: &mut [Line], wholes: &mut [Option<Vec<u8>>; 2]) {
    for line in lines.iter().filter(|line| line.part.is_some_and(|part| part.offset == 0)) {
        wholes[usize::from(line.arrives)] = line.frame.clone().ok();
    }
    for line in lines {
        if let (Some(part), Some(whole)) = (line.part, &wholes[usize::from(line.arrives)]) {
            line.frame = Ok(part.cut(whole));
        }
    }
}

fn line(text: &str) -> Option<Line> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [place, way, macs, packet @ ..] = words.as_slice() else { return None };
    let nic = match place.strip_prefix("director/")? {
        "dc" => "wan",
        _ => "lan",
    };
    let part = Part::read(packet);
    let frame = frame(macs, &mut packet.iter().copied());
    Some(Line { nic, arrives: *way == "in", frame, part })
}

type Words<'a> = dyn Iterator<Item = &'a str> + 'a;

fn frame<'a>(macs: &str, words: &mut Words<'a>) -> Result<Vec<u8>, String> {
    let (src, dst) = macs.split_once('>').ok_or("no link-layer addresses")?;
    let mac = |last: &str| format!("02:00:00:{last}").parse::<Mac>().map_err(|e| e.to_string());
    let ether = build::eth().src(mac(src)?).dst(mac(dst)?);
    packet(words, Below::Frame(ether)).map(|(bytes, _)| bytes)
}

/// What a packet lies in.
enum Below {
    Nothing,
    Frame(EthFrame),
    Packet(IpPacket),
}

/// The bytes of a packet and, where it is quoted, how many of them are there.
fn packet<'a>(words: &mut Words<'a>, below: Below) -> Result<(Vec<u8>, usize), String> {
    let family = next(words)?;
    packet_of(family, words, below)
}

fn packet_of<'a>(
    family: &str,
    words: &mut Words<'a>,
    below: Below,
) -> Result<(Vec<u8>, usize), String> {
    let (src, dst) = pair(next(words)?)?;
    let mut ip = match below {
        Below::Nothing => build::packet(src, dst),
        Below::Frame(ether) => ether.ip(src, dst),
        Below::Packet(outer) => outer.ip(src, dst),
    };
    let (mut protocol, mut payload_len) = ("", 0);
    while protocol.is_empty() {
        match next(words)? {
            "tos" | "tc" => ip = ip.tos(hex(next(words)?)? as u8),
            "len" => payload_len = number(next(words)?)? - 20,
            "plen" => payload_len = number(next(words)?)?,
            "id" => ip = ip.id(hex(next(words)?)?),
            "flow" => ip = ip.flow_label(hex(next(words)?)?),
            "DF" => ip = ip.dont_fragment(),
            // The whole packet first; then what the frame has of it.
            "MF" => {}
            "ttl" | "hop" => ip = ip.ttl(number(next(words)?)? as u8),
            "cks" => drop(next(words)?),
            known @ ("TCP" | "UDP" | "ICMP" | "ICMP6" | "GRE" | "[") => protocol = known,
            other => return Err(other.to_owned()),
        }
    }
    let header_len = if family == "IP" { 20 } else { 40 };
    let (bytes, there) = match protocol {
        "TCP" => tcp(ip, words, payload_len)?,
        "UDP" => udp(ip, words, payload_len)?,
        "GRE" => gre(ip, words, payload_len)?,
        "[" => carried(ip, words)?,
        _ => (icmp(ip, words, payload_len)?, payload_len),
    };
    Ok((bytes, header_len + there))
}

/// A packet inside another, of which a quote may show the first words only.
fn carried<'a>(ip: IpPacket, words: &mut Words<'a>) -> Result<(Vec<u8>, usize), String> {
    match next(words)? {
        "short" => {
            // Version, type of service, length, identification, "don't fragment": what it says of
            // the packet that was sent before.
            let beginning = [0x45, 0x00, 0x05, 0x78, 0x12, 0x34, 0x40, 0x00];
            let whole = [&beginning[..], &[0; 1392]].concat();
            Ok((ip.protocol(wire::ipv4::PROTOCOL_IPIP).payload(&whole), beginning.len()))
        }
        family => packet_of(family, words, Below::Packet(ip)),
    }
}

fn gre<'a>(
    ip: IpPacket,
    words: &mut Words<'a>,
    payload_len: usize,
) -> Result<(Vec<u8>, usize), String> {
    let ["flags", flags, "proto", protocol] =
        [next(words)?, next(words)?, next(words)?, next(words)?]
    else {
        return Err("no GRE header".to_owned());
    };
    let mut header = (hex(flags)? << 16 | hex(protocol)?).to_be_bytes().to_vec();
    let mut word = next(words)?;
    if word == "cks" {
        header.extend(hex(next(words)?)?.to_be_bytes());
        let _ = next(words)?;
        word = next(words)?;
    }
    if word != "[" {
        return Err(word.to_owned());
    }
    let (inner, _) = packet(words, Below::Nothing)?;
    let bytes = ip.protocol(wire::gre::PROTOCOL_GRE).payload(&[header, inner].concat());
    Ok((bytes, payload_len))
}

/// What follows `GUE` in a datagram of no text.
fn gue<'a>(words: &mut Words<'a>) -> Result<Vec<u8>, String> {
    let header = hex(next(words)?)?.to_be_bytes();
    let ["hdr", _, "["] = [next(words)?, next(words)?, next(words)?] else {
        return Err("no GUE header".to_owned());
    };
    let (inner, _) = packet(words, Below::Nothing)?;
    Ok([&header[..], &inner].concat())
}

fn tcp<'a>(
    ip: IpPacket,
    words: &mut Words<'a>,
    payload_len: usize,
) -> Result<(Vec<u8>, usize), String> {
    let (sport, dport) = ports(next(words)?)?;
    let letters = next(words)?.trim_matches(['[', ']']);
    let mut tcp = ip.tcp(sport, dport).flags(flags(letters)?);
    let (mut there, mut checksum) = (0, 0);
    while checksum == 0 {
        match next(words)? {
            "seq" => tcp = tcp.seq(number(next(words)?)? as u32),
            "ack" => tcp = tcp.ack(number(next(words)?)? as u32),
            "win" => tcp = tcp.window(number(next(words)?)? as u16),
            "len" => there = number(next(words)?)?,
            "cks" => checksum = hex(next(words)?)? as u16,
            other => return Err(other.to_owned()),
        }
    }
    let build = |data: &[u8]| tcp.clone().payload(data);
    let data = data(payload_len - 20, checksum, 16, 20, build);
    Ok((tcp.checksum(checksum).payload(&data), 20 + there))
}

fn udp<'a>(
    ip: IpPacket,
    words: &mut Words<'a>,
    payload_len: usize,
) -> Result<(Vec<u8>, usize), String> {
    let (sport, dport) = ports(next(words)?)?;
    let (_, there, _, checksum) = (next(words)?, next(words)?, next(words)?, next(words)?);
    let (udp, checksum) = (ip.udp(sport, dport), hex(checksum)? as u16);
    // Where it is quoted, or not whole, no word says whether its checksum is right.
    let mut word = words.next();
    if let Some("ok" | "none" | "BAD") = word {
        word = words.next();
    }
    if word == Some("GUE") {
        return Ok((udp.checksum(checksum).payload(&gue(words)?), payload_len));
    }
    let build = |data: &[u8]| udp.clone().payload(data);
    let there = number(there)?;
    let data = data(there.max(payload_len - 8), checksum, 6, 8, build);
    Ok((udp.checksum(checksum).payload(&data), 8 + there))
}

fn icmp<'a>(ip: IpPacket, words: &mut Words<'a>, payload_len: usize) -> Result<Vec<u8>, String> {
    let (kind, code) = next(words)?.split_once('/').ok_or("no ICMP type")?;
    let icmp = ip.icmp(number(kind)? as u8, number(code)? as u8);
    let (_, rest, _, verdict) = (next(words)?, next(words)?, next(words)?, next(words)?);
    let icmp = icmp.rest(hex(rest)?.to_be_bytes());
    let icmp = if verdict == "BAD" { icmp.bad_checksum() } else { icmp };
    match words.next() {
        Some("{") => {
            let (mut quoted, there) = packet(words, Below::Nothing)?;
            quoted.truncate(there);
            Ok(icmp.payload(&quoted))
        }
        _ if payload_len == 8 + ECHO.len() => Ok(icmp.payload(ECHO)),
        _ => Err("an ICMP message about no packet".to_owned()),
    }
}

/// The data of an echo request.
const ECHO: &[u8] = b"ping";

/// The data of a packet: what of the texts that were sent has the checksum, or else the first.
fn data(
    len: usize,
    checksum: u16,
    checksum_at: usize,
    header_len: usize,
    build: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let texts = ["x", "r", "abc", "hello", "reply", "nobody", "0123456789"];
    let mut known: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    known.extend([vec![b'z'; len], vec![b'q'; len]]);
    known.retain(|data| data.len() == len);
    let fits = |data: &Vec<u8>| {
        let bytes = build(data);
        let at = bytes.len() - len - header_len + checksum_at;
        bytes.get(at..at + 2) == Some(&checksum.to_be_bytes())
    };
    let fitting = known.iter().position(fits).unwrap_or(0);
    known.swap_remove(fitting)
}

fn next<'a>(words: &mut Words<'a>) -> Result<&'a str, String> {
    words.next().ok_or_else(|| "the line ends too early".to_owned())
}

fn pair(word: &str) -> Result<(IpAddr, IpAddr), String> {
    let (src, dst) = word.split_once('>').ok_or("no addresses")?;
    let address = |text: &str| text.parse().map_err(|_| format!("no address: {text}"));
    Ok((address(src)?, address(dst)?))
}

fn ports(word: &str) -> Result<(u16, u16), String> {
    let (src, dst) = word.split_once('>').ok_or("no ports")?;
    Ok((number(src)? as u16, number(dst)? as u16))
}

fn number(word: &str) -> Result<usize, String> {
    word.parse().map_err(|_| format!("no number: {word}"))
}

fn hex(word: &str) -> Result<u32, String> {
    u32::from_str_radix(word, 16).map_err(|_| format!("no number: {word}"))
}

fn bytes(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn flags(letters: &str) -> Result<TcpFlags, String> {
    letters.chars().try_fold(TcpFlags::NONE, |all, letter| match letter {
        'S' => Ok(all | TcpFlags::SYN),
        'A' => Ok(all | TcpFlags::ACK),
        'P' => Ok(all | TcpFlags::PSH),
        'F' => Ok(all | TcpFlags::FIN),
        'R' => Ok(all | TcpFlags::RST),
        _ => Err(format!("no TCP flag: {letter}")),
    })
}
