// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP segments, UDP datagrams and ICMP messages from scratch.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use super::ip::padded_options;
use super::{Checksum, IpPacket};
use crate::ipv4::PROTOCOL_ICMP;
use crate::ipv6::NEXT_ICMP6;
use crate::{Icmp, L4, Port, Sctp, SctpChunk, SctpEvent, Sum, Tcp, TcpFlags, Udp, crc32c, csum};

/// A TCP segment whose data is still to be named; ACK set and window 65535 unless set.
#[derive(Clone, Debug)]
#[must_use]
pub struct TcpSegment {
    ip: IpPacket,
    header: Tcp,
    options: Vec<u8>,
    data_offset_words: Option<u8>,
    checksum: Checksum,
}

impl TcpSegment {
    pub(super) fn new(ip: IpPacket, sport: u16, dport: u16) -> Self {
        let header = Tcp {
            src: Port::new(sport),
            dst: Port::new(dport),
            seq: U32::ZERO,
            ack: U32::ZERO,
            data_offset: 0,
            flags: TcpFlags::ACK,
            window: U16::new(0xffff),
            csum: U16::ZERO,
            urgent: U16::ZERO,
        };
        let checksum = Checksum::Right;
        Self { ip, header, options: Vec::new(), data_offset_words: None, checksum }
    }

    /// Sets the control bits.
    pub fn flags(mut self, flags: TcpFlags) -> Self {
        self.header.flags = flags;
        self
    }

    /// Sets the sequence number.
    pub fn seq(mut self, seq: u32) -> Self {
        self.header.seq = U32::new(seq);
        self
    }

    /// Sets the acknowledgment number, not the flag.
    pub fn ack(mut self, ack: u32) -> Self {
        self.header.ack = U32::new(ack);
        self
    }

    /// Sets the window.
    pub fn window(mut self, window: u16) -> Self {
        self.header.window = U16::new(window);
        self
    }

    /// Sets the urgent pointer, not the flag.
    pub fn urgent(mut self, urgent: u16) -> Self {
        self.header.urgent = U16::new(urgent);
        self
    }

    /// Adds options, padded to 4 bytes; at most 40 fit.
    pub fn options(self, options: &[u8]) -> Self {
        Self { options: padded_options(options), ..self }
    }

    /// Sets the header length, in words of 4 bytes, to this lie.
    pub fn data_offset(self, words: u8) -> Self {
        Self { data_offset_words: Some(words), ..self }
    }

    /// Sets the checksum.
    pub fn checksum(self, checksum: u16) -> Self {
        Self { checksum: Checksum::Fixed(checksum), ..self }
    }

    /// Makes the checksum wrong.
    pub fn bad_checksum(self) -> Self {
        Self { checksum: Checksum::Wrong, ..self }
    }

    /// The bytes of all layers with this data.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Vec<u8> {
        let Self { ip, mut header, options, .. } = self;
        let words = (size_of::<Tcp>() + options.len()) / 4;
        header.data_offset = self.data_offset_words.unwrap_or(words as u8) << 4;
        let body = [&options, payload].concat();
        let len = size_of::<Tcp>() + body.len();
        let sum = pseudo(&ip, len, L4::Tcp).plus(csum::sum(header.as_bytes()));
        header.csum = self.checksum.field(sum.plus(csum::sum(&body)).checksum());
        ip.wrap(L4::Tcp.number(), &[header.as_bytes(), &body].concat())
    }
}

/// A UDP datagram whose data is still to be named.
#[derive(Clone, Debug)]
#[must_use]
pub struct UdpDatagram {
    ip: IpPacket,
    ports: (Port, Port),
    length: Option<u16>,
    checksum: Checksum,
}

impl UdpDatagram {
    pub(super) fn new(ip: IpPacket, sport: u16, dport: u16) -> Self {
        let ports = (Port::new(sport), Port::new(dport));
        Self { ip, ports, length: None, checksum: Checksum::Right }
    }

    /// Sets the length field to this lie.
    pub fn length(self, length: u16) -> Self {
        Self { length: Some(length), ..self }
    }

    /// Sets the checksum; zero says that there is none.
    pub fn checksum(self, checksum: u16) -> Self {
        Self { checksum: Checksum::Fixed(checksum), ..self }
    }

    /// Makes the checksum wrong.
    pub fn bad_checksum(self) -> Self {
        Self { checksum: Checksum::Wrong, ..self }
    }

    /// The bytes of all layers with this data.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Vec<u8> {
        let len = size_of::<Udp>() + payload.len();
        let (src, dst) = self.ports;
        let length = U16::new(self.length.unwrap_or(len as u16));
        let mut header = Udp { src, dst, len: length, csum: U16::ZERO };
        let sum = pseudo(&self.ip, len, L4::Udp).plus(csum::sum(header.as_bytes()));
        let right = csum::nonzero(sum.plus(csum::sum(payload)).checksum());
        header.csum = self.checksum.field(right);
        self.ip.wrap(L4::Udp.number(), &[header.as_bytes(), payload].concat())
    }
}

/// A packet of one SCTP chunk, its checksum right.
pub(super) fn sctp(
    ip: IpPacket,
    [sport, dport]: [u16; 2],
    event: SctpEvent,
    body: &[u8],
) -> Vec<u8> {
    let len = U16::new((size_of::<SctpChunk>() + body.len()) as u16);
    let chunk = SctpChunk { kind: event.kind(), flags: 0, len };
    let mut header = Sctp {
        src: Port::new(sport),
        dst: Port::new(dport),
        verification_tag: U32::new(1),
        csum: 0.into(),
    };
    let bytes = |header: &Sctp| [header.as_bytes(), chunk.as_bytes(), body].concat();
    header.csum = crc32c::crc32c(&bytes(&header)).into();
    ip.wrap(L4::Sctp.number(), &bytes(&header))
}

/// An ICMP or ICMPv6 message whose body is still to be named.
#[derive(Clone, Debug)]
#[must_use]
pub struct IcmpMessage {
    ip: IpPacket,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    checksum: Checksum,
}

impl IcmpMessage {
    pub(super) fn new(ip: IpPacket, kind: u8, code: u8) -> Self {
        Self { ip, kind, code, rest: [0; 4], checksum: Checksum::Right }
    }

    /// Sets the second word of the header.
    pub fn rest(self, rest: [u8; 4]) -> Self {
        Self { rest, ..self }
    }

    /// Sets the next-hop MTU where both families have it, in bytes (RFC 1191 §4, RFC 4443 §3.2).
    pub fn mtu(self, mtu: u16) -> Self {
        self.rest(u32::from(mtu).to_be_bytes())
    }

    /// Sets identifier and sequence number of an echo.
    pub fn echo(self, id: u16, sequence: u16) -> Self {
        self.rest((u32::from(id) << 16 | u32::from(sequence)).to_be_bytes())
    }

    /// Makes the checksum wrong.
    pub fn bad_checksum(self) -> Self {
        Self { checksum: Checksum::Wrong, ..self }
    }

    /// The bytes of all layers with this body: data of an echo, the packet that an error quotes.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Vec<u8> {
        let len = size_of::<Icmp>() + payload.len();
        let (protocol, pseudo) = if self.ip.is_v6() {
            (NEXT_ICMP6, self.ip.pseudo_header_sum(len, NEXT_ICMP6))
        } else {
            (PROTOCOL_ICMP, Sum::default())
        };
        let [a, b, c, d] = self.rest;
        let mut message = [&[self.kind, self.code, 0, 0, a, b, c, d], payload].concat();
        let right = pseudo.plus(csum::sum(&message)).checksum();
        if let Ok((header, _)) = Icmp::mut_from_prefix(&mut message) {
            header.csum = self.checksum.field(right);
        }
        self.ip.wrap(protocol, &message)
    }
}

fn pseudo(ip: &IpPacket, len: usize, protocol: L4) -> Sum {
    ip.pseudo_header_sum(len, protocol.number())
}
