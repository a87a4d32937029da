// SPDX-License-Identifier: MIT OR Apache-2.0
//! A section of the file as the reader sees it: typed values by key, and errors with their place.
//!
//! A section is opened with the keys that it may have, so that a misspelt key is reported before
//! the key that is missing for it.

use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem};
use super::keys::{self, Keys};

type Value<'t> = Spanned<DeValue<'t>>;

/// The text and what errors call it.
pub(super) struct Source<'t> {
    pub(super) file: &'t str,
    pub(super) text: &'t str,
}

impl Source<'_> {
    /// The line of a byte, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    /// The text as TOML.
    pub(super) fn table(&self) -> Result<Spanned<DeTable<'_>>, ConfigError> {
        DeTable::parse(self.text).map_err(|e| ConfigError::Syntax {
            file: self.file.to_owned(),
            line: self.line(e.span().map_or(0, |span| span.start)),
            reason: e.message().to_owned(),
        })
    }
}

/// One table of the file, perhaps absent: then every key is.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    source: &'t Source<'t>,
    title: Title,
    line: usize,
    table: Option<&'t DeTable<'t>>,
}

/// How errors name the section.
#[derive(Clone, Copy)]
enum Title {
    Top,
    One(&'static str),
    Many(&'static str),
}

impl<'t> Section<'t> {
    /// The whole file.
    pub(super) fn top(
        source: &'t Source<'t>,
        table: &'t DeTable<'t>,
        keys: Keys,
    ) -> Result<Self, ConfigError> {
        let top = Self { source, title: Title::Top, line: 1, table: Some(table) };
        top.check_keys(keys.1)?;
        Ok(top)
    }

    /// The table `[NAME]`; absent, it has no values.
    pub(super) fn one(&self, keys: Keys) -> Result<Self, ConfigError> {
        let title = Title::One(keys.0);
        let Some(value) = self.value(keys.0) else {
            return Ok(Self { title, table: None, ..*self });
        };
        let line = self.source.line(value.span().start);
        let section = Self { source: self.source, title, line, table: value.get_ref().as_table() };
        if section.table.is_none() {
            return Err(section.refuse_type("", value, "a table"));
        }
        section.check_keys(keys.1)?;
        Ok(section)
    }

    /// The tables `[[NAME]]`, in the order of the file; `key` is the last part of the name.
    pub(super) fn many(&self, key: &str, keys: Keys) -> Result<Vec<Self>, ConfigError> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        let title = Title::Many(keys.0);
        let absent = Self { title, line: self.source.line(value.span().start), ..*self };
        let Some(array) = value.get_ref().as_array() else {
            return Err(absent.refuse_type("", value, "an array of tables"));
        };
        let open = |value: &'t Value<'t>| {
            let line = self.source.line(value.span().start);
            let table = value.get_ref().as_table();
            let section = Self { source: self.source, title, line, table };
            if table.is_none() {
                return Err(section.refuse_type("", value, "a table"));
            }
            section.check_keys(keys.1)?;
            Ok(section)
        };
        array.iter().map(open).collect()
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'t str>, ConfigError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.get_ref().as_str() {
            Some(text) => Ok(Some(text)),
            None => Err(self.refuse_type(key, value, "a string")),
        }
    }

    /// A text that must be there.
    pub(super) fn needed_text(
        &self,
        key: &str,
        example: &'static str,
    ) -> Result<&'t str, ConfigError> {
        self.text(key)?.ok_or_else(|| self.refuse(key, Problem::Missing(example)))
    }

    /// A text that `read` understands; `what` and `example` say of which form it is.
    pub(super) fn read<T>(
        &self,
        key: &str,
        what: &'static str,
        example: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let malformed = || Problem::Malformed { found: text.to_owned(), what, example };
        read(text).map(Some).ok_or_else(|| self.refuse(key, malformed()))
    }

    /// A list of texts, each with the line it stands on.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<(usize, &'t str)>, ConfigError> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        let Some(array) = value.get_ref().as_array() else {
            return Err(self.refuse_type(key, value, "an array of strings"));
        };
        let text = |value: &'t Value<'t>| match value.get_ref().as_str() {
            Some(text) => Ok((self.source.line(value.span().start), text)),
            None => Err(self.refuse_type(key, value, "a string")),
        };
        array.iter().map(text).collect()
    }

    /// A truth value.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.value(key) else {
            return Ok(default);
        };
        let flag = value.get_ref().as_bool();
        flag.ok_or_else(|| self.refuse_type(key, value, "true or false"))
    }

    /// A number within a range; `unit` is for the error and starts with a space.
    pub(super) fn number<N>(
        &self,
        key: &str,
        default: N,
        range: RangeInclusive<N>,
        unit: &'static str,
    ) -> Result<N, ConfigError>
    where
        N: Copy + Display + Into<u64> + PartialOrd + TryFrom<i128>,
    {
        let Some(value) = self.value(key) else {
            return Ok(default);
        };
        let Some(integer) = value.get_ref().as_integer() else {
            return Err(self.refuse_type(key, value, "an integer"));
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| N::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (min, max) = ((*range.start()).into(), (*range.end()).into());
            self.refuse(key, Problem::OutOfRange { found: integer.to_string(), min, max, unit })
        })
    }

    /// A power of two within a range whose ends are powers of two.
    pub(super) fn power_of_two<N>(
        &self,
        key: &str,
        default: N,
        range: RangeInclusive<N>,
        unit: &'static str,
    ) -> Result<N, ConfigError>
    where
        N: Copy + Display + Into<u64> + PartialOrd + TryFrom<i128>,
    {
        let number = self.number(key, default, range, unit)?;
        let found: u64 = number.into();
        if !found.is_power_of_two() {
            let nearest = found.next_power_of_two();
            return Err(self.refuse(key, Problem::NotAPowerOfTwo { found, nearest }));
        }
        Ok(number)
    }

    /// The value of a key as it is.
    pub(super) fn value(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table?.get(key)
    }

    /// The line of a key's value; of the section without one.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.value(key).map_or(self.line, |value| self.source.line(value.span().start))
    }

    /// The error that a key's value has this problem.
    pub(super) fn refuse(&self, key: &str, problem: Problem) -> ConfigError {
        self.refuse_at(self.line_of(key), key, problem)
    }

    /// The error that a key has this problem on this line.
    pub(super) fn refuse_at(&self, line: usize, key: &str, problem: Problem) -> ConfigError {
        let title = match self.title {
            Title::Top => String::new(),
            Title::One(name) => format!("[{name}]"),
            Title::Many(name) => format!("[[{name}]]"),
        };
        let key = [title.as_str(), key].join(" ").trim().to_owned();
        ConfigError::Key {
            file: self.source.file.to_owned(),
            line,
            key,
            problem: Box::new(problem),
        }
    }

    /// The error that a key's value is of the wrong type.
    pub(super) fn refuse_type(
        &self,
        key: &str,
        value: &Value<'_>,
        right: &'static str,
    ) -> ConfigError {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let line = self.source.line(value.span().start);
        self.refuse_at(line, key, Problem::WrongType { found, right })
    }

    fn name(&self) -> &'static str {
        match self.title {
            Title::Top => "",
            Title::One(name) | Title::Many(name) => name,
        }
    }

    /// Refuses the first key of the file that is not among the known ones.
    fn check_keys(&self, known: &[&'static str]) -> Result<(), ConfigError> {
        let written = self.table.into_iter().flat_map(DeTable::keys);
        let unknown = written.filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(first) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let name: &str = first.get_ref();
        let line = self.source.line(first.span().start);
        if keys::UNAVAILABLE.contains(&(self.name(), name)) {
            return Err(self.refuse_at(line, name, Problem::NotInThisRelease));
        }
        let all = || known.join(", ");
        let problem = match (keys::section_of(name), self.title, keys::nearest(name, known)) {
            (Some(section), ..) => Problem::Misplaced(section),
            (None, Title::Top, Some(nearest)) => Problem::UnknownSection(nearest),
            (None, Title::Top, None) => Problem::StrangeSection(all()),
            (None, _, Some(nearest)) => Problem::UnknownKey(nearest),
            (None, _, None) => Problem::StrangeKey(all()),
        };
        Err(self.refuse_at(line, name, problem))
    }
}
