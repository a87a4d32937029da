// SPDX-License-Identifier: MIT OR Apache-2.0
//! What operators read, character for character, and what a command does to it.

#[allow(dead_code, reason = "each test binary uses its part")]
mod harness;

use std::net::IpAddr;

use control::apply::Outcome;
use control::command::{Columns, Format};
use control::listing;
use control::locals::LocalConns;
use control::names::NumbersOnly;
use control::reply::Reply;
use control::rules::{self, RulesError};
use control::words::LINE_MAX;
use harness::{Hosts, LIMITS, director, director_with, exchange, run, send};
use lb::conn::ConnRecord;
use lb::conn::tcp_state::State;
use lb::counters::WorkerCounters;
use lb::hash::Keyed;
use lb::ids::{Seed, Tick, WorkerId};
use lb::persist::templates::{CallId, TemplateKey};
use lb::verdict::DropReason;
use wire::L4;

const FOUR_MODES: &str = "\
-A -t 192.0.2.1:80 -s wrr
-P -t 192.0.2.1:80 -z 10.0.0.2
-P -t 192.0.2.1:80 -z 10.0.0.3
-a -t 192.0.2.1:80 -r 10.0.0.11:8080 -b -w 1
-a -t 192.0.2.1:80 -r 10.0.0.12:80 -m -w 2
-a -t 192.0.2.1:80 -r 10.0.0.13:80 -g -w 3
-a -t 192.0.2.1:80 -r 10.0.0.14:80 -i -w 0 --tun-type ipip
";

fn restored(rules: &str) -> control::apply::Director<harness::Counted> {
    let mut director = director();
    assert_eq!(send(&mut director, &format!("-R\n{rules}.\n")), Reply::done());
    director
}

fn errors(reply: &Reply) -> (u8, Vec<&str>) {
    (reply.status, reply.errors.iter().map(String::as_str).collect())
}

#[test]
fn all_four_modes_are_listed() {
    let mut director = restored(FOUR_MODES);
    let expected = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.0.2.1:80 wrr
  -> 10.0.0.11:8080               FullNat 1      0          0         
  -> 10.0.0.12:80                 Masq    2      0          0         
  -> 10.0.0.13:80                 Route   3      0          0         
  -> 10.0.0.14:80                 Tunnel  0      0          0         
";
    assert_eq!(run(&mut director, "-Ln").body, expected);
}

#[test]
fn what_save_prints_restores_the_table_local_addresses_included() {
    let mut first = restored(FOUR_MODES);
    assert_eq!(run(&mut first, "-Sn").body, FOUR_MODES);
    let mut second = restored(&run(&mut first, "-Sn").body);
    assert_eq!(run(&mut second, "-Sn").body, FOUR_MODES);
}

#[test]
fn local_addresses_are_listed_as_dpvs_lists_them() {
    let mut director = restored(FOUR_MODES);
    let expected = "\
VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS     
192.0.2.1:80         2        
                              10.0.0.2             -          0         
                              10.0.0.3             -          0         
";
    assert_eq!(run(&mut director, "-G").body, expected);
    assert_eq!(run(&mut director, "-G -t 192.0.2.1:80").body, expected);
    let reply = run(&mut director, "-G -t 192.0.2.9:80");
    assert_eq!(errors(&reply), (255, vec!["No such service"]));
    let reply = run(&mut director, "-P -t 192.0.2.1:80 -z 10.0.0.2");
    assert_eq!(reply.status, 255);
    assert_eq!(run(&mut director, "-Q -t 192.0.2.1:80 -z 10.0.0.2"), Reply::done());
    assert!(!run(&mut director, "-Sn").body.contains("10.0.0.2"));
}

#[test]
fn a_local_address_is_refused_while_the_hosts_own_ports_collide() {
    let mut director = restored("-A -t 192.0.2.1:80 -s rr\n");
    director.plane().conflict = true;
    let reply = run(&mut director, "-P -t 192.0.2.1:80 -z 10.0.0.2");
    let sentence = "local ports collide with the host's; lower its range";
    assert_eq!(errors(&reply), (255, vec![sentence]));
    assert_eq!(run(&mut director, "-Sn").body, "-A -t 192.0.2.1:80 -s rr\n");
}

#[test]
fn counters_start_at_zero_again_with_a_service_and_with_zero() {
    let worker = WorkerCounters::new(WorkerId(0), &LIMITS);
    let mut director = director_with(vec![worker.clone()]);
    run(&mut director, "-A -t 192.0.2.1:80 -s rr");
    run(&mut director, "-a -t 192.0.2.1:80 -r 10.0.0.11 -m");
    let service = director.catalog().services().next().unwrap();
    let (slot, server) = (service.id.slot, service.servers[0].id.slot);
    worker.opened(slot).unwrap().add(7);
    let counters = worker.server(server).unwrap();
    counters.conns.add(7);
    counters.requests.packets.add(123_456_789);
    counters.requests.bytes.add(1_999_999_999);
    let stats = "\
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  192.0.2.1:80                        7  123456K        0    1999M        0
  -> 10.0.0.11:80                        7  123456K        0    1999M        0
";
    let line = "-L -n --stats -t 192.0.2.1:80";
    assert_eq!(run(&mut director, line).body, stats);
    let exact = run(&mut director, &format!("{line} --exact")).body;
    assert!(exact.contains("        7 123456789        0 1999999999        0\n"), "{exact}");

    let zeroed = stats.replace("7  123456K        0    1999M", "0        0        0        0");
    assert_eq!(run(&mut director, "-Z -t 192.0.2.1:80"), Reply::done());
    assert_eq!(run(&mut director, line).body, zeroed);
    worker.opened(slot).unwrap().add(5);
    run(&mut director, "-C");
    run(&mut director, "-A -t 192.0.2.1:80 -s rr");
    run(&mut director, "-a -t 192.0.2.1:80 -r 10.0.0.11 -m");
    assert_eq!(run(&mut director, line).body, zeroed);
}

#[test]
fn drops_are_shown_with_what_to_do() {
    let worker = WorkerCounters::new(WorkerId(0), &LIMITS);
    let mut director = director_with(vec![worker.clone()]);
    worker.frames.drop(DropReason::TableFull, 3);
    director.sweep(Tick::from_secs(6));
    worker.frames.drop(DropReason::NoServer, 12);
    director.sweep(Tick::from_secs(10));
    let heading = format!(
        "{:<22} {:>12} {:>9} {:>6} {:>6} {:>6} {:<8} {:<6} {:<21} {:<21} What to do",
        "Reason",
        "Frames",
        "PerSecond",
        "Since",
        "Last",
        "Worker",
        "NIC",
        "Prot",
        "Source",
        "Destination"
    );
    let row = |cause, frames, rate, since, last, remedy| {
        let none = "-";
        let ends = format!("{none:<8} {none:<6} {none:<21} {none:<21}");
        format!("{cause:<22} {frames:>12} {rate:>9} {since:>6} {last:>6} {none:>6} {ends} {remedy}")
    };
    let expected = [
        heading,
        row("no_server", 12, "3.0", "0s", "0s", DropReason::NoServer.remedy()),
        row("table_full", 3, "0.0", "4s", "4s", DropReason::TableFull.remedy()),
        format!("{:<22} {:>12}", "total", 15),
        String::new(),
    ]
    .join("\n");
    assert_eq!(run(&mut director, "--drops").body, expected);
    let detail = run(&mut director, "--drops table_full").body;
    assert!(detail.contains("frames       3\n") && detail.contains("0: 3 frames\n"), "{detail}");
    let unknown = run(&mut director, "--drops table_empty");
    assert_eq!((unknown.status, unknown.body.as_str()), (255, ""));
}

#[test]
fn connections_are_listed_with_the_server_that_they_have() {
    let mut director = restored(FOUR_MODES);
    let heading = "\
IPVS connection entries
pro expire state       source             virtual            destination
";
    assert_eq!(run(&mut director, "-Lnc").body, heading);
    let service = director.catalog().services().next().unwrap();
    let record = ConnRecord {
        protocol: L4::Tcp,
        state: State::Established,
        expires_s: 899,
        client: "198.51.100.7:40000".parse().unwrap(),
        vip: "192.0.2.1:80".parse().unwrap(),
        server: service.servers[3].id,
        server_port: 8080,
        source: [10, 0, 0, 2].into(),
    };
    let mut out = listing::connections_heading(Format::default());
    listing::put_connection(&mut out, &record, director.catalog());
    let line = "TCP 14:59  ESTABLISHED 198.51.100.7:40000 192.0.2.1:80       10.0.0.11:8080\n";
    assert_eq!(out, format!("{heading}{line}"));
}

/// Of a connection and a template of mark 5, and a connection of a service with an address, the
/// lines that a filter of `-L -n -c` lets through.
fn chosen(options: &str) -> usize {
    let mut director = restored(
        "-A -f 5 -s rr -p 300\n\
         -a -f 5 -r 10.2.0.11:0 -g -w 1\n\
         -A -t 192.0.2.1:80 -s rr\n\
         -a -t 192.0.2.1:80 -r 10.2.0.12:8080 -m -w 1\n",
    );
    let words = control::words::split(&format!("-L -n -c {options}")).unwrap();
    let command = control::parse::parse(&words, &NumbersOnly).unwrap();
    let Outcome::Connections(filter, _) = director.execute(&command) else { panic!("{options}") };
    let catalog = director.catalog();
    let servers: Vec<_> = catalog.services().map(|service| service.servers[0].id).collect();
    let record = |server, vip: &str, server_port| ConnRecord {
        protocol: L4::Tcp,
        state: State::Established,
        expires_s: 1,
        client: "198.51.100.7:40000".parse().unwrap(),
        vip: vip.parse().unwrap(),
        server,
        server_port,
        source: [198, 51, 100, 7].into(),
    };
    let marked = catalog.services().position(|service| service.key.address().is_none()).unwrap();
    let records = [
        record(servers[marked], "203.0.113.9:443", 443),
        record(servers[1 - marked], "192.0.2.1:80", 8080),
    ];
    let (keyed, now) = (Keyed::new(Seed::fixed(1)), Tick::default());
    let templates = director.figures().counts().templates();
    let key = TemplateKey::mark([198, 51, 100, 7].into(), 5).complete(None, &keyed);
    templates.bind(&key, servers[marked], 300, now).unwrap();
    let wanted = |record: &&ConnRecord| {
        filter.wants(record) && listing::wants_connection(&filter, record, catalog)
    };
    let mut count = records.iter().filter(wanted).count();
    templates.list(0, u32::MAX, Tick::from_millis(1), |record| {
        count += usize::from(listing::wants_template(&filter, &record, catalog));
    });
    count
}

#[test]
fn connections_are_chosen_by_mark_and_by_server() {
    for (options, lines) in [
        ("", 3),
        ("--mark 5", 2),
        ("--mark 6", 0),
        ("--server 10.2.0.11", 2),
        ("--server 10.2.0.11:443", 1),
        ("--server 10.2.0.12:8080", 1),
        ("--server 10.2.0.12:80", 0),
        ("--mark 5 --server 10.2.0.12", 0),
        ("--vip 192.0.2.1:80 --server 10.2.0.12", 1),
        ("--mark 5 --client 198.51.100.0/24", 2),
    ] {
        assert_eq!(chosen(options), lines, "{options}");
    }
}

#[test]
fn templates_are_listed_as_the_kernel_was_seen_to_list_them() {
    let rules = "-A -u 10.1.0.80:5060 -s rr -p 300 --pe sip\n\
                 -a -u 10.1.0.80:5060 -r 10.2.0.11:5060 -m -w 1\n";
    let mut director = restored(rules);
    let server = director.catalog().services().next().unwrap().servers[0].id;
    let keyed = Keyed::new(Seed::fixed(1));
    let (client, now) = (IpAddr::from([10, 1, 0, 3]), Tick::default());
    let call = CallId::new(b"abc123@host", &keyed);
    let templates = director.figures().counts().templates();
    for (key, call) in [
        (TemplateKey::address(L4::Udp, client, [10, 1, 0, 80].into(), 5060), Some(call)),
        (TemplateKey::mark(client, 5), None),
    ] {
        templates.bind(&key.complete(call, &keyed), server, 300, now).unwrap();
    }
    let format = |columns| Format { columns, ..Format::default() };
    let list = |format| {
        let mut out = String::new();
        let put = |record| listing::put_template(&mut out, &record, director.catalog(), format);
        director.figures().counts().templates().list(0, u32::MAX, Tick::from_millis(1), put);
        out
    };
    let plain = "\
UDP 04:59  NONE        10.1.0.3:0         10.1.0.80:5060     10.2.0.11:5060
IP  04:59  NONE        10.1.0.3:0         0.0.0.5:0          10.2.0.11:0
";
    assert_eq!(list(format(Columns::Plain)), plain);
    let call = "10.2.0.11:5060   sip                abc123@host\n";
    assert!(list(format(Columns::PersistentConn)).contains(call));
    let counts = "  -> 10.2.0.11:5060               1         2           0          0         \n";
    assert!(run(&mut director, "-Ln --persistent-conn").body.ends_with(counts));
}

#[test]
fn timeouts_are_set_and_zero_keeps_them() {
    let mut director = director();
    assert_eq!(run(&mut director, "--set 100 0 200"), Reply::done());
    let expected = "Timeout (tcp tcpfin udp): 100 120 200\n";
    assert_eq!(run(&mut director, "-L --timeout").body, expected);
}

#[test]
fn restore_answers_with_its_last_rule_and_shows_every_error() {
    let mut director = director();
    let rules = "\
-R
ipvsadm -A -t 192.0.2.1:80 -s rr
-A -t 192.0.2.1:80 -s rr
-A -t 192.0.2.1:80 --bogus\r

-A -t 192.0.2.2:80 -s rr
.
";
    let reply = send(&mut director, rules);
    let expected = (0, vec!["Service already exists", "--bogus: unknown option"]);
    assert_eq!(errors(&reply), expected);
    assert_eq!(director.catalog().services().count(), 2);
}

#[test]
fn a_client_resolves_the_names_of_rules_and_sends_the_rest_as_it_is() {
    let send = |text| rules::to_send(text, &Hosts);
    assert_eq!(send("-A -t vip.example:http\r"), "-A -t 192.0.2.10:80 -s wlc");
    assert_eq!(send("ipvsadm -A -t other.example:http"), "-A -t other.example:http");
    assert_eq!(send("  "), "");
    // A dot alone would end the rules; a dash alone is as little a command.
    assert_eq!(send("."), "-");
}

#[test]
fn errors_of_a_restore_are_kept_up_to_a_limit_of_lines_and_bytes() {
    let lines = |rule: &str, count: usize| {
        let reply = send(&mut director(), &format!("-R\n{}.\n", format!("{rule}\n").repeat(count)));
        let bytes: usize = reply.errors.iter().map(String::len).sum();
        (reply.errors.len(), bytes, reply.errors.last().cloned().unwrap_or_default())
    };
    let (count, _, last) = lines("-Z -t 192.0.2.1:80", 1500);
    assert_eq!((count, last.as_str()), (1001, "500 more errors are not shown"));
    let long = format!("-A --{}", "x".repeat(5000));
    let (count, bytes, last) = lines(&long, 1000);
    assert!(bytes < 66_000 && count < 70, "{count} lines of {bytes} bytes");
    assert!(last.ends_with(" more errors are not shown"), "{last}");
}

#[test]
fn restore_ends_at_a_line_that_is_no_command() {
    let mut director = director();
    let replies = exchange(&mut director, "-R\n# comment\n-A -t 192.0.2.1:80\n.\n-S -n\n");
    let try_help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";
    assert_eq!(errors(&replies[0]), (255, vec![try_help]));
    assert_eq!(replies[1], Reply::done());
    let reply = send(&mut director, "-R\n-L -c\n-A -t 192.0.2.1:80\n.\n");
    assert_eq!(reply.status, 2);
    assert_eq!(director.catalog().services().count(), 0);
}

#[test]
fn a_line_that_is_too_long_is_refused_and_the_next_is_understood() {
    let mut director = director();
    let long = "x".repeat(10 * LINE_MAX);
    let replies = exchange(&mut director, &format!("-A {long}\n-A -t 192.0.2.1:80\n"));
    let sentence = "the line is longer than 65536 bytes; send one command per line";
    assert_eq!(errors(&replies[0]), (2, vec![sentence]));
    assert_eq!(replies[1], Reply::done());
    let padded = format!("-D -t 192.0.2.1:80{}\n", " ".repeat(LINE_MAX - 18));
    assert_eq!(padded.len(), LINE_MAX + 1);
    assert_eq!(send(&mut director, &padded), Reply::done());
}

#[test]
fn half_a_line_is_never_carried_out() {
    let mut director = restored("-A -t 192.0.2.1:80 -s rr\n");
    assert_eq!(exchange(&mut director, "-C"), []);
    assert_eq!(director.catalog().services().count(), 1);
}

#[test]
fn each_change_is_published_once_and_a_refusal_is_not() {
    let mut director = director();
    run(&mut director, "-A -t 192.0.2.1:80");
    run(&mut director, "-A -t 192.0.2.1:80");
    run(&mut director, "-a -t 192.0.2.2:80 -r 10.0.0.11 -m");
    run(&mut director, "-Ln");
    assert_eq!(director.plane().published, 1);
}

#[test]
fn a_rules_file_is_loaded_whole_or_not_at_all() {
    let text = format!("# services\n\n{FOUR_MODES}");
    let mut director = director();
    director.load(&rules::read(&text).unwrap()).unwrap();
    assert_eq!(rules::write(director.catalog()), FOUR_MODES);

    let mut director = harness::director();
    let twice = rules::read(&format!("{FOUR_MODES}{FOUR_MODES}")).unwrap();
    let refused = director.load(&twice).unwrap_err();
    assert_eq!(refused.to_string(), "8: Service already exists");
    assert_eq!(rules::write(director.catalog()), "");

    let no_command = rules::read("-A -t 192.0.2.1:80\n-A\n").unwrap_err();
    let sentence =
        "2: You need to supply the 'service-address' option for the 'add-service' command";
    assert_eq!(no_command.to_string(), sentence);
    assert_eq!(rules::read("-C\n"), Err(RulesError::NoRule { line: 1 }));
    let no_verb = rules::read("# rules\nbogus\n").unwrap_err();
    assert_eq!(no_verb.to_string(), "2: a rule starts with -A, -P or -a");
}

#[test]
fn rules_of_an_atomic_restore_count_together_or_not_at_all() {
    let mut director = restored("-A -t 192.0.2.9:80 -s rr\n");
    let before = director.plane().published;
    let reply = send(
        &mut director,
        &format!("-R --atomic\n\n{FOUR_MODES}-d -t 192.0.2.9:80 -r 10.0.0.1:80\n.\n"),
    );
    assert_eq!(errors(&reply), (255, vec!["line 9: No such destination; nothing was changed"]));
    let reply = send(&mut director, &format!("--atomic -R\n{FOUR_MODES}-A\n-C\n.\n"));
    let sentence = "line 8: You need to supply the 'service-address' option for the 'add-service' \
                    command; nothing was changed";
    assert_eq!(errors(&reply), (2, vec![sentence]));
    assert_eq!(run(&mut director, "-Sn").body, "-A -t 192.0.2.9:80 -s rr\n");
    assert_eq!(director.plane().published, before);

    let reply = send(&mut director, &format!("--atomic -R\n-C\n{FOUR_MODES}.\n"));
    assert_eq!(reply, Reply::done());
    assert_eq!(run(&mut director, "-Sn").body, FOUR_MODES);
}

#[test]
fn daemons_keep_their_settings_until_they_are_stopped() {
    let mut director = director();
    let reply = run(&mut director, "--stop-daemon master");
    assert_eq!(errors(&reply), (255, vec!["No daemon is running"]));
    let reply = run(&mut director, "--start-daemon master --mcast-interface absent0");
    assert_eq!(errors(&reply), (255, vec!["No such device"]));
    for line in [
        "--start-daemon master --mcast-interface dummy0",
        "--start-daemon backup --mcast-interface dummy0 --syncid 7 --mcast-group 224.0.0.99 \
         --mcast-port 9000 --mcast-ttl 3 --sync-maxlen 1000",
    ] {
        let reply = run(&mut director, line);
        let said = "the settings are kept; connections are not synchronised in this release";
        assert_eq!(errors(&reply), (0, vec![said]));
    }
    let reply = run(&mut director, "--start-daemon master --mcast-interface dummy0 --syncid 5");
    assert_eq!(errors(&reply), (255, vec!["Daemon has already run"]));
    let master = "master sync daemon (mcast=dummy0, syncid=0, maxlen=1472, group=224.0.0.81, \
                  port=8848, ttl=1)\n";
    let backup = "backup sync daemon (mcast=dummy0, syncid=7, maxlen=1024, group=224.0.0.99, \
                  port=9000, ttl=3)\n";
    assert_eq!(run(&mut director, "-L --daemon").body, format!("{master}{backup}"));
    assert_eq!(run(&mut director, "--stop-daemon master --syncid 9"), Reply::done());
    run(&mut director, "--stop-daemon backup");
    run(&mut director, "--start-daemon backup --mcast-interface dummy0 --mcast-group ff02::99");
    let backup = "backup sync daemon (mcast=dummy0, syncid=0, maxlen=1452, group=ff02::99, \
                  port=8848, ttl=1)\n";
    assert_eq!(run(&mut director, "-L --daemon").body, backup);
}

#[test]
fn listings_between_rules_come_with_the_answer_to_all_of_them() {
    let mut director = director();
    let reply = send(&mut director, "-R\n-A -t 192.0.2.1:80 -s rr\n-S\n-C\n-S\n-A -f 0\n.\n");
    assert_eq!(reply.body, "-A -t 192.0.2.1:80 -s rr\n");
    assert_eq!(errors(&reply), (2, vec!["invalid fwmark value `0' specified"]));
    let reply = send(&mut director, "-R\n-A -t 192.0.2.1:80 -s rr\n-L -c\n-C\n.\n");
    let sentence = "connections are not listed between rules; ask with a command of its own";
    assert_eq!(errors(&reply), (2, vec![sentence]));
    let many = "-h\n".repeat(200);
    let reply = send(&mut director, &format!("-R\n{many}-C\n.\n"));
    assert_eq!((reply.status, reply.errors.len()), (2, 1));
    assert_eq!(run(&mut director, "-S").body, "-A -t 192.0.2.1:80 -s rr\n");
}

#[test]
fn connections_are_counted_for_the_local_address_that_they_use() {
    let mut director = restored(FOUR_MODES);
    let catalog = director.catalog();
    let server = catalog.services().next().unwrap().servers.last().unwrap().id;
    let record = |source: [u8; 4]| ConnRecord {
        protocol: L4::Tcp,
        state: State::Established,
        expires_s: 1,
        client: "198.51.100.7:40000".parse().unwrap(),
        vip: "192.0.2.1:80".parse().unwrap(),
        server,
        server_port: 8080,
        source: source.into(),
    };
    let mut conns = LocalConns::default();
    for source in [[10, 0, 0, 3], [10, 0, 0, 3], [10, 0, 0, 9]] {
        conns.count(&record(source), catalog);
    }
    let expected = "\
VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS     
192.0.2.1:80         2        
                              10.0.0.2             -          0         
                              10.0.0.3             -          2         
";
    assert_eq!(conns.listing(catalog, None), expected);
    run(&mut director, "-C");
    assert_eq!(conns.listing(director.catalog(), None).lines().count(), 1);
}

#[test]
fn a_local_address_that_cannot_serve_is_refused_with_the_reason() {
    let mut director = director();
    for rule in [
        "-A -t 192.0.2.1:80 -s rr",
        "-a -t 192.0.2.1:80 -r 10.0.0.11:80 -b",
        "-P -t 192.0.2.1:80 -z 10.0.0.2",
    ] {
        assert_eq!(run(&mut director, rule).status, 0, "{rule}");
    }
    let unicast = "Invalid operation.  Possibly wrong module version, address not unicast, ...";
    let twice = "10.0.0.2 is both a real server and a FULLNAT local address; use different ones";
    for (line, reason) in [
        ("-P -t 192.0.2.1:80 -z 127.0.0.1", unicast),
        ("-P -t 192.0.2.1:80 -z 224.0.0.1", unicast),
        (
            "-P -t 192.0.2.1:80 -z 192.0.2.1",
            "192.0.2.1 is both a virtual address and a FULLNAT local address; use different ones",
        ),
        (
            "-P -t 192.0.2.1:80 -z 10.0.0.11",
            "10.0.0.11 is both a real server and a FULLNAT local address; use different ones",
        ),
        ("-a -t 192.0.2.1:80 -r 10.0.0.2:80 -b", twice),
        (
            "-P -t 192.0.2.1:80 -z 10.0.0.2",
            "service TCP 192.0.2.1:80 already has local address 10.0.0.2",
        ),
        (
            "-Q -t 192.0.2.1:80 -z 10.0.0.3",
            "service TCP 192.0.2.1:80 has no local address 10.0.0.3",
        ),
    ] {
        let reply = run(&mut director, line);
        assert_eq!((reply.status, reply.errors.join("")), (255, reason.to_owned()), "{line}");
    }
}
