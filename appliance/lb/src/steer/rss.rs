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

use wire::{Endpoint, Family, FamilyId, FlowKey, L4, Tuple};
use zerocopy::IntoBytes;

use crate::ids::{NicId, WorkerId};
use crate::steer::toeplitz::Toeplitz;

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

/// The kinds of packet of which a NIC may see the ports, each for itself.
pub const KINDS: [(FamilyId, L4); 4] = [
    (FamilyId::V4, L4::Tcp),
    (FamilyId::V4, L4::Udp),
    (FamilyId::V6, L4::Tcp),
    (FamilyId::V6, L4::Udp),
];

/// The place of a kind in [`KINDS`]; of SCTP nothing is known.
#[inline]
fn place(family: FamilyId, protocol: L4) -> Option<usize> {
    let first = match family {
        FamilyId::V4 => 0,
        FamilyId::V6 => 2,
    };
    match protocol {
        L4::Tcp => Some(first),
        L4::Udp => Some(first + 1),
        L4::Sctp => None,
    }
}

/// What a NIC hashes of each kind of packet, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashed([Option<HashFields>; KINDS.len()]);

impl Hashed {
    /// Likewise, where of one more kind `fields` are hashed.
    #[must_use]
    pub fn with(mut self, family: FamilyId, protocol: L4, fields: HashFields) -> Self {
        if let Some(known) = place(family, protocol).and_then(|place| self.0.get_mut(place)) {
            *known = Some(fields);
        }
        self
    }

    /// What is hashed of a kind.
    #[inline]
    pub fn of(&self, family: FamilyId, protocol: L4) -> Option<HashFields> {
        *self.0.get(place(family, protocol)?)?
    }

    /// Whether nothing is known of any kind.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl From<Option<HashFields>> for Hashed {
    /// The same of every kind.
    fn from(fields: Option<HashFields>) -> Self {
        Self([fields; KINDS.len()])
    }
}

/// How all NICs that are known to do so spread packets.
#[derive(Debug)]
pub struct Rss {
    toeplitz: Toeplitz,
    /// Owner of each value of the hash modulo the length.
    table: Vec<WorkerId>,
    /// Of each kind, whether the hash of the client's endpoint decides.
    by_client: [bool; KINDS.len()],
    replies: Hashed,
    nics: Vec<Hashed>,
    /// Of each kind, whether every NIC is known.
    all_known: [bool; KINDS.len()],
}

impl Rss {
    /// What is to be made of NICs that hash with `key` and send each value of the hash, modulo
    /// `table`'s length, to the queue of the worker there; `nics` says what each hashes, as far as
    /// it is known. None if no NIC is known, the table is empty, or the key is too short.
    pub fn new(
        key: &[u8],
        table: Vec<WorkerId>,
        nics: &[impl Copy + Into<Hashed>],
    ) -> Option<Self> {
        let nics: Vec<Hashed> = nics.iter().map(|nic| (*nic).into()).collect();
        if table.is_empty() || nics.iter().all(Hashed::is_unknown) {
            return None;
        }
        let known = |(family, protocol)| nics.iter().map(move |nic| nic.of(family, protocol));
        let one_end = |fields: HashFields| fields != HashFields::Tuple;
        Some(Self {
            toeplitz: Toeplitz::new(key)?,
            table,
            by_client: KINDS.map(|kind| known(kind).flatten().any(one_end)),
            replies: Hashed(
                KINDS
                    .map(|kind| known(kind).flatten().find(|fields| *fields != HashFields::Source)),
            ),
            all_known: KINDS.map(|kind| known(kind).all(|fields| fields.is_some())),
            nics,
        })
    }

    /// Whether the owner function of a kind is the NICs' hash of the client's endpoint.
    #[inline]
    pub fn is_by_client(&self, family: FamilyId, protocol: L4) -> bool {
        place(family, protocol).and_then(|place| self.by_client.get(place)) == Some(&true)
    }

    /// What NICs hash of replies to local addresses, if that decides who owns them.
    pub fn replies(&self, family: FamilyId, protocol: L4) -> Option<HashFields> {
        self.replies.of(family, protocol)
    }

    /// Whether it is known of every NIC where whole packets of a kind land.
    pub fn is_known(&self, family: FamilyId, protocol: L4) -> bool {
        place(family, protocol).and_then(|place| self.all_known.get(place)) == Some(&true)
    }

    /// The owner of packets from or to a client, where the NICs' hash decides that.
    #[inline]
    pub fn client<F: Family>(&self, protocol: L4, client: Endpoint<F>) -> Option<WorkerId> {
        let decides = self.is_by_client(F::ID, protocol);
        decides.then(|| self.worker(self.toeplitz.hash(client.as_bytes())))
    }

    /// The owner of a reply to a local address, where the NICs' hash decides that.
    #[inline]
    pub fn reply<F: Family>(&self, key: &FlowKey<F>) -> Option<WorkerId> {
        Some(self.hashed(self.replies.of(F::ID, key.protocol)?, &key.tuple))
    }

    /// The worker whose queue whole packets that come by a NIC land on, where its hash is known.
    pub(crate) fn landing<F: Family>(&self, nic: NicId, key: &FlowKey<F>) -> Option<WorkerId> {
        let fields = self.nics.get(nic.index())?.of(F::ID, key.protocol)?;
        Some(self.hashed(fields, &key.tuple))
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

    fn reply_to(server: Endpoint<V4>, local: Endpoint<V4>) -> FlowKey<V4> {
        FlowKey { tuple: Tuple::new(server, local), protocol: L4::Tcp }
    }

    #[test]
    fn each_kind_of_packet_is_known_for_itself() {
        let tcp_only = Hashed::default().with(FamilyId::V4, L4::Tcp, HashFields::Source);
        let rss = Rss::new(&KEY, table(), &[tcp_only, Some(HashFields::Source).into()]).unwrap();
        let client = endpoint([198, 51, 100, 7], 4000);
        assert!(rss.client(L4::Tcp, client).is_some());
        assert!(rss.client(L4::Udp, client).is_some(), "the other NIC lands them so");
        assert_eq!(rss.client(L4::Sctp, client), None);
        assert!(rss.is_known(FamilyId::V4, L4::Tcp));
        assert!(!rss.is_known(FamilyId::V4, L4::Udp), "of one NIC it is not known");
        let rss = Rss::new(&KEY, table(), &[tcp_only]).unwrap();
        assert_eq!(rss.client(L4::Udp, client), None);
        assert!(!rss.is_by_client(FamilyId::V6, L4::Tcp));
    }

    #[test]
    fn whole_tuples_decide_replies_only() {
        let rss = Rss::new(&KEY, table(), &[Some(HashFields::Tuple), None]).unwrap();
        assert_eq!(rss.client(L4::Tcp, endpoint([198, 51, 100, 7], 4000)), None);
        assert_eq!(rss.replies(FamilyId::V4, L4::Tcp), Some(HashFields::Tuple));
    }

    #[test]
    fn sources_decide_requests_and_the_servers_side_replies() {
        let nics = [Some(HashFields::Source), Some(HashFields::Destination)];
        let rss = Rss::new(&KEY, table(), &nics).unwrap();
        assert!(rss.client(L4::Tcp, endpoint([198, 51, 100, 7], 4000)).is_some());
        let (server, local) = (endpoint([10, 0, 0, 1], 80), endpoint([10, 0, 0, 9], 2001));
        let reply = rss.reply(&reply_to(server, local));
        let other = rss.reply(&reply_to(endpoint([10, 0, 0, 2], 8080), local));
        assert_eq!(reply, other, "the server counts for nothing");
        assert_eq!(reply, rss.client(L4::Tcp, local), "and a destination hashes as a client does");
    }

    #[test]
    fn one_arm_that_hashes_sources_knows_nothing_of_replies() {
        let rss = Rss::new(&KEY, table(), &[Some(HashFields::Source)]).unwrap();
        assert_eq!(rss.replies(FamilyId::V4, L4::Tcp), None);
        let local = endpoint([10, 0, 0, 9], 2001);
        assert_eq!(rss.reply(&reply_to(endpoint([10, 0, 0, 1], 80), local)), None);
    }

    #[test]
    fn nothing_known_is_no_rss() {
        assert!(Rss::new(&KEY, table(), &[Hashed::default()]).is_none());
        assert!(Rss::new(&KEY, vec![], &[Some(HashFields::Tuple)]).is_none());
        assert!(Rss::new(&KEY[..39], table(), &[Some(HashFields::Tuple)]).is_none());
    }
}
