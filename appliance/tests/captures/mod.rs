// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capture files in a folder of their own, and a replay over them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use appliance::cli::NicFile;
use appliance::replay::{ReplayError, Summary, replay};
use control::config::Config;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};

/// A frame and the time it was seen.
pub type Seen = (Duration, Vec<u8>);

/// How a capture is written.
#[derive(Clone, Copy)]
pub struct Form(pub Endianness, pub TsResolution);

/// What tcpdump writes on most machines.
pub const PLAIN: Form = Form(Endianness::Little, TsResolution::MicroSecond);

/// A folder that goes when the test ends.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let name = format!("pointsman-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a capture of frames seen by a NIC.
    pub fn capture(&self, name: &str, form: Form, frames: &[Seen]) -> PathBuf {
        let path = self.path(name);
        let Form(endianness, ts_resolution) = form;
        let datalink = DataLink::ETHERNET;
        let header = PcapHeader { datalink, endianness, ts_resolution, ..PcapHeader::default() };
        let mut writer = PcapWriter::with_header(File::create(&path).unwrap(), header).unwrap();
        for (at, frame) in frames {
            let packet = PcapPacket::new(*at, frame.len() as u32, frame);
            writer.write_packet(&packet).unwrap();
        }
        path
    }

    /// Replays what `wan` and `lan` saw; what they send is in `wan.out` and `lan.out`.
    pub fn replay(
        &self,
        config: &Config,
        rules: &str,
        [wan, lan]: [&[Seen]; 2],
        workers: u16,
    ) -> Result<Summary, ReplayError> {
        let inputs = [
            nic_file("wan", &self.capture("wan.in", PLAIN, wan)),
            nic_file("lan", &self.capture("lan.in", PLAIN, lan)),
        ];
        replay(config, rules, &inputs, &self.outputs(), workers)
    }

    pub fn outputs(&self) -> [NicFile; 2] {
        ["wan", "lan"].map(|nic| nic_file(nic, &self.path(&format!("{nic}.out"))))
    }

    /// What a replay wrote for a NIC.
    pub fn sent(&self, nic: &str) -> Vec<Seen> {
        read(&self.path(&format!("{nic}.out")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn nic_file(nic: &str, file: &Path) -> NicFile {
    NicFile { nic: nic.to_owned(), file: file.to_owned() }
}

pub fn read(path: &Path) -> Vec<Seen> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        frames.push((packet.timestamp, packet.data.into_owned()));
    }
    frames
}

/// A director between clients on `wan` and servers on `lan`.
pub fn config(text: &str) -> Config {
    Config::parse(text, "test.toml").unwrap_or_else(|error| panic!("{error}"))
}
