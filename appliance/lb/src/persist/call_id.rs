// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Call-ID of a SIP message in a UDP datagram, RFC 3261 §20.8.
//!
//! Only what lies in the first segment is read, and only so many header lines. A line may end in CR
//! or LF alone (RFC 2543). A header folded over several lines is not found.

/// Header lines that are looked at, at most.
const LINES_MAX: usize = 64;
/// Longest Call-ID in bytes, as `IP_VS_PEDATA_MAXLEN`.
const LENGTH_MAX: usize = 255;

/// Finds the Call-ID in the payload of a datagram.
pub(crate) fn find(payload: &[u8]) -> Option<&[u8]> {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let mut rest = payload;
    // The first line is the request's or the status.
    for _ in 0..=LINES_MAX {
        let end = rest.iter().position(is_end)?;
        let (line, next) = rest.split_at_checked(end)?;
        if let Some(value) = value(line) {
            return (1..=LENGTH_MAX).contains(&value.len()).then_some(value);
        }
        rest = match next {
            [b'\r', b'\n', b'\r' | b'\n', ..] | [b'\n', b'\r' | b'\n', ..] => return None,
            [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
            [] => return None,
        };
    }
    None
}

/// The value of a line that is the header, in its long or its compact form.
fn value(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = name.trim_ascii_end();
    let is_ours = name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i");
    is_ours.then(|| value.strip_prefix(b":").unwrap_or(value).trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_id_is_found_in_every_form_that_the_standards_have() {
        let invite = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP pc33\r\n";
        for (header, id) in [
            ("Call-ID: a84b4c76e66710@pc33\r\n", "a84b4c76e66710@pc33"),
            ("call-id:x\r\n", "x"),
            ("i: compact@x\r\n", "compact@x"),
            ("I \t:  spaced  \r\n", "spaced"),
            ("Call-ID: lf-only\n", "lf-only"),
        ] {
            let message = format!("{invite}{header}Max-Forwards: 70\r\n\r\n");
            assert_eq!(find(message.as_bytes()), Some(id.as_bytes()), "{header}");
        }
    }

    #[test]
    fn a_message_without_a_whole_call_id_has_none() {
        for message in [
            "",
            "\r\n",
            "INVITE sip:bob SIP/2.0",
            "INVITE sip:bob SIP/2.0\r\nVia: x\r\n\r\n",
            "INVITE sip:bob SIP/2.0\r\nCall-ID: cut-off",
            "INVITE sip:bob SIP/2.0\r\nCall-ID: \r\n\r\n",
            "INVITE sip:bob SIP/2.0\r\nVia: x\r\n\r\nCall-ID: in-the-body\r\n",
            "INVITE sip:bob SIP/2.0\r\nX-Call-ID: other\r\n\r\n",
        ] {
            assert_eq!(find(message.as_bytes()), None, "{message:?}");
        }
        let long = format!("SIP/2.0 200 OK\r\nCall-ID: {}\r\n", "x".repeat(256));
        assert_eq!(find(long.as_bytes()), None);
        let many = format!("SIP/2.0 200 OK\r\n{}Call-ID: x\r\n", "V: x\r\n".repeat(100));
        assert_eq!(find(many.as_bytes()), None);
    }
}
