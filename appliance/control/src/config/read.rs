// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sections of the file, one function each, and what must hold between them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use lb::conn::tcp_state::Timeouts;
use lb::knobs::{Knob, Knobs};
use lb::limits::WORKERS_MAX;

use super::error::{ConfigError, Problem};
use super::section::{Section, Source};
use super::{
    Capacity, Config, Control, Eal, Host, Hugepages, Idle, LOCAL_PORTS, Owner, RSS_KEY, Rules,
    Workers, keys, marks, nics,
};

/// Connections at most, of all workers together.
const CONNECTIONS_MAX: u32 = 1 << 27;
/// Longest path of a Unix socket in bytes: `sun_path` without its end.
const SOCKET_PATH_MAX: usize = 107;
/// DPDK arguments that follow from keys.
const OWN_ARGUMENTS: [(&str, &str); 7] = [
    ("-l", "[eal] lcores"),
    ("-c", "[eal] lcores"),
    ("--lcores", "[eal] lcores"),
    ("-m", "[eal] memory_mb"),
    ("--no-huge", "[eal] hugepages"),
    ("--in-memory", "[eal] hugepages"),
    ("--vdev", "[[nic]] device"),
];

/// Reads a whole file.
pub(super) fn config(text: &str, file: &str) -> Result<Config, ConfigError> {
    let source = Source { file, text };
    let table = source.table()?;
    let top = Section::top(&source, table.get_ref(), keys::TOP)?;
    let workers = workers(&top.one(keys::WORKERS)?)?;
    let nics = nics::nics(&top, &workers)?;
    Ok(Config {
        eal: eal(&top.one(keys::EAL)?)?,
        routes: nics::routes(&top, &nics)?,
        marks: marks::marks(&top, &nics)?,
        capacity: capacity(&top)?,
        timeouts: timeouts(&top.one(keys::TIMEOUTS)?)?,
        knobs: knobs(&top.one(keys::IPVS)?)?,
        local_ports: local_ports(&top.one(keys::LOCAL_PORTS)?, workers.count)?,
        host: host(&top.one(keys::HOST)?)?,
        control: control(&top.one(keys::CONTROL)?)?,
        metrics: metrics(&top.one(keys::METRICS)?)?,
        rules: rules(&top.one(keys::RULES)?)?,
        workers,
        nics,
    })
}

fn eal(section: &Section<'_>) -> Result<Eal, ConfigError> {
    let default = Eal::default();
    let is_lcores = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_digit() || b"@,-()".contains(&byte);
        text.bytes().next().is_some_and(|byte| byte != b'-') && text.bytes().all(allowed)
    };
    let lcores =
        section.read("lcores", "a set of cores as DPDK's --lcores has it", "0-3", |text| {
            is_lcores(text).then(|| text.to_owned())
        })?;
    let hugepages =
        section.read("hugepages", "auto, on or off", "\"auto\"", |text| match text {
            "auto" => Some(Hugepages::Auto),
            "on" => Some(Hugepages::On),
            "off" => Some(Hugepages::Off),
            _ => None,
        })?;
    Ok(Eal {
        lcores,
        hugepages: hugepages.unwrap_or(default.hugepages),
        memory_mb: section.number("memory_mb", default.memory_mb, 64..=1 << 20, " MiB")?,
        args: eal_args(section)?,
    })
}

fn eal_args(section: &Section<'_>) -> Result<Vec<String>, ConfigError> {
    let arg = |(line, text): (usize, &str)| {
        let own = OWN_ARGUMENTS.iter().find(|(own, _)| {
            let rest = text.strip_prefix(own);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || own.len() == 2)
        });
        match own {
            None => Ok(text.to_owned()),
            Some((_, key)) => {
                let problem = Problem::OwnArgument(text.to_owned(), key);
                Err(section.refuse_at(line, "args", problem))
            }
        }
    };
    section.texts("args")?.into_iter().map(arg).collect()
}

fn workers(section: &Section<'_>) -> Result<Workers, ConfigError> {
    let default = Workers::default();
    let owner = section.read("owner", "hash or landing", "\"hash\"", |text| match text {
        "hash" => Some(Owner::Hash),
        "landing" => Some(Owner::Landing),
        _ => None,
    })?;
    Ok(Workers {
        count: section.number("count", default.count, 1..=WORKERS_MAX, "")?,
        owner: owner.unwrap_or(default.owner),
        idle: idle(section)?.unwrap_or(default.idle),
        rss_key: rss_key(section)?,
    })
}

fn rss_key(section: &Section<'_>) -> Result<Option<Vec<u8>>, ConfigError> {
    let what = "a key of 40 to 52 bytes, two hexadecimal digits each";
    section.read("rss_key", what, "\"6d5a56da255b0ec2...\"", |text| {
        let digits = text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8));
        let digits: Vec<u8> = digits.collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let right = rest.is_empty() && RSS_KEY.contains(&pairs.len());
        right.then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
    })
}

fn idle(section: &Section<'_>) -> Result<Option<Idle>, ConfigError> {
    let Some(value) = section.value("idle") else {
        return Ok(None);
    };
    let value_type = value.get_ref();
    if value_type.is_integer() {
        return Ok(Some(Idle::Sleep(section.number("idle", 1, 1..=10_000, " microseconds")?)));
    }
    if !value_type.is_str() {
        return Err(section.refuse_type("idle", value, "\"spin\", \"yield\" or an integer"));
    }
    section.read("idle", "spin, yield or a number", "\"spin\", or 50", |text| match text {
        "spin" => Some(Idle::Spin),
        "yield" => Some(Idle::Yield),
        _ => None,
    })
}

fn capacity(top: &Section<'_>) -> Result<Capacity, ConfigError> {
    let default = Capacity::default();
    let connections = top.one(keys::CONNECTIONS)?;
    let limits = top.one(keys::LIMITS)?;
    let places = 1..=CONNECTIONS_MAX;
    let unit = " connections";
    let connections = connections.number("capacity", default.connections, places, unit)?;
    let quarter = (connections / 4).max(1);
    Ok(Capacity {
        connections,
        half_open: limits.number("half_open", quarter, 1..=connections, unit)?,
        services: limits.number("services", default.services, 1..=1 << 20, "")?,
        servers: limits.number("servers", default.servers, 1..=1 << 22, "")?,
        templates: limits.number("templates", default.templates, 1..=1 << 24, "")?,
    })
}

fn timeouts(section: &Section<'_>) -> Result<Timeouts, ConfigError> {
    let mut timeouts = Timeouts::default();
    for (key, state) in keys::TIMEOUT_STATES {
        let range = 1..=Timeouts::MAX_S;
        timeouts.set(state, section.number(key, timeouts.of(state), range, " seconds")?);
    }
    Ok(timeouts)
}

fn knobs(section: &Section<'_>) -> Result<Knobs, ConfigError> {
    let mut knobs = Knobs::default();
    for knob in Knob::ALL.iter().copied() {
        let value = section.number(knob.name(), knob.default_value(), knob.range(), "")?;
        knobs.set(knob, value);
    }
    Ok(knobs)
}

fn local_ports(section: &Section<'_>, workers: u16) -> Result<RangeInclusive<u16>, ConfigError> {
    let range =
        section.read("range", "a range of ports, 1 to 65535", "\"1025-32767\"", |text| {
            let (first, last) = text.split_once('-')?;
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            (first >= 1 && first <= last).then_some(first..=last)
        })?;
    let range = range.unwrap_or(LOCAL_PORTS);
    let ports = u32::from(range.end() - range.start()) + 1;
    if ports < u32::from(workers) {
        return Err(section.refuse("range", Problem::TooFewPorts { ports, workers }));
    }
    Ok(range)
}

fn host(section: &Section<'_>) -> Result<Host, ConfigError> {
    let Host { vital_ring, other_ring, punt_rate } = Host::default();
    let sizes = 64..=1 << 16;
    Ok(Host {
        vital_ring: section.power_of_two("vital_ring", vital_ring, sizes.clone(), " frames")?,
        other_ring: section.power_of_two("other_ring", other_ring, sizes, " frames")?,
        punt_rate: section.number("punt_rate", punt_rate, 1..=10_000_000, " frames/s")?,
    })
}

fn control(section: &Section<'_>) -> Result<Control, ConfigError> {
    let socket = socket(section, "socket")?.unwrap_or(Control::default().socket);
    Ok(Control { socket })
}

fn socket(section: &Section<'_>, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
    let path = path(section, key, "/run/pointsman/control.sock")?;
    let Some(text) = path.as_ref().and_then(|path| path.to_str()) else {
        return Ok(None);
    };
    if text.len() > SOCKET_PATH_MAX {
        let problem = Problem::TooLong { found: text.to_owned(), max: SOCKET_PATH_MAX };
        return Err(section.refuse(key, problem));
    }
    Ok(path)
}

fn path(
    section: &Section<'_>,
    key: &'static str,
    example: &'static str,
) -> Result<Option<PathBuf>, ConfigError> {
    section.read(key, "the path of a file", example, |text| {
        (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
    })
}

fn metrics(section: &Section<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    section.read("listen", "an address with a port", "\"127.0.0.1:9650\"", |text| text.parse().ok())
}

fn rules(section: &Section<'_>) -> Result<Rules, ConfigError> {
    let file = path(section, "file", "/etc/pointsman/saved.rules")?;
    let persist = section.flag("persist", false)?;
    if persist && file.is_none() {
        return Err(section.refuse("persist", Problem::PersistWithoutFile));
    }
    Ok(Rules { file, persist })
}
