// SPDX-License-Identifier: MIT OR Apache-2.0
//! What DPDK answers with a number, as a sentence.

use std::ffi::c_int;
use std::io;

use dpdk_sys as sys;

/// Why DPDK refused, from a negative return value or `rte_errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Errno {
    /// `ENOMEM`
    #[error("memory is short; reserve more hugepages or give more with -m")]
    NoMemory,
    /// `EEXIST`
    #[error("the name is taken; each name is used once in a process")]
    Exists,
    /// `EINVAL`
    #[error("an argument is out of range; DPDK's log says which")]
    Invalid,
    /// `ENOTSUP`
    #[error("the driver does not offer this")]
    NotSupported,
    /// `EBUSY`
    #[error("it is in use; what uses it must end first")]
    Busy,
    /// `ENODEV`, `ENOENT`
    #[error("there is no such device or no driver for it; check its spelling and binding")]
    NoDevice,
    /// `EPERM`, `EACCES`
    #[error("permission is missing; root, or CAP_NET_ADMIN and access to the device, is needed")]
    NotPermitted,
    /// Any other number of `errno(3)`.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Other(i32),
}

impl Errno {
    /// The reason behind a positive error number.
    #[must_use]
    pub fn new(number: i32) -> Self {
        match number {
            libc::ENOMEM => Self::NoMemory,
            libc::EEXIST => Self::Exists,
            libc::EINVAL => Self::Invalid,
            libc::ENOTSUP => Self::NotSupported,
            libc::EBUSY => Self::Busy,
            libc::ENODEV | libc::ENOENT => Self::NoDevice,
            libc::EPERM | libc::EACCES => Self::NotPermitted,
            other => Self::Other(other),
        }
    }

    /// The reason DPDK left in this thread's `rte_errno`.
    pub(crate) fn of_thread() -> Self {
        // SAFETY: reads a thread-local integer.
        Self::new(unsafe { sys::shim_errno() })
    }
}

/// Turns DPDK's return value, negative for failure, into a result.
pub(crate) fn check(returned: c_int) -> Result<(), Errno> {
    if returned < 0 { Err(Errno::new(-returned)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlisted_number_keeps_the_systems_words() {
        assert_eq!(Errno::new(libc::ENOMEM), Errno::NoMemory);
        assert_eq!(check(-libc::ENOTSUP), Err(Errno::NotSupported));
        assert_eq!(check(0), Ok(()));
        assert!(Errno::new(libc::EPIPE).to_string().contains("Broken pipe"));
    }
}
