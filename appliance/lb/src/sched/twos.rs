// SPDX-License-Identifier: MIT OR Apache-2.0
//! Power of two choices (`ip_vs_twos.c`): of two servers drawn at random by weight, the one with
//! the smaller overhead per weight.

use super::Roster;
use crate::snapshot::Candidate;

/// `draw` is 64 random bits: one half for each of the two.
pub(super) fn pick<'a>(roster: &Roster<'a>, draw: u64) -> Option<&'a Candidate> {
    let total: u64 = roster.open().map(|candidate| u64::from(candidate.weight)).sum();
    let drawn = |half: u32| {
        // As in the kernel, 0 and 1 both mean the first unit of the first server's weight.
        let mut rest = ((u128::from(half) * u128::from(total + 1)) >> 32) as u64;
        roster.open().find(|candidate| {
            let weight = u64::from(candidate.weight);
            let is_drawn = rest <= weight;
            rest = rest.saturating_sub(weight);
            is_drawn
        })
    };
    let pair = [drawn(draw as u32)?, drawn((draw >> 32) as u32)?];
    roster.least(pair.into_iter(), |candidate| roster.overhead(candidate))
}
