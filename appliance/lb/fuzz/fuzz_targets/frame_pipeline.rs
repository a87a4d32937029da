// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames, times and rule changes through workers with all modes; see `pipeline.rs`.
#![no_main]

#[path = "../pipeline.rs"]
mod pipeline;

libfuzzer_sys::fuzz_target!(|input: &[u8]| pipeline::run(input));
