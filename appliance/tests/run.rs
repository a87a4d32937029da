// SPDX-License-Identifier: MIT OR Apache-2.0
//! `pointsman run` as a program: its start, its signals, its files, its clients.

mod running;

use std::cell::RefCell;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use rustix::process::{Pid, Signal, kill_process};
use wire::{Mac, TcpFlags, build};

use running::{Folder, NULL};

/// What a start left in the folder beside what the test put there.
fn left(folder: &Folder) -> Vec<String> {
    let names = fs::read_dir(folder.path("")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !["lb.toml", "log"].contains(&name.as_str())).collect()
}

#[test]
fn signals_of_the_first_moments_end_it_cleanly_or_are_kept() {
    let folder = Folder::new("first", NULL);
    for signal in [Signal::TERM, Signal::INT] {
        let director = folder.start();
        director.waits(|| folder.path("control.sock").exists(), "control socket");
        director.signal(Signal::HUP);
        director.signal(signal);
        assert_eq!(director.ended(), Some(0), "{}", folder.read("log"));
        assert_eq!(left(&folder), Vec::<String>::new());
    }
}

#[test]
fn sighup_takes_over_the_timeouts_that_changed_in_the_file_and_names_the_rest() {
    let folder = Folder::new("hup", &format!("{NULL}[timeouts]\ntcp_fin_wait = 100\n"));
    let director = folder.start().ready();
    let mut client = director.client();
    assert_eq!(client.ask("--set 1000 0 0"), ["OK 0"]);
    folder.write("lb.toml", &format!("{NULL}[timeouts]\ntcp_fin_wait = 100\nudp = 7\n"));
    director.signal(Signal::HUP);
    director.says("[timeouts], [ipvs] read again; in force: udp = 7");
    let timeouts = "Timeout (tcp tcpfin udp): 1000 100 7";
    assert_eq!(client.ask("-L --timeout"), [timeouts, "OK 0"]);
    folder.write("lb.toml", &NULL.replace("capacity = 1024", "capacity = 2048"));
    director.signal(Signal::HUP);
    director.says("[connections]: changed in lb.toml, and in force after a restart");
    assert_eq!(client.ask("-L --timeout"), ["Timeout (tcp tcpfin udp): 1000 120 300", "OK 0"]);
    folder.write("lb.toml", "[eal");
    director.signal(Signal::HUP);
    director.says("nothing was changed: lb.toml:1: not TOML");
}

#[test]
fn rules_are_saved_when_they_changed_and_only_then() {
    let rules = "-A -t 192.0.2.1:80 -s rr\n";
    let folder = Folder::new("persist", &format!("{NULL}[rules]\nfile = \"r\"\npersist = true\n"));
    folder.write("r", &format!("# by hand\n{rules}"));
    let inode = || fs::metadata(folder.path("r")).unwrap().ino();
    let before = inode();
    let director = folder.start().ready();
    director.signal(Signal::TERM);
    assert_eq!(director.ended(), Some(0));
    assert_eq!(inode(), before, "nothing changed");
    let director = folder.start().ready();
    assert_eq!(director.client().ask("-A -u 192.0.2.1:53 -s rr"), ["OK 0"]);
    director.signal(Signal::TERM);
    assert_eq!(director.ended(), Some(0));
    assert_eq!(folder.read("r"), format!("{rules}-A -u 192.0.2.1:53 -s rr\n"));
    assert_eq!(left(&folder), ["r"]);
}

#[test]
fn a_line_of_a_gigabyte_takes_no_memory_and_keeps_nobody_waiting() {
    let folder = Folder::new("gigabyte", NULL);
    let director = folder.start().ready();
    let (mut endless, mut other) = (director.client(), director.client());
    let timeouts = ["Timeout (tcp tcpfin udp): 900 120 300", "OK 0"];
    assert_eq!(other.ask("-L --timeout"), timeouts);
    let before = director.memory_bytes_max();
    let piece = vec![b'x'; 1 << 20];
    for number in 0..1 << 10 {
        endless.send(&piece);
        if number % 64 == 0 {
            assert_eq!(other.ask("-L --timeout"), timeouts);
        }
    }
    assert_eq!(endless.ask(""), ["ERR 2 1"]);
    let grown = director.memory_bytes_max() - before;
    assert!(grown < 8 << 20, "{grown} bytes for a line");
}

#[test]
fn a_metrics_port_that_is_taken_is_said_before_dpdk_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = Folder::new("metrics", &format!("{NULL}[metrics]\nlisten = \"{address}\"\n"));
    assert_eq!(folder.start().ended(), Some(1));
    let log = folder.read("log");
    let said = format!("[metrics] listen = \"{address}\": Address already in use");
    assert!(log.contains(&said) && log.contains("a port that is free"), "{log}");
    assert!(!log.contains("is up"), "{log}");
    assert_eq!(left(&folder), Vec::<String>::new());
}

#[test]
fn a_nic_that_keeps_its_address_names_the_key_to_leave_out() {
    let nic =
        "device = \"net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap\"\nmac = \"02:00:00:00:00:09\"";
    let folder = Folder::new("mac", &NULL.replace("device = \"net_null0,no-rx=1\"", nic));
    folder.capture("in.pcap", &[]);
    assert_eq!(folder.start().ended(), Some(1));
    let log = folder.read("log");
    assert!(log.contains("NIC null: ") && log.contains("leave out its [[nic]] mac"), "{log}");
}

#[test]
fn more_clients_are_served_than_files_were_allowed_at_first() {
    let folder = Folder::new("files", NULL);
    let director = folder.start_after("ulimit -Sn 100").ready();
    let mut clients: Vec<_> = (0..300).map(|_| director.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("-C"), ["OK 0"]);
    }
}

/// The link-layer address of the first net_pcap device.
const PCAP_MAC: Mac = Mac([0x02, 0x70, 0x63, 0x61, 0x70, 0x00]);

#[test]
fn connections_in_a_large_table_are_listed_in_time_whatever_the_workers_do_when_idle() {
    let opening = |client: u16| {
        let [high, low] = client.to_be_bytes();
        let frame = build::eth().dst(PCAP_MAC).ipv4([198, 51, high, low], [192, 0, 2, 1]);
        frame.tcp(40_000, 80).flags(TcpFlags::SYN).payload(&[])
    };
    let frames: Vec<_> = (0..3000).map(opening).collect();
    let config = NULL
        .replace("idle = 1000", "idle = 10000")
        .replace("capacity = 1024", "capacity = 524288")
        .replace("net_null0,no-rx=1", "net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap");
    let neighbour = "[[nic.neighbour]]\naddress = \"198.51.100.9\"\nmac = \"02:00:00:00:00:09\"\n";
    let config = config.replace("[control]", &format!("{neighbour}[control]"));
    let folder = Folder::new("listing", &format!("{config}[rules]\nfile = \"r\"\n"));
    folder.write("r", "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.9:80 -g -w 1\n");
    folder.capture("in.pcap", &frames);
    let director = folder.start().ready();
    let mut client = director.client();
    let asked = RefCell::new(director.client());
    let all_came = || asked.borrow_mut().ask("-L -n --stats --exact").join(" ").contains(" 3000 ");
    director.waits(all_came, "3000 packets of the service");
    let listed = client.ask("-L -n -c");
    assert_eq!(listed.last().map(String::as_str), Some("OK 0"), "{:?}", listed.last());
    let lines = || listed.iter().filter(|line| line.starts_with("TCP"));
    assert_eq!(lines().count(), 3000, "{}", client.ask("--drops").join("\n"));
    let first = lines().find(|line| line.contains(" 198.51.0.0:40000 ")).expect("each client");
    assert!(first.ends_with("192.0.2.1:80       198.51.100.9:80"), "{first}");
}

/// Addresses of a frame that comes in from the client, and of one that leaves for the server.
const CAME: (Mac, Mac) = (Mac([0x02, 0, 0, 0, 0, 0x07]), PCAP_MAC);
const LEFT: (Mac, Mac) = (PCAP_MAC, Mac([0x02, 0, 0, 0, 0, 0x09]));

#[test]
fn jumbo_frames_pass_as_chains_of_buffers() {
    let config = NULL.replace("idle = 1000", "idle = 1000\ncount = 2").replace(
        "net_null0,no-rx=1\"",
        "net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap\"\nmtu = 9000\nqueues = 1",
    );
    let neighbour = "[[nic.neighbour]]\naddress = \"198.51.100.9\"\nmac = \"02:00:00:00:00:09\"\n";
    let config = config.replace("[control]", &format!("{neighbour}[control]"));
    let folder = Folder::new("jumbo", &format!("{config}[rules]\nfile = \"r\"\n"));
    let service = |port, server| {
        format!("-A -u 192.0.2.1:{port} -s rr\n-a -u 192.0.2.1:{port} -r {server}\n")
    };
    let rules = [(53, "198.51.100.9:5300 -m"), (54, "198.51.100.9:54 -i")];
    folder.write("r", &rules.map(|(port, server)| service(port, server)).concat());
    let data: Vec<u8> = (0..8972_u32).map(|place| (place % 251) as u8).collect();
    let packet = |(src, dst): (Mac, Mac), to: [u8; 4], ttl| {
        build::eth().src(src).dst(dst).ipv4([198, 51, 100, 7], to).ttl(ttl)
    };
    // Many clients, so that both workers own some: a chain is handed over as it is.
    let clients = 40_000..40_008;
    let came = clients.clone().flat_map(|client| {
        let nat = packet(CAME, [192, 0, 2, 1], 64).udp(client, 53).payload(&data);
        let tunnel = packet(CAME, [192, 0, 2, 1], 64).udp(client, 54).payload(&data[..8952]);
        [nat, tunnel]
    });
    let mut left: Vec<Vec<u8>> = clients
        .flat_map(|client| {
            let nat = packet(LEFT, [198, 51, 100, 9], 63).udp(client, 5300).payload(&data);
            let inner = packet(LEFT, [192, 0, 2, 1], 63).udp(client, 54).payload(&data[..8952]);
            let outer = build::eth().src(LEFT.0).dst(LEFT.1);
            let outer = outer.ipv4([198, 51, 100, 1], [198, 51, 100, 9]).ttl(63).protocol(4);
            [nat, outer.payload(&inner[14..])]
        })
        .collect();
    folder.capture("in.pcap", &came.collect::<Vec<_>>());
    let director = folder.start().ready();
    let client = RefCell::new(director.client());
    let all_came = || {
        let listed = client.borrow_mut().ask("-L -n --stats --exact").join(" ");
        listed.matches(" 8 ").count() == 8
    };
    director.waits(all_came, "16 datagrams");
    let drops = client.borrow_mut().ask("--drops");
    director.signal(Signal::TERM);
    assert_eq!(director.ended(), Some(0));
    let mut sent = frames(&fs::read(folder.path("out.pcap")).unwrap());
    // The identification of an outer packet is ours to choose.
    for frames in [&mut sent, &mut left] {
        frames.iter_mut().filter(|frame| frame[23] == 4).for_each(|frame| frame[18..20].fill(0));
        frames.iter_mut().filter(|frame| frame[23] == 4).for_each(|frame| frame[24..26].fill(0));
        frames.sort();
    }
    assert_eq!(sent.len(), 16, "{drops:?}");
    assert!(sent == left, "a byte of a frame is another one");
}

/// The frames of a pcap file.
fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(bytes).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        frames.push(packet.unwrap().data.into_owned());
    }
    frames
}

/// The frames of a pcapng file, each with its comment.
fn commented(bytes: &[u8]) -> Vec<(Vec<u8>, String)> {
    let mut reader = PcapNgReader::new(bytes).unwrap();
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(frame) = block.unwrap() else { continue };
        let comment = frame.options.iter().find_map(|option| match option {
            EnhancedPacketOption::Comment(text) => Some(text.to_string()),
            _ => None,
        });
        frames.push((frame.data.to_vec(), comment.unwrap_or_default()));
    }
    frames
}

#[test]
fn frames_are_captured_with_their_verdicts_while_traffic_flows() {
    let frame = build::eth().dst(PCAP_MAC).ipv4([198, 51, 100, 7], [192, 0, 2, 1]);
    let frame = frame.tcp(40_000, 81).flags(TcpFlags::SYN).payload(&[]);
    let device = "net_pcap0,rx_pcap=in.pcap,infinite_rx=1,tx_pcap=out.pcap";
    let folder = Folder::new("capture", &NULL.replace("net_null0,no-rx=1", device));
    folder.capture("in.pcap", std::slice::from_ref(&frame));
    let director = folder.start().ready();
    let mut client = director.client();
    let whole = director.ctl(&["--capture", "drops", "drops.pcapng", "--count", "20"]);
    let done = whole.wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && said.starts_with("20 frames captured, "), "{said}");
    let seen = commented(&fs::read(folder.path("drops.pcapng")).unwrap());
    assert_eq!(seen.len(), 20);
    for (bytes, comment) in seen {
        assert_eq!(bytes, frame);
        assert!(comment.starts_with("worker 0: dropped: no_host_interface: "), "{comment}");
    }
    let last = client.ask("--drops no_host_interface");
    let ends = "TCP 198.51.100.7:40000 > 192.0.2.1:81 S";
    assert!(last.iter().any(|line| line.contains(ends)), "{last:?}");

    let endless = director.ctl(&["--capture", "null", "nic.pcapng", "--count", "1000000"]);
    // Well behind the blocks that say what the file is.
    let has_frames = || folder.path("nic.pcapng").metadata().is_ok_and(|f| f.len() > 4096);
    director.waits(has_frames, "a capture");
    assert_eq!(client.ask("--capture drops -")[0].split(' ').next(), Some("ERR"), "two at once");
    kill_process(Pid::from_child(&endless), Signal::INT).unwrap();
    let done = endless.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!commented(&fs::read(folder.path("nic.pcapng")).unwrap()).is_empty());

    let refused = director.ctl(&["--capture", "eth7", "none.pcapng"]).wait_with_output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(said, "there is no NIC eth7; there are: null\n");
    assert!(!folder.path("none.pcapng").exists());
}
