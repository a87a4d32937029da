// SPDX-License-Identifier: MIT OR Apache-2.0
//! Weighted fail-over (`ip_vs_fo.c`): always the server with the highest weight.

use super::Roster;
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(roster: &Roster<'a>) -> Option<&'a Candidate> {
    super::heaviest(roster.open())
}
