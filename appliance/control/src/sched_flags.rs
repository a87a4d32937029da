// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names of scheduler flags in `-b` and in listings.
//!
//! A flag has the name `flag-N` for every scheduler, and one of its own where it means something.

/// Scheduler, number of the flag, its own name.
const OWN: [(&str, u8, &str); 4] = [
    ("sh", 1, "sh-fallback"),
    ("sh", 2, "sh-port"),
    ("mh", 1, "mh-fallback"),
    ("mh", 2, "mh-port"),
];

/// What everybody may call the flags.
const GENERAL: [&str; 3] = ["flag-1", "flag-2", "flag-3"];

/// The name that reads best.
pub(crate) fn name(scheduler: &str, number: u8) -> &'static str {
    own_name(scheduler, number)
        .or_else(|| GENERAL.get(usize::from(number.wrapping_sub(1))).copied())
        .unwrap_or_default()
}

/// The name in listings: schedulers that name their flags have no others.
pub(crate) fn listed(scheduler: &str, number: u8) -> Option<&'static str> {
    let names_its_own = OWN.iter().any(|(of, ..)| *of == scheduler);
    if names_its_own { own_name(scheduler, number) } else { Some(name(scheduler, number)) }
}

/// The number of the flag that this name means.
pub(crate) fn number(scheduler: &str, name: &str) -> Result<u8, Unknown> {
    if let Some(number) = (1..).zip(GENERAL).find(|(_, general)| *general == name) {
        return Ok(number.0);
    }
    match OWN.iter().find(|(_, _, own)| *own == name) {
        Some((of, number, _)) if *of == scheduler => Ok(*number),
        Some(_) => Err(Unknown::OfAnother),
        None => Err(Unknown::Nowhere),
    }
}

/// Why a name means no flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It is a flag of another scheduler.
    OfAnother,
    /// No scheduler has it.
    Nowhere,
}

fn own_name(scheduler: &str, number: u8) -> Option<&'static str> {
    OWN.iter().find(|(of, at, _)| (*of, *at) == (scheduler, number)).map(|(.., name)| *name)
}
