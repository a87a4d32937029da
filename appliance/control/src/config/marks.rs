// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[[mark]]`: which packets carry a firewall mark, in the place of netfilter's rules.

use std::ops::RangeInclusive;

use lb::ids::NicId;
use lb::limits::MARK_RULES_MAX;
use lb::marks::MarkRule;
use lb::network::Prefix;
use wire::L4;

use super::error::{ConfigError, Problem};
use super::prefix::{self, Shown};
use super::section::Section;
use super::{Nic, keys};

/// Reads every `[[mark]]`.
pub(super) fn marks(top: &Section<'_>, nics: &[Nic]) -> Result<Vec<MarkRule>, ConfigError> {
    let sections = top.many(keys::MARK.0, keys::MARK)?;
    if let Some(section) = sections.get(MARK_RULES_MAX) {
        return Err(section.refuse("", Problem::TooMany(MARK_RULES_MAX)));
    }
    sections.iter().map(|section| mark(section, nics)).collect()
}

fn mark(section: &Section<'_>, nics: &[Nic]) -> Result<MarkRule, ConfigError> {
    let mark = section.number("mark", 0, 1..=u32::MAX, "")?;
    if mark == 0 {
        return Err(section.refuse("mark", Problem::Missing("mark = 5")));
    }
    let protocol = section.read("protocol", "tcp, udp or sctp", "\"tcp\"", |text| {
        L4::ALL.iter().copied().find(|l4| l4.to_string().eq_ignore_ascii_case(text))
    })?;
    let (source, destination) = (network(section, "source")?, network(section, "destination")?);
    if let (Some(from), Some(to)) = (source, destination)
        && from.address.is_ipv4() != to.address.is_ipv4()
    {
        return Err(section.refuse("destination", Problem::MixedFamilies(Shown(from))));
    }
    let ports = section.read("ports", "a port or a range of ports", "\"8000-8079\"", ports)?;
    let ports = ports.unwrap_or(0..=u16::MAX);
    Ok(MarkRule { protocol, source, destination, ports, nic: nic(section, nics)?, mark })
}

fn network(section: &Section<'_>, key: &'static str) -> Result<Option<Prefix>, ConfigError> {
    let read = |text: &str| prefix::parse(text).or_else(|| text.parse().ok().map(prefix::host));
    let Some(found) = section.read(key, "a prefix or an address", "\"192.0.2.0/24\"", read)? else {
        return Ok(None);
    };
    let network = prefix::network(&found);
    if network != found {
        return Err(section.refuse(key, Problem::HostBits(Shown(network))));
    }
    Ok(Some(network))
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

fn nic(section: &Section<'_>, nics: &[Nic]) -> Result<Option<NicId>, ConfigError> {
    let Some(name) = section.text("nic")? else {
        return Ok(None);
    };
    match (0..).zip(nics).find(|(_, nic)| nic.name == name) {
        Some((index, _)) => Ok(Some(NicId(index))),
        None => {
            let known: Vec<&str> = nics.iter().map(|nic| nic.name.as_str()).collect();
            let problem = Problem::UnknownNic { found: name.to_owned(), known: known.join(", ") };
            Err(section.refuse("nic", problem))
        }
    }
}
