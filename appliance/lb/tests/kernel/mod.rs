// SPDX-License-Identifier: MIT OR Apache-2.0
//! The set-up in which the kernel's IPVS was recorded: one client, servers 10.2.0.11 to 10.2.0.13,
//! VIPs 10.1.0.80 (NAT), 10.1.0.81 (DR) and 10.1.0.82 (TUN).
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::{IpAddr, SocketAddrV4};

use lb::ids::{NicId, Tick};
use wire::build;
use wire::{SctpEvent, TcpFlags, VecFrame};

use crate::lab::{Lab, Nic, Plan, mac_of};

pub const CLIENT: [u8; 4] = [10, 1, 0, 2];
pub const WAN: NicId = NicId(0);
pub const LAN: NicId = NicId(1);

/// A director in that set-up, without services.
pub fn lab() -> Lab {
    lab_of(Plan::default())
}

/// A director in that set-up with a plan's workers, limits and marks.
pub fn lab_of(plan: Plan) -> Lab {
    let nics = vec![
        Nic::new("wan", 1, &["10.1.0.1/24", "fd00:1::1/64"]),
        Nic::new("lan", 2, &["10.2.0.1/24", "fd00:2::1/64"]),
    ];
    let mut lab = Lab::new(Plan { nics, ..plan });
    let servers = (11..=13).map(|last| [10, 2, 0, last]);
    lab.know_all(servers.chain([CLIENT]).map(IpAddr::from));
    lab
}

/// The title and the lines of each recorded command's output.
pub fn sections(recording: &str) -> Vec<(String, Vec<String>)> {
    let mut title = String::new();
    let mut sections = Vec::new();
    for line in recording.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(text) = entry["section"].as_str() {
            text.clone_into(&mut title);
        } else if let Some(stdout) = entry["stdout"].as_str() {
            sections.push((title.clone(), stdout.lines().map(str::to_owned).collect()));
        }
    }
    sections
}

/// What a packet carries.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    Segment(TcpFlags),
    Datagram,
    /// An SCTP chunk by the name that the recordings give it.
    Chunk(&'a str),
}

/// A packet from one endpoint to another; receives and sends it.
pub fn send(
    lab: &mut Lab,
    nic: NicId,
    [from, to]: [SocketAddrV4; 2],
    content: Content<'_>,
    now: Tick,
) -> Vec<(NicId, VecFrame)> {
    let ether = build::eth().src(mac_of(IpAddr::V4(*from.ip())));
    let packet = ether.dst(lab.plan().nics[nic.index()].mac).ipv4(*from.ip(), *to.ip());
    let bytes = match content {
        Content::Segment(flags) => packet.tcp(from.port(), to.port()).flags(flags).payload(b""),
        Content::Datagram => packet.udp(from.port(), to.port()).payload(b"a"),
        Content::Chunk(name) => packet.sctp(from.port(), to.port(), event(name), &[0; 16]),
    };
    lab.receive([(nic, VecFrame::new(&bytes))], now).sent
}

fn event(name: &str) -> SctpEvent {
    match name {
        "DATA" | "SACK" | "HB" | "HBACK" => SctpEvent::Data,
        "INIT" => SctpEvent::Init,
        "INITACK" => SctpEvent::InitAck,
        "CE" => SctpEvent::CookieEcho,
        "CA" => SctpEvent::CookieAck,
        "SHUT" => SctpEvent::Shutdown,
        "SHUTACK" => SctpEvent::ShutdownAck,
        "SHUTCOMP" => SctpEvent::ShutdownComplete,
        "ERR" => SctpEvent::Error,
        "ABORT" => SctpEvent::Abort,
        _ => panic!("no SCTP chunk: {name}"),
    }
}

/// Flags by their letters.
pub fn flags(letters: &str) -> TcpFlags {
    let bit = |letter| match letter {
        'S' => TcpFlags::SYN,
        'A' => TcpFlags::ACK,
        'P' => TcpFlags::PSH,
        'F' => TcpFlags::FIN,
        'R' => TcpFlags::RST,
        'U' => TcpFlags::URG,
        'E' => TcpFlags::ECE,
        'C' => TcpFlags::CWR,
        _ => panic!("no TCP flag: {letter}"),
    };
    letters.chars().map(bit).fold(TcpFlags::NONE, |all, flag| all | flag)
}
