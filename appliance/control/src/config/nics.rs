// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[[nic]]`, `[[nic.neighbour]]` and `[[route]]`, which refer to each other.

use std::collections::HashMap;
use std::net::IpAddr;

use lb::ids::NicId;
use lb::limits::NICS_MAX;
use lb::network::{Prefix, Route};
use lb::steer::rss::HashFields;
use wire::Mac;

use super::error::{ConfigError, Problem};
use super::prefix::{self, Shown};
use super::section::Section;
use super::{DESCRIPTORS, Device, MTU, Nic, NicRss, StaticNeighbour, Workers, keys};

/// Longest name of a Linux interface in bytes: `IFNAMSIZ` without its end.
const NAME_MAX: usize = 15;
/// The interface that every Linux has.
const LOOPBACK: &str = "lo";

/// Reads every `[[nic]]`.
pub(super) fn nics(top: &Section<'_>, workers: &Workers) -> Result<Vec<Nic>, ConfigError> {
    let sections = top.many(keys::NIC.0, keys::NIC)?;
    if sections.is_empty() {
        let example = "[[nic]] with name = \"wan\" and device = \"0000:3b:00.0\"";
        return Err(top.refuse("[[nic]]", Problem::Missing(example)));
    }
    if let Some(extra) = sections.get(NICS_MAX) {
        let (min, max) = (1, NICS_MAX as u64);
        let found = sections.len().to_string();
        return Err(extra.refuse("", Problem::OutOfRange { found, min, max, unit: " NICs" }));
    }
    let mut used = Used::default();
    sections.iter().map(|section| nic(section, workers, &mut used)).collect()
}

/// What only one NIC may have, and the line that has it.
#[derive(Default)]
struct Used(HashMap<(&'static str, String), usize>);

impl Used {
    fn claim(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        line: usize,
        value: String,
    ) -> Result<(), ConfigError> {
        match self.0.insert((key, value.clone()), line) {
            None => Ok(()),
            Some(first_line) => {
                let right = match key {
                    "address" => "one neighbour for each address of a NIC is right",
                    "to" => "one route for each destination is right",
                    _ => "each NIC needs its own",
                };
                let problem = Problem::Duplicate { found: value, first_line, right };
                Err(section.refuse_at(line, key, problem))
            }
        }
    }
}

fn nic(section: &Section<'_>, workers: &Workers, used: &mut Used) -> Result<Nic, ConfigError> {
    section.needed_text("name", "name = \"wan\"")?;
    let name = interface_name(section, "name", used)?.unwrap_or_default();
    let host_interface = interface_name(section, "host_interface", used)?;
    if let Some(name) = host_interface.as_ref().filter(|name| *name == LOOPBACK) {
        return Err(section.refuse("host_interface", Problem::KernelInterface(name.clone())));
    }
    let addresses = addresses(section, host_interface.as_deref(), &name, used)?;
    let neighbours = section.many("neighbour", keys::NEIGHBOUR)?;
    let nic = Nic {
        device: device(section, used)?,
        queues: queues(section, workers.count)?,
        descriptors: section.power_of_two("descriptors", DESCRIPTORS, 64..=32_768, "")?,
        mac: mac(section)?,
        mtu: section.number("mtu", MTU, 1280..=9216, " bytes")?,
        rss: rss(section, workers)?,
        name,
        host_interface,
        addresses,
        neighbours: Vec::new(),
    };
    let mut used = Used::default();
    let neighbours = neighbours.iter().map(|section| neighbour(section, &nic, &mut used));
    Ok(Nic { neighbours: neighbours.collect::<Result<_, _>>()?, ..nic })
}

fn interface_name(
    section: &Section<'_>,
    key: &'static str,
    used: &mut Used,
) -> Result<Option<String>, ConfigError> {
    let what = "a name of letters, digits, '-', '_' and '.'";
    let name = section.read(key, what, "\"wan\"", |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let dots = text.bytes().all(|byte| byte == b'.');
        (!dots && text.bytes().all(allowed)).then(|| text.to_owned())
    })?;
    let Some(name) = name else { return Ok(None) };
    if name.len() > NAME_MAX {
        return Err(section.refuse(key, Problem::TooLong { found: name, max: NAME_MAX }));
    }
    used.claim(section, key, section.line_of(key), name.clone())?;
    Ok(Some(name))
}

fn device(section: &Section<'_>, used: &mut Used) -> Result<Device, ConfigError> {
    section.needed_text("device", "device = \"0000:3b:00.0\"")?;
    let what = "a PCI address or the name of a DPDK virtual device";
    let example = "\"0000:3b:00.0\", or \"net_tap0,iface=wan-nic\"";
    let device = section.read("device", what, example, Device::parse)?;
    let Some(device) = device else {
        return Err(section.refuse("device", Problem::Missing(example)));
    };
    used.claim(section, "device", section.line_of("device"), device.name().to_owned())?;
    Ok(device)
}

fn queues(section: &Section<'_>, workers: u16) -> Result<u16, ConfigError> {
    let queues = section.number("queues", workers, 1..=lb::limits::WORKERS_MAX, "")?;
    if queues > workers {
        return Err(section.refuse("queues", Problem::MoreQueuesThanWorkers { queues, workers }));
    }
    Ok(queues)
}

fn rss(section: &Section<'_>, workers: &Workers) -> Result<NicRss, ConfigError> {
    let what = "auto, tuple, source or destination";
    let fields = section.read("rss", what, "\"auto\"", |text| match text {
        "auto" => Some(None),
        "tuple" => Some(Some(HashFields::Tuple)),
        "source" => Some(Some(HashFields::Source)),
        "destination" => Some(Some(HashFields::Destination)),
        _ => None,
    })?;
    let rss = NicRss { fields: fields.flatten(), preset: section.flag("rss_preset", false)? };
    if rss.preset && (rss.fields.is_none() || workers.rss_key.is_none()) {
        return Err(section.refuse("rss_preset", Problem::PresetUnknown));
    }
    Ok(rss)
}

fn mac(section: &Section<'_>) -> Result<Option<Mac>, ConfigError> {
    section.read("mac", "the MAC address of one station", "\"02:00:00:00:00:01\"", |text| {
        let mac: Mac = text.parse().ok()?;
        (!mac.is_multicast() && mac != Mac::default()).then_some(mac)
    })
}

fn addresses(
    section: &Section<'_>,
    host_interface: Option<&str>,
    nic: &str,
    used: &mut Used,
) -> Result<Vec<Prefix>, ConfigError> {
    let mut addresses = Vec::new();
    for (line, text) in section.texts("addresses")? {
        let Some(address) = prefix::parse(text) else {
            let found = text.to_owned();
            let what = "an address with a prefix length";
            let problem = Problem::Malformed { found, what, example: "\"198.51.100.1/24\"" };
            return Err(section.refuse_at(line, "addresses", problem));
        };
        if let Some(interface) = host_interface {
            let problem = kernel_keeps(nic, format!("ip addr add {text} dev {interface}"));
            return Err(section.refuse_at(line, "addresses", problem));
        }
        if !prefix::is_station(&address) {
            let problem = Problem::NotUnicast(address.address);
            return Err(section.refuse_at(line, "addresses", problem));
        }
        used.claim(section, "addresses", line, address.address.to_string())?;
        addresses.push(address);
    }
    Ok(addresses)
}

fn neighbour(
    section: &Section<'_>,
    nic: &Nic,
    used: &mut Used,
) -> Result<StaticNeighbour, ConfigError> {
    section.needed_text("address", "address = \"198.51.100.254\"")?;
    section.needed_text("mac", "mac = \"02:00:00:00:00:01\"")?;
    let (Some(address), Some(mac)) = (address(section, "address")?, mac(section)?) else {
        return Err(section.refuse("", Problem::Missing("address and mac")));
    };
    if let Some(interface) = &nic.host_interface {
        let command = format!("ip neigh add {address} lladdr {mac} dev {interface}");
        return Err(section.refuse("", kernel_keeps(&nic.name, command)));
    }
    on_segment(section, "address", address, nic)?;
    used.claim(section, "address", section.line_of("address"), address.to_string())?;
    Ok(StaticNeighbour { address, mac })
}

/// Reads every `[[route]]`.
pub(super) fn routes(top: &Section<'_>, nics: &[Nic]) -> Result<Vec<Route>, ConfigError> {
    let mut used = Used::default();
    let route = |section: &Section<'_>| {
        let route = route(section, nics)?;
        let to = Shown(route.to).to_string();
        used.claim(section, "to", section.line_of("to"), to)?;
        Ok(route)
    };
    top.many(keys::ROUTE.0, keys::ROUTE)?.iter().map(route).collect()
}

fn route(section: &Section<'_>, nics: &[Nic]) -> Result<Route, ConfigError> {
    let text = section.needed_text("to", "to = \"default\"")?;
    let name = section.needed_text("nic", "nic = \"wan\"")?;
    let Some((id, nic)) = (0..).map(NicId).zip(nics).find(|(_, nic)| nic.name == name) else {
        let names: Vec<_> = nics.iter().map(|nic| nic.name.as_str()).collect();
        let problem = Problem::UnknownNic { found: name.to_owned(), known: names.join(", ") };
        return Err(section.refuse("nic", problem));
    };
    let via = address(section, "via")?;
    let src = address(section, "src")?;
    if let Some(interface) = &nic.host_interface {
        let option = |name: &str, address: Option<IpAddr>| {
            address.map_or_else(String::new, |address| format!(" {name} {address}"))
        };
        let (via, src) = (option("via", via), option("src", src));
        let command = format!("ip route add {text}{via} dev {interface}{src}");
        return Err(section.refuse("", kernel_keeps(name, command)));
    }
    let to = destination(section, via)?;
    let of_family = |address: &IpAddr| address.is_ipv4() == to.address.is_ipv4();
    for (key, given) in [("via", via), ("src", src)] {
        if let Some(address) = given.filter(|address| !of_family(address)) {
            return Err(section.refuse(key, Problem::FamilyMismatch(address)));
        }
    }
    if let Some(via) = via {
        on_segment(section, "via", via, nic)?;
    }
    let own = |address: IpAddr| own_addresses(nics).any(|own| own == address);
    if let Some(src) = src.filter(|src| !own(*src)) {
        return Err(section.refuse("src", Problem::ForeignSource(src)));
    }
    Ok(Route { to, via, nic: Some(id), src })
}

fn destination(section: &Section<'_>, via: Option<IpAddr>) -> Result<Prefix, ConfigError> {
    let what = "a prefix, an address or default";
    let to = section.read("to", what, "\"203.0.113.0/24\"", |text| match (text, via) {
        ("default", None) => Some(None),
        ("default", Some(IpAddr::V4(_))) => Some(prefix::parse("0.0.0.0/0")),
        ("default", Some(IpAddr::V6(_))) => Some(prefix::parse("::/0")),
        _ => prefix::parse(text).or_else(|| Some(prefix::host(text.parse().ok()?))).map(Some),
    })?;
    let Some(to) = to.flatten() else {
        return Err(section.refuse("to", Problem::DefaultOfNoFamily));
    };
    let network = prefix::network(&to);
    if network != to {
        return Err(section.refuse("to", Problem::HostBits(Shown(network))));
    }
    Ok(to)
}

fn address(section: &Section<'_>, key: &'static str) -> Result<Option<IpAddr>, ConfigError> {
    let address: Option<IpAddr> =
        section.read(key, "an IP address", "\"198.51.100.254\"", |text| text.parse().ok())?;
    match address.filter(|address| !prefix::is_unicast(*address)) {
        None => Ok(address),
        Some(address) => Err(section.refuse(key, Problem::NotUnicast(address))),
    }
}

/// Refuses an address that no other machine on the NIC's segments can have.
fn on_segment(
    section: &Section<'_>,
    key: &'static str,
    address: IpAddr,
    nic: &Nic,
) -> Result<(), ConfigError> {
    if nic.addresses.iter().any(|own| own.address == address) {
        return Err(section.refuse(key, Problem::OwnAddress(address)));
    }
    if nic.addresses.iter().any(|own| prefix::contains(own, address)) {
        return Ok(());
    }
    let segments: Vec<_> =
        nic.addresses.iter().map(|own| Shown(prefix::network(own)).to_string()).collect();
    let segments = match segments.as_slice() {
        [] => "give the NIC an address there with `[[nic]] addresses`".to_owned(),
        some => format!("an address in {} is right", some.join(" or ")),
    };
    let problem = Problem::NotOnSegment { address, nic: nic.name.clone(), segments };
    Err(section.refuse(key, problem))
}

fn own_addresses(nics: &[Nic]) -> impl Iterator<Item = IpAddr> {
    nics.iter().flat_map(|nic| nic.addresses.iter().map(|own| own.address))
}

fn kernel_keeps(nic: &str, command: String) -> Problem {
    Problem::KernelKeepsIt { nic: nic.to_owned(), command }
}
