// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shortest expected delay (`ip_vs_sed.c`): the fewest active connections per weight, the new one
//! included; inactive ones cost nothing.

use super::Roster;
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(roster: &Roster<'a>) -> Option<&'a Candidate> {
    roster.least(roster.open(), |candidate| u64::from(roster.active(candidate)) + 1)
}
