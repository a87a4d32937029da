// SPDX-License-Identifier: MIT OR Apache-2.0
//! Options in a list of words, found as popt 1.19 finds them.
//!
//! Short options join (`-At`, `-srr`, `-mw7`), and a value may follow `=` in either form. Long
//! options do not abbreviate. A word that is no option is left over, wherever it stands, and all
//! words after `--` are. An optional value is the next word unless that starts with a dash.

use crate::options::{self, Spelling, Token, Value, Verb};

/// Why a word is no option of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// No such option.
    #[error("unknown option")]
    Unknown,
    /// The option needs a value.
    #[error("missing argument")]
    MissingValue,
    /// The option has none.
    #[error("option does not take an argument")]
    UnwantedValue,
}

/// Walks over words.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    words: &'a [String],
    next: usize,
    /// What follows in a word of joined short options.
    joined: &'a str,
    only_leftovers: bool,
    leftovers: Vec<&'a str>,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self { words, next: 0, joined: "", only_leftovers: false, leftovers: Vec::new() }
    }

    /// The next option and its value; none at the end of the words.
    pub(crate) fn next(
        &mut self,
        verb: Option<Verb>,
    ) -> Result<Option<(Token, Option<&'a str>)>, ScanError> {
        while self.joined.is_empty() {
            let Some(word) = self.take_word() else {
                return Ok(None);
            };
            let option = word.strip_prefix('-').filter(|rest| !rest.is_empty());
            let Some(rest) = option.filter(|_| !self.only_leftovers) else {
                self.leftovers.push(word);
                continue;
            };
            if rest == "-" {
                self.only_leftovers = true;
                continue;
            }
            if let Some(long) = rest.strip_prefix('-') {
                return self.long(long).map(Some);
            }
            self.joined = rest;
        }
        self.short(verb).map(Some)
    }

    /// The word that was looked at last.
    pub(crate) fn last_word(&self) -> &'a str {
        self.next.checked_sub(1).and_then(|last| self.words.get(last)).map_or("", String::as_str)
    }

    /// The words that are no options.
    pub(crate) fn leftovers(self) -> Vec<&'a str> {
        self.leftovers
    }

    fn long(&mut self, text: &'a str) -> Result<(Token, Option<&'a str>), ScanError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let spelling = options::by_long(name).ok_or(ScanError::Unknown)?;
        if spelling.value == Value::None {
            return if value.is_some() {
                Err(ScanError::UnwantedValue)
            } else {
                Ok((spelling.token, None))
            };
        }
        let value = value.map_or_else(|| self.following(spelling), |value| Ok(Some(value)))?;
        Ok((spelling.token, value))
    }

    fn short(&mut self, verb: Option<Verb>) -> Result<(Token, Option<&'a str>), ScanError> {
        let mut chars = self.joined.chars();
        let letter = chars.next().ok_or(ScanError::Unknown)?;
        let rest = chars.as_str();
        let after_equals = rest.strip_prefix('=');
        self.joined = "";
        let spelling = options::by_short(letter, verb).ok_or(ScanError::Unknown)?;
        if spelling.value == Value::None {
            self.joined = after_equals.unwrap_or(rest);
            if self.joined.starts_with('=') {
                return Err(ScanError::UnwantedValue);
            }
            return Ok((spelling.token, None));
        }
        let value = match rest {
            "" => self.following(spelling)?,
            _ => {
                let value = after_equals.unwrap_or(rest);
                Some(value.strip_prefix('=').unwrap_or(value))
            }
        };
        Ok((spelling.token, value))
    }

    /// The word after an option that takes a value.
    fn following(&mut self, spelling: &Spelling) -> Result<Option<&'a str>, ScanError> {
        let optional = spelling.value == Value::Optional;
        match self.words.get(self.next) {
            Some(word) if optional && word.starts_with('-') => Ok(None),
            Some(_) => Ok(self.take_word()),
            None if optional => Ok(None),
            None => Err(ScanError::MissingValue),
        }
    }

    fn take_word(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Opt;

    fn scan(line: &str) -> (Vec<(Token, Option<String>)>, Option<ScanError>) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut scanner = Scanner::new(&words);
        let mut found = Vec::new();
        loop {
            match scanner.next(Some(Verb::AddService)) {
                Ok(Some((token, value))) => found.push((token, value.map(str::to_owned))),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    #[test]
    fn joined_short_options_and_their_values_come_apart() {
        let (found, error) = scan("-mw7 -s=rr -p60");
        let value = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                (Token::Masquerade, None),
                (Token::Option(Opt::Weight), value("7")),
                (Token::Option(Opt::Scheduler), value("rr")),
                (Token::Option(Opt::Persistent), value("60")),
            ]
        );
        assert_eq!(error, None);
    }

    #[test]
    fn an_optional_value_is_not_taken_from_an_option() {
        let (found, _) = scan("-p -m");
        assert_eq!(found, [(Token::Option(Opt::Persistent), None), (Token::Masquerade, None)]);
    }

    #[test]
    fn errors_are_those_of_popt() {
        assert_eq!(scan("-t").1, Some(ScanError::MissingValue));
        assert_eq!(scan("--numeric=1").1, Some(ScanError::UnwantedValue));
        assert_eq!(scan("--num").1, Some(ScanError::Unknown));
        assert_eq!(scan("-n-n").1, Some(ScanError::Unknown));
        assert_eq!(scan("-- -q --bogus").1, None);
    }
}
