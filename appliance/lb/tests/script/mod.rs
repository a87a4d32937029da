// SPDX-License-Identifier: MIT OR Apache-2.0
//! The language of packet scripts.

mod frame;
mod part;
mod run;

pub use run::run;
