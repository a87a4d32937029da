// SPDX-License-Identifier: MIT OR Apache-2.0
//! How large a packet an interface of the host takes.

use std::fs;
use std::path::Path;

/// The MTU of an interface in bytes, 65535 for those that take more; none if there is no such
/// interface.
pub fn interface_mtu(interface: &str) -> Option<u16> {
    if interface.contains('/') || interface.starts_with('.') {
        return None;
    }
    let file = Path::new("/sys/class/net").join(interface).join("mtu");
    let mtu: u32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Some(u16::try_from(mtu).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_interfaces_have_an_mtu() {
        assert_eq!(interface_mtu("lo"), Some(u16::MAX));
        for name in ["", ".", "..", "../lo", "no such interface"] {
            assert_eq!(interface_mtu(name), None, "{name}");
        }
    }
}
