// SPDX-License-Identifier: MIT OR Apache-2.0
//! What DPDK calls a NIC: a PCI address or a virtual device, with the driver's arguments.

use std::fmt;

/// A NIC as DPDK names it, with its driver's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    name: String,
    args: String,
}

impl Device {
    /// Reads a PCI address (the domain may be left out) or the name of a virtual device, either
    /// with the driver's arguments after a comma.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, args) = match text.split_once(',') {
            Some((name, args)) => (name, format!(",{args}")),
            None => (text, String::new()),
        };
        if args == "," || text.contains(char::is_whitespace) {
            return None;
        }
        let name = pci(name).or_else(|| is_virtual(name).then(|| name.to_owned()))?;
        Some(Self { name, args })
    }

    /// The name without arguments: `0000:3b:00.0` or `net_tap0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether DPDK makes the device rather than finds it.
    pub fn is_virtual(&self) -> bool {
        is_virtual(&self.name)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.args)
    }
}

/// A PCI address in full: domain, bus, device and function.
fn pci(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split([':', '.']).collect();
    let [domain, bus, device, function] = match *parts.as_slice() {
        [bus, device, function] => ["0000", bus, device, function],
        [domain, bus, device, function] => [domain, bus, device, function],
        _ => return None,
    };
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let valid = hex(domain, 4) && hex(bus, 2) && hex(device, 2) && hex(function, 1);
    let address = format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase();
    // What was put together must be what was written, separators included.
    (valid && address.ends_with(&text.to_ascii_lowercase())).then_some(address)
}

/// Whether DPDK's virtual device bus knows names of this form.
fn is_virtual(name: &str) -> bool {
    let known = ["net_", "eth_", "virtio_user"].iter().any(|prefix| name.starts_with(prefix));
    known && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
