// SPDX-License-Identifier: MIT OR Apache-2.0
//! libdpdk, the NICs and their drivers, and the tap driver of the kernel.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use control::config::{Config, Nic};

use super::{Finding, text};

/// The releases that this was built for, one a line.
const RELEASES: &str = include_str!("../../../dpdk-build/dpdk.version");
const PCI_DEVICES: &str = "/sys/bus/pci/devices";
const TUN: &str = "/dev/net/tun";

/// Virtual devices that Pointsman is tried with.
const VIRTUAL: [&str; 8] = [
    "net_af_packet",
    "net_af_xdp",
    "net_memif",
    "net_null",
    "net_pcap",
    "net_ring",
    "net_tap",
    "net_virtio_user",
];

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<_> = config.nics.iter().map(nic).collect();
    if let Some(needed_by) = needs_tun(config) {
        let opened = OpenOptions::new().read(true).write(true).open(TUN);
        findings.push(tun(&needed_by, opened.map(drop)));
    }
    findings
}

/// Whether the release that is loaded, `DPDK 22.11.11`, is one of [`RELEASES`].
pub(super) fn release(loaded: &str) -> Finding {
    let version = loaded.trim_start_matches("DPDK ");
    let mut supported = RELEASES.lines().filter(|line| !line.starts_with('#'));
    let is_of = |release: &str| {
        version
            .strip_prefix(release)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    if supported.clone().any(is_of) {
        return Finding::ok(format!("{loaded} is a supported release"));
    }
    let first = supported.next().unwrap_or_default();
    let all = supported.fold(first.to_owned(), |all, release| format!("{all}, {release}"));
    Finding::fail(format!("{loaded} is not supported"), format!("install one of DPDK {all}"))
}

/// What needs the kernel's tap driver, if anything does.
pub(super) fn needs_tun(config: &Config) -> Option<String> {
    config.nics.iter().find_map(|nic| {
        let tap = ["net_tap", "net_virtio_user"].iter().any(|it| nic.device.name().starts_with(it));
        match &nic.host_interface {
            Some(interface) => Some(format!("host interface {interface}")),
            None => tap.then(|| format!("NIC {}", nic.name)),
        }
    })
}

/// Whether a NIC is driven through vfio.
pub(super) fn has_vfio(config: &Config) -> bool {
    let mut drivers = config.nics.iter().filter_map(|nic| driver(nic.device.name()));
    drivers.any(|driver| driver == "vfio-pci")
}

/// The kernel's driver of a PCI device, if it has one.
pub(super) fn driver(address: &str) -> Option<String> {
    let driver = fs::read_link(folder(address).join("driver")).ok()?;
    driver.file_name()?.to_str().map(str::to_owned)
}

/// The NUMA node of a PCI device, where there is more than one.
pub(super) fn node(address: &str) -> Option<u16> {
    text(folder(address).join("numa_node"))?.parse().ok()
}

fn folder(address: &str) -> PathBuf {
    Path::new(PCI_DEVICES).join(address)
}

fn nic(nic: &Nic) -> Finding {
    let (name, device) = (nic.name.as_str(), nic.device.name());
    if nic.device.is_virtual() {
        return virtual_device(name, device);
    }
    let folder = folder(device);
    if !folder.exists() {
        return absent(name, device);
    }
    let interfaces = names_in(&folder.join("net"));
    match driver(device).as_deref() {
        Some("vfio-pci") => {
            let link = fs::read_link(folder.join("iommu_group")).unwrap_or_default();
            let group = link.file_name().unwrap_or_default();
            let file = Path::new("/dev/vfio").join(group);
            let opened = OpenOptions::new().read(true).write(true).open(&file);
            vfio(name, device, &file, opened.err())
        }
        driver => bound(name, device, driver, &interfaces.join(", ")),
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name())
        .filter_map(|name| OsString::into_string(name).ok())
        .collect()
}

fn absent(nic: &str, address: &str) -> Finding {
    Finding::fail(
        format!("NIC {nic}: there is no PCI device {address}"),
        "`lspci -D | grep Ethernet` lists the addresses; set [[nic]] device to one of them",
    )
}

/// A group that is in use already is busy; who uses it is seen by the control socket.
fn vfio(nic: &str, address: &str, group: &Path, refused: Option<io::Error>) -> Finding {
    match refused {
        Some(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::fail(
            format!("NIC {nic}: {}: permission denied", group.display()),
            format!("run as root, or give the file to this user (chown {})", group.display()),
        ),
        _ => Finding::ok(format!("NIC {nic}: {address} is bound to vfio-pci")),
    }
}

/// A device under another driver than vfio-pci; `interfaces` are its Linux interfaces.
fn bound(nic: &str, address: &str, driver: Option<&str>, interfaces: &str) -> Finding {
    let bind = format!("modprobe vfio-pci && dpdk-devbind.py -b vfio-pci {address}");
    match driver {
        // These share the device: the interface stays.
        Some(driver @ ("mlx4_core" | "mlx5_core" | "mana")) => {
            Finding::ok(format!("NIC {nic}: {address} is shared with the kernel's {driver}"))
        }
        Some(driver @ ("uio_pci_generic" | "igb_uio")) => Finding::warn(
            format!("NIC {nic}: {address} is bound to {driver}: it may write to all memory"),
            format!("with an IOMMU, {bind}"),
        ),
        Some(driver) if interfaces.is_empty() => {
            Finding::fail(format!("NIC {nic}: {address} is bound to the kernel's {driver}"), bind)
        }
        Some(driver) => Finding::fail(
            format!(
                "NIC {nic}: {address} is the kernel's interface {interfaces} ({driver}); make sure \
                 that you are not logged in by it"
            ),
            format!("ip link set {interfaces} down && {bind}"),
        ),
        None => Finding::fail(format!("NIC {nic}: {address} has no driver"), bind),
    }
}

fn virtual_device(nic: &str, device: &str) -> Finding {
    let kind = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if VIRTUAL.contains(&kind) || kind == "virtio_user" {
        return Finding::ok(format!("NIC {nic}: {device} is made by DPDK at the start"));
    }
    Finding::warn(
        format!("NIC {nic}: {device} is a kind of device that Pointsman was not tried with"),
        format!("one of {} followed by a number is known to work", VIRTUAL.join(", ")),
    )
}

fn tun(needed_by: &str, opened: io::Result<()>) -> Finding {
    match opened {
        Ok(()) => Finding::ok(format!("{TUN} can be opened")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Finding::fail(format!("{TUN}: permission denied; {needed_by} needs it"), "run as root")
        }
        Err(error) => Finding::fail(
            format!("{TUN}: {error}; {needed_by} needs it"),
            "modprobe tun; in a container, pass the device in",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn releases_are_those_that_the_build_names() {
        assert_eq!(release("DPDK 22.11.11").level, Level::Ok);
        assert_eq!(release("DPDK 22.110.0").level, Level::Fail);
        let finding = release("DPDK 19.11.14");
        assert!(finding.remedy.unwrap().starts_with("install one of DPDK 22.11, "));
    }

    #[test]
    fn a_nic_under_a_kernel_driver_names_what_would_be_taken_away() {
        let finding = bound("wan", "0000:3b:00.0", Some("ixgbe"), "eth0");
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.what.contains("interface eth0 (ixgbe)"));
        assert!(finding.remedy.unwrap().contains("-b vfio-pci 0000:3b:00.0"));
        assert_eq!(bound("wan", "x", Some("mlx5_core"), "eth0").level, Level::Ok);
        assert_eq!(bound("wan", "x", Some("igb_uio"), "").level, Level::Warn);
        assert_eq!(bound("wan", "x", None, "").level, Level::Fail);
    }

    #[test]
    fn a_vfio_group_of_others_is_in_the_way_and_a_busy_one_is_not() {
        let level = |kind: Option<io::ErrorKind>| {
            vfio("wan", "x", Path::new("/dev/vfio/7"), kind.map(io::Error::from)).level
        };
        assert_eq!(level(None), Level::Ok);
        assert_eq!(level(Some(io::ErrorKind::ResourceBusy)), Level::Ok);
        assert_eq!(level(Some(io::ErrorKind::PermissionDenied)), Level::Fail);
    }

    #[test]
    fn virtual_devices_are_known_by_their_kind() {
        assert_eq!(virtual_device("a", "net_tap0").level, Level::Ok);
        assert_eq!(virtual_device("a", "net_af_packet12").level, Level::Ok);
        assert_eq!(virtual_device("a", "net_bogus0").level, Level::Warn);
    }

    #[test]
    fn without_tap_driver_the_remedy_is_its_module() {
        let failed = |kind: io::ErrorKind| tun("host interface wan", Err(kind.into()));
        assert!(failed(io::ErrorKind::NotFound).to_string().contains("modprobe tun"));
        assert!(failed(io::ErrorKind::PermissionDenied).to_string().contains("run as root"));
    }
}
