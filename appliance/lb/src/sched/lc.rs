// SPDX-License-Identifier: MIT OR Apache-2.0
//! Least connections (`ip_vs_lc.c`): the smallest overhead among servers with a weight.

use super::Roster;
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(roster: &Roster<'a>) -> Option<&'a Candidate> {
    roster.open().min_by_key(|candidate| roster.overhead(candidate))
}
