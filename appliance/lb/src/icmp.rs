// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP and ICMPv6: errors about our connections on their way to whom they concern, and those that
//! we send ourselves.
//!
//! An error is found by the flow that it quotes ([`related`]); one about a tunnel's outer packet
//! becomes one to the client ([`outer_error`]). What cannot go on is answered ([`answer`],
//! [`too_big`], [`undelivered`]) with a message that [`error`] writes and limits.

pub(crate) mod answer;
pub mod error;
pub(crate) mod outer_error;
pub mod path_mtu;
pub(crate) mod related;
pub(crate) mod too_big;
pub(crate) mod undelivered;
