// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a replay failed.

use std::io;
use std::path::{Path, PathBuf};

use control::rules::RulesError;

/// Why a replay could not begin or did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A file is named for a NIC that the configuration does not have.
    #[error("the configuration has no NIC {nic}; it has: {known}")]
    UnknownNic {
        /// The name.
        nic: String,
        /// Names that would be right.
        known: String,
    },
    /// A NIC whose link-layer address is the device's own business at run time.
    #[error("NIC {nic} has no mac in the configuration; without it no frame is known to be for it")]
    NoMac {
        /// Its name.
        nic: String,
    },
    /// More than one file for what a NIC sends.
    #[error("two files are named for what NIC {nic} sends; name one")]
    TwoOutputs {
        /// Its name.
        nic: String,
    },
    /// The tables would be too large.
    #[error(
        "[connections] capacity is more than a worker's table can have; 2^30 per worker is right"
    )]
    TooManyConnections,
    /// The rules were not accepted.
    #[error("rules, line {0}")]
    Rules(#[from] RulesError),
    /// A capture cannot be opened or read.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::ErrorKind,
    },
    /// An output cannot be created or written.
    #[error("{}: cannot be written: {reason}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: io::ErrorKind,
    },
    /// An output is one of the inputs, or another output.
    #[error("{}: is named twice; an output would overwrite it", file.display())]
    Overwritten {
        /// The file.
        file: PathBuf,
    },
    /// The explanation cannot be written.
    #[error("the explanation cannot be written: {0}")]
    Unexplained(io::ErrorKind),
    /// A file in another format.
    #[error("{}: is no pcap capture; `editcap -F pcap` makes one of a pcapng", file.display())]
    NotACapture {
        /// The file.
        file: PathBuf,
    },
    /// A capture of another link layer.
    #[error("{}: was not captured on Ethernet; capture on the NIC, not on \"any\"", file.display())]
    NotEthernet {
        /// The file.
        file: PathBuf,
    },
    /// A capture that breaks off, or lengths that cannot be.
    #[error(
        "{}: frame {number} is damaged or cut off; `editcap` saves the frames before it",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Which of its frames, counted from 1.
        number: u64,
    },
}

impl ReplayError {
    pub(super) fn unreadable(file: &Path, error: &io::Error) -> Self {
        Self::Unreadable { file: file.to_owned(), reason: error.kind() }
    }

    pub(super) fn unwritable(file: &Path, error: &io::Error) -> Self {
        Self::Unwritable { file: file.to_owned(), reason: error.kind() }
    }
}
