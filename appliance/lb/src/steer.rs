// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which worker owns a flow: a pure function of the packet and of what was fixed at the start.
//!
//! A packet to a FULLNAT local address belongs to the worker whose queue it lands on where the
//! NICs' hash is known ([`rss`]), else to the class of its port. One to a VIP, from a server
//! or with a mark belongs to the hash of the client's endpoint, which is the destination of a
//! server's packet and the source of the others: so a NAT reply, which does not carry the VIP,
//! finds home too. Any other packet is the host's and stays where it landed.
//!
//! Where the worker that receives a request owns it, fragments have to find it: they land where
//! whole packets do not. So a flow that may begin in fragments is owned in this way only where it
//! is known where its whole packets land.

pub mod local_ports;
pub mod rss;
pub mod toeplitz;

use std::ops::RangeInclusive;
use std::sync::Arc;

use wire::{Endpoint, FlowKey, L4, Mac, Piece};
use zerocopy::IntoBytes;

use crate::hash::Keyed;
use crate::ids::{NicId, Seed, WorkerId};
use crate::marks::MarkRules;
use crate::snapshot::{FamilyServices, SnapshotFamily};
use crate::steer::local_ports::PortClass;
use crate::steer::rss::Rss;

/// Who owns requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The worker of the client's hash.
    Hash,
    /// The worker that receives them; there is no NAT then. Where it is not known how NICs hash
    /// UDP, the worker of the client's hash owns that, and SCTP always.
    Landing,
}

/// What of a NIC workers must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicWiring {
    /// Its link-layer address: frames to another one are not for us.
    pub mac: Mac,
    /// Whether there is a host interface to punt to.
    pub has_host: bool,
}

/// How workers and NICs are wired; fixed at the start, the same for all workers.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// How many workers there are.
    pub workers: u16,
    /// Who owns requests.
    pub owner: Owner,
    /// The NICs.
    pub nics: Vec<NicWiring>,
    /// FULLNAT source ports.
    pub local_ports: RangeInclusive<u16>,
    /// How NICs spread packets over the workers, where that is known.
    pub rss: Option<Arc<Rss>>,
    /// What marks packets.
    pub marks: Arc<MarkRules>,
    /// What all keyed hashes start from.
    pub seed: Seed,
}

impl Wiring {
    /// A NIC's wiring.
    pub fn nic(&self, nic: NicId) -> Option<&NicWiring> {
        self.nics.get(nic.index())
    }
}

/// The owner function of one worker.
#[derive(Clone, Debug)]
pub struct Steering {
    here: WorkerId,
    workers: u16,
    landing: bool,
    keyed: Keyed,
    rss: Option<Arc<Rss>>,
    marks: Arc<MarkRules>,
}

impl Steering {
    /// The owner function as seen from the worker `here`.
    pub fn new(wiring: &Wiring, here: WorkerId) -> Self {
        Self {
            here,
            workers: wiring.workers,
            landing: wiring.owner == Owner::Landing,
            keyed: Keyed::new(wiring.seed),
            rss: wiring.rss.clone(),
            marks: Arc::clone(&wiring.marks),
        }
    }

    /// The worker that knows where the fragments of a packet go, by the hash of its name: source,
    /// destination and identification.
    pub(crate) fn keeper(&self, packet: u64) -> WorkerId {
        WorkerId((((packet >> 32) * u64::from(self.workers)) >> 32) as u16)
    }

    /// The worker that a first fragment goes to from here, which is where the answer of
    /// [`Self::owner`] would be the worker that received the packet whole: the one that whole
    /// packets land on, or, where that is not known, each worker in turn from the packet's keeper
    /// on, until one knows the flow or the last one opens it.
    pub(crate) fn seek<F: SnapshotFamily>(
        &self,
        key: &FlowKey<F>,
        nic: NicId,
        keeper: WorkerId,
        services: &FamilyServices<F>,
    ) -> WorkerId {
        let tuple = &key.tuple;
        let is_landed = self.lands(key)
            && !services.is_local(tuple.dst)
            && (services.is_vip(tuple.dst) || !services.is_server(tuple.src));
        if !is_landed {
            return self.here;
        }
        let next = WorkerId((self.here.0 + 1).checked_rem(self.workers).unwrap_or_default());
        let in_turn = if next == keeper { self.here } else { next };
        self.rss.as_ref().and_then(|rss| rss.landing(nic, key)).unwrap_or(in_turn)
    }

    /// Whether the worker that receives a flow's requests owns them. TCP begins with a segment that
    /// no stack sends in fragments.
    fn lands<F: SnapshotFamily>(&self, key: &FlowKey<F>) -> bool {
        self.landing
            && match key.protocol {
                L4::Tcp => true,
                L4::Udp | L4::Sctp => {
                    self.rss.as_ref().is_some_and(|rss| rss.is_known(F::ID, key.protocol))
                }
            }
    }

    /// Whether a fragment, whose ports may not be known, may be of a packet for a service or from
    /// a server; any other is the host's.
    pub(crate) fn may_be_ours<F: SnapshotFamily>(
        &self,
        piece: &Piece<F>,
        nic: NicId,
        services: &FamilyServices<F>,
    ) -> bool {
        let Piece { src, dst, protocol, .. } = *piece;
        let wanted = |mark| services.has_mark(mark);
        services.is_vip(dst)
            || services.is_server(src)
            || self.marks.may_mark::<F>((src, dst, protocol), nic, wanted)
    }

    /// Whether there is one worker, which owns every flow.
    #[inline]
    pub fn is_alone(&self) -> bool {
        self.workers == 1
    }

    /// The worker that owns a packet's flow.
    pub fn owner<F: SnapshotFamily>(
        &self,
        key: &FlowKey<F>,
        nic: NicId,
        services: &FamilyServices<F>,
    ) -> WorkerId {
        if self.is_alone() {
            return self.here;
        }
        let tuple = &key.tuple;
        if services.is_local(tuple.dst) {
            let known = self.rss.as_ref().and_then(|rss| rss.reply(key));
            return known.unwrap_or(PortClass::owner(tuple.dport, self.workers));
        }
        // A reply to a client may fit a rule of marks too: it is still a reply.
        let client: Endpoint<F> = if services.is_vip(tuple.dst) {
            if self.lands(key) {
                return self.here;
            }
            tuple.source()
        } else if services.is_server(tuple.src) {
            tuple.destination()
        } else if !self.lands(key) && services.is_marked(|| self.marks.mark(key, nic)) {
            tuple.source()
        } else {
            return self.here;
        };
        self.of_client(key.protocol, client)
    }

    /// The worker to ask next whether it knows a flow, since this one does not; none if all were
    /// asked, or another could not know it.
    ///
    /// Only where the landing worker owns requests, and the key is a request's: then what is about
    /// a flow without being of it (an ICMP error) may land anywhere. The first to be asked is a
    /// pure function of the flow: the queue of its requests where the NICs' hash is known. From
    /// there on each worker asks the one after it, so that the round ends without a note of who was
    /// asked; `is_round` says that it has begun.
    pub(crate) fn next_to_ask<F: SnapshotFamily>(
        &self,
        key: &FlowKey<F>,
        is_round: bool,
        services: &FamilyServices<F>,
    ) -> Option<WorkerId> {
        if self.is_alone() || !self.lands(key) || !services.is_vip(key.tuple.dst) {
            return None;
        }
        let lands = self.rss.as_ref().and_then(|rss| rss.reply(key));
        let first = lands.unwrap_or_else(|| self.of_client(key.protocol, key.tuple.source()));
        if !is_round && first != self.here {
            return Some(first);
        }
        let after = self.here.0 + 1;
        let next = WorkerId(if after < self.workers { after } else { 0 });
        (next != first).then_some(next)
    }

    fn of_client<F: SnapshotFamily>(&self, protocol: L4, client: Endpoint<F>) -> WorkerId {
        if let Some(owner) = self.rss.as_ref().and_then(|rss| rss.client(protocol, client)) {
            return owner;
        }
        let hash = self.keyed.bytes(client.as_bytes()) >> 32;
        WorkerId(((hash * u64::from(self.workers)) >> 32) as u16)
    }
}
