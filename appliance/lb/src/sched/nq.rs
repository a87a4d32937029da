// SPDX-License-Identifier: MIT OR Apache-2.0
//! Never queue (`ip_vs_nq.c`): the first server without active connections; if all have some, the
//! shortest expected delay.

use super::{Roster, sed};
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(roster: &Roster<'a>) -> Option<&'a Candidate> {
    let idle = roster.open().find(|candidate| roster.active(candidate) == 0);
    idle.or_else(|| sed::pick(roster))
}
