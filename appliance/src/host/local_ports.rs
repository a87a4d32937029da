// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ports that the kernel gives to connections of its own.
//!
//! A FULLNAT local port must not be one of them, or the kernel's connection and ours would share
//! a tuple.

use std::io;
use std::ops::RangeInclusive;

const RANGE_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The kernel's range of ephemeral ports, for IPv4 and IPv6 (`net.ipv4.ip_local_port_range`).
///
/// # Errors
/// The file cannot be read, or does not hold two ports.
pub fn local_port_range() -> io::Result<RangeInclusive<u16>> {
    let text = std::fs::read_to_string(RANGE_FILE)?;
    parse(&text).ok_or_else(|| {
        let wrong = format!("{RANGE_FILE} should hold two ports, but holds {:?}", text.trim());
        io::Error::new(io::ErrorKind::InvalidData, wrong)
    })
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ports = text.split_whitespace().map(str::parse);
    let range = ports.next()?.ok()?..=ports.next()?.ok()?;
    ports.next().is_none().then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ports_are_a_range_and_anything_else_is_not() {
        assert_eq!(parse("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(parse("32768"), None);
        assert_eq!(parse("32768 60999 1"), None);
        assert_eq!(parse("32768 70000"), None);
    }
}
