// SPDX-License-Identifier: MIT OR Apache-2.0
//! A director as a program, in a folder of its own that is gone with it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pcap_file::pcap::{PcapPacket, PcapWriter};
use rustix::process::{Pid, Signal, kill_process};

/// The program under test.
const POINTSMAN: &str = env!("CARGO_BIN_EXE_pointsman");
/// How long a start or an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Needs neither root nor hugepages.
pub const NULL: &str = "[eal]\nhugepages = \"off\"\nmemory_mb = 128\n\
                        [workers]\nidle = 1000\n\
                        [connections]\ncapacity = 1024\n\
                        [[nic]]\nname = \"null\"\ndevice = \"net_null0,no-rx=1\"\n\
                        descriptors = 256\naddresses = [\"198.51.100.1/24\"]\n\
                        [control]\nsocket = \"./control.sock\"\n";

/// A folder with a configuration.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str, config: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pointsman-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        let this = Self(path);
        this.write("lb.toml", config);
        this
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file in our folder");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes a capture of frames.
    pub fn capture(&self, name: &str, frames: &[Vec<u8>]) {
        let file = File::create(self.path(name)).expect("a file in our folder");
        let mut writer = PcapWriter::new(file).expect("a file with room");
        for frame in frames {
            let packet = PcapPacket::new(Duration::ZERO, frame.len() as u32, frame);
            writer.write_packet(&packet).expect("a file with room");
        }
    }

    /// Starts a director, and does not wait for it.
    pub fn start(&self) -> Director<'_> {
        self.start_as(Command::new(POINTSMAN))
    }

    /// Starts a director by a shell that runs `before` first.
    pub fn start_after(&self, before: &str) -> Director<'_> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before}; exec \"$0\" \"$@\""), POINTSMAN]);
        self.start_as(command)
    }

    fn start_as(&self, mut command: Command) -> Director<'_> {
        let log = File::create(self.path("log")).expect("a file in our folder");
        command.args(["run", "--config", "lb.toml"]).current_dir(&self.0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Director { child: command.spawn().expect("the program runs"), folder: self }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with this.
pub struct Director<'a> {
    child: Child,
    folder: &'a Folder,
}

impl Director<'_> {
    /// Waits until it serves.
    pub fn ready(self) -> Self {
        self.says(" ready ");
        self
    }

    /// Waits until its log has `text`.
    pub fn says(&self, text: &str) {
        self.waits(|| self.log().contains(text), &format!("{text:?} in its log"));
    }

    /// Waits until something is so.
    pub fn waits(&self, is_so: impl Fn() -> bool, what: &str) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "no {what}:\n{}", self.log());
            sleep(Duration::from_millis(2));
        }
    }

    pub fn log(&self) -> String {
        self.folder.read("log")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// The most memory that it ever had in use, in bytes (proc(5), `status`).
    pub fn memory_bytes_max(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a high-water mark");
        kib.parse::<usize>().expect("a number") * 1024
    }

    /// Waits for its end, and returns its exit status.
    pub fn ended(mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            sleep(Duration::from_millis(2));
        }
    }

    /// Starts a client of its own in our folder.
    pub fn ctl(&self, words: &[&str]) -> Child {
        let mut command = Command::new(POINTSMAN);
        command.args(["ctl", "--socket", "control.sock"]).args(words);
        command.current_dir(&self.folder.0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program runs")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.folder.path("control.sock"))
    }
}

impl Drop for Director<'_> {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the control socket.
pub struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("a director that listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// Sends bytes, which may be a part of a line.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("it reads");
    }

    /// Sends a line, and returns the lines of the reply up to its end.
    pub fn ask(&mut self, line: &str) -> Vec<String> {
        self.send(format!("{line}\n").as_bytes());
        let mut reply = Vec::new();
        while !reply.last().is_some_and(|line: &String| ends(line)) {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a reply");
            assert!(line.ends_with('\n'), "the reply ends early: {reply:?}");
            reply.push(line.trim_end().to_owned());
        }
        reply
    }
}

fn ends(line: &str) -> bool {
    line.starts_with("OK ") || line.starts_with("ERR ")
}
