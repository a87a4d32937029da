// SPDX-License-Identifier: MIT OR Apache-2.0
//! Least connections (`ip_vs_lc.c`): the smallest overhead among servers with a weight.

use crate::counters::ServerCounts;
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(
    candidates: &'a [Candidate],
    counts: &ServerCounts,
) -> Option<&'a Candidate> {
    let weighted = candidates.iter().filter(|candidate| candidate.weight > 0);
    weighted.min_by_key(|candidate| counts.overhead(candidate.id.slot))
}
