// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP errors about our connections (RFC 792, RFC 4443, RFC 5508): found by the packet that they
//! quote, sent on to the end that it came from.
//!
//! The quoted packet went one way; the error goes the other, as an answer to it would. So mirrored
//! it is the key that the error is found by, and the action of that direction says what the error,
//! and the quote in it, are called where they go. The outer source becomes ours where the action
//! hides the sender's side, whichever router there sent the error; otherwise it stays.
//!
//! A connection lives no longer for an error, and its state does not move.

mod scheduled;

use wire::icmp_error::{self, AnyError, IcmpError};
use wire::{Family, FamilyId, FlowKey, Frame, V4, V6, icmp};

use crate::action::Action;
use crate::batch::Origin;
use crate::conn::Direction;
use crate::conn::flows::Flows;
use crate::encap::tunnel;
use crate::family::Balanced;
use crate::fate::{Fate, punt};
use crate::ids::{ConnId, NicId, ServerId};
use crate::snapshot::ServerView;
use crate::stage::Stage;
use crate::verdict::{DropReason, Verdict};
use crate::witness::{Fact, Meeting, Witness};

/// What an error is about: a connection, and the key that it was found by.
#[derive(Clone, Copy, Debug)]
struct About<F: Family> {
    /// The error's place in its batch.
    index: u8,
    key: FlowKey<F>,
    id: ConnId,
    direction: Direction,
}

impl<'a, W: Witness> Stage<'a, W> {
    /// What becomes of an ICMP error, or of a frame that there is to be one about.
    #[cold]
    pub(crate) fn serve_error<B: Frame>(
        &mut self,
        flows: (&mut Flows<'_, V4>, &mut Flows<'_, V6>),
        at: (u8, NicId),
        frame: &mut B,
    ) -> Fate {
        match self.origin {
            Origin::Undelivered => self.undelivered(flows, at, frame),
            _ => self.about_connection(flows, at, frame),
        }
    }

    /// What becomes of an ICMP error; one that is about no connection of ours is the host's.
    pub(crate) fn about_connection<B: Frame>(
        &mut self,
        (v4, v6): (&mut Flows<'_, V4>, &mut Flows<'_, V6>),
        (index, nic): (u8, NicId),
        frame: &mut B,
    ) -> Fate {
        let fate = match icmp_error::read(frame.head()) {
            Some(AnyError::V4(error)) => match self.look_inside(&error, frame) {
                None => self.relate(v4, &error, (index, nic), frame),
                Some((FamilyId::V4, at)) => self.report(v4, (&error, at), (index, nic), frame),
                Some((FamilyId::V6, at)) => self.report(v6, (&error, at), (index, nic), frame),
            },
            Some(AnyError::V6(error)) => match self.look_inside(&error, frame) {
                None => self.relate(v6, &error, (index, nic), frame),
                Some((FamilyId::V4, at)) => self.report(v4, (&error, at), (index, nic), frame),
                Some((FamilyId::V6, at)) => self.report(v6, (&error, at), (index, nic), frame),
            },
            None => Err(punt(self.wiring, nic)),
        };
        fate.unwrap_or_else(|fate| fate)
    }

    fn relate<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        error: &IcmpError<F>,
        (index, nic): (u8, NicId),
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        // An error goes to the source of the packet it quotes, or it is not about that packet.
        let quoted = error.quote.key.filter(|key| key.tuple.src == error.header.dst);
        let key = quoted.ok_or_else(|| punt(self.wiring, nic))?.mirror();
        self.keep_or_hand_off(&key, (index, nic))?;
        let Some((id, direction)) = flows.conns().look_up(&key) else {
            self.witness.note(index, || Fact::NotFound);
            return self.schedule_error(flows, error, &key, (index, nic), frame);
        };
        let conn = flows.conns().conn(id).ok_or(DropReason::Bug)?;
        self.witness
            .note(index, || Fact::Found(Meeting::of(conn, direction, self.snapshot, self.now)));
        if !error.is_intact(frame.head()) {
            return Err(DropReason::BadIcmpChecksum.into());
        }
        if F::ID == FamilyId::V4 && error.kind == icmp::REDIRECT {
            return Err(DropReason::IcmpRedirect.into());
        }
        if error.header.ttl <= 1 {
            return Err(DropReason::TtlExpired.into());
        }
        let server = self.count_error(conn.server(), error, direction)?;
        let about = About { index, key, id, direction };
        self.forward_error(flows, error, &about, server, frame)
    }

    /// Hands an error over to the worker that owns the flow, unless that is this one.
    pub(crate) fn keep_or_hand_off<F: Balanced>(
        &mut self,
        key: &FlowKey<F>,
        (index, nic): (u8, NicId),
    ) -> Result<(), Fate> {
        let services = self.snapshot.services.family::<F>();
        let owner = self.steering.owner(key, nic, services);
        self.witness.note(index, || Fact::Owner(owner));
        if self.origin == Origin::Worker || owner == self.counters.worker {
            return Ok(());
        }
        Err(Fate::Settled(Verdict::HandOff(owner, nic)))
    }

    /// What becomes of an error whose flow is not known here: the next worker may know it, or it is
    /// the host's. A flood of errors about no flow must not keep all workers asking each other.
    pub(crate) fn elsewhere<F: Balanced>(&mut self, key: &FlowKey<F>, nic: NicId) -> Fate {
        let services = self.snapshot.services.family::<F>();
        let is_round = self.origin == Origin::Worker;
        match self.steering.next_to_ask(key, is_round, services) {
            Some(_) if !is_round && !self.icmp.allows_round(self.now) => {
                DropReason::IcmpRate.into()
            }
            Some(next) => Fate::Settled(Verdict::HandOff(next, nic)),
            None => punt(self.wiring, nic),
        }
    }

    fn count_error<F: Balanced>(
        &self,
        server: ServerId,
        error: &IcmpError<F>,
        direction: Direction,
    ) -> Result<Option<&'a ServerView>, Fate> {
        let view = self.snapshot.server(server);
        let in_service = view.is_some_and(|view| view.in_service);
        if !in_service && direction == Direction::Request {
            return Err(DropReason::ServerRemoved.into());
        }
        if in_service {
            let octets = error.header.packet_len as u64;
            self.count_packet(server.slot, direction, octets);
        }
        Ok(view)
    }

    fn forward_error<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        error: &IcmpError<F>,
        about: &About<F>,
        server: Option<&ServerView>,
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let About { index, key, id, direction } = *about;
        let conn = flows.conn_mut(id).ok_or(DropReason::Bug)?;
        let tunnels = conn.traits().tunnel && direction == Direction::Request;
        let action = conn.action_mut(direction);
        let hop = self.way(action, direction, server)?;
        let action = *action;
        self.tell_way(index, (&action, direction), server, &hop);
        let outer = if tunnels { Some(tunnel::outer(server)?) } else { None };
        let room = self.room(&hop, outer.as_ref());
        if room.is_some_and(|room| error.header.packet_len > room) {
            return Err(DropReason::TooBig.into());
        }
        if !translate(frame.head_mut(), error, &key, &action) {
            return Err(DropReason::Bug.into());
        }
        if let Some(outer) = outer {
            self.encapsulate(frame, error.header.packet_len, &key, &outer)?;
        }
        self.depart(frame, hop, action.next_hop)
    }
}

/// Makes an error, found by `key`, what its connection's action says; false if it is not there.
fn translate<F: Balanced>(
    head: &mut [u8],
    error: &IcmpError<F>,
    key: &FlowKey<F>,
    action: &Action<F>,
) -> bool {
    let l3 = size_of::<wire::Eth>()..error.icmp();
    let leaving = &action.tuple;
    if *leaving == key.tuple {
        return head.get_mut(l3).is_some_and(F::decrement_ttl);
    }
    let hidden = leaving.src != key.tuple.src;
    let src = if hidden { leaving.src } else { error.header.src };
    let renamed = icmp_error::rename(head, &error.quote, &leaving.mirror());
    let message = head.get_mut(error.icmp()..error.end());
    let summed = message.is_some_and(|message| F::sum_message(src, leaving.dst, message));
    let written = head.get_mut(l3).is_some_and(|ip| {
        F::decrement_ttl(ip) && F::write_addresses(ip, src, leaving.dst) && F::sum_header(ip)
    });
    renamed && summed && written
}
