// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instruction counts.

use crate::established::{Established, Way};
use crate::plan::Plan;
use crate::reference::BURST;
use crate::rig::{Rig, Side};
use crate::row::Failure;
use crate::run::MODES;
use crate::stand::Stand;
use crate::traffic::Segment;
use lb::service::ForwardMode;
use std::hint::black_box;
use wire::FamilyId;

/// Counts as recorded.
pub struct Recorded;
impl Recorded {
    /// x
    pub fn parse(_: &str) -> Result<Self, String> {
        Ok(Self)
    }
    /// x
    pub fn most_per_packet(&self) -> Option<f64> {
        None
    }
}

/// x
#[inline(never)]
pub fn counted_turn(rig: &mut Rig) -> usize {
    black_box(rig.turn())
}
/// x
#[inline(never)]
pub fn scenario_done() {
    black_box(());
}

/// x
pub fn run_scenarios(mut stand: Stand) -> Result<(), Failure> {
    for family in [FamilyId::V4, FamilyId::V6] {
        for mode in MODES {
            let plan = Plan::new(family, mode, 4096);
            let mut e = Established::new(&mut stand, &plan, 4096, &[60])?;
            for way in [Way::Requests, Way::Replies] {
                if !Way::of(&plan).contains(&way) {
                    continue;
                }
                let (t, side) = if way == Way::Requests {
                    (e.requests.clone(), Side::Wan)
                } else {
                    (e.replies.clone(), Side::Lan)
                };
                let mut next = 0;
                for _ in 0..4096 / BURST {
                    next = e.rig.send(side, &t, next, BURST, Segment::Data)?;
                    counted_turn(&mut e.rig);
                    e.rig.drain(side.opposite(), |_| ());
                }
                e.rig.check_all_left()?;
                scenario_done();
            }
        }
    }
    Ok(())
}
