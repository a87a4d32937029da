// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's side: host interfaces, its source and ARP checks, and its own ports.
//!
//! Kernel documentation: `networking/ip-sysctl.rst`, `networking/tuntap.rst`.

use std::ops::RangeInclusive;
use std::path::Path;

use control::config::Config;

use super::{Director, Finding, text};
use crate::host::local_port_range;

/// A tap of one queue that stays; flags of `linux/if_tun.h`.
const TAP: u32 = 0x0002;
const MULTI_QUEUE: u32 = 0x0100;
/// Set while no process holds the interface open.
const PERSIST: u32 = 0x0800;

pub(super) fn examine(config: &Config, director: Director) -> Vec<Finding> {
    let mut findings = Vec::new();
    let interfaces: Vec<_> =
        config.nics.iter().filter_map(|nic| nic.host_interface.as_deref()).collect();
    for name in &interfaces {
        let folder = Path::new("/sys/class/net").join(name);
        let flags = text(folder.join("tun_flags"));
        let carrier = text(folder.join("carrier")).is_some_and(|carrier| carrier == "1");
        let flags = flags.as_deref().and_then(flags_of);
        findings.push(interface(name, folder.exists(), flags, carrier, director));
        findings.extend(source_check(name, setting(name, "rp_filter")));
    }
    if let [_, _, ..] = interfaces.as_slice() {
        let lax = interfaces.iter().copied().filter(|name| setting(name, "arp_ignore") == Some(0));
        findings.extend(arp(&lax.collect::<Vec<_>>()));
    }
    if !config.nics.is_empty() {
        let kernel = local_port_range();
        findings.push(match kernel {
            Ok(kernel) => ports(&config.local_ports, &kernel),
            Err(error) => Finding::unseen(format!("local ports: {error}")),
        });
    }
    findings
}

fn flags_of(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// The larger of an IPv4 setting for all interfaces and for this one, which is what is in force;
/// an interface that is not there yet will have the default.
fn setting(interface: &str, name: &str) -> Option<u32> {
    let value = |interface: &str| -> Option<u32> {
        text(format!("/proc/sys/net/ipv4/conf/{interface}/{name}"))?.parse().ok()
    };
    let own = value(interface).or_else(|| value("default"))?;
    value("all").map(|all| all.max(own))
}

fn interface(
    name: &str,
    exists: bool,
    flags: Option<u32>,
    carrier: bool,
    director: Director,
) -> Finding {
    let Some(flags) = flags else {
        return if exists {
            Finding::fail(
                format!("host interface {name}: something else has this name"),
                "set another [[nic]] host_interface",
            )
        } else {
            Finding::ok(format!("host interface {name}: made at the start"))
        };
    };
    if flags & TAP == 0 {
        return Finding::fail(
            format!("host interface {name}: it is a tunnel (tun), no tap"),
            "set another [[nic]] host_interface",
        );
    }
    if flags & MULTI_QUEUE != 0 {
        return Finding::fail(
            format!("host interface {name}: it is a tap with several queues"),
            format!("set another [[nic]] host_interface, or ip link delete {name}"),
        );
    }
    match (carrier, director) {
        (true, Director::IsAbsent) => Finding::fail(
            format!("host interface {name}: another process holds it"),
            format!("grep -ls 'iff:.*{name}$' /proc/[0-9]*/fdinfo/* shows which; stop it"),
        ),
        (true, Director::Runs) => Finding::ok(format!("host interface {name}: in use")),
        (false, _) if flags & PERSIST == 0 => Finding::warn(
            format!("host interface {name}: a tap that does not stay when its owner ends"),
            "nothing to do: the start makes it stay",
        ),
        (false, _) => Finding::ok(format!("host interface {name}: kept from the last run")),
    }
}

/// `rp_filter`: 0 none, 1 strict, 2 loose.
fn source_check(interface: &str, rp_filter: Option<u32>) -> Option<Finding> {
    match rp_filter? {
        1 => Some(Finding::warn(
            format!(
                "host interface {interface}: rp_filter is strict: what comes by another interface \
                 than the way back is dropped without a word"
            ),
            format!("sysctl -w net.ipv4.conf.{interface}.rp_filter=2, or for all"),
        )),
        _ => None,
    }
}

/// Interfaces by which the kernel answers for addresses of others.
fn arp(lax: &[&str]) -> Option<Finding> {
    (!lax.is_empty()).then(|| {
        Finding::warn(
            format!(
                "host interfaces {}: arp_ignore is 0: each answers ARP for the addresses of all, \
                 so that a VIP may be found at the wrong NIC",
                lax.join(", ")
            ),
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        )
    })
}

fn ports(ours: &RangeInclusive<u16>, kernel: &RangeInclusive<u16>) -> Finding {
    let range = |ports: &RangeInclusive<u16>| format!("{}-{}", ports.start(), ports.end());
    if ours.end() < kernel.start() || kernel.end() < ours.start() {
        return Finding::ok(format!(
            "local ports: {} for FULLNAT, {} for the host",
            range(ours),
            range(kernel)
        ));
    }
    let remedy = match ours.end().checked_add(1) {
        Some(above) if above < 60_000 => {
            format!("sysctl -w net.ipv4.ip_local_port_range=\"{above} 65535\"")
        }
        _ => format!("set [local_ports] range below {}", kernel.start()),
    };
    Finding::fail(
        format!(
            "local ports: {} for FULLNAT are also the host's ({}); two connections would be one",
            range(ours),
            range(kernel)
        ),
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_told_from_our_own_tap() {
        let level = |exists, flags, carrier, director| {
            interface("wan", exists, flags, carrier, director).level
        };
        let (ours, absent, runs) = (Some(TAP | PERSIST), Director::IsAbsent, Director::Runs);
        assert_eq!(level(false, None, false, absent), Level::Ok);
        assert_eq!(level(true, None, true, absent), Level::Fail);
        assert_eq!(level(true, ours, false, absent), Level::Ok);
        assert_eq!(level(true, ours, true, absent), Level::Fail);
        assert_eq!(level(true, ours, true, runs), Level::Ok);
        assert_eq!(level(true, Some(TAP | MULTI_QUEUE), false, absent), Level::Fail);
        assert_eq!(level(true, Some(1), false, absent), Level::Fail);
        assert_eq!(flags_of("0x1802"), Some(0x1802));
    }

    #[test]
    fn ports_of_the_host_are_in_the_way() {
        assert_eq!(ports(&(1025..=32_767), &(32_768..=60_999)).level, Level::Ok);
        let finding = ports(&(1025..=32_767), &(32_767..=60_999));
        assert_eq!(finding.level, Level::Fail);
        let remedy = "sysctl -w net.ipv4.ip_local_port_range=\"32768 65535\"";
        assert_eq!(finding.remedy.as_deref(), Some(remedy));
        let finding = ports(&(1025..=65_535), &(32_768..=60_999));
        assert_eq!(finding.remedy.as_deref(), Some("set [local_ports] range below 32768"));
    }

    #[test]
    fn strict_source_checks_and_lax_arp_are_warned_of() {
        assert_eq!(source_check("wan", Some(1)).unwrap().level, Level::Warn);
        assert_eq!(source_check("wan", Some(2)), None);
        assert_eq!(source_check("wan", None), None);
        assert!(arp(&["wan", "lan"]).unwrap().what.starts_with("host interfaces wan, lan:"));
        assert_eq!(arp(&[]), None);
    }
}
