// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instruction counts.

/// Counts as recorded.
pub struct Recorded;
impl Recorded {
    /// x
    pub fn parse(_: &str) -> Result<Self, String> { Ok(Self) }
    /// x
    pub fn most_per_packet(&self) -> Option<f64> { None }
}
