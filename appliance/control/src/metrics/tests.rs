// SPDX-License-Identifier: MIT OR Apache-2.0
use std::collections::HashSet;
use std::sync::Arc;

use lb::catalog::Change;
use lb::counters::ServerCounts;
use lb::ids::WorkerId;
use lb::sched::Scheduler;
use lb::service::{ForwardMode, ServerKey, ServerOptions, ServiceKey, ServiceOptions};
use wire::L4;

use super::*;

const LIMITS: Limits =
    Limits { services: 4, servers: 8, connections: 1000, templates: 16, ..Limits::DEFAULT };
const MANUAL: &str = include_str!("../../../docs/METRICS.md");

const HOST: HostStats =
    HostStats { to_host: 11, to_host_lost: 1, from_host: 12, from_host_lost: 2 };

fn page(catalog: &Catalog, figures: &Figures, nics: &[NicStats]) -> String {
    render(&Readings { catalog, figures, limits: &LIMITS, nics, host: HOST })
}

/// One worker per element, each having received and sent what the element says.
fn figures(traffic: &[(u64, u64)]) -> Figures {
    let worker = |(id, (received, sent)): (u16, &(u64, u64))| {
        let counters = WorkerCounters::new(WorkerId(id), &LIMITS);
        counters.frames.received.add(*received);
        counters.frames.sent.add(*sent);
        counters.frames.drop(DropReason::NoServer, received - sent);
        counters.connections.set(5);
        counters.expired.add(6);
        counters
    };
    let workers: Vec<Arc<WorkerCounters>> = (0..).zip(traffic).map(worker).collect();
    Figures::new(workers, ServerCounts::new(&LIMITS), &LIMITS)
}

/// `VIP 192.0.2.1:80` and `[2001:db8::1]:53` (UDP), the first with one server.
fn catalog() -> Catalog {
    let mut catalog = Catalog::new(&LIMITS);
    let key = |protocol, address: &str, port| ServiceKey::Endpoint {
        protocol,
        address: address.parse().expect("an address"),
        port,
    };
    let options = ServiceOptions::of(Scheduler::RoundRobin);
    let web = key(L4::Tcp, "192.0.2.1", 80);
    let server = ServerKey { address: [10, 0, 0, 11].into(), port: 8080 };
    let server_options = ServerOptions::of(ForwardMode::Masquerade, 3);
    for change in [
        Change::AddService(key(L4::Udp, "2001:db8::1", 53), options),
        Change::AddService(web, options),
        Change::AddServer(web, server, server_options),
    ] {
        catalog.apply(change).expect("a valid change");
    }
    catalog
}

fn nics() -> [NicStats; 1] {
    [NicStats {
        name: "wan".to_owned(),
        rx_packets: 11,
        rx_bytes: 12,
        tx_packets: 13,
        tx_bytes: 14,
        rx_missed: 15,
        rx_errors: 16,
        tx_errors: 17,
        rx_nombuf: 18,
    }]
}

/// The page without the comments and the drops.
#[rustfmt::skip]
const PAGE: &str = r#"
pointsman_frames_in_total{worker="0",origin="received"} 9
pointsman_frames_in_total{worker="0",origin="handed_in"} 0
pointsman_frames_in_total{worker="0",origin="from_host"} 0
pointsman_frames_in_total{worker="0",origin="originated"} 0
pointsman_frames_out_total{worker="0",fate="sent"} 7
pointsman_frames_out_total{worker="0",fate="punted"} 0
pointsman_frames_out_total{worker="0",fate="handed_off"} 0
pointsman_frames_held{worker="0"} 0
pointsman_connections{worker="0"} 5
pointsman_connections_max{worker="0"} 1000
pointsman_connections_expired_total{worker="0"} 6
pointsman_connections_half_open{worker="0"} 0
pointsman_connections_recycled_total{worker="0"} 0
pointsman_connections_defence_total{worker="0"} 0
pointsman_persistence_templates{} 0
pointsman_persistence_templates_max{} 16
pointsman_service_connections_total{protocol="tcp",vip="192.0.2.1",port="80"} 1
pointsman_service_connections_total{protocol="udp",vip="2001:db8::1",port="53"} 0
pointsman_service_packets_total{protocol="tcp",vip="192.0.2.1",port="80",direction="in"} 2
pointsman_service_packets_total{protocol="tcp",vip="192.0.2.1",port="80",direction="out"} 3
pointsman_service_packets_total{protocol="udp",vip="2001:db8::1",port="53",direction="in"} 0
pointsman_service_packets_total{protocol="udp",vip="2001:db8::1",port="53",direction="out"} 0
pointsman_service_bytes_total{protocol="tcp",vip="192.0.2.1",port="80",direction="in"} 120
pointsman_service_bytes_total{protocol="tcp",vip="192.0.2.1",port="80",direction="out"} 4500
pointsman_service_bytes_total{protocol="udp",vip="2001:db8::1",port="53",direction="in"} 0
pointsman_service_bytes_total{protocol="udp",vip="2001:db8::1",port="53",direction="out"} 0
pointsman_server_connections_total{protocol="tcp",vip="192.0.2.1",port="80",server="10.0.0.11",server_port="8080"} 1
pointsman_server_packets_total{protocol="tcp",vip="192.0.2.1",port="80",server="10.0.0.11",server_port="8080",direction="in"} 2
pointsman_server_packets_total{protocol="tcp",vip="192.0.2.1",port="80",server="10.0.0.11",server_port="8080",direction="out"} 3
pointsman_server_bytes_total{protocol="tcp",vip="192.0.2.1",port="80",server="10.0.0.11",server_port="8080",direction="in"} 120
pointsman_server_bytes_total{protocol="tcp",vip="192.0.2.1",port="80",server="10.0.0.11",server_port="8080",direction="out"} 4500
pointsman_server_active_connections{protocol="tcp",vip="192.0.2.1",port="80",server="10.0.0.11",server_port="8080"} 0
pointsman_server_inactive_connections{protocol="tcp",vip="192.0.2.1",port="80",server="10.0.0.11",server_port="8080"} 0
pointsman_server_weight{protocol="tcp",vip="192.0.2.1",port="80",server="10.0.0.11",server_port="8080"} 3
pointsman_nic_packets_total{nic="wan",direction="rx"} 11
pointsman_nic_packets_total{nic="wan",direction="tx"} 13
pointsman_nic_bytes_total{nic="wan",direction="rx"} 12
pointsman_nic_bytes_total{nic="wan",direction="tx"} 14
pointsman_nic_missed_total{nic="wan"} 15
pointsman_nic_no_buffer_total{nic="wan"} 18
pointsman_nic_errors_total{nic="wan",direction="rx"} 16
pointsman_nic_errors_total{nic="wan",direction="tx"} 17
pointsman_host_frames_total{direction="to"} 11
pointsman_host_frames_total{direction="from"} 12
pointsman_host_lost_total{direction="to"} 1
pointsman_host_lost_total{direction="from"} 2
"#;

#[test]
fn page_shows_each_counter_under_its_name_and_labels() {
    let catalog = catalog();
    let mut figures = figures(&[(9, 7)]);
    let web = catalog.services().find(|service| service.key.port() == 80).expect("the service");
    let server = web.servers[0].id;
    figures.place(server, web.id);
    let worker = &figures.workers()[0];
    worker.opened(web.id.slot).expect("its counter").add(1);
    let counters = worker.server(server.slot).expect("its counters");
    counters.conns.add(1);
    counters.requests.packets.add(2);
    counters.replies.packets.add(3);
    counters.requests.bytes.add(120);
    counters.replies.bytes.add(4500);
    let page = page(&catalog, &figures, &nics());
    let skipped = ["#", "pointsman_drops_total", "pointsman_build_info"];
    let shown = page.lines().filter(|line| !skipped.iter().any(|skip| line.starts_with(skip)));
    let shown: Vec<_> = shown.collect();
    let expected: Vec<_> = PAGE.trim().lines().collect();
    assert_eq!(shown, expected);
}

#[test]
fn every_drop_reason_is_on_the_page_for_every_worker_from_the_start() {
    let page = page(&catalog(), &figures(&[(0, 0), (4, 1)]), &nics());
    for (worker, no_server) in [(0, 0), (1, 3)] {
        for reason in DropReason::ALL {
            let labels = format!("worker=\"{worker}\",reason=\"{}\"", reason.name());
            let count = if *reason == DropReason::NoServer { no_server } else { 0 };
            let line = format!("pointsman_drops_total{{{labels}}} {count}\n");
            assert!(page.contains(&line), "{line}");
        }
    }
}

#[test]
fn frames_in_equal_frames_out_and_held_and_dropped() {
    let page = page(&catalog(), &figures(&[(9, 7), (100, 1)]), &nics());
    let sum = |name: &str| -> u64 {
        let of_name = page.lines().filter(|line| line.split('{').next() == Some(name));
        let value = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        of_name.map(|line| value(line).expect("a number")).sum()
    };
    let out = sum("pointsman_frames_out_total") + sum("pointsman_frames_held");
    assert_eq!(sum("pointsman_frames_in_total"), out + sum("pointsman_drops_total"));
    assert_eq!(sum("pointsman_frames_in_total"), 109);
}

#[test]
fn families_come_once_with_help_and_type_before_their_samples() {
    let page = page(&catalog(), &figures(&[(9, 7)]), &nics());
    assert!(page.ends_with('\n'));
    let mut lines = page.lines().peekable();
    for metric in METRICS {
        let Metric { name, kind, help } = metric;
        assert_eq!(lines.next(), Some(format!("# HELP {name} {help}").as_str()));
        assert_eq!(lines.next(), Some(format!("# TYPE {name} {kind}").as_str()));
        let mut samples = HashSet::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            assert!(series.starts_with(&format!("{name}{{")) && series.ends_with('}'), "{line}");
            assert!(value.parse::<u64>().is_ok(), "{line}");
            assert!(samples.insert(series), "twice: {line}");
        }
        assert!(!samples.is_empty(), "{name} has no sample");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn counters_end_in_total_and_gauges_do_not() {
    for metric in METRICS {
        let is_counter = metric.kind == Kind::Counter;
        assert_eq!(metric.name.ends_with("_total"), is_counter, "{metric:?}");
        assert!(metric.name.starts_with("pointsman_"), "{metric:?}");
    }
}

#[test]
fn quotes_backslashes_and_line_feeds_in_labels_are_escaped() {
    let nic = NicStats { name: "a\"b\\c\nd".to_owned(), ..NicStats::default() };
    let page = page(&catalog(), &figures(&[(0, 0)]), &[nic]);
    let line = "pointsman_nic_missed_total{nic=\"a\\\"b\\\\c\\nd\"} 0\n";
    assert!(page.contains(line), "{page}");
}

#[test]
fn manual_has_a_row_for_each_metric_and_no_other() {
    let documented: Vec<_> = MANUAL
        .lines()
        .filter_map(|line| line.strip_prefix("| `pointsman_"))
        .filter_map(|row| row.split('`').next())
        .collect();
    let rendered: Vec<_> =
        METRICS.iter().filter_map(|metric| metric.name.strip_prefix("pointsman_")).collect();
    assert_eq!(documented, rendered);
}

#[test]
fn manual_explains_each_drop_reason_as_the_program_does() {
    let after = |line: &&str| !line.starts_with("| reason |");
    let documented: Vec<_> =
        MANUAL.lines().skip_while(after).skip(2).take_while(|line| line.starts_with('|')).collect();
    let row = |reason: &DropReason| {
        let (name, remedy) = (reason.name(), reason.remedy().replace('|', "\\|"));
        format!("| `{name}` | {} | {remedy} |", reason.meaning())
    };
    let explained: Vec<_> = DropReason::ALL.iter().map(row).collect();
    assert_eq!(documented, explained, "rows of METRICS.md, and what they should be");
}
