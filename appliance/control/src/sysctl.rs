// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--sysctl`: the settings of `/proc/sys/net/ipv4/vs`, asked for and answered as `sysctl` does.
//!
//! A setting is named with or without `net.ipv4.vs.` before it. Some of the kernel's have nothing
//! to act on here: they show the kernel's default, and take no other value.

use lb::knobs::{Knob, Knobs};

/// What a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// One that can be changed.
    Knob(Knob),
    /// One that is what it is: its place in the table of these.
    Fixed(usize),
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To show all settings.
    ShowAll,
    /// To show one.
    Show(Setting),
    /// To change one.
    Set(Knob, u32),
}

/// Why a request is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SysctlError {
    /// No such setting, and the nearest that there is.
    #[error("net.ipv4.vs.{0}: no such setting; --sysctl lists them, the nearest is {1}")]
    Unknown(String, &'static str),
    /// No value that the setting takes.
    #[error("net.ipv4.vs.{}: '{found}' is not a number from {} to {}: {}", knob.name(),
        knob.range().start(), knob.range().end(), knob.meaning())]
    Value {
        /// The setting.
        knob: Knob,
        /// What was given.
        found: String,
    },
    /// A setting that nothing here follows.
    #[error("net.ipv4.vs.{} is always {} in this release", _0.name, _0.value)]
    Fixed(&'static Fixed),
}

/// A setting of the kernel's that nothing here follows.
#[derive(Debug, PartialEq, Eq)]
pub struct Fixed {
    name: &'static str,
    value: &'static str,
}

impl Fixed {
    const fn new(name: &'static str, value: &'static str) -> Self {
        Self { name, value }
    }
}

static FIXED: [Fixed; 10] = [
    Fixed::new("backup_only", "0"),
    Fixed::new("conntrack", "0"),
    Fixed::new("ignore_tunneled", "0"),
    Fixed::new("sync_persist_mode", "0"),
    Fixed::new("sync_ports", "1"),
    Fixed::new("sync_refresh_period", "0"),
    Fixed::new("sync_retries", "0"),
    Fixed::new("sync_sock_size", "0"),
    Fixed::new("sync_threshold", "3 50"),
    Fixed::new("sync_version", "1"),
];

const PREFIXES: [&str; 2] = ["net.ipv4.vs.", "net/ipv4/vs/"];

impl Request {
    /// Reads the value of `--sysctl`.
    ///
    /// # Errors
    /// Says what would be right.
    pub fn read(text: Option<&str>) -> Result<Self, SysctlError> {
        let Some(text) = text else {
            return Ok(Self::ShowAll);
        };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (text.trim(), None),
        };
        let setting = setting(PREFIXES.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name))?;
        match (setting, value) {
            (_, None) => Ok(Self::Show(setting)),
            (Setting::Knob(knob), Some(value)) => {
                let number = value.parse().ok().filter(|number| knob.range().contains(number));
                let number =
                    number.ok_or_else(|| SysctlError::Value { knob, found: value.to_owned() })?;
                Ok(Self::Set(knob, number))
            }
            (Setting::Fixed(_), Some(value)) => match setting.fixed() {
                Some(fixed) if !same(fixed.value, value) => Err(SysctlError::Fixed(fixed)),
                _ => Ok(Self::Show(setting)),
            },
        }
    }

    /// The word that means the request; none for all settings.
    pub fn word(&self) -> Option<String> {
        match self {
            Self::ShowAll => None,
            Self::Show(setting) => Some(setting.name().to_owned()),
            Self::Set(knob, value) => Some(format!("{}={value}", knob.name())),
        }
    }
}

impl Setting {
    fn name(self) -> &'static str {
        match self {
            Self::Knob(knob) => knob.name(),
            Self::Fixed(_) => self.fixed().map_or("", |fixed| fixed.name),
        }
    }

    fn fixed(self) -> Option<&'static Fixed> {
        match self {
            Self::Knob(_) => None,
            Self::Fixed(at) => FIXED.get(at),
        }
    }

    fn line(self, knobs: &Knobs) -> String {
        let value = match self {
            Self::Knob(knob) => knobs.value(knob).to_string(),
            Self::Fixed(_) => self.fixed().map_or("", |fixed| fixed.value).replace(' ', "\t"),
        };
        format!("net.ipv4.vs.{} = {value}\n", self.name())
    }
}

/// What `--sysctl` prints of one setting.
pub(crate) fn line(setting: Setting, knobs: &Knobs) -> String {
    setting.line(knobs)
}

/// What `--sysctl` prints of all settings, by name.
pub(crate) fn listing(knobs: &Knobs) -> String {
    let mut all: Vec<Setting> = settings().collect();
    all.sort_unstable_by_key(|setting| setting.name());
    all.into_iter().map(|setting| setting.line(knobs)).collect()
}

fn settings() -> impl Iterator<Item = Setting> {
    let knobs = Knob::ALL.iter().copied().map(Setting::Knob);
    knobs.chain((0..FIXED.len()).map(Setting::Fixed))
}

fn setting(name: &str) -> Result<Setting, SysctlError> {
    let slips = |setting: &Setting| strsim::damerau_levenshtein(name, setting.name());
    match settings().min_by_key(slips) {
        Some(nearest) if nearest.name() == name => Ok(nearest),
        nearest => Err(SysctlError::Unknown(name.to_owned(), nearest.map_or("", Setting::name))),
    }
}

/// Whether two texts are the same numbers.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Request, String> {
        Request::read(Some(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_is_named_as_sysctl_names_it_or_by_its_last_part() {
        for name in ["sloppy_tcp=1", "net.ipv4.vs.sloppy_tcp = 1", "net/ipv4/vs/sloppy_tcp=1"] {
            assert_eq!(read(name), Ok(Request::Set(Knob::SloppyTcp, 1)), "{name}");
        }
        assert_eq!(read("sync_threshold=3\t50"), read("sync_threshold"));
    }

    #[test]
    fn a_mistake_is_answered_with_what_would_be_right() {
        let said = |text| read(text).unwrap_err();
        assert_eq!(
            said("slopy_tcp=1"),
            "net.ipv4.vs.slopy_tcp: no such setting; --sysctl lists them, the nearest is sloppy_tcp"
        );
        let range = "net.ipv4.vs.sloppy_tcp: '2' is not a number from 0 to 1: Whether any TCP";
        assert!(said("sloppy_tcp=2").starts_with(range), "{}", said("sloppy_tcp=2"));
        assert_eq!(said("conntrack=1"), "net.ipv4.vs.conntrack is always 0 in this release");
        assert!(said("secure_tcp=").contains("'' is not a number from 0 to 3"));
    }

    #[test]
    fn settings_are_shown_in_the_order_of_their_names() {
        let text = listing(&Knobs::default());
        assert!(text.lines().is_sorted());
        assert!(text.contains("net.ipv4.vs.am_droprate = 10\n"), "{text}");
        assert!(text.contains("net.ipv4.vs.sync_threshold = 3\t50\n"), "{text}");
    }
}
