// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters as Prometheus text, exposition format 0.0.4.
//!
//! One pure function: what is counted comes in, the page goes out. Every metric is declared once,
//! in [`METRICS`]; `docs/METRICS.md` says what to do when it moves. The format is a name, labels
//! and a number per line, so it is written here rather than by a registry, which would keep a
//! second copy of every counter. A service or server whose counters are zeroed (`-Z`) looks like a
//! restart, which `rate()` takes in its stride.

use std::fmt::{self, Display, Write};

use lb::catalog::Catalog;
use lb::counters::{Figures, Traffic, WorkerCounters};
use lb::limits::Limits;
use lb::service::{Server, Service, ServiceKey};
use lb::verdict::DropReason;
use wire::FamilyId;

/// What a NIC counts, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicStats {
    /// The NIC's name in the configuration.
    pub name: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets lost because no receive descriptor was free.
    pub rx_missed: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets lost because no packet buffer was free.
    pub rx_nombuf: u64,
}

/// Frames between the host interfaces and the workers, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostStats {
    /// Given to a host interface.
    pub to_host: u64,
    /// Not taken by a host interface.
    pub to_host_lost: u64,
    /// Taken from a host interface and given to a worker.
    pub from_host: u64,
    /// Taken from a host interface, for which there was no buffer or no room.
    pub from_host_lost: u64,
}

/// What the page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Readings<'a> {
    /// The services.
    pub catalog: &'a Catalog,
    /// The workers' counters.
    pub figures: &'a Figures,
    /// The sizes of the tables.
    pub limits: &'a Limits,
    /// The NICs' counters.
    pub nics: &'a [NicStats],
    /// The host thread's counters.
    pub host: HostStats,
}

/// A family of time series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, with its unit last and `_total` for counters.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// What it counts, in a sentence.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows, and starts from 0 again when it is reset.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Every metric, in the order of the page.
pub const METRICS: &[Metric] = &[
    BUILD,
    FRAMES_IN,
    FRAMES_OUT,
    FRAMES_HELD,
    DROPS,
    CONNECTIONS,
    CONNECTIONS_MAX,
    EXPIRED,
    HALF_OPEN,
    RECYCLED,
    DEFENCE,
    TEMPLATES,
    TEMPLATES_MAX,
    SERVICE_CONNECTIONS,
    SERVICE_PACKETS,
    SERVICE_BYTES,
    SERVER_CONNECTIONS,
    SERVER_PACKETS,
    SERVER_BYTES,
    SERVER_ACTIVE,
    SERVER_INACTIVE,
    SERVER_WEIGHT,
    NIC_PACKETS,
    NIC_BYTES,
    NIC_MISSED,
    NIC_NO_BUFFER,
    NIC_ERRORS,
    HOST_FRAMES,
    HOST_LOST,
];

const BUILD: Metric = gauge("pointsman_build_info", "Always 1; the label is the release.");
const FRAMES_IN: Metric =
    counter("pointsman_frames_in_total", "Frames that entered a worker, by where they came from.");
const FRAMES_OUT: Metric =
    counter("pointsman_frames_out_total", "Frames that left a worker, by where they went.");
const FRAMES_HELD: Metric =
    gauge("pointsman_frames_held", "Frames that wait for a link-layer address now.");
const DROPS: Metric = counter("pointsman_drops_total", "Frames dropped by a worker, by reason.");
const CONNECTIONS: Metric = gauge("pointsman_connections", "Connections in a worker's tables now.");
const CONNECTIONS_MAX: Metric = gauge(
    "pointsman_connections_max",
    "Connections that a worker's tables hold at most, of each address family.",
);
const EXPIRED: Metric = counter(
    "pointsman_connections_expired_total",
    "Connections of a worker that ended because their timeout ran out.",
);
const HALF_OPEN: Metric =
    gauge("pointsman_connections_half_open", "Half-open connections in a worker's tables now.");
const RECYCLED: Metric = counter(
    "pointsman_connections_recycled_total",
    "Half-open connections of a worker that made room for newer ones.",
);
const DEFENCE: Metric = counter(
    "pointsman_connections_defence_total",
    "Connections of a worker that drop_entry ended.",
);
const TEMPLATES: Metric =
    gauge("pointsman_persistence_templates", "Persistence templates of all services now.");
const TEMPLATES_MAX: Metric = gauge(
    "pointsman_persistence_templates_max",
    "Persistence templates that there is place for, of all services together.",
);
const SERVICE_CONNECTIONS: Metric =
    counter("pointsman_service_connections_total", "Connections that a service scheduled.");
const SERVICE_PACKETS: Metric =
    counter("pointsman_service_packets_total", "Packets of a service, from clients or to them.");
const SERVICE_BYTES: Metric = counter(
    "pointsman_service_bytes_total",
    "Bytes of IP packets of a service, from clients or to them.",
);
const SERVER_CONNECTIONS: Metric =
    counter("pointsman_server_connections_total", "Connections that a real server was given.");
const SERVER_PACKETS: Metric =
    counter("pointsman_server_packets_total", "Packets of a real server, from clients or to them.");
const SERVER_BYTES: Metric = counter(
    "pointsman_server_bytes_total",
    "Bytes of IP packets of a real server, from clients or to them.",
);
const SERVER_ACTIVE: Metric =
    gauge("pointsman_server_active_connections", "Connections of a real server that are open.");
const SERVER_INACTIVE: Metric = gauge(
    "pointsman_server_inactive_connections",
    "Connections of a real server that are closing, and all of UDP.",
);
const SERVER_WEIGHT: Metric = gauge(
    "pointsman_server_weight",
    "Share of new connections that a real server takes; 0 takes none.",
);
const NIC_PACKETS: Metric = counter("pointsman_nic_packets_total", "Packets of a NIC.");
const NIC_BYTES: Metric = counter("pointsman_nic_bytes_total", "Bytes of frames of a NIC.");
const NIC_MISSED: Metric = counter(
    "pointsman_nic_missed_total",
    "Packets that a NIC lost because no receive descriptor was free.",
);
const NIC_NO_BUFFER: Metric = counter(
    "pointsman_nic_no_buffer_total",
    "Packets that a NIC lost because no packet buffer was free.",
);
const NIC_ERRORS: Metric =
    counter("pointsman_nic_errors_total", "Packets of a NIC that were damaged or not sent.");

const HOST_FRAMES: Metric =
    counter("pointsman_host_frames_total", "Frames carried between workers and host interfaces.");
const HOST_LOST: Metric =
    counter("pointsman_host_lost_total", "Frames lost between workers and host interfaces.");

/// The page that Prometheus fetches.
pub fn render(readings: &Readings<'_>) -> String {
    let Readings { catalog, figures, limits, nics, host } = *readings;
    let mut page = Page::default();
    page.family(BUILD);
    page.sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    frames(&mut page, figures);
    connections(&mut page, figures, limits);
    let mut services: Vec<_> = catalog.services().collect();
    services.sort_unstable_by_key(|service| service.key);
    traffic(&mut page, SERVICE_TRAFFIC, &service_samples(&services, figures));
    servers(&mut page, &services, figures);
    nic_stats(&mut page, nics);
    host_stats(&mut page, host);
    page.text
}

/// The content type that goes with the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics that services and servers have alike: connections, packets, bytes.
type TrafficMetrics = [Metric; 3];

const SERVICE_TRAFFIC: TrafficMetrics = [SERVICE_CONNECTIONS, SERVICE_PACKETS, SERVICE_BYTES];
const SERVER_TRAFFIC: TrafficMetrics = [SERVER_CONNECTIONS, SERVER_PACKETS, SERVER_BYTES];

fn frames(page: &mut Page, figures: &Figures) {
    page.family(FRAMES_IN);
    for worker in figures.workers() {
        let frames = &worker.frames;
        for (origin, counter) in [
            ("received", &frames.received),
            ("handed_in", &frames.handed_in),
            ("from_host", &frames.from_host),
            ("originated", &frames.originated),
        ] {
            page.sample(&[("worker", &worker.worker), ("origin", &origin)], counter.value());
        }
    }
    page.family(FRAMES_OUT);
    for worker in figures.workers() {
        let frames = &worker.frames;
        for (fate, counter) in
            [("sent", &frames.sent), ("punted", &frames.punted), ("handed_off", &frames.handed_off)]
        {
            page.sample(&[("worker", &worker.worker), ("fate", &fate)], counter.value());
        }
    }
    page.per_worker(FRAMES_HELD, figures, |worker| worker.frames.held.value());
    page.family(DROPS);
    for worker in figures.workers() {
        for reason in DropReason::ALL {
            let labels: &[Label<'_>] = &[("worker", &worker.worker), ("reason", &reason.name())];
            page.sample(labels, worker.frames.dropped(*reason));
        }
    }
}

fn connections(page: &mut Page, figures: &Figures, limits: &Limits) {
    page.per_worker(CONNECTIONS, figures, |worker| worker.connections.value());
    page.per_worker(CONNECTIONS_MAX, figures, |_| limits.connections.into());
    page.per_worker(EXPIRED, figures, |worker| worker.expired.value());
    page.per_worker(HALF_OPEN, figures, |worker| worker.half_open.value());
    page.per_worker(RECYCLED, figures, |worker| worker.recycled.value());
    page.per_worker(DEFENCE, figures, |worker| worker.defence.value());
    page.family(TEMPLATES);
    page.sample(&[], figures.counts().templates().live());
    page.family(TEMPLATES_MAX);
    page.sample(&[], limits.templates.into());
}

/// Labels of a service or server, written once and used in each of its metrics.
type Named<T> = (String, T);

fn service_samples(services: &[&Service], figures: &Figures) -> Vec<Named<Traffic>> {
    let sample = |service: &&Service| (service_labels(service), figures.service(service.id));
    services.iter().map(sample).collect()
}

fn servers(page: &mut Page, services: &[&Service], figures: &Figures) {
    let servers: Vec<Named<&Server>> = services
        .iter()
        .flat_map(|service| service.servers.iter().map(|server| (*service, server)))
        .map(|(service, server)| (server_labels(service, server), server))
        .collect();
    let samples: Vec<_> = servers
        .iter()
        .map(|(labels, server)| (labels.clone(), figures.server(server.id)))
        .collect();
    traffic(page, SERVER_TRAFFIC, &samples);
    let counts = figures.counts();
    let mut gauge = |metric: Metric, value: &dyn Fn(&Server) -> u32| {
        page.family(metric);
        for (labels, server) in &servers {
            page.line(labels, value(server).into());
        }
    };
    gauge(SERVER_ACTIVE, &|server| counts.active(server.id.slot));
    gauge(SERVER_INACTIVE, &|server| counts.inactive(server.id.slot));
    gauge(SERVER_WEIGHT, &|server| server.options.weight);
}

fn traffic(page: &mut Page, metrics: TrafficMetrics, samples: &[Named<Traffic>]) {
    let [connections, packets, bytes] = metrics;
    page.family(connections);
    for (labels, traffic) in samples {
        page.line(labels, traffic.conns);
    }
    page.family(packets);
    for (labels, traffic) in samples {
        page.line(&format!("{labels},direction=\"in\""), traffic.in_packets);
        page.line(&format!("{labels},direction=\"out\""), traffic.out_packets);
    }
    page.family(bytes);
    for (labels, traffic) in samples {
        page.line(&format!("{labels},direction=\"in\""), traffic.in_bytes);
        page.line(&format!("{labels},direction=\"out\""), traffic.out_bytes);
    }
}

fn nic_stats(page: &mut Page, nics: &[NicStats]) {
    for (metric, values) in [
        (NIC_PACKETS, (|nic| [nic.rx_packets, nic.tx_packets]) as fn(&NicStats) -> [u64; 2]),
        (NIC_BYTES, |nic| [nic.rx_bytes, nic.tx_bytes]),
    ] {
        page.per_direction(metric, nics, values);
    }
    for (metric, value) in [
        (NIC_MISSED, (|nic| nic.rx_missed) as fn(&NicStats) -> u64),
        (NIC_NO_BUFFER, |nic| nic.rx_nombuf),
    ] {
        page.family(metric);
        for nic in nics {
            page.sample(&[("nic", &nic.name)], value(nic));
        }
    }
    page.per_direction(NIC_ERRORS, nics, |nic| [nic.rx_errors, nic.tx_errors]);
}

fn host_stats(page: &mut Page, host: HostStats) {
    for (metric, to, from) in [
        (HOST_FRAMES, host.to_host, host.from_host),
        (HOST_LOST, host.to_host_lost, host.from_host_lost),
    ] {
        page.family(metric);
        page.sample(&[("direction", &"to")], to);
        page.sample(&[("direction", &"from")], from);
    }
}

fn service_labels(service: &Service) -> String {
    match service.key {
        ServiceKey::Endpoint { protocol, address, port } => {
            let protocol = protocol.to_string().to_ascii_lowercase();
            labels(&[("protocol", &protocol), ("vip", &address), ("port", &port)])
        }
        ServiceKey::Mark { mark, family } => {
            let family = if family == FamilyId::V4 { "ipv4" } else { "ipv6" };
            labels(&[("fwmark", &mark), ("family", &family)])
        }
    }
}

fn server_labels(service: &Service, server: &Server) -> String {
    let of_service = service_labels(service);
    let own = labels(&[("server", &server.key.address), ("server_port", &server.key.port)]);
    format!("{of_service},{own}")
}

type Label<'a> = (&'static str, &'a dyn Display);

/// The text as it grows; samples belong to the family that was begun last.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, metric: Metric) {
        let Metric { name, kind, help } = metric;
        self.name = name;
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, values: &[Label<'_>], value: u64) {
        self.line(&labels(values), value);
    }

    fn line(&mut self, labels: &str, value: u64) {
        let name = self.name;
        self.put(format_args!("{name}{{{labels}}} {value}\n"));
    }

    fn per_worker(
        &mut self,
        metric: Metric,
        figures: &Figures,
        value: impl Fn(&WorkerCounters) -> u64,
    ) {
        self.family(metric);
        for worker in figures.workers() {
            self.sample(&[("worker", &worker.worker)], value(worker));
        }
    }

    fn per_direction(
        &mut self,
        metric: Metric,
        nics: &[NicStats],
        values: impl Fn(&NicStats) -> [u64; 2],
    ) {
        self.family(metric);
        for nic in nics {
            for (direction, value) in ["rx", "tx"].into_iter().zip(values(nic)) {
                self.sample(&[("nic", &nic.name), ("direction", &direction)], value);
            }
        }
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        let written = self.text.write_fmt(text);
        debug_assert!(written.is_ok(), "a String takes all text");
    }
}

/// `name="value"` pairs; backslash, quote and line feed are escaped as the format asks.
fn labels(values: &[Label<'_>]) -> String {
    let pair = |(name, value): &Label<'_>| {
        let value = value.to_string();
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    values.iter().map(pair).collect::<Vec<_>>().join(",")
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        })
    }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

#[cfg(test)]
mod tests;
