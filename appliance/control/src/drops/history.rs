// SPDX-License-Identifier: MIT OR Apache-2.0
//! When losses began, when they were last seen to grow, and how fast they grow.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use lb::ids::Tick;

use super::Loss;

/// Looks that a rate is taken over: some ten seconds.
const LOOKS: usize = 6;

/// What was seen of each loss.
#[derive(Debug, Default)]
pub struct History {
    seen: HashMap<Cow<'static, str>, Seen>,
    /// When somebody looked, the latest last.
    looks: VecDeque<Tick>,
}

#[derive(Clone, Debug)]
struct Seen {
    began: Tick,
    grew: Tick,
    /// Frames at the latest looks, the latest last.
    frames: VecDeque<u64>,
}

impl History {
    /// Notes which losses grew since the last call.
    pub fn note(&mut self, losses: &[Loss], now: Tick) {
        push(&mut self.looks, now);
        for loss in losses.iter().filter(|loss| loss.frames > 0) {
            let grew = self.grew(loss);
            let unseen = || Seen { began: now, grew: now, frames: VecDeque::from([0]) };
            let seen = self.seen.entry(loss.cause.clone()).or_insert_with(unseen);
            if grew {
                seen.grew = now;
            }
            push(&mut seen.frames, loss.frames);
        }
    }

    /// Seconds since a loss grew.
    pub(super) fn age_s(&self, loss: &Loss) -> u64 {
        match self.seen.get(&loss.cause) {
            Some(seen) if !self.grew(loss) => self.until_now_s(seen.grew),
            _ => 0,
        }
    }

    /// Seconds since a loss was first seen.
    pub(super) fn since_s(&self, loss: &Loss) -> u64 {
        self.seen.get(&loss.cause).map_or(0, |seen| self.until_now_s(seen.began))
    }

    /// Frames per second over the latest looks.
    pub(super) fn rate(&self, loss: &Loss) -> f64 {
        let Some(seen) = self.seen.get(&loss.cause) else {
            return 0.0;
        };
        // A loss that is younger than the looks was 0 at the one before it.
        let looks = self.looks.iter().rev().zip(seen.frames.iter().rev());
        let (mut first, mut last) = (None, None);
        for look in looks {
            last = last.or(Some(look));
            first = Some(look);
        }
        let Some(((began, before), (ended, after))) = first.zip(last) else {
            return 0.0;
        };
        match ended.since(*began) {
            0 => 0.0,
            ms => after.saturating_sub(*before) as f64 * 1000.0 / ms as f64,
        }
    }

    fn until_now_s(&self, earlier: Tick) -> u64 {
        self.looks.back().map_or(0, |now| now.since(earlier) / 1000)
    }

    fn grew(&self, loss: &Loss) -> bool {
        let before = self.seen.get(&loss.cause).and_then(|seen| seen.frames.back());
        loss.frames > before.copied().unwrap_or(0)
    }
}

fn push<T>(latest: &mut VecDeque<T>, new: T) {
    if latest.len() == LOOKS {
        latest.pop_front();
    }
    latest.push_back(new);
}
