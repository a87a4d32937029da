// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragments: the first finds its connection as a whole packet does, the others follow it.
//!
//! The fragments of a packet meet at its *keeper*, the worker that the hash of source, destination
//! and identification names. The first one tells it whose flow that is, and all go on to the
//! flow's owner, which remembers the connection: two hand-offs at most, but more where the worker
//! that receives a flow's whole packets owns it and must be sought. A packet that leaves from
//! another address than it came from gets an identification of ours, since two clients (or two
//! servers) may use the same one, and the receiver would mix their packets up.
//!
//! The kernel puts packets together and takes them apart again; here the pieces stay as they are.

use arrayvec::ArrayVec;
use wire::{Fragment, Frame, L4, Outcome, Parsed, Piece, V4, V6, parse};

use crate::action::Action;
use crate::batch::{Batch, Origin};
use crate::conn::Direction;
use crate::conn::flows::Flows;
use crate::conn::table::Probe;
use crate::family::Balanced;
use crate::fate::{Fate, punt};
use crate::fragments::{Alone, Fragments, Name, Way};
use crate::ids::{NicId, WorkerId};
use crate::lane::Item;
use crate::limits::BATCH;
use crate::stage::Stage;
use crate::verdict::{DropReason, Verdict};
use crate::witness::{Fact, Witness};

/// What is known of one family's packets: connections, and packets in parts.
pub(crate) struct Known<'a, 'm, F: Balanced> {
    pub(crate) flows: &'a mut Flows<'m, F>,
    pub(crate) fragments: &'a mut Fragments<F>,
}

/// A fragment, and where it lies in its batch.
struct Part<F: Balanced> {
    piece: Piece<F>,
    name: Name<F>,
    packet: u64,
    index: u8,
    nic: NicId,
}

/// The packets whose first fragments came, by the hashes of their names.
pub(crate) type Come = ArrayVec<u64, BATCH>;

impl<W: Witness> Stage<'_, W> {
    /// Finds the fates of the frames of a batch that are fragments: those in `places`, a bit for
    /// each.
    #[cold]
    pub(crate) fn follow<B: Frame>(
        &mut self,
        mut v4: Known<'_, '_, V4>,
        mut v6: Known<'_, '_, V6>,
        batch: &mut Batch<B>,
        places: u64,
    ) -> Come {
        let mut come = Come::new();
        let Batch { frames, nics, sorted, .. } = batch;
        let frames = (0_u8..).zip(frames.iter_mut().zip(nics));
        for (index, (frame, nic)) in frames.filter(|(index, _)| places >> index & 1 == 1) {
            let fate = match parse(frame.head(), frame.len()) {
                Outcome::Fragment(Fragment::V4(piece)) => {
                    let part = self.part(piece, index, *nic);
                    self.one(&mut v4, &part, frame, &mut come)
                }
                Outcome::Fragment(Fragment::V6(piece)) => {
                    let part = self.part(piece, index, *nic);
                    self.one(&mut v6, &part, frame, &mut come)
                }
                _ => DropReason::Bug.into(),
            };
            sorted.fates.set(index, fate);
        }
        come
    }

    fn part<F: Balanced>(&self, piece: Piece<F>, index: u8, nic: NicId) -> Part<F> {
        let name = Name::of(&piece);
        Part { piece, name, packet: name.hash(self.keyed), index, nic }
    }

    fn one<F: Balanced, B: Frame>(
        &mut self,
        known: &mut Known<'_, '_, F>,
        part: &Part<F>,
        frame: &mut B,
        come: &mut Come,
    ) -> Fate {
        match self.meet(known, part) {
            Ok(Way::Unknown) if part.piece.is_first() => {
                let (way, fate) = self.first(known, part, frame);
                if let Some(entry) = known.fragments.find(&part.name, part.packet, self.now) {
                    entry.way = way;
                    // Of a batch no more than these can be.
                    let _ = come.try_push(part.packet);
                }
                fate
            }
            Ok(Way::Unknown) => Fate::AwaitsFirst,
            Ok(Way::Owner(owner)) => Fate::Settled(Verdict::HandOff(owner, part.nic)),
            Ok(Way::Host) => punt(self.wiring, part.nic),
            Ok(Way::Dropped(reason)) => reason.into(),
            Ok(Way::Flow { sport, dport, id }) => {
                let parsed = part.piece.later(sport, dport);
                self.later(known.flows, part, parsed, id, frame).unwrap_or_else(|fate| fate)
            }
            Ok(Way::Alone { alone, id }) => {
                self.later_alone(part, alone, id, frame).unwrap_or_else(|fate| fate)
            }
            Err(fate) => fate,
        }
    }

    /// Sees where a fragment's packet goes, as far as we are to know.
    fn meet<F: Balanced>(
        &mut self,
        known: &mut Known<'_, '_, F>,
        part: &Part<F>,
    ) -> Result<Way<F>, Fate> {
        let Part { piece, name, packet, nic, .. } = part;
        if self.origin == Origin::Wire {
            let services = self.snapshot.services.family::<F>();
            if !self.steering.may_be_ours(piece, *nic, services) {
                return Err(punt(self.wiring, *nic));
            }
            let keeper = self.steering.keeper(*packet);
            self.witness.note(part.index, || Fact::Keeper(keeper));
            if keeper != self.counters.worker {
                return Err(Fate::Settled(Verdict::HandOff(keeper, *nic)));
            }
        }
        if self.origin == Origin::Waited {
            let entry = known.fragments.find(name, *packet, self.now);
            return Ok(entry.ok_or(DropReason::FragmentLate)?.way);
        }
        piece.check().map_err(DropReason::from)?;
        Ok(known.fragments.note(piece, name, *packet, self.now)?.way)
    }

    /// A first fragment goes the way of a whole packet; the others are to follow it.
    fn first<F: Balanced, B: Frame>(
        &mut self,
        known: &mut Known<'_, '_, F>,
        part: &Part<F>,
        frame: &mut B,
    ) -> (Way<F>, Fate) {
        let parsed = match part.piece.first(frame.head()) {
            Ok(parsed) => parsed,
            Err(malformed) => {
                let reason = DropReason::from(malformed);
                return (Way::Dropped(reason), reason.into());
            }
        };
        let owner = self.owner_of_first(known.flows, part, &parsed);
        self.witness.note(part.index, || Fact::Owner(owner));
        if owner != self.counters.worker {
            return (Way::Owner(owner), Fate::Settled(Verdict::HandOff(owner, part.nic)));
        }
        known.flows.alone = None;
        let fate = self.serve_alone(known.flows, (part.index, part.nic, parsed), frame);
        let fate = fate.unwrap_or_else(|fate| fate);
        match fate {
            Fate::Settled(Verdict::Drop(reason)) | Fate::Answered(_, reason) => {
                (Way::Dropped(reason), fate)
            }
            Fate::Settled(Verdict::Punt(_)) => (Way::Host, fate),
            Fate::Settled(Verdict::HandOff(owner, _)) => (Way::Owner(owner), fate),
            _ => {
                if let Some(alone) = known.flows.alone {
                    let id = self.own_id(&parsed, Some(&alone.action));
                    return (Way::Alone { alone, id }, renumbered(&part.piece, id, fate, frame));
                }
                let id = self.own_id(&parsed, action_of(known.flows, &parsed));
                let tuple = parsed.key().tuple;
                if parsed.key().protocol == L4::Sctp && changes_ports(known.flows, &parsed) {
                    let reason = DropReason::FragmentSctp;
                    return (Way::Dropped(reason), reason.into());
                }
                let way = Way::Flow { sport: tuple.sport, dport: tuple.dport, id };
                (way, renumbered(&part.piece, id, fate, frame))
            }
        }
    }

    /// As the phases do, with one packet that came alone.
    fn serve_alone<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        (index, nic, parsed): (u8, NicId, Parsed<F>),
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let mut probe = flows.conns().probe(&parsed.key());
        flows.conns().prefetch(&mut probe);
        let item = Item::new(index, nic, parsed, probe);
        self.serve_one(flows, &item, None, frame)
    }

    fn later<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        part: &Part<F>,
        parsed: Parsed<F>,
        id: Option<u32>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let hit = flows.conns().look_up(&parsed.key()).ok_or(DropReason::FragmentLate)?;
        let item = Item::new(part.index, part.nic, parsed, Probe::default());
        self.tell_of(flows, &item, hit, Fact::Found);
        let server = flows.conns().conn(hit.0).ok_or(DropReason::Bug)?.server();
        let view = self.snapshot.server(server);
        let in_service = view.is_some_and(|view| view.in_service);
        if !in_service && hit.1 == Direction::Request {
            return Err(DropReason::ServerRemoved.into());
        }
        if in_service {
            // One packet, and each of its bytes once, as if it had come whole.
            let octets = part.piece.len.into();
            self.traffic(server.slot, |counters| counters.way(hit.1).bytes.add(octets));
        }
        let fate = self.forward(flows, &item, hit, view, frame)?;
        Ok(renumbered(&part.piece, id, fate, frame))
    }

    /// A later fragment of a datagram that was scheduled alone.
    fn later_alone<F: Balanced, B: Frame>(
        &mut self,
        part: &Part<F>,
        Alone { mut action, traits, server }: Alone<F>,
        id: Option<u32>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let view = self.snapshot.server(server).filter(|view| view.in_service);
        let view = view.ok_or(DropReason::ServerRemoved)?;
        let octets = part.piece.len.into();
        self.traffic(server.slot, |counters| counters.requests.bytes.add(octets));
        let parsed = part.piece.later(action.tuple.sport, action.tuple.dport);
        let item = Item::new(part.index, part.nic, parsed, Probe::default());
        let way = Direction::Request;
        let fate = self.apply(&item, (&mut action, traits), way, Some(view), frame)?;
        Ok(renumbered(&part.piece, id, fate, frame))
    }

    /// The worker that owns the flow of a first fragment. Where the worker that receives a request
    /// owns it, the fragments of a flow land elsewhere than its whole packets.
    fn owner_of_first<F: Balanced>(
        &self,
        flows: &Flows<'_, F>,
        part: &Part<F>,
        parsed: &Parsed<F>,
    ) -> WorkerId {
        let (key, owner) = (parsed.key(), self.owner(parsed.key(), part.nic));
        if owner != self.counters.worker || flows.conns().look_up(&key).is_some() {
            return owner;
        }
        let services = self.snapshot.services.family::<F>();
        self.steering.seek(&key, part.nic, self.steering.keeper(part.packet), services)
    }

    /// An identification of ours for a packet that leaves from another address than it came from.
    fn own_id<F: Balanced>(
        &mut self,
        parsed: &Parsed<F>,
        action: Option<&Action<F>>,
    ) -> Option<u32> {
        let leaves = action?.tuple.src;
        (leaves != parsed.key().tuple.src).then(|| self.next_id())
    }
}

/// What the connection of a packet does to it.
fn action_of<'a, F: Balanced>(
    flows: &'a Flows<'_, F>,
    parsed: &Parsed<F>,
) -> Option<&'a Action<F>> {
    let (id, direction) = flows.conns().look_up(&parsed.key())?;
    Some(flows.conns().conn(id)?.action(direction))
}

/// Whether a packet leaves with other ports than it came with.
fn changes_ports<F: Balanced>(flows: &Flows<'_, F>, parsed: &Parsed<F>) -> bool {
    let arrives = parsed.key().tuple;
    action_of(flows, parsed).is_none_or(|action| {
        (action.tuple.sport, action.tuple.dport) != (arrives.sport, arrives.dport)
    })
}

/// Gives a fragment that goes on its packet's own identification; one in a tunnel keeps its own.
fn renumbered<F: Balanced, B: Frame>(
    piece: &Piece<F>,
    id: Option<u32>,
    fate: Fate,
    frame: &mut B,
) -> Fate {
    let goes_on =
        matches!(fate, Fate::Settled(Verdict::Transmit(_)) | Fate::InParts(..) | Fate::Held(_));
    match id.filter(|_| goes_on) {
        Some(id) if !piece.renumber(frame.head_mut(), id) => DropReason::Bug.into(),
        _ => fate,
    }
}
