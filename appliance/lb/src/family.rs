// SPDX-License-Identifier: MIT OR Apache-2.0
//! All that a family must offer to be balanced, under one name.

use wire::{IcmpOf, PlainFamily, V4, V6};

use crate::conn::ConnFamily;
use crate::encap::OuterHeader;
use crate::icmp::error::IcmpFamily;
use crate::snapshot::SnapshotFamily;
use crate::stranger::reset::ResetFamily;

/// A family whose packets go through the whole path.
pub trait Balanced:
    ConnFamily + IcmpFamily + IcmpOf + OuterHeader + PlainFamily + ResetFamily + SnapshotFamily
{
}

impl Balanced for V4 {}
impl Balanced for V6 {}
