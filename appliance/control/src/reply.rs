// SPDX-License-Identifier: MIT OR Apache-2.0
//! Replies, their framing on the control socket, and the sentences of refusals.
//!
//! A reply is its body (what ipvsadm would print on stdout), one line `OK N` or `ERR STATUS N`,
//! and N lines that ipvsadm would print on stderr. No line of a body starts with `OK ` or `ERR `:
//! bodies consist of listings, rules and the help text, whose lines start otherwise.

use lb::catalog::Refusal;

use crate::parse::ParseError;
use crate::words::BadLine;

/// The longest reason of an error, in bytes: what a word of it is cut to.
const REASON_MAX: usize = 1024;

/// The answer to one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// What goes to stdout; empty, or lines that each end with a line feed.
    pub body: String,
    /// The exit status.
    pub status: u8,
    /// What goes to stderr, line by line.
    pub errors: Vec<String>,
}

impl Reply {
    /// Done, and nothing to print.
    pub fn done() -> Self {
        Self::default()
    }

    /// The answer to a question.
    pub fn body(body: String) -> Self {
        Self { body, ..Self::default() }
    }

    /// Nothing was changed, for a reason; a reason that quotes a very long word is cut.
    pub fn error(status: u8, reason: &str) -> Self {
        let cut = reason.char_indices().map(|(at, _)| at).find(|at| *at >= REASON_MAX);
        let shown = match cut.and_then(|at| reason.get(..at)) {
            Some(shown) => &format!("{shown}..."),
            None => reason,
        };
        let errors = shown.split('\n').map(str::to_owned).collect();
        Self { body: String::new(), status, errors }
    }

    /// What follows the body on the control socket: the line that ends it, and those for stderr.
    pub fn end(&self) -> String {
        debug_assert!(self.body.lines().all(|line| ending(line).is_none()));
        let count = self.errors.len();
        let mut end = match self.status {
            0 => format!("OK {count}\n"),
            status => format!("ERR {status} {count}\n"),
        };
        for line in &self.errors {
            end.push_str(line);
            end.push('\n');
        }
        end
    }
}

/// The line that ends a reply's body, as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The exit status.
    pub status: u8,
    /// How many lines for stderr follow.
    pub errors: usize,
}

/// Reads a line of a reply: none if it belongs to the body.
pub fn ending(line: &str) -> Option<Ending> {
    let mut fields = line.split(' ');
    let status = match fields.next()? {
        "OK" => 0,
        "ERR" => fields.next()?.parse().ok().filter(|status| *status != 0)?,
        _ => return None,
    };
    let errors = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some(Ending { status, errors })
}

impl From<ParseError> for Reply {
    fn from(error: ParseError) -> Self {
        Self::error(error.status(), &error.to_string())
    }
}

impl From<BadLine> for Reply {
    fn from(error: BadLine) -> Self {
        Self::error(2, &error.to_string())
    }
}

/// The exit status when it is the kernel that says no.
pub(crate) const KERNEL_REFUSED: u8 = 255;
/// A service that is to be edited, removed, zeroed or listed is not there.
pub(crate) const NO_SUCH_SERVICE: &str = "No such service";
/// The service of a server that is to be added, edited or removed is not there.
pub(crate) const SERVICE_NOT_DEFINED: &str = "Service not defined";

/// The reply to a change that the catalog refused; `missing_service` says that the service is not
/// there, for which there are two sentences.
pub(crate) fn refused(refusal: &Refusal, missing_service: &'static str) -> Reply {
    let own;
    let sentence = match refusal {
        Refusal::ServiceExists(_) => "Service already exists",
        Refusal::NoService(_) => missing_service,
        Refusal::ServerExists(..) => "Destination already exists",
        Refusal::NoServer(..) => "No such destination",
        Refusal::CountTooLarge(_) | Refusal::LowerAboveUpper { .. } => {
            "Numerical result out of range"
        }
        Refusal::NotUnicast(_) => {
            "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        }
        _ => {
            own = refusal.to_string();
            &own
        }
    };
    Reply::error(KERNEL_REFUSED, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_finds_the_end_of_the_body() {
        assert_eq!(ending("OK 0"), Some(Ending { status: 0, errors: 0 }));
        assert_eq!(ending("ERR 255 1"), Some(Ending { status: 255, errors: 1 }));
        for body in ["", "OK", "OK x", "OK 0 0", "ERR 1", "ERR 0 1", "TCP  192.0.2.1:80 rr"] {
            assert_eq!(ending(body), None, "{body}");
        }
    }

    #[test]
    fn a_sentence_with_an_empty_line_is_two_lines() {
        let end = Reply::from(ParseError::Ipv6BeforeMark).end();
        assert_eq!(end, "ERR 2 2\n-6 used before -f\n\n");
    }

    #[test]
    fn a_word_of_a_whole_line_is_not_repeated_in_full() {
        let word = "\u{e9}".repeat(30_000);
        let reply = Reply::from(ParseError::Unexpected(word));
        let [line] = reply.errors.as_slice() else { panic!("{reply:?}") };
        assert!(line.starts_with("unexpected argument \u{e9}") && line.ends_with("\u{e9}..."));
        assert!(line.len() <= REASON_MAX + 4);
    }
}
