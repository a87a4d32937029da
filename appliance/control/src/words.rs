// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines and the words in them.
//!
//! A line of the control socket is split at white space. A word that starts with `"` runs to the
//! next `"` and may hold white space, or nothing at all; in it `\"`, `\\`, `\n` and `\r` stand for
//! the character that the line cannot hold. Any other quote or backslash means itself. So every
//! list of words that a program can be started with has a line, and [`split`] finds it again.
//!
//! A line of a rules file is split at white space only, as `ipvsadm -R` does: quotes are literal.

/// The longest line of a request or a rule, in bytes, the end of the line not counted.
pub const LINE_MAX: usize = 64 * 1024;

/// A line that holds no list of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// The line exceeds [`LINE_MAX`].
    #[error("the line is longer than {LINE_MAX} bytes; send one command per line")]
    TooLong,
    /// The line is not UTF-8.
    #[error("the line is not UTF-8 text")]
    NotText,
    /// A quoted word has no end.
    #[error("a word starts with \" and has no closing \"")]
    Unclosed,
    /// A quoted word is followed by something other than white space.
    #[error("the closing \" of a word must be followed by a space or the end of the line")]
    Trailing,
    /// A backslash in a quoted word precedes something else than `"`, `\`, `n` or `r`.
    #[error("a \\ inside \"...\" must be followed by \", \\, n or r")]
    BadEscape,
}

/// Splits a line of the control socket.
///
/// # Errors
/// A [`BadLine`] if a quoted word is malformed.
pub fn split(line: &str) -> Result<Vec<String>, BadLine> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(is_space);
    while !rest.is_empty() {
        let word;
        (word, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(is_space).unwrap_or(rest.len());
                let (word, rest) = rest.split_at(end);
                (word.to_owned(), rest)
            }
        };
        words.push(word);
        rest = rest.trim_start_matches(is_space);
    }
    Ok(words)
}

/// Splits a line of a rules file; a leading word `ipvsadm` is not part of the rule.
pub fn split_rule(line: &str) -> Vec<String> {
    let mut words = line.split(is_space).filter(|word| !word.is_empty()).peekable();
    words.next_if_eq(&"ipvsadm");
    words.map(str::to_owned).collect()
}

/// The line of the control socket that [`split`] turns into these words.
pub fn join<S: AsRef<str>>(words: &[S]) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        push_word(&mut line, word.as_ref());
    }
    line
}

fn push_word(line: &mut String, word: &str) {
    let plain = |c: char| !is_space(c) && c != '\n';
    if !word.is_empty() && !word.starts_with('"') && word.chars().all(plain) {
        line.push_str(word);
        return;
    }
    line.push('"');
    for c in word.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            _ => line.push(c),
        }
    }
    line.push('"');
}

/// The word behind an opening quote, and what follows its closing quote.
fn unquote(text: &str) -> Result<(String, &str), BadLine> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = text.get(at + 1..).unwrap_or_default();
                let ends = rest.is_empty() || rest.starts_with(is_space);
                return if ends { Ok((word, rest)) } else { Err(BadLine::Trailing) };
            }
            '\\' => word.push(match chars.next() {
                Some((_, c @ ('"' | '\\'))) => c,
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                _ => return Err(BadLine::BadEscape),
            }),
            _ => word.push(c),
        }
    }
    Err(BadLine::Unclosed)
}

/// White space as C's `isspace` in the C locale has it.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_separates_and_quotes_inside_a_word_mean_themselves() {
        assert_eq!(split("  -A\t-t 192.0.2.1:80\r").unwrap(), ["-A", "-t", "192.0.2.1:80"]);
        assert_eq!(split(r#"-s it's"so\n"#).unwrap(), ["-s", r#"it's"so\n"#]);
        assert_eq!(split(r#"-w "" "a b""#).unwrap(), ["-w", "", "a b"]);
    }

    #[test]
    fn a_malformed_quoted_word_is_an_error() {
        assert_eq!(split(r#"-s "rr"#), Err(BadLine::Unclosed));
        assert_eq!(split(r#"-s "r"r"#), Err(BadLine::Trailing));
        assert_eq!(split(r#"-s "\t""#), Err(BadLine::BadEscape));
    }

    #[test]
    fn any_list_of_words_survives_a_line() {
        let words = ["", " ", "\"", "a\"b", "\\", "\n\r\\n", "-t", "\u{a0}", "'x y'"];
        let line = join(&words);
        assert!(!line.contains('\n'));
        assert_eq!(split(&line).unwrap(), words);
    }

    #[test]
    fn quotes_in_rules_are_literal() {
        assert_eq!(split_rule("ipvsadm -A -s \"rr\"\r\n"), ["-A", "-s", "\"rr\""]);
        assert!(split_rule("  ").is_empty());
    }
}
