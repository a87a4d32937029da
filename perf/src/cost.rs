// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processor time of the current thread, windows of it, and what is said about several.

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::row::Failure;

/// Laps between two looks at the clock.
const LAPS_PER_LOOK: u32 = 32;
/// What the middle half of the windows differ by at most, over their median, where nothing else
/// disturbed them.
const SETTLED: f64 = 0.03;

/// Processor time of the current thread, in nanoseconds.
pub fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// When a window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// After so many nanoseconds of processor time.
    Nanoseconds(u64),
    /// After so many units of work.
    Units(u64),
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Windows of each loop at least; 5 make a median.
    pub windows: usize,
    /// How many may be added while they do not agree.
    pub spare: usize,
    /// How long each is.
    pub span: Span,
}

impl Effort {
    /// Whether these windows of a loop and of its reference are enough: as many as asked for, and
    /// more while other work of the machine disturbs them, but for windows of a number of units,
    /// for which room was made.
    pub fn is_enough(&self, costs: &[f64], reference_costs: &[f64]) -> bool {
        let windows = costs.len();
        let spare = if matches!(self.span, Span::Nanoseconds(_)) { self.spare } else { 0 };
        let settled = Spread::has_settled(costs) && Spread::has_settled(reference_costs);
        windows >= self.windows + spare || windows >= self.windows && settled
    }
}

/// Work that is done again and again.
pub trait Lap {
    /// Does it once; returns how many units (packets, or connections) it was.
    ///
    /// # Errors
    /// A packet did not come out as it should.
    fn lap(&mut self) -> Result<u64, Failure>;

    /// Looks whether everything since the last look came out as it should; not measured.
    ///
    /// # Errors
    /// It did not.
    fn check(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Median, least and most of several windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many they are.
    pub windows: usize,
    /// The middle window.
    pub median: f64,
    /// The cheapest window.
    pub min: f64,
    /// The dearest window.
    pub max: f64,
}

impl Spread {
    /// The spread of some figures; zeros if there are none.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (figures.first(), figures.last()) else {
            return Self::default();
        };
        let windows = figures.len();
        Self { windows, median: figures[windows / 2], min: *min, max: *max }
    }

    /// Whether the middle half of some figures lies close together.
    fn has_settled(figures: &[f64]) -> bool {
        let mut figures = figures.to_vec();
        figures.sort_by(f64::total_cmp);
        let at = |quarter: usize| figures.get(quarter * figures.len() / 4).copied();
        at(1)
            .zip(at(2))
            .zip(at(3))
            .is_some_and(|((low, median), high)| high - low <= SETTLED * median)
    }

    /// All three figures times a factor.
    pub fn times(self, factor: f64) -> Self {
        let Self { windows, median, min, max } = self;
        Self { windows, median: median * factor, min: min * factor, max: max * factor }
    }
}

/// Nanoseconds of processor time per unit in one window.
///
/// # Errors
/// That of the lap.
pub fn window(lap: &mut impl Lap, span: Span) -> Result<f64, Failure> {
    let (start, mut units, mut spent_ns) = (thread_ns(), 0, 0);
    let is_over = |units, spent_ns| match span {
        Span::Nanoseconds(ns) => spent_ns >= ns,
        Span::Units(wanted) => units >= wanted,
    };
    while !is_over(units, spent_ns) {
        for _ in 0..LAPS_PER_LOOK {
            units += lap.lap()?;
        }
        spent_ns = thread_ns() - start;
    }
    lap.check()?;
    Ok(spent_ns as f64 / units as f64)
}

/// Nanoseconds per unit of a loop alone, after one window that does not count.
///
/// # Errors
/// That of the lap.
pub fn alone(lap: &mut impl Lap, effort: Effort) -> Result<Spread, Failure> {
    window(lap, effort.span)?;
    let mut costs = Vec::new();
    while !effort.is_enough(&costs, &costs) {
        costs.push(window(lap, effort.span)?);
    }
    Ok(Spread::of(costs))
}

/// Nanoseconds per unit of a loop and of its reference, window by window in turn, after one window
/// of each that does not count.
///
/// # Errors
/// That of a lap.
pub fn beside(
    subject: &mut impl Lap,
    reference: &mut impl Lap,
    effort: Effort,
) -> Result<(Spread, Spread), Failure> {
    let reference_span = match effort.span {
        Span::Units(_) => Span::Nanoseconds(10_000_000),
        span @ Span::Nanoseconds(_) => span,
    };
    in_turn(effort, || window(subject, effort.span), || window(reference, reference_span))
}

/// As [`beside`], of windows that are measured otherwise.
///
/// # Errors
/// That of a window.
pub fn in_turn(
    effort: Effort,
    mut subject: impl FnMut() -> Result<f64, Failure>,
    mut reference: impl FnMut() -> Result<f64, Failure>,
) -> Result<(Spread, Spread), Failure> {
    let (mut costs, mut reference_costs) = (Vec::new(), Vec::new());
    subject()?;
    reference()?;
    while !effort.is_enough(&costs, &reference_costs) {
        costs.push(subject()?);
        reference_costs.push(reference()?);
    }
    Ok((Spread::of(costs), Spread::of(reference_costs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_middle_window_and_both_ends() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 3.0, 5.0));
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn windows_have_settled_when_the_middle_half_agrees() {
        assert!(Spread::has_settled(&[100.0, 300.0, 101.0, 99.0, 100.0]));
        assert!(!Spread::has_settled(&[100.0, 300.0, 120.0, 99.0, 100.0]));
        assert!(!Spread::has_settled(&[]));
    }

    #[test]
    fn windows_are_added_until_both_loops_settle_or_it_takes_too_long() {
        let (quiet, busy) = ([9.0; 5], [9.0, 20.0, 9.0, 30.0, 40.0]);
        let timed = Effort { windows: 5, spare: 10, span: Span::Nanoseconds(1) };
        assert!(!timed.is_enough(&quiet[..4], &quiet[..4]));
        assert!(timed.is_enough(&quiet, &quiet));
        assert!(!timed.is_enough(&busy, &quiet));
        assert!(!timed.is_enough(&quiet, &busy));
        assert!(!timed.is_enough(&busy.repeat(2), &quiet.repeat(2)));
        assert!(timed.is_enough(&busy.repeat(3), &quiet.repeat(3)));
        let counted = Effort { span: Span::Units(1), ..timed };
        assert!(counted.is_enough(&busy, &busy));
    }

    #[test]
    fn time_asleep_is_not_processor_time() {
        let before = thread_ns();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(thread_ns() - before < 10_000_000);
    }
}
