// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--capture`: which frames are wanted, how many, for how long, and where to.
//!
//! `--capture NIC|drops|SERVICE [FILE] [--count N] [--seconds N]`. The file is the client's: it
//! writes with its own rights. The reply's body is the pcapng file, two hexadecimal digits a byte,
//! whole blocks a line; so a capture goes over the same lines as any reply.

use std::fmt::Write;

use lb::ids::NicId;

use crate::command::{Command, Transport, VirtualService};
use crate::names::Names;
use crate::parse::{self, ParseError};

/// The option that begins a request.
pub(crate) const OPTION: &str = "--capture";
/// Frames of a capture unless it says otherwise.
pub const COUNT: u32 = 1000;
/// Frames of a capture at most.
pub const COUNT_MAX: u32 = 1_000_000;
/// Seconds that a capture lasts unless it says otherwise.
pub const SECONDS: u32 = 60;
/// Seconds that a capture lasts at most.
pub const SECONDS_MAX: u32 = 3600;

/// What is to be captured, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which frames.
    pub subject: Subject,
    /// Where the client writes them, `-` being its stdout.
    pub file: Option<String>,
    /// How many frames at most.
    pub count: u32,
    /// How long at most, in seconds.
    pub seconds: u32,
}

/// Which frames are wanted, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Those that come and go by a NIC.
    Nic(String),
    /// Those that are dropped.
    Drops,
    /// Those of a service's connections, both ways and both sides.
    Service(VirtualService),
}

/// Which frames are wanted, as the workers look for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Those that come and go by a NIC.
    Nic(NicId),
    /// Those that are dropped.
    Drops,
    /// Those of a service.
    Service {
        /// Transport protocol.
        transport: Transport,
        /// Virtual address.
        address: std::net::IpAddr,
        /// Virtual port; 0 for every port.
        port: u16,
    },
}

/// A capture that can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which frames.
    pub filter: Filter,
    /// How many at most.
    pub count: u32,
    /// How long at most, in seconds.
    pub seconds: u32,
}

/// Why a request is none, or cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// Nothing says which frames.
    #[error("--capture needs a NIC's name, drops, or a service (-t HOST:PORT), then a file")]
    NoSubject,
    /// A word too many.
    #[error("--capture NIC|drops|SERVICE FILE [--count N] [--seconds N]; unexpected: {0}")]
    Unexpected(String),
    /// A number that is none, or too large.
    #[error("{option} takes a number from 1 to {max}")]
    Number {
        /// The option.
        option: &'static str,
        /// The largest number.
        max: u32,
    },
    /// No such NIC.
    #[error("there is no NIC {name}; there are: {known}")]
    NoSuchNic {
        /// What was given.
        name: String,
        /// The NICs of the configuration.
        known: String,
    },
    /// A firewall mark.
    #[error("frames do not carry firewall marks; name an address that has the mark (-t HOST:PORT)")]
    Mark,
}

/// Reads the words after `--capture`.
pub(crate) fn read(words: &[String], names: &dyn Names) -> Result<Request, ParseError> {
    let (mut service, mut plain) = (None, Vec::new());
    let (mut count, mut seconds) = (COUNT, SECONDS);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (option, joined) = match word.split_once('=') {
            Some((option, value)) if word.starts_with("--") => (option, Some(value)),
            _ => (word.as_str(), None),
        };
        let mut value = || joined.or_else(|| words.next().map(String::as_str)).unwrap_or_default();
        match option {
            "--count" => count = number(value(), "--count", COUNT_MAX)?,
            "--seconds" => seconds = number(value(), "--seconds", SECONDS_MAX)?,
            "-t" | "-u" | "--tcp-service" | "--udp-service" | "--sctp-service"
                if service.is_none() =>
            {
                service = read_service(option, value(), names)?;
            }
            _ if word.len() > 1 && word.starts_with('-') => {
                return Err(CaptureError::Unexpected(word.clone()).into());
            }
            _ => plain.push(word.clone()),
        }
    }
    let mut plain = plain.into_iter();
    let subject = match service {
        Some(service) => Subject::Service(service),
        None => match plain.next().ok_or(CaptureError::NoSubject)? {
            drops if drops == "drops" => Subject::Drops,
            nic => Subject::Nic(nic),
        },
    };
    let request = Request { subject, file: plain.next(), count, seconds };
    match plain.next() {
        Some(word) => Err(CaptureError::Unexpected(word).into()),
        None => Ok(request),
    }
}

/// Reads a service as every other command does.
fn read_service(
    option: &str,
    value: &str,
    names: &dyn Names,
) -> Result<Option<VirtualService>, ParseError> {
    let zero = ["-Z", option, value].map(str::to_owned);
    match parse::parse(&zero, names)? {
        Command::Zero(service) => Ok(service),
        _ => Err(CaptureError::NoSubject.into()),
    }
}

fn number(text: &str, option: &'static str, max: u32) -> Result<u32, CaptureError> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or(CaptureError::Number { option, max })
}

impl Request {
    /// The frames that are wanted, given the NICs' names.
    pub(crate) fn order(&self, nics: &[String]) -> Result<Order, CaptureError> {
        let filter = match &self.subject {
            Subject::Drops => Filter::Drops,
            Subject::Nic(name) => {
                let known = || nics.join(", ");
                let numbered = (0..).map(NicId).zip(nics);
                let found = numbered.filter(|(_, nic)| *nic == name).map(|(id, _)| id).next();
                let unknown = || CaptureError::NoSuchNic { name: name.clone(), known: known() };
                Filter::Nic(found.ok_or_else(unknown)?)
            }
            Subject::Service(VirtualService::Address { transport, address, port }) => {
                Filter::Service { transport: *transport, address: *address, port: *port }
            }
            Subject::Service(VirtualService::Mark { .. }) => return Err(CaptureError::Mark),
        };
        Ok(Order { filter, count: self.count, seconds: self.seconds })
    }
}

/// Appends bytes as a line of hexadecimal digits.
pub fn put_line(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let written = write!(out, "{byte:02x}");
        debug_assert!(written.is_ok(), "a String takes all text");
    }
    out.push('\n');
}

/// The bytes of a line, its end not included; none if it is not such a line.
pub fn read_line(line: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = line.chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::NumbersOnly;

    fn order(line: &str) -> Result<Order, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let request = read(&words, &NumbersOnly).map_err(|error| error.to_string())?;
        let nics = ["wan".to_owned(), "lan".to_owned()];
        request.order(&nics).map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_becomes_an_order_or_says_what_would_be_right() {
        let of = |filter| Ok(Order { filter, count: COUNT, seconds: SECONDS });
        assert_eq!(order("drops x.pcapng"), of(Filter::Drops));
        assert_eq!(order("lan -"), of(Filter::Nic(NicId(1))));
        let service =
            Filter::Service { transport: Transport::Udp, address: [192, 0, 2, 1].into(), port: 53 };
        assert_eq!(order("-u 192.0.2.1:53 x"), of(service));
        let limited = Order { filter: Filter::Drops, count: 7, seconds: 9 };
        assert_eq!(order("--count 7 drops --seconds=9 x"), Ok(limited));
        let wrong = |line| order(line).unwrap_err();
        assert_eq!(wrong("eth0 x"), "there is no NIC eth0; there are: wan, lan");
        assert_eq!(wrong("drops --count 0"), "--count takes a number from 1 to 1000000");
        assert!(wrong("").starts_with("--capture needs a NIC's name"));
        assert!(wrong("drops x y").ends_with("unexpected: y"));
        assert!(wrong("drops -w x").ends_with("unexpected: -w"));
        assert!(wrong("-t nonsense: x").contains("virtual server"));
    }

    #[test]
    fn a_line_brings_back_the_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut line = String::new();
        put_line(&mut line, &bytes);
        assert_eq!(read_line(line.trim_end().as_bytes()), Some(bytes));
        assert_eq!((read_line(b"0"), read_line(b"zz"), read_line(b"")), (None, None, Some(vec![])));
    }
}
