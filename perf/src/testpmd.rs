// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real `dpdk-testpmd` beside our reference loops, on the same `net_pcap` file.
//!
//! net_pcap keeps every packet of its file in a buffer of its own and copies it for each receive;
//! so the file is small. There is no file to write to: frames are freed and counted. testpmd's cost
//! is the processor time of its forwarding thread, as the kernel accounts it, over what its NIC
//! counted.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use dpdk::{Burst, Cpu};
use wire::build;

use crate::cost::{Effort, Lap, Span, Spread, alone};
use crate::plan::{WAN, mac};
use crate::reference::{REFERENCE_BURST, Work, forward};
use crate::row::{Failure, Row};
use crate::stand::{Pages, SMALL, Stand, cpus, memory_arguments};

/// Packets in the file.
const PACKETS: u16 = 64;
const PROGRAM: &str = "dpdk-testpmd";

/// Rows for io and 5tswap, ours and testpmd's.
///
/// # Errors
/// Our own loops could not be measured.
pub fn rows(stand: &Stand, effort: Effort, tsc_hz: u64) -> Result<Vec<Row>, Failure> {
    let file = Capture::new()?;
    let device = format!("net_pcap0,rx_pcap={},infinite_rx=1", file.0.display());
    let (nic, rx, tx) = stand.open(&device)?;
    let mut ours = OnFile { rx, tx, burst: Burst::new(), work: Work::Io };
    let mut rows = Vec::new();
    for (work, name) in [(Work::Io, "io"), (Work::FiveTupleSwap, "5tswap")] {
        ours.work = work;
        let own = alone(&mut ours, effort)?;
        let own_row = Row::new("reference on net_pcap", format!("{name}, ours"));
        let real_row = Row::new("reference on net_pcap", format!("{name}, {PROGRAM}"));
        match testpmd(&file.0, name, effort, stand.pages) {
            Ok(real) => {
                rows.push(real_row.packets((real, real), tsc_hz));
                rows.push(own_row.packets((own, real), tsc_hz));
            }
            Err(failure) => {
                rows.push(real_row.failed(&failure));
                rows.push(own_row.packets((own, own), tsc_hz));
            }
        }
    }
    drop(ours);
    drop(nic);
    Ok(rows)
}

struct OnFile {
    rx: dpdk::RxQueue,
    tx: dpdk::TxQueue,
    burst: Burst,
    work: Work,
}

impl Lap for OnFile {
    fn lap(&mut self) -> Result<u64, Failure> {
        Ok(forward(&mut self.rx, &mut self.tx, &mut self.burst, self.work) as u64)
    }
}

/// Nanoseconds per packet of testpmd's forwarding thread.
fn testpmd(file: &Path, mode: &str, effort: Effort, pages: Pages) -> Result<Spread, Failure> {
    let mut session = Session::start(file, mode, pages)?;
    let window = match effort.span {
        Span::Nanoseconds(ns) => Duration::from_nanos(2 * ns).max(Duration::from_millis(100)),
        Span::Units(_) => Duration::from_millis(100),
    };
    let mut costs = Vec::new();
    // The first window does not count.
    thread::sleep(window);
    let mut before = session.figures()?;
    while !effort.is_enough(&costs, &costs) {
        thread::sleep(window);
        let after = session.figures()?;
        let (ns, packets) = (after.0 - before.0, after.1.saturating_sub(before.1));
        costs.push(ns as f64 / packets.max(1) as f64);
        before = after;
    }
    Ok(Spread::of(costs))
}

/// A running testpmd, ended when dropped.
struct Session {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    schedstat: PathBuf,
}

impl Session {
    fn start(file: &Path, mode: &str, pages: Pages) -> Result<Self, Failure> {
        let vdev = format!("net_pcap0,rx_pcap={},infinite_rx=1", file.display());
        let prefix = format!("pointsman-testpmd-{}", std::process::id());
        let cpus = cpus();
        let cpu = |cpu: Option<&Cpu>| cpu.map_or(0, |cpu| cpu.0);
        let lcores = format!("0@{},1@{}", cpu(cpus.first()), cpu(cpus.last()));
        // Its output would come in blocks otherwise.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", PROGRAM])
            .args(memory_arguments(pages))
            .args(["--no-pci", "--no-telemetry"])
            .args(["--lcores", &lcores, "--file-prefix", &prefix, "--vdev", &vdev, "--"])
            .args(["-i", "--nb-cores=1", "--total-num-mbufs=8192"])
            .arg(format!("--burst={REFERENCE_BURST}"))
            .arg(format!("--forward-mode={mode}"));
        if pages == Pages::Normal {
            command.arg(format!("--mbuf-size={}", SMALL + dpdk::HEADROOM));
        }
        let spawned = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::Testpmd(format!("{error}; apt-get install dpdk")));
        let mut child = spawned?;
        let streams = child.stdin.take().zip(child.stdout.take());
        let (input, output) = streams.ok_or_else(|| Failure::Testpmd("no pipe".to_owned()))?;
        let (line, lines) = channel();
        thread::spawn(move || {
            let output = BufReader::new(output).lines().map_while(Result::ok);
            for text in output {
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        let mut session = Self { child, input, lines, schedstat: PathBuf::new() };
        session.say("start")?;
        session.wait_for("packet forwarding")?;
        session.schedstat = session.forwarding_thread()?;
        Ok(session)
    }

    /// Processor time of the forwarding thread in nanoseconds, and packets received.
    fn figures(&mut self) -> Result<(u64, u64), Failure> {
        self.say("show port stats 0")?;
        let line = self.wait_for("RX-packets:")?;
        let packets = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        let text = fs::read_to_string(&self.schedstat).unwrap_or_default();
        let ns = text.split_whitespace().next().and_then(|word| word.parse().ok());
        ns.zip(packets).ok_or_else(|| Failure::Testpmd(format!("no figures in {line:?}")))
    }

    fn say(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.input, "{line}").map_err(|error| Failure::Testpmd(error.to_string()))
    }

    fn wait_for(&mut self, words: &str) -> Result<String, Failure> {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(10));
            let line = line.map_err(|_| Failure::Testpmd(format!("it did not say {words:?}")))?;
            if line.contains(words) {
                return Ok(line);
            }
        }
    }

    fn forwarding_thread(&self) -> Result<PathBuf, Failure> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let threads = fs::read_dir(&tasks).into_iter().flatten().flatten();
        let name = |path: &Path| fs::read_to_string(path.join("comm")).unwrap_or_default();
        let forwarding = threads.map(|thread| thread.path()).find(|path| {
            let name = name(path);
            name.starts_with("lcore-worker-1") || name.starts_with("rte-worker-1")
        });
        let found = forwarding.map(|path| path.join("schedstat"));
        found.ok_or_else(|| Failure::Testpmd("its forwarding thread was not found".to_owned()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.say("quit");
        let told = std::time::Instant::now();
        while told.elapsed() < Duration::from_secs(3) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A capture of 64 UDP packets of different flows, removed when dropped.
struct Capture(PathBuf);

impl Capture {
    fn new() -> Result<Self, Failure> {
        let path =
            std::env::temp_dir().join(format!("pointsman-bench-{}.pcap", std::process::id()));
        let mut bytes = Vec::new();
        // Little-endian microseconds, Ethernet: the header of a pcap file.
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
            bytes.extend(word.to_le_bytes());
        }
        for number in 0..PACKETS {
            let [high, low] = number.to_be_bytes();
            let ip = build::eth().dst(mac(WAN)).padded().ipv4([20, 0, high, low], [203, 0, 0, 1]);
            let frame = ip.udp(1024 + number, 80).payload(&[0; 18]);
            for word in [0, u32::from(number), frame.len() as u32, frame.len() as u32] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(frame);
        }
        let failed = |error| Failure::File { path: path.display().to_string(), error };
        fs::write(&path, bytes).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
