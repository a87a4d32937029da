// SPDX-License-Identifier: MIT OR Apache-2.0
//! How connections are told to people, in captures and explanations alike.

use lb::conn::Direction;
use lb::service::ForwardMode;
use lb::witness::{Meeting, Persisted};

/// A connection in a line: direction, protocol, client, VIP, mode and server.
pub fn connection(meeting: &Meeting) -> String {
    let Meeting { protocol, client, vip, local, mode, server, .. } = meeting;
    let direction = match meeting.direction {
        Direction::Request => "request",
        Direction::Reply => "reply",
    };
    let server = server.map_or_else(|| "a removed server".to_owned(), |server| server.to_string());
    let local = if local == client { String::new() } else { format!(" from {local}") };
    let mode = self::mode(*mode);
    format!("{direction} of {protocol} {client} > {vip}, {mode} to {server}{local}")
}

/// The usual name of a forwarding mode.
pub fn mode(mode: Option<ForwardMode>) -> &'static str {
    match mode {
        Some(ForwardMode::Masquerade) => "NAT",
        Some(ForwardMode::FullNat) => "FULLNAT",
        Some(ForwardMode::Tunnel) => "TUN",
        Some(ForwardMode::Direct) => "DR",
        None => "forwarded",
    }
}

/// What persistence had to do with a server.
pub fn persisted(how: Persisted) -> &'static str {
    match how {
        Persisted::Kept => "the client's template names the server",
        Persisted::Made => "a template names the server from now on",
        Persisted::Moved => "the template's server is gone, it names another one from now on",
    }
}

/// What happened to half-open connections.
pub const RECYCLED: &str = "the oldest half-open connection gave way";

/// What the MSS that a SYN tells became.
pub fn clamped(most: u16) -> String {
    format!("lowered to {most} bytes")
}

/// By which rule of the configuration a packet is marked.
pub fn rule(number: u32) -> String {
    format!("marked by [[mark]] rule {number}")
}
