// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of how NICs spread packets over queues, and what ownership makes of it.
//!
//! A NIC that hashes the source alone on the clients' side, or the destination alone on the
//! servers' side, hashes the client's endpoint: then that hash is the owner function itself, and
//! packets land where they belong. To FULLNAT local addresses the owner is the queue that the
//! reply's hash leads to, and local ports are chosen so that it is the worker that opened the
//! connection. A NIC that behaves otherwise than was believed costs hand-offs and nothing else;
//! but where the landing worker owns requests, the fragments of a flow look for it where the NIC
//! was believed to let its whole packets land.

use wire::{Endpoint, Family, Tuple};
use zerocopy::IntoBytes;

use crate::ids::{NicId, WorkerId};
use crate::toeplitz::Toeplitz;

/// What of a TCP or UDP packet a NIC hashes; fields that are left out take no room in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFields {
    /// Both addresses and both ports.
    Tuple,
    /// Source address and port.
    Source,
    /// Destination address and port.
    Destination,
}

/// How all NICs that are known to do so spread packets.
#[derive(Debug)]
pub struct Rss {
    toeplitz: Toeplitz,
    /// Owner of each value of the hash modulo the length.
    table: Vec<WorkerId>,
    by_client: bool,
    replies: Option<HashFields>,
    nics: Vec<Option<HashFields>>,
}

impl Rss {
    /// What is to be made of NICs that hash with `key` and send each value of the hash, modulo
    /// `table`'s length, to the queue of the worker there; `nics` says what each hashes, as far as
    /// it is known. None if no NIC is known, the table is empty, or the key is too short.
    pub fn new(key: &[u8], table: Vec<WorkerId>, nics: &[Option<HashFields>]) -> Option<Self> {
        let mut known = nics.iter().flatten();
        let by_client = known.clone().any(|fields| *fields != HashFields::Tuple);
        let replies = known.clone().find(|fields| **fields != HashFields::Source).copied();
        known.next().filter(|_| !table.is_empty())?;
        let nics = nics.to_vec();
        Some(Self { toeplitz: Toeplitz::new(key)?, table, by_client, replies, nics })
    }

    /// Whether the owner function is the NICs' hash of the client's endpoint.
    pub fn is_by_client(&self) -> bool {
        self.by_client
    }

    /// What NICs hash of replies to local addresses, if that decides who owns them.
    pub fn replies(&self) -> Option<HashFields> {
        self.replies
    }

    /// The owner of packets from or to a client, where the NICs' hash decides that.
    #[inline]
    pub fn client<F: Family>(&self, client: Endpoint<F>) -> Option<WorkerId> {
        self.by_client.then(|| self.worker(self.toeplitz.hash(client.as_bytes())))
    }

    /// The owner of a reply to a local address, where the NICs' hash decides that.
    #[inline]
    pub fn reply<F: Family>(&self, tuple: &Tuple<F>) -> Option<WorkerId> {
        Some(self.hashed(self.replies?, tuple))
    }

    /// The worker whose queue whole packets that come by a NIC land on, where its hash is known.
    pub(crate) fn landing<F: Family>(&self, nic: NicId, tuple: &Tuple<F>) -> Option<WorkerId> {
        let fields = *self.nics.get(nic.index())?;
        Some(self.hashed(fields?, tuple))
    }

    #[inline]
    fn hashed<F: Family>(&self, fields: HashFields, tuple: &Tuple<F>) -> WorkerId {
        self.worker(match fields {
            HashFields::Tuple => self.toeplitz.hash(tuple.as_bytes()),
            HashFields::Source => self.toeplitz.hash(tuple.source().as_bytes()),
            HashFields::Destination => self.toeplitz.hash(tuple.destination().as_bytes()),
        })
    }

    #[inline]
    fn worker(&self, hash: u32) -> WorkerId {
        let place = (hash as usize).checked_rem(self.table.len()).unwrap_or_default();
        self.table.get(place).copied().unwrap_or(WorkerId(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::V4;

    const KEY: [u8; 40] = [0x5a; 40];

    fn table() -> Vec<WorkerId> {
        (0..128).map(|value| WorkerId(value % 4)).collect()
    }

    fn endpoint(addr: [u8; 4], port: u16) -> Endpoint<V4> {
        Endpoint { addr: wire::Addr4(addr), port: port.into() }
    }

    #[test]
    fn whole_tuples_decide_replies_only() {
        let rss = Rss::new(&KEY, table(), &[Some(HashFields::Tuple), None]).unwrap();
        assert_eq!(rss.client(endpoint([198, 51, 100, 7], 4000)), None);
        assert_eq!(rss.replies(), Some(HashFields::Tuple));
    }

    #[test]
    fn sources_decide_requests_and_the_servers_side_replies() {
        let nics = [Some(HashFields::Source), Some(HashFields::Destination)];
        let rss = Rss::new(&KEY, table(), &nics).unwrap();
        assert!(rss.client(endpoint([198, 51, 100, 7], 4000)).is_some());
        let (server, local) = (endpoint([10, 0, 0, 1], 80), endpoint([10, 0, 0, 9], 2001));
        let reply = rss.reply(&Tuple::new(server, local));
        let other = rss.reply(&Tuple::new(endpoint([10, 0, 0, 2], 8080), local));
        assert_eq!(reply, other, "the server counts for nothing");
        assert_eq!(reply, rss.client(local), "and a destination hashes as a client does");
    }

    #[test]
    fn one_arm_that_hashes_sources_knows_nothing_of_replies() {
        let rss = Rss::new(&KEY, table(), &[Some(HashFields::Source)]).unwrap();
        assert_eq!(rss.replies(), None);
        let local = endpoint([10, 0, 0, 9], 2001);
        assert_eq!(rss.reply(&Tuple::new(endpoint([10, 0, 0, 1], 80), local)), None);
    }

    #[test]
    fn nothing_known_is_no_rss() {
        assert!(Rss::new(&KEY, table(), &[None]).is_none());
        assert!(Rss::new(&KEY, vec![], &[Some(HashFields::Tuple)]).is_none());
        assert!(Rss::new(&KEY[..39], table(), &[Some(HashFields::Tuple)]).is_none());
    }
}
