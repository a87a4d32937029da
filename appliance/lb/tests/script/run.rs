// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a script line by line; the first thing that is not as written ends it.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use lb::counters::Counter;
use lb::ensemble::Outlet;
use lb::ids::{NicId, Tick};
use lb::marks::MarkRule;
use lb::network::{Neighbour, Route};
use lb::steer::Owner;
use lb::verdict::DropReason;
use wire::{L4, VecFrame};

use super::frame::{self, Way};
use crate::lab::{Lab, Nic, Plan, prefix};

/// Runs a script; says in which line it failed and why.
pub fn run(text: &str) -> Result<(), String> {
    let lines = lines(text);
    let located = |line: &Line<'_>, reason: String| {
        format!("{}: {}\n{reason}", line.number, line.parts.concat())
    };
    let mut plan = Plan::default();
    for line in &lines {
        plan_line(&mut plan, &line.words()).map_err(|reason| located(line, reason))?;
    }
    let mut run = Run::new(plan);
    run.know_what_is_named(&lines);
    for line in &lines {
        run.line(&line.words()).map_err(|reason| located(line, reason))?;
    }
    run.deliver().and_then(|()| run.nothing_left()).map_err(|reason| format!("end: {reason}"))
}

/// The lines that say something; one that ends in a backslash goes on in the next.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut goes_on = false;
    for (index, text) in text.lines().enumerate() {
        let (text, continued) = match text.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (text, false),
        };
        match lines.last_mut() {
            Some(line) if goes_on => line.parts.push(text),
            _ if matches!(text.trim().chars().next(), None | Some('#')) => continue,
            _ => lines.push(Line { number: index + 1, parts: vec![text] }),
        }
        goes_on = continued;
    }
    lines
}

struct Line<'a> {
    number: usize,
    parts: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn words(&self) -> Vec<&'a str> {
        let words = self.parts.iter().flat_map(|part| part.split_whitespace());
        words.take_while(|word| !word.starts_with('#')).collect()
    }
}

/// Lines that say what the director is made of; they hold from the start.
fn plan_line(plan: &mut Plan, words: &[&str]) -> Result<(), String> {
    match words {
        ["workers", count] => plan.workers = number(count)?,
        ["owner", "landing"] => plan.owner = Owner::Landing,
        ["nic", name, options @ ..] => {
            let found = plan.nics.iter_mut().find(|nic| nic.name == *name);
            let nic = found.ok_or_else(|| format!("no NIC {name}"))?;
            for option in options {
                match option.split_once('=') {
                    Some(("mtu", mtu)) => nic.mtu = number(mtu)?,
                    None if *option == "no-host" => nic.has_host = false,
                    _ => return Err(format!("a NIC has no {option}")),
                }
            }
        }
        ["mark", mark, options @ ..] => {
            let rule = mark_rule(&plan.nics, number(mark)?, options)?;
            plan.marks.push(rule);
        }
        ["limits", limits @ ..] => {
            for limit in limits {
                match limit.split_once('=') {
                    Some(("connections", count)) => plan.limits.connections = number(count)?,
                    Some(("templates", count)) => plan.limits.templates = number(count)?,
                    Some(("local_ports", range)) => {
                        let (from, to) = range.split_once('-').ok_or("ports are FROM-TO")?;
                        plan.local_ports = number(from)?..=number(to)?;
                    }
                    _ => return Err(format!("no limit {limit}")),
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// `mark N [tcp|udp] [from=PREFIX] [to=PREFIX] [ports=A-B] [nic=NAME]`.
fn mark_rule(nics: &[Nic], mark: u32, options: &[&str]) -> Result<MarkRule, String> {
    let (protocol, source, destination, nic) = (None, None, None, None);
    let mut rule = MarkRule { protocol, source, destination, ports: 0..=u16::MAX, nic, mark };
    for option in options {
        match option.split_once('=') {
            None if *option == "tcp" => rule.protocol = Some(L4::Tcp),
            None if *option == "udp" => rule.protocol = Some(L4::Udp),
            Some(("from", from)) => rule.source = Some(prefix(from)),
            Some(("to", to)) => rule.destination = Some(prefix(to)),
            Some(("ports", range)) => {
                let (from, to) = range.split_once('-').ok_or("ports are FROM-TO")?;
                rule.ports = number(from)?..=number(to)?;
            }
            Some(("nic", name)) => {
                let index = nics.iter().position(|nic| nic.name == name);
                rule.nic = Some(NicId(index.ok_or("no such NIC")? as u16));
            }
            _ => return Err(format!("a mark has no {option}")),
        }
    }
    Ok(rule)
}

struct Run {
    lab: Lab,
    now: Tick,
    /// Frames of the present `in` lines, not received yet.
    arriving: Vec<(NicId, VecFrame)>,
    /// Frames that were received last, to be compared with what is punted.
    arrived: Vec<(NicId, VecFrame)>,
    sent: VecDeque<(NicId, VecFrame)>,
    punted: VecDeque<(NicId, VecFrame)>,
    wanted: VecDeque<Neighbour>,
    counted: BTreeMap<&'static str, i64>,
}

impl Run {
    fn new(plan: Plan) -> Self {
        let mut run = Self {
            lab: Lab::new(plan),
            now: Tick::default(),
            arriving: Vec::new(),
            arrived: Vec::new(),
            sent: VecDeque::new(),
            punted: VecDeque::new(),
            wanted: VecDeque::new(),
            counted: BTreeMap::new(),
        };
        run.counted = counters(&mut run.lab);
        run
    }

    /// Makes every address on a segment known, but for those of `unknown` lines.
    fn know_what_is_named(&mut self, lines: &[Line<'_>]) {
        let words = lines.iter().map(Line::words);
        let unknown: Vec<IpAddr> = words
            .clone()
            .filter(|words| matches!(words.first(), Some(&"unknown")))
            .flat_map(|words| frame::addresses(&words))
            .collect();
        let named = words.flat_map(|words| frame::addresses(&words));
        self.lab.know_all(named.filter(|address| !unknown.contains(address)));
    }

    fn line(&mut self, words: &[&str]) -> Result<(), String> {
        let words = match words.split_first() {
            Some((first, rest)) if moment(first).is_some() => {
                self.deliver()?;
                self.nothing_left()?;
                self.now = moment(first).unwrap_or_default();
                if rest.first() != Some(&"in") {
                    let outlet = self.lab.tick(self.now);
                    self.note(outlet);
                }
                rest
            }
            _ => words,
        };
        if words.first() != Some(&"in") {
            self.deliver()?;
        }
        match words {
            ["in", nic, words @ ..] => {
                self.nothing_left()?;
                let (id, nic) = self.nic(nic)?;
                self.arriving.push((id, frame::frame(Way::In, &nic, words)?));
                Ok(())
            }
            ["out", nic, words @ ..] => self.expect_sent(nic, words),
            ["punt", nic] => self.expect_punted(nic),
            ["want", address] => self.expect_wanted(address),
            ["moved", counters @ ..] => self.nothing_left().and(self.expect_moved(counters)),
            ["conns", conns @ ..] => self.expect_conns(conns),
            ["templates", templates @ ..] => self.expect_templates(templates),
            ["stats", service, figures @ ..] => self.expect_stats(service, figures),
            ["servers", service, servers @ ..] => self.expect_servers(service, servers),
            ["known", address] => {
                self.lab.know_all([address.parse().map_err(|_| "not an address")?]);
                Ok(())
            }
            ["route", to, options @ ..] => self.route(to, options),
            ["rule", ..] => self.lab.rule(&words[1..].join(" ")),
            ["refused", ..] => match self.lab.rule(&words[1..].join(" ")) {
                Ok(()) => Err("this was accepted".to_owned()),
                Err(_) => Ok(()),
            },
            [] | ["mark" | "nic" | "limits" | "workers" | "owner" | "unknown", ..] => Ok(()),
            [word, ..] => Err(format!("{word} is not known")),
        }
    }

    /// Receives the frames of the `in` lines so far as one batch.
    fn deliver(&mut self) -> Result<(), String> {
        if self.arriving.is_empty() {
            return Ok(());
        }
        self.arrived = std::mem::take(&mut self.arriving);
        let outlet = self.lab.receive(self.arrived.clone(), self.now);
        self.note(outlet);
        Ok(())
    }

    fn note(&mut self, outlet: Outlet) {
        self.sent.extend(outlet.sent);
        self.punted.extend(outlet.punted);
        self.wanted.extend(outlet.wanted);
    }

    fn nothing_left(&self) -> Result<(), String> {
        if let Some((nic, frame)) = self.sent.front() {
            return Err(format!("an unlisted frame left by {nic:?}: {frame:?}"));
        }
        if let Some((nic, frame)) = self.punted.front() {
            return Err(format!("an unlisted frame was punted by {nic:?}: {frame:?}"));
        }
        match self.wanted.front() {
            Some(neighbour) => Err(format!("unlisted: {neighbour:?} is wanted")),
            None => Ok(()),
        }
    }

    fn expect_sent(&mut self, nic: &str, words: &[&str]) -> Result<(), String> {
        let (id, nic) = self.nic(nic)?;
        let expected = frame::frame(Way::Out, &nic, words)?;
        let Some((left_by, frame)) = self.sent.pop_front() else {
            let punted = self.punted.len();
            let dropped = drops(&mut self.lab);
            return Err(format!("nothing left; punted: {punted}, dropped so far: {dropped:?}"));
        };
        if left_by != id {
            return Err(format!("left by {left_by:?}"));
        }
        if frame.bytes() == expected.bytes() {
            return Ok(());
        }
        let pairs = frame.bytes().iter().zip(expected.bytes());
        let differs = pairs.take_while(|(a, b)| a == b).count();
        let referee = wire::verify(frame.bytes());
        Err(format!(
            "differs from byte {differs} on; checksums: {referee:?}\n\
             expected {expected:?}\n\
             left     {frame:?}"
        ))
    }

    fn expect_punted(&mut self, nic: &str) -> Result<(), String> {
        let (id, _) = self.nic(nic)?;
        let punted = self.punted.pop_front().ok_or("nothing was punted")?;
        match self.arrived.contains(&punted) && punted.0 == id {
            true => Ok(()),
            false => Err(format!("punted by {:?}, changed or not: {:?}", punted.0, punted.1)),
        }
    }

    fn expect_wanted(&mut self, address: &str) -> Result<(), String> {
        let wanted = self.wanted.pop_front().ok_or("no neighbour is wanted")?;
        match address.parse() == Ok(wanted.address) {
            true => Ok(()),
            false => Err(format!("{wanted:?} is wanted")),
        }
    }

    fn expect_moved(&mut self, expected: &[&str]) -> Result<(), String> {
        let before = std::mem::replace(&mut self.counted, counters(&mut self.lab));
        let moved: BTreeMap<&str, i64> = self
            .counted
            .iter()
            .map(|(name, value)| (*name, value - before.get(name).unwrap_or(&0)))
            .filter(|(_, delta)| *delta != 0)
            .collect();
        let expected = expected.iter().map(|word| {
            let (name, delta) = word.split_once('=')?;
            Some((name, delta.parse().ok()?))
        });
        let expected: BTreeMap<&str, i64> =
            expected.collect::<Option<_>>().ok_or("counters are NAME=DELTA")?;
        match moved == expected {
            true => Ok(()),
            false => Err(format!("moved {}", written(&moved))),
        }
    }

    /// Every connection, in the order of clients: `CLIENT VIP SERVER STATE SECONDS`, comma between.
    fn expect_conns(&mut self, expected: &[&str]) -> Result<(), String> {
        let records = self.lab.ensemble().connections(self.now);
        let mut lines: Vec<String> = records
            .iter()
            .map(|conn| {
                let name = self.lab.director().catalog().server_name(conn.server);
                let server = name.map_or("gone".to_owned(), |(_, server)| {
                    std::net::SocketAddr::new(server.address, conn.server_port).to_string()
                });
                let state = conn.state.name();
                format!("{} {} {server} {state} {}s", conn.client, conn.vip, conn.expires_s)
            })
            .collect();
        lines.sort();
        let found = lines.join(" , ");
        if found == expected.join(" ") { Ok(()) } else { Err(format!("conns {found}")) }
    }

    /// Every persistence template, sorted: `PROTOCOL CLIENT VIP SERVER STATE SECONDS`.
    fn expect_templates(&mut self, expected: &[&str]) -> Result<(), String> {
        let director = self.lab.director();
        let (templates, catalog) = (director.figures().counts().templates(), director.catalog());
        let mut lines = Vec::new();
        let next = templates.list(0, u32::MAX, self.now, |template| {
            let name = catalog.server_name(template.server);
            let server = name.map_or("gone".to_owned(), |(_, server)| {
                std::net::SocketAddr::new(server.address, template.server_port(server.port))
                    .to_string()
            });
            let protocol = template.protocol.map_or("IP".to_owned(), |l4| l4.to_string());
            let vip = std::net::SocketAddr::new(template.vip, template.port);
            let state = if template.assured { "ASSURED" } else { "NONE" };
            let (client, seconds) = (template.client, template.expires_s);
            let call = template.call().map(|id| format!(" {id}")).unwrap_or_default();
            lines.push(format!("{protocol} {client} {vip} {server} {state} {seconds}s{call}"));
        });
        debug_assert!(next.is_none());
        lines.sort();
        let found = lines.join(" , ");
        if found == expected.join(" ") { Ok(()) } else { Err(format!("templates {found}")) }
    }

    /// `stats VIP:PORT conns=N in=PACKETS/BYTES out=PACKETS/BYTES`.
    fn expect_stats(&mut self, service: &str, expected: &[&str]) -> Result<(), String> {
        let director = self.lab.director();
        let found = director
            .catalog()
            .services()
            .find(|known| known.key.to_string().ends_with(&format!(" {service}")));
        let traffic = director.figures().service(found.ok_or("no such service")?.id);
        let found = format!(
            "conns={} in={}/{} out={}/{}",
            traffic.conns,
            traffic.in_packets,
            traffic.in_bytes,
            traffic.out_packets,
            traffic.out_bytes
        );
        if found == expected.join(" ") { Ok(()) } else { Err(format!("stats {found}")) }
    }

    /// `servers VIP:PORT SERVER=ACTIVE/INACTIVE...`, head of the list first.
    fn expect_servers(&mut self, service: &str, expected: &[&str]) -> Result<(), String> {
        let director = self.lab.director();
        let found = director
            .catalog()
            .services()
            .find(|known| known.key.to_string().ends_with(&format!(" {service}")));
        let servers = found.ok_or("no such service")?.servers.iter().map(|server| {
            let counts = director.figures().counts();
            let (active, inactive) =
                (counts.active(server.id.slot), counts.inactive(server.id.slot));
            format!("{}={active}/{inactive}", server.key)
        });
        let found = servers.collect::<Vec<_>>().join(" ");
        if found == expected.join(" ") { Ok(()) } else { Err(format!("servers {found}")) }
    }

    /// `route PREFIX [via=ADDRESS] nic=NAME [src=ADDRESS]`; without a NIC, reached without us.
    fn route(&mut self, to: &str, options: &[&str]) -> Result<(), String> {
        let mut route = Route { to: prefix(to), via: None, nic: None, src: None };
        for option in options {
            let address = |text: &str| text.parse().map(Some).map_err(|_| "not an address");
            match option.split_once('=') {
                Some(("via", via)) => route.via = address(via)?,
                Some(("src", src)) => route.src = address(src)?,
                Some(("nic", name)) => route.nic = Some(self.nic(name)?.0),
                _ => return Err(format!("a route has no {option}")),
            }
        }
        let mut routes = self.lab.plan().routes.clone();
        routes.retain(|known| known.to != route.to);
        routes.push(route);
        self.lab.set_routes(routes);
        Ok(())
    }

    fn nic(&self, name: &str) -> Result<(NicId, Nic), String> {
        let found = self.lab.nic(name).ok_or_else(|| format!("no NIC {name}"))?;
        Ok((found.0, found.1.clone()))
    }
}

/// Sums over all workers, by the names that scripts use.
fn counters(lab: &mut Lab) -> BTreeMap<&'static str, i64> {
    let figures = lab.ensemble().figures();
    let mut sums = BTreeMap::new();
    for worker in figures.workers() {
        let frames = &worker.frames;
        let named: [(&'static str, &Counter); 9] = [
            ("rx", &frames.received),
            ("tx", &frames.sent),
            ("handed_in", &frames.handed_in),
            ("handed_off", &frames.handed_off),
            ("from_host", &frames.from_host),
            ("originated", &frames.originated),
            ("punted", &frames.punted),
            ("held", &frames.held),
            ("expired", &worker.expired),
        ];
        let named = named.map(|(name, counter)| (name, counter.value()));
        let admitted = worker.servers().iter().map(|server| server.conns.value());
        let admitted = ("admitted", admitted.sum());
        let reasons = DropReason::ALL.iter();
        let dropped = reasons.map(|reason| (reason.name(), frames.dropped(*reason)));
        for (name, value) in named.into_iter().chain([admitted]).chain(dropped) {
            *sums.entry(name).or_default() += value as i64;
        }
    }
    sums
}

fn drops(lab: &mut Lab) -> Vec<(&'static str, i64)> {
    let names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
    let counted = counters(lab).into_iter();
    counted.filter(|(name, count)| *count != 0 && names.contains(name)).collect()
}

fn written(moved: &BTreeMap<&str, i64>) -> String {
    let words = moved.iter().map(|(name, delta)| format!("{name}={delta}"));
    words.collect::<Vec<_>>().join(" ")
}

fn moment(word: &str) -> Option<Tick> {
    let (digits, unit_ms) = match word.strip_suffix("ms") {
        Some(digits) => (digits, 1.0),
        None => (word.strip_suffix('s')?, 1000.0),
    };
    let count: f64 = digits.parse().ok()?;
    Some(Tick::from_millis((count * unit_ms) as u64))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}
