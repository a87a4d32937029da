// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses that several services may share, each with how many do.

use std::collections::HashMap;
use std::net::IpAddr;

/// A multiset of addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(HashMap<IpAddr, u32>);

impl Addresses {
    pub(super) fn contains(&self, address: &IpAddr) -> bool {
        self.0.contains_key(address)
    }

    pub(super) fn add(&mut self, address: IpAddr) {
        *self.0.entry(address).or_default() += 1;
    }

    /// Takes one away; the last one takes the address with it.
    pub(super) fn remove(&mut self, address: IpAddr) {
        if let Some(count) = self.0.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&address);
            }
        }
    }
}
