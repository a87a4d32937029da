// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capture files in and out: pcap with seconds and a fraction, Ethernet, one frame after the other.
//!
//! Inputs are read in either byte order and resolution; outputs are always little-endian with
//! nanoseconds, so that they do not depend on the machine. No file is held in memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::config::Config;
use lb::ids::NicId;
use lb::limits::BATCH;
use pcap_file::pcap::{PcapHeader, PcapReader, PcapWriter, RawPcapPacket};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};
use wire::{Frame, VecFrame};

use super::{ReplayError, by_nic};
use crate::cli::NicFile;

/// The longest frame of a capture, in bytes: what tcpdump writes at most.
const FRAME_MAX: usize = 262_144;

/// The frames of all inputs by time.
pub(super) struct Arrivals {
    inputs: Vec<Input>,
    /// The latest moment so far: time never goes back.
    now: Duration,
    /// Frames left out because the capture has only their beginning.
    pub(super) cut_short: u64,
    /// Frames that were earlier than one before them.
    pub(super) out_of_order: u64,
}

impl Arrivals {
    /// Opens all inputs and reads the first frame of each.
    pub(super) fn open(config: &Config, files: &[NicFile]) -> Result<Self, ReplayError> {
        let inputs = by_nic(config, files)?;
        let inputs = inputs.into_iter().map(|(nic, file)| Input::open(nic, &file.file));
        let mut arrivals = Self {
            inputs: inputs.collect::<Result<_, _>>()?,
            now: Duration::ZERO,
            cut_short: 0,
            out_of_order: 0,
        };
        for input in &mut arrivals.inputs {
            arrivals.cut_short += input.advance()?;
        }
        Ok(arrivals)
    }

    /// Puts the frames of the next moment into `batch`, as many as go through the workers
    /// together, and says which moment that is; none after the last frame.
    pub(super) fn next_batch(
        &mut self,
        batch: &mut Vec<(NicId, VecFrame)>,
    ) -> Result<Option<Duration>, ReplayError> {
        let mut moment = None;
        while batch.len() < BATCH {
            let Some((at, index)) = self.earliest() else { break };
            if moment.is_some_and(|moment| at > moment) {
                break;
            }
            self.out_of_order += u64::from(at < self.now);
            self.now = self.now.max(at);
            moment = Some(self.now);
            let Some(input) = self.inputs.get_mut(index) else { break };
            if let Some(arrival) = input.next.take() {
                batch.push((input.nic, arrival.frame));
            }
            self.cut_short += input.advance()?;
        }
        Ok(moment)
    }

    /// The earliest frame that is waiting: its time and its input.
    fn earliest(&self) -> Option<(Duration, usize)> {
        let waiting = self.inputs.iter().enumerate();
        waiting.filter_map(|(index, input)| Some((input.next.as_ref()?.at, index))).min()
    }
}

struct Input {
    nic: NicId,
    path: PathBuf,
    reader: PcapReader<File>,
    next: Option<Arrival>,
    /// Frames read so far.
    number: u64,
}

struct Arrival {
    at: Duration,
    frame: VecFrame,
}

impl Input {
    fn open(nic: NicId, path: &Path) -> Result<Self, ReplayError> {
        let file = File::open(path).map_err(|error| ReplayError::unreadable(path, &error))?;
        let reader = PcapReader::new(file).map_err(|error| match error {
            PcapError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                ReplayError::unreadable(path, &error)
            }
            _ => ReplayError::NotACapture { file: path.to_owned() },
        })?;
        if reader.header().datalink != DataLink::ETHERNET {
            return Err(ReplayError::NotEthernet { file: path.to_owned() });
        }
        Ok(Self { nic, path: path.to_owned(), reader, next: None, number: 0 })
    }

    /// Reads the next whole frame; says how many were passed over because they are not whole.
    fn advance(&mut self) -> Result<u64, ReplayError> {
        let resolution = self.reader.header().ts_resolution;
        let mut cut_short = 0;
        while let Some(record) = self.reader.next_raw_packet() {
            self.number += 1;
            let damaged = || ReplayError::Damaged { file: self.path.clone(), number: self.number };
            let record = record.map_err(|error| match error {
                PcapError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    ReplayError::unreadable(&self.path, &error)
                }
                _ => damaged(),
            })?;
            let at = timestamp(&record, resolution).ok_or_else(damaged)?;
            if record.data.len() > FRAME_MAX {
                return Err(damaged());
            }
            if record.data.len() >= record.orig_len as usize {
                self.next = Some(Arrival { at, frame: VecFrame::new(&record.data) });
                break;
            }
            cut_short += 1;
        }
        Ok(cut_short)
    }
}

/// The time of a record since 1970; none if the fraction is a second or more.
fn timestamp(record: &RawPcapPacket<'_>, resolution: TsResolution) -> Option<Duration> {
    let unit_ns = match resolution {
        TsResolution::MicroSecond => 1000,
        TsResolution::NanoSecond => 1,
    };
    let nanoseconds = record.ts_frac.checked_mul(unit_ns).filter(|ns| *ns < 1_000_000_000)?;
    Some(Duration::new(record.ts_sec.into(), nanoseconds))
}

/// The files for what NICs send.
pub(super) struct Departures {
    outputs: Vec<Option<Output>>,
    /// Frames that left by a NIC without a file, by NIC.
    unwritten: Vec<u64>,
}

struct Output {
    path: PathBuf,
    writer: PcapWriter<BufWriter<File>>,
    count: u64,
}

impl Departures {
    /// Creates the files, none of which may be an input or there twice.
    pub(super) fn create(
        config: &Config,
        inputs: &[NicFile],
        files: &[NicFile],
    ) -> Result<Self, ReplayError> {
        let nics = config.nics.len();
        let mut departures = Self { outputs: Vec::new(), unwritten: vec![0; nics] };
        departures.outputs.resize_with(nics, || None);
        let mut taken: Vec<PathBuf> =
            inputs.iter().filter_map(|input| input.file.canonicalize().ok()).collect();
        for (nic, file) in by_nic(config, files)? {
            let path = &file.file;
            if path.canonicalize().is_ok_and(|path| taken.contains(&path)) {
                return Err(ReplayError::Overwritten { file: path.clone() });
            }
            let Some(output) = departures.outputs.get_mut(nic.index()) else { continue };
            if output.is_some() {
                return Err(ReplayError::TwoOutputs { nic: file.nic.clone() });
            }
            *output = Some(Output::create(path)?);
            taken.extend(path.canonicalize());
        }
        Ok(departures)
    }

    /// Writes a frame that leaves by a NIC.
    pub(super) fn write(
        &mut self,
        nic: NicId,
        at: Duration,
        frame: &VecFrame,
    ) -> Result<(), ReplayError> {
        match self.outputs.get_mut(nic.index()).and_then(Option::as_mut) {
            Some(output) => output.write(at, frame),
            None => {
                if let Some(count) = self.unwritten.get_mut(nic.index()) {
                    *count += 1;
                }
                Ok(())
            }
        }
    }

    /// Sees to it that everything is in the files; says what left by each NIC.
    pub(super) fn finish(self) -> Result<Vec<Sent>, ReplayError> {
        let nics = self.outputs.into_iter().zip(self.unwritten);
        nics.map(|(output, unwritten)| match output {
            Some(output) => Ok(Sent { frames: output.finish()?, written: true }),
            None => Ok(Sent { frames: unwritten, written: false }),
        })
        .collect()
    }
}

/// What left by a NIC.
pub(super) struct Sent {
    pub(super) frames: u64,
    /// Whether there was a file for them.
    pub(super) written: bool,
}

impl Output {
    fn create(path: &Path) -> Result<Self, ReplayError> {
        let file = File::create(path).map_err(|error| ReplayError::unwritable(path, &error))?;
        let header = PcapHeader {
            snaplen: FRAME_MAX as u32,
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(BufWriter::new(file), header)
            .map_err(|error| unwritable(path, error))?;
        Ok(Self { path: path.to_owned(), writer, count: 0 })
    }

    fn write(&mut self, at: Duration, frame: &VecFrame) -> Result<(), ReplayError> {
        let record = RawPcapPacket {
            ts_sec: at.as_secs() as u32,
            ts_frac: at.subsec_nanos(),
            incl_len: frame.len() as u32,
            orig_len: frame.len() as u32,
            data: frame.bytes().into(),
        };
        let written = self.writer.write_raw_packet(&record);
        written.map_err(|error| unwritable(&self.path, error))?;
        self.count += 1;
        Ok(())
    }

    fn finish(self) -> Result<u64, ReplayError> {
        let flushed = self.writer.into_writer().flush();
        flushed.map_err(|error| ReplayError::unwritable(&self.path, &error))?;
        Ok(self.count)
    }
}

fn unwritable(path: &Path, error: PcapError) -> ReplayError {
    match error {
        PcapError::IoError(error) => ReplayError::unwritable(path, &error),
        _ => ReplayError::unwritable(path, &io::ErrorKind::InvalidData.into()),
    }
}
