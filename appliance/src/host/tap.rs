// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host interface of a NIC: a persistent tap (Linux `Documentation/networking/tuntap.rst`).
//!
//! It has the NIC's MAC and MTU and outlives the process with its addresses and routes, so that a
//! restart loses no VIP. Its carrier does not outlive the process: the kernel takes it away when
//! the descriptor is closed, which is how VRRP and routing daemons learn of our end.
//!
//! The interface is never set down here, for that would lose its routes; and frames cross without
//! virtio header and without offloads, so that each one is complete and its checksums are right.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};
use wire::Mac;

/// A host interface that is open: its carrier is up as long as this lives.
pub struct HostInterface {
    name: String,
    tap: SyncDevice,
}

impl HostInterface {
    /// Creates the tap, or takes over the one of this name, and brings it up.
    ///
    /// `mtu` is the largest IP packet in bytes. Addresses and routes that are there stay.
    ///
    /// # Errors
    /// [`HostInterfaceError`] says what is in the way and how to mend it.
    pub fn open(name: &str, mac: Mac, mtu: u16) -> Result<Self, HostInterfaceError> {
        let this = Self::claim(name)?;
        this.configure(mac, mtu)?;
        Ok(this)
    }

    /// The tap of this name, for this process alone; one that is made for it stays only once it
    /// is configured.
    ///
    /// # Errors
    /// As [`Self::open`] has.
    pub fn claim(name: &str) -> Result<Self, HostInterfaceError> {
        if !is_interface_name(name) {
            return Err(HostInterfaceError::BadName(name.to_owned()));
        }
        let builder = DeviceBuilder::new().name(name).layer(Layer::L2).inherit_enable_state();
        let tap = builder.build_sync().map_err(|error| HostInterfaceError::opening(name, error))?;
        Ok(Self { name: name.to_owned(), tap })
    }

    /// Gives a claimed tap the NIC's MAC and MTU, and brings it up to stay.
    ///
    /// The MAC is set before the interface is up, so that IPv6 derives its link-local address from
    /// the right one; what is right already is not touched, for a change empties the ARP cache.
    ///
    /// # Errors
    /// The property that the kernel refused.
    pub fn configure(&self, mac: Mac, mtu: u16) -> Result<(), HostInterfaceError> {
        let set = |what, result: io::Result<()>| {
            let name = self.name.clone();
            result.map_err(|source| HostInterfaceError::Setting { name, what, source })
        };
        let tap = &self.tap;
        set("non-blocking mode", tap.set_nonblocking(true))?;
        if tap.mac_address().ok() != Some(mac.0) {
            set("MAC address", tap.set_mac_address(mac.0))?;
        }
        if tap.mtu().ok() != Some(mtu) {
            set("MTU", tap.set_mtu(mtu))?;
        }
        set("persistence", tap.persist())?;
        set("state to up", tap.enabled(true))
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes a frame that the host sends, without waiting; returns its length in bytes.
    ///
    /// A frame longer than `buffer` is cut: give room for the MTU, the Ethernet header and a tag.
    ///
    /// # Errors
    /// `EBADFD`: the interface was deleted; only [`HostInterface::open`] makes it anew.
    pub fn read_frame(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.tap.recv(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a frame to the host, without waiting.
    ///
    /// # Errors
    /// The frame is lost. `EIO`: the interface is down; `EBADFD`: it was deleted; `EINVAL`: the
    /// frame is shorter than an Ethernet header.
    pub fn write_frame(&self, frame: &[u8]) -> io::Result<()> {
        self.tap.send(frame).map(drop)
    }
}

impl AsFd for HostInterface {
    /// The descriptor to wait on: readable when the host has sent a frame.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tap.as_fd()
    }
}

/// Why a host interface cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HostInterfaceError {
    /// The kernel would not take the name, or would read it as a pattern.
    #[error(
        "{0:?} is no name for a host interface: use 1 to 15 of letters, digits, '.', '-' and '_'"
    )]
    BadName(String),
    /// `/dev/net/tun` is missing or has no driver.
    #[error(
        "cannot open /dev/net/tun for host interface {name} ({source}): load its module with \
         `modprobe tun`, and in a container pass the device in"
    )]
    NoDriver {
        /// The interface that was asked for.
        name: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The process may not make or open taps.
    #[error("not permitted to open host interface {0}: run as root or with CAP_NET_ADMIN")]
    NotPermitted(String),
    /// A tap of somebody else has the name.
    #[error(
        "tap {0} exists and has several queues: set another host_interface for this NIC, or remove \
         the tap with `ip link delete {0}`"
    )]
    ManyQueues(String),
    /// Something else has the name.
    #[error(
        "interface {0} exists and is not a tap with one queue: set another host_interface for \
         this NIC"
    )]
    NotATap(String),
    /// Another process holds the tap, perhaps an instance of ours.
    #[error(
        "host interface {0} is held by another process, which `grep -ls 'iff:.*{0}$' \
         /proc/[0-9]*/fdinfo/*` shows: stop it, or set another host_interface for this NIC"
    )]
    Held(String),
    /// Any other answer of the kernel.
    #[error("cannot open host interface {name}: {source}")]
    Opening {
        /// The interface that was asked for.
        name: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A property was refused.
    #[error("cannot set the {what} of host interface {name}: {source}")]
    Setting {
        /// The interface.
        name: String,
        /// The property.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl HostInterfaceError {
    fn opening(name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Self::NoDriver { name, source },
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted(name),
            Some(libc::EINVAL) if is_tap(&name) => Self::ManyQueues(name),
            Some(libc::EINVAL) => Self::NotATap(name),
            Some(libc::EBUSY) => Self::Held(name),
            _ => Self::Opening { name, source },
        }
    }
}

/// Whether there is a tap of this name: something that nothing else needs, and may be deleted.
fn is_tap(name: &str) -> bool {
    let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/tun_flags"));
    let flags = flags
        .ok()
        .and_then(|text| u32::from_str_radix(text.trim_end().strip_prefix("0x")?, 16).ok());
    flags.is_some_and(|flags| flags & libc::IFF_TAP as u32 != 0)
}

/// Whether the name is one that the kernel takes as it is; `%d` would be a pattern to it.
fn is_interface_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=15).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_kernel_takes_literally() {
        for name in ["wan0", "a", "lan-1.100_x", "fifteen-letters"] {
            assert!(is_interface_name(name), "{name}");
        }
        for name in ["", ".", "..", "sixteen-letters-", "wan%d", "a b", "a/b", "a:1"] {
            assert!(!is_interface_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_in_the_way_is_told_apart_and_comes_with_a_remedy() {
        let sentence = |errno| {
            HostInterfaceError::opening("wan0", io::Error::from_raw_os_error(errno)).to_string()
        };
        assert!(sentence(libc::ENOENT).contains("modprobe tun"));
        assert!(sentence(libc::EPERM).contains("CAP_NET_ADMIN"));
        let another = "interface wan0 exists and is not a tap with one queue: set another";
        assert!(sentence(libc::EINVAL).starts_with(another));
        assert!(sentence(libc::EBUSY).contains("grep -ls 'iff:.*wan0$' /proc/[0-9]*/fdinfo/*"));
    }
}
