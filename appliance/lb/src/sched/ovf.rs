// SPDX-License-Identifier: MIT OR Apache-2.0
//! Weighted overflow (`ip_vs_ovf.c`): the server with the highest weight, until it has more active
//! connections than its weight; then the next.

use super::Roster;
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(roster: &Roster<'a>) -> Option<&'a Candidate> {
    let has_room = |candidate: &&Candidate| roster.active(candidate) <= candidate.weight;
    super::heaviest(roster.open().filter(has_room))
}
