// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the process may do; see capabilities(7).

use control::config::Config;

use super::{Finding, devices, field, text};

/// Makes interfaces: host interfaces, and the taps of net_tap.
const NET_ADMIN: u32 = 12;
/// Opens packet sockets, and the queues of NICs that the kernel shares with us.
const NET_RAW: u32 = 13;
/// Reads the physical addresses that a NIC without IOMMU needs.
const SYS_ADMIN: u32 = 21;

const NAMES: [(u32, &str); 3] =
    [(NET_ADMIN, "CAP_NET_ADMIN"), (NET_RAW, "CAP_NET_RAW"), (SYS_ADMIN, "CAP_SYS_ADMIN")];

pub(super) fn examine(config: &Config) -> Option<Finding> {
    let status = text("/proc/self/status")?;
    let effective = u64::from_str_radix(field(&status, "CapEff")?, 16).ok()?;
    Some(privileges(effective, &needed(config)))
}

fn needed(config: &Config) -> Vec<u32> {
    let drivers: Vec<_> =
        config.nics.iter().filter_map(|nic| devices::driver(nic.device.name())).collect();
    let driver = |start: &str| drivers.iter().any(|driver| driver.starts_with(start));
    let packet_socket = config.nics.iter().any(|nic| nic.device.name().starts_with("net_af_"));
    let shared = driver("mlx") || driver("mana");
    let physical = driver("uio") || driver("igb_uio");
    let makes_interface = devices::needs_tun(config).is_some();
    let table = [
        (NET_ADMIN, makes_interface || packet_socket || shared),
        (NET_RAW, packet_socket || shared),
        (SYS_ADMIN, physical),
    ];
    table
        .into_iter()
        .filter_map(|(capability, is_needed)| is_needed.then_some(capability))
        .collect()
}

fn privileges(effective: u64, needed: &[u32]) -> Finding {
    let lacks = |capability: u32| effective & 1 << capability == 0;
    let named = |wanted: &dyn Fn(u32) -> bool| {
        let names = NAMES.iter().filter(|(number, _)| needed.contains(number) && wanted(*number));
        names.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    };
    let missing = named(&lacks);
    if needed.is_empty() {
        return Finding::ok("privileges: this configuration needs none");
    }
    if missing.is_empty() {
        return Finding::ok(format!("privileges: has {}", named(&|_| true)));
    }
    Finding::fail(
        format!("privileges: lacks {missing}"),
        "run as root, or give them by AmbientCapabilities= of the systemd unit",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let needed = [NET_ADMIN, NET_RAW];
        assert_eq!(privileges(0x1ff_ffff_ffff, &needed).level, Level::Ok);
        let finding = privileges(1 << NET_RAW, &needed);
        assert_eq!(finding.level, Level::Fail);
        assert_eq!(finding.what, "privileges: lacks CAP_NET_ADMIN");
        assert_eq!(privileges(0, &[]).level, Level::Ok);
    }
}
