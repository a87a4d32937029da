// SPDX-License-Identifier: MIT OR Apache-2.0
//! Weighted least connections (`ip_vs_wlc.c`): the smallest overhead per weight.

use super::Roster;
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(roster: &Roster<'a>) -> Option<&'a Candidate> {
    roster.least(roster.open(), |candidate| roster.overhead(candidate))
}
