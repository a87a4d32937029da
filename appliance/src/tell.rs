// SPDX-License-Identifier: MIT OR Apache-2.0
//! How connections are told to people, in captures and explanations alike.

use lb::conn::Direction;
use lb::service::ForwardMode;
use lb::witness::Meeting;

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
