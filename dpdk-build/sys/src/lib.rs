// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bindings to the distribution's libdpdk, generated when this crate is built.
//!
//! `build.rs` holds the allow-list: it *is* what the project uses of DPDK. `shim.c` wraps what
//! bindgen cannot see. `mbuf.rs` is the one structure declared by hand.
//!
//! Nothing here is safe to call; crate `dpdk` makes it so, and nobody else depends on this crate.

#![allow(unsafe_code, reason = "foreign functions")]
#![allow(non_camel_case_types, non_upper_case_globals, reason = "DPDK's own names")]

mod mbuf;

pub use generated::*;
pub use mbuf::rte_mbuf;

/// What bindgen makes of `shim.h` and the headers it includes.
#[allow(missing_docs, reason = "documented in DPDK's headers")]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
mod generated {
    use super::rte_mbuf;

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
