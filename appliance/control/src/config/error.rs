// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with a configuration, each with what would be right.

use std::io;
use std::net::IpAddr;

use super::prefix::Shown;

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no file.
    #[error("{0}: no such file; configs/reference.toml shows what one may contain")]
    Missing(String),
    /// The file holds other bytes than text.
    #[error("{file}:{line}: not UTF-8 text; save the file as UTF-8")]
    NotText {
        /// The file's name.
        file: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file cannot be read.
    #[error("{file}: cannot be read: {reason}")]
    Unreadable {
        /// The file's name.
        file: String,
        /// Why not.
        reason: io::ErrorKind,
    },
    /// The text is not TOML.
    #[error("{file}:{line}: not TOML: {reason}")]
    Syntax {
        /// The file's name.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What the TOML parser says.
        reason: String,
    },
    /// A key or its value is wrong.
    #[error("{file}:{line}: {key}: {problem}")]
    Key {
        /// The file's name.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The key with its section: `[workers] count`.
        key: String,
        /// What is wrong, and what would be right.
        problem: Box<Problem>,
    },
}

/// What is wrong with a key or its value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no key of this name.
    #[error("unknown key; the nearest valid one is `{0}`")]
    UnknownKey(&'static str),
    /// There is no key of this name, nor of a similar one.
    #[error("unknown key; the valid ones are {0}")]
    StrangeKey(String),
    /// The key exists, and what it is for does not yet.
    #[error("not available in this release; leave it out")]
    NotInThisRelease,
    /// There is no section of this name.
    #[error("unknown section; the nearest valid one is `{0}`")]
    UnknownSection(&'static str),
    /// There is no section of this name, nor of a similar one.
    #[error("unknown section; the valid ones are {0}")]
    StrangeSection(String),
    /// The key belongs to another section.
    #[error("not a key of this section; its place is `{0}`")]
    Misplaced(&'static str),
    /// A key that must be there is not.
    #[error("missing; for example: {0}")]
    Missing(&'static str),
    /// The value is of another type.
    #[error("{found} is here; {right} is right")]
    WrongType {
        /// The type that was found.
        found: &'static str,
        /// The type that would be right.
        right: &'static str,
    },
    /// The number is too small or too large.
    #[error("{found} is out of range; {min} to {max}{unit} is right")]
    OutOfRange {
        /// The number as written.
        found: String,
        /// The smallest right value.
        min: u64,
        /// The largest right value.
        max: u64,
        /// The unit with a space before it, or nothing.
        unit: &'static str,
    },
    /// The number must be a power of two.
    #[error("{found} is not a power of two; {nearest} is")]
    NotAPowerOfTwo {
        /// The number as written.
        found: u64,
        /// The next larger power of two within the range, or the largest.
        nearest: u64,
    },
    /// The text is not of the form that this key takes.
    #[error("\"{found}\" is not {what}; for example: {example}")]
    Malformed {
        /// The text as written.
        found: String,
        /// What it should be.
        what: &'static str,
        /// A right value.
        example: &'static str,
    },
    /// The text is too long.
    #[error("\"{found}\" is too long; at most {max} bytes are right")]
    TooLong {
        /// The text as written.
        found: String,
        /// The largest length in bytes.
        max: usize,
    },
    /// The value is taken.
    #[error("\"{found}\" is already used on line {first_line}; {right}")]
    Duplicate {
        /// The value as written.
        found: String,
        /// Where it was used first, counted from 1.
        first_line: usize,
        /// What would be right.
        right: &'static str,
    },
    /// DPDK gets this argument from a key of its own.
    #[error("\"{0}\" is set by Pointsman; use `{1}`")]
    OwnArgument(String, &'static str),
    /// A NIC's receive queues are polled by one worker each.
    #[error(
        "more receive queues ({queues}) than workers ({workers}); at most one per worker is right"
    )]
    MoreQueuesThanWorkers {
        /// The queues asked for.
        queues: u16,
        /// The workers that there are.
        workers: u16,
    },
    /// The route or neighbour belongs to a NIC that the kernel keeps them for.
    #[error("NIC \"{nic}\" has a host interface; give it to the kernel instead: {command}")]
    KernelKeepsIt {
        /// The NIC's name.
        nic: String,
        /// What to type.
        command: String,
    },
    /// The kernel has an interface of this name on every machine.
    #[error("\"{0}\" is the kernel's own interface; a name that no interface has is right")]
    KernelInterface(String),
    /// No NIC has this name.
    #[error("there is no NIC \"{found}\"; the NICs are: {known}")]
    UnknownNic {
        /// The name as written.
        found: String,
        /// The names that there are.
        known: String,
    },
    /// The address is on no segment of the NIC.
    #[error("{address} is on no segment of NIC \"{nic}\"; {segments}")]
    NotOnSegment {
        /// The address.
        address: IpAddr,
        /// The NIC's name.
        nic: String,
        /// The NIC's segments, in a sentence.
        segments: String,
    },
    /// The address is the director's own.
    #[error("{0} is the director's own address; another machine's is right")]
    OwnAddress(IpAddr),
    /// The source address is not the director's own.
    #[error("{0} is no address of a NIC here; one of [[nic]] addresses is right")]
    ForeignSource(IpAddr),
    /// The prefix has bits set beyond its length.
    #[error("the prefix has bits beyond its length; {0} is right")]
    HostBits(Shown),
    /// Nothing says of which family the default route is.
    #[error("\"default\" without via has no address family; 0.0.0.0/0 or ::/0 is right")]
    DefaultOfNoFamily,
    /// IPv4 and IPv6 are mixed.
    #[error("{0} is not of the route's address family; use an address of the same family as `to`")]
    FamilyMismatch(IpAddr),
    /// The address cannot be one machine's.
    #[error("{0} is not a unicast address; an address of one machine is right")]
    NotUnicast(IpAddr),
    /// A rule cannot be of both families.
    #[error("not of the family of `source`, {0}; an address of the same family is right")]
    MixedFamilies(Shown),
    /// There are more tables of this name than the limit.
    #[error("too many of them; at most {0} are right")]
    TooMany(usize),
    /// There must be a local port for each worker.
    #[error("fewer ports ({ports}) than workers ({workers}); at least one per worker is right")]
    TooFewPorts {
        /// Ports in the range.
        ports: u32,
        /// The workers that there are.
        workers: u16,
    },
    /// What others set up must be told.
    #[error(
        "true needs to be told what was set; give the NIC's `rss` (tuple, source or destination) \
         and `[workers] rss_key`"
    )]
    PresetUnknown,
    /// There is no file to save to.
    #[error("true needs a file to save to; set `[rules] file`")]
    PersistWithoutFile,
}
