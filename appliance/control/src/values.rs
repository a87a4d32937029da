// SPDX-License-Identifier: MIT OR Apache-2.0
//! The values of options, read as the C library reads them.
//!
//! Numbers are `strtol`'s (leading white space, a sign, base 10), IPv4 addresses `inet_aton`'s
//! (`192.0.2`, `0xc000020a` and `192.0.2.010` are addresses), IPv6 addresses `inet_pton`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::command::Transport;
use crate::names::Names;

/// An address, with a port if one was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: IpAddr,
    pub(crate) port: Option<u16>,
}

/// Reads `ADDRESS`, `ADDRESS:PORT`, `[IPV6]:PORT` or a bare IPv6 address; `transport` is what
/// a port's name is looked up for.
pub(crate) fn endpoint(
    text: &str,
    transport: Option<Transport>,
    names: &dyn Names,
) -> Option<Endpoint> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (host, bracketed_port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            (host, Some(rest.strip_prefix(':')?))
        }
        None => (text, None),
    };
    let port_number = |port: &str| {
        number(port, 0, u16::MAX.into())
            .and_then(|port| u16::try_from(port).ok())
            .or_else(|| names.port(port, transport?))
    };
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        let port = match bracketed_port {
            Some(port) => Some(port_number(port)?),
            None => None,
        };
        return Some(Endpoint { address: address.into(), port });
    }
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    };
    let address = ipv4(host).or_else(|| names.address(host))?;
    let port = match port {
        Some(port) => Some(port_number(port)?),
        None => None,
    };
    Some(Endpoint { address: address.into(), port })
}

/// Reads a decimal number of at least `min` and at most `max`.
pub(crate) fn number(text: &str, min: i64, max: i64) -> Option<i64> {
    let digits = text.trim_start_matches(is_space);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<i64>().ok()?;
    (min..=max).contains(&number).then_some(number)
}

/// Reads the decimal number at the start of a text, as `atoi` does; 0 if there is none.
pub(crate) fn leading_number(text: &str) -> i64 {
    let digits = text.trim_start_matches(is_space);
    let sign = digits.len() - digits.trim_start_matches(['+', '-']).len();
    if sign > 1 {
        return 0;
    }
    let is_digit = |c: char| c.is_ascii_digit();
    let unsigned = digits.get(sign..).unwrap_or_default();
    let end = unsigned.find(|c| !is_digit(c)).unwrap_or(unsigned.len());
    digits.get(..sign + end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Reads one to four parts, each decimal, octal after `0` or hexadecimal after `0x`, of which the
/// last fills what is left of the address; white space ends it.
pub(crate) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let end = text.find(is_space).unwrap_or(text.len());
    let mut parts = [0u32; 4];
    let mut count = 0;
    for part in text.get(..end)?.split('.') {
        *parts.get_mut(count)? = c_integer(part)?;
        count += 1;
    }
    let (last, leading) = parts.get(..count)?.split_last()?;
    let mut address = 0u32;
    for part in leading {
        address = address << 8 | u32::from(u8::try_from(*part).ok()?);
    }
    let bits = 32 - 8 * leading.len() as u32;
    if bits < 32 && last >> bits != 0 {
        return None;
    }
    let leading = address.checked_shl(bits).unwrap_or(0);
    Some(Ipv4Addr::from(leading | last))
}

fn c_integer(text: &str) -> Option<u32> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (text, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::NumbersOnly;

    fn read(text: &str) -> Option<(String, Option<u16>)> {
        let found = endpoint(text, Some(Transport::Tcp), &NumbersOnly)?;
        Some((found.address.to_string(), found.port))
    }

    #[test]
    fn ipv4_addresses_are_those_of_inet_aton() {
        for (text, address) in [
            ("192.0.2", "192.0.0.2"),
            ("3221225994", "192.0.2.10"),
            ("0xc000020a", "192.0.2.10"),
            ("192.0.2.010", "192.0.2.8"),
            ("10.1", "10.0.0.1"),
            ("24", "0.0.0.24"),
            ("255.255.255.255", "255.255.255.255"),
            ("192.0.2.10 x", "192.0.2.10"),
        ] {
            assert_eq!(ipv4(text).map(|a| a.to_string()).as_deref(), Some(address), "{text}");
        }
        for text in
            ["", ".", "1.", "1.2.3.4.5", "256.1", "1.16777216", "08", "0x", "+1", "a", "0x+1"]
        {
            assert_eq!(ipv4(text), None, "{text}");
        }
    }

    #[test]
    fn endpoints_have_the_ports_that_ipvsadm_finds() {
        let v4 = |port| Some(("192.0.2.10".to_owned(), port));
        assert_eq!(read("192.0.2.10:80"), v4(Some(80)));
        assert_eq!(read("192.0.2.10: 85"), v4(Some(85)));
        assert_eq!(read("192.0.2.10"), v4(None));
        assert_eq!(read("[192.0.2.10]:80"), v4(None));
        assert_eq!(read("[2001:db8::1]:80"), Some(("2001:db8::1".to_owned(), Some(80))));
        assert_eq!(read("2001:db8::10:81"), Some(("2001:db8::10:81".to_owned(), None)));
        for text in ["", "80", ":80", "[::1]", "[::1", "[::1]80", "[::1]:", "192.0.2.10:", "x:80"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_those_of_strtol() {
        assert_eq!(number(" 7", 0, 10), Some(7));
        assert_eq!(number("+8", 0, 10), Some(8));
        assert_eq!(number("010", 0, 10), Some(10));
        for text in ["", "7 ", "-1", "11", "0x1", "1.5", "+", "99999999999999999999"] {
            assert_eq!(number(text, 0, 10), None, "{text:?}");
        }
        assert_eq!(leading_number(" 64x"), 64);
        assert_eq!(leading_number("+-1"), 0);
        assert_eq!(leading_number("-3"), -3);
    }
}
