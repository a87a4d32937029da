// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records as a pcapng file: an interface per NIC, and per frame a comment that says what became of
//! it, why, and of which connection it is.
//!
//! draft-ietf-opsawg-pcapng; tcpdump, tshark and Wireshark read it. Times are of nanoseconds.

use std::borrow::Cow;
use std::time::Duration;

use lb::verdict::{DropReason, Verdict};
use lb::witness::End;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapError};

use super::{Asides, Record, SNAP, Way};
use crate::tell;

/// Decimal places of a second.
const RESOLUTION: u8 = 9;
/// Bits 0 and 1 of the flags: the frame came in, or went out.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Makes a file of records, block by block.
pub struct File {
    writer: PcapNgWriter<Vec<u8>>,
    nics: Vec<String>,
    /// What time it was when time began, since 1970.
    epoch: Duration,
}

impl File {
    /// A file with an interface for each NIC, by their numbers.
    ///
    /// # Errors
    /// A name that is too long for a block.
    pub fn new(nics: Vec<String>, epoch: Duration) -> Result<Self, PcapError> {
        let mut writer = PcapNgWriter::with_endianness(Vec::new(), Endianness::Little)?;
        for nic in &nics {
            writer.write_pcapng_block(InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: SNAP as u32,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(nic.as_str())),
                    InterfaceDescriptionOption::IfTsResol(RESOLUTION),
                ],
            })?;
        }
        Ok(Self { writer, nics, epoch })
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// The NIC is not one of the file's.
    pub fn put(&mut self, record: &Record) -> Result<(), PcapError> {
        let flags = match record.way {
            Way::In => INBOUND,
            Way::Out => OUTBOUND,
        };
        let comment = comment(record, &self.nics);
        let block = EnhancedPacketBlock {
            interface_id: record.nic.0.into(),
            timestamp: self.epoch + Duration::from_nanos(record.at_ns),
            original_len: u32::try_from(record.length).unwrap_or(u32::MAX),
            data: Cow::Borrowed(record.head()),
            options: vec![
                EnhancedPacketOption::Comment(Cow::Owned(comment)),
                EnhancedPacketOption::Flags(flags),
            ],
        };
        self.writer.write_pcapng_block(block).map(|_| ())
    }

    /// Takes out the bytes that were made since the last call: whole blocks.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }
}

/// What became of the frame, why, and of which connection it is.
fn comment(record: &Record, nics: &[String]) -> String {
    let name = |nic: lb::ids::NicId| nics.get(nic.index()).map_or("?", String::as_str);
    let dropped = |reason: DropReason| {
        format!("dropped: {}: {} {}", reason.name(), reason.meaning(), reason.remedy())
    };
    let fate = match (record.way, record.end) {
        (_, None) => "from the host".to_owned(),
        (_, Some(End::Verdict(Verdict::Drop(reason)))) => dropped(reason),
        (Way::In, Some(End::Verdict(Verdict::Transmit(nic)))) => format!("sent by {}", name(nic)),
        (Way::In, Some(End::Answered(nic, reason))) => {
            format!("{}; its sender was told by {}", dropped(reason), name(nic))
        }
        (Way::In, Some(End::Held(neighbour))) => {
            format!("waits for {} on {}", neighbour.address, name(neighbour.nic))
        }
        (Way::In, Some(End::AwaitsFirst)) => "waits for the first fragment".to_owned(),
        (Way::In, Some(End::Verdict(Verdict::Punt(_)))) => "for the host".to_owned(),
        (Way::In, Some(End::Verdict(Verdict::HandOff(worker, _)))) => {
            format!("handed to worker {worker}")
        }
        (Way::Out, Some(End::Answered(_, reason))) => {
            format!("our answer to a frame dropped: {}", reason.name())
        }
        (Way::Out, Some(_)) => "as it left".to_owned(),
    };
    let connection = record.meeting.map_or_else(String::new, |meeting| {
        format!("; {}, {}", tell::connection(&meeting), meeting.state.name())
    });
    format!("worker {}: {fate}{connection}{}", record.worker, asides(&record.asides))
}

fn asides(asides: &Asides) -> String {
    let parts = [
        asides.rule.map(tell::rule),
        asides.persisted.map(|how| tell::persisted(how).to_owned()),
        asides.recycled.then(|| tell::RECYCLED.to_owned()),
        asides.mss.map(|most| format!("MSS {}", tell::clamped(most))),
    ];
    parts.into_iter().flatten().map(|part| format!("; {part}")).collect()
}
