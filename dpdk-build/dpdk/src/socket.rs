// SPDX-License-Identifier: MIT OR Apache-2.0
//! NUMA nodes, which DPDK calls sockets.

use std::ffi::c_int;

/// Where memory is to lie, or where a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Socket {
    /// Wherever there is room; also what a device without NUMA locality reports.
    #[default]
    Any,
    /// The NUMA node of this number.
    Node(u16),
}

impl Socket {
    pub(crate) fn from_raw(id: c_int) -> Self {
        u16::try_from(id).map_or(Self::Any, Self::Node)
    }

    /// DPDK's number; `SOCKET_ID_ANY` is -1.
    pub(crate) fn raw(self) -> c_int {
        match self {
            Self::Any => -1,
            Self::Node(node) => node.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_locality_is_any() {
        assert_eq!(Socket::from_raw(-1), Socket::Any);
        assert_eq!(Socket::from_raw(1), Socket::Node(1));
        assert_eq!(Socket::from_raw(Socket::Any.raw()), Socket::Any);
    }
}
