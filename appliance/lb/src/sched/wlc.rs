// SPDX-License-Identifier: MIT OR Apache-2.0
//! Weighted least connections (`ip_vs_wlc.c`): the smallest overhead per weight, compared by
//! cross-multiplication.

use crate::counters::ServerCounts;
use crate::snapshot::Candidate;

pub(super) fn pick<'a>(
    candidates: &'a [Candidate],
    counts: &ServerCounts,
) -> Option<&'a Candidate> {
    let mut weighted = candidates.iter().filter(|candidate| candidate.weight > 0);
    let mut least = weighted.next()?;
    let mut least_overhead = counts.overhead(least.id.slot);
    for candidate in weighted {
        let overhead = counts.overhead(candidate.id.slot);
        let left = u128::from(least_overhead) * u128::from(candidate.weight);
        if left > u128::from(overhead) * u128::from(least.weight) {
            (least, least_overhead) = (candidate, overhead);
        }
    }
    Some(least)
}
