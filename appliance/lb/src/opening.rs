// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that begin: for a packet that finds none, or finds one that it outlives.
//!
//! A client that opens anew from a port it used before gets a server as if it were new
//! (`conn_reuse_mode`, `ip_vs_core.c: is_new_conn_expected`); with `expire_nodest_conn` so does
//! one whose server was removed, or takes no new connections.

use wire::Frame;

use crate::admit::{Admission, Admitter, Opening};
use crate::batch::Origin;
use crate::conn::Direction;
use crate::conn::flows::Flows;
use crate::conn::tcp_state::State;
use crate::family::Balanced;
use crate::fate::{Fate, punt};
use crate::foresee::Foreseen;
use crate::fragments::Alone;
use crate::icmp::error::Error;
use crate::ids::ConnId;
use crate::knobs::Knob;
use crate::lane::Item;
use crate::service::ServiceKey;
use crate::snapshot::ServerView;
use crate::stage::Stage;
use crate::verdict::{DropReason, Verdict};
use crate::witness::{Choice, Fact, Matched, Meeting, Persisted, Witness};

/// The bit of `conn_reuse_mode` for connections in FIN_WAIT whose replies are not seen.
const ONE_SIDED: u32 = 2;

/// A connection that began, as its first packet met it, and its server.
pub(crate) type Begun<'a> = ((ConnId, Direction), Option<&'a ServerView>);

impl<'a, W: Witness> Stage<'a, W> {
    /// Whether a packet is the first of another connection than the one that it found.
    #[inline]
    pub(crate) fn begins_anew<F: Balanced>(
        &self,
        flows: &Flows<'_, F>,
        item: &Item<F>,
        (id, direction): (ConnId, Direction),
    ) -> bool {
        item.parsed.tcp_flags().syn()
            && direction == Direction::Request
            && self.is_outlived(flows, id)
    }

    #[cold]
    fn is_outlived<F: Balanced>(&self, flows: &Flows<'_, F>, id: ConnId) -> bool {
        let mode = self.regime.knobs.value(Knob::ConnReuseMode);
        let Some(conn) = flows.conns().conn(id).filter(|_| mode != 0) else {
            return false;
        };
        if self.ends_without_server()
            && self.snapshot.server(conn.server()).is_some_and(|server| server.weight == 0)
        {
            return true;
        }
        let one_sided = conn.state() == State::FinWait && !conn.traits().sees_replies;
        (conn.state().is_over() || one_sided && mode & ONE_SIDED != 0) && !flows.is_persistent(id)
    }

    /// Whether a connection ends with its server.
    pub(crate) fn ends_without_server(&self) -> bool {
        self.regime.knobs.is_on(Knob::ExpireNodestConn)
    }

    /// Ends a connection and opens another one for the packet that found it.
    #[cold]
    pub(crate) fn admit_anew<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        found: ConnId,
        frame: &mut B,
    ) -> Result<Begun<'a>, Fate> {
        self.tell_of(flows, item, (found, Direction::Request), Fact::Outlived);
        flows.end(found, &self.regime);
        self.admit(flows, item, None, frame)
    }

    /// Opens a connection for a packet that has none, and counts the packet as its first.
    #[inline(never)]
    pub(crate) fn admit<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        foreseen: Option<Foreseen<'a>>,
        frame: &mut B,
    ) -> Result<Begun<'a>, Fate> {
        // The worker that handed it in may have known other services than we do by now.
        let owner = |stage: &Self| stage.owner(item.parsed.key(), item.nic);
        if self.origin == Origin::Worker && owner(self) != self.counters.worker {
            return Err(Fate::Settled(Verdict::HandOff(owner(self), item.nic)));
        }
        let mut admitter = Admitter { foreseen, ..self.admitter() };
        let admission = admitter.admit(flows, &item.parsed, item.nic, frame.head());
        self.tell_of_admission(item, &admission);
        match admission {
            Admission::NotOurs => Err(self.turn_away(item, frame)),
            Admission::Refused(DropReason::NoServer) if self.bypasses(item) => {
                Err(punt(self.wiring, item.nic))
            }
            Admission::Refused(DropReason::NoServer) => {
                let (reason, error) = (DropReason::NoServer, Error::PortUnreachable);
                Err(self.answer(item, frame, Direction::Request, reason, error))
            }
            Admission::Refused(reason) => Err(reason.into()),
            Admission::Open(Opening { conn, service, server, template, reply, once, .. }) => {
                let parsed = &item.parsed;
                let first = (item.probe, reply, parsed.tcp_flags());
                let id = flows.open((conn, template), first, &self.regime)?;
                let hit = (id, Direction::Request);
                let opened = |new| Fact::Opened(Meeting { state: State::None, ..new });
                self.tell_of(flows, item, hit, opened);
                self.count_opening(service, conn.server().slot, parsed.ip_len() as u64);
                if once {
                    return Err(self.serve_once(flows, item, (hit, server), frame));
                }
                Ok((hit, Some(server)))
            }
        }
    }

    /// What judges whoever asks for a connection.
    #[inline(always)]
    pub(crate) fn admitter(&mut self) -> Admitter<'a, '_> {
        Admitter {
            snapshot: self.snapshot,
            counts: self.counts,
            ports: self.ports,
            keyed: self.keyed,
            marks: &self.wiring.marks,
            now: self.now,
            probes: &mut self.probes,
            random: self.random,
            defence: self.defence,
            foreseen: None,
        }
    }

    /// Sends the only packet of a connection on its way, and ends the connection (one-packet
    /// scheduling).
    fn serve_once<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        item: &Item<F>,
        (hit, server): ((ConnId, Direction), &ServerView),
        frame: &mut B,
    ) -> Fate {
        let (id, _) = hit;
        let fate = self.forward(flows, item, hit, Some(server), frame);
        flows.alone = flows.conns().conn(id).map(|conn| Alone {
            action: *conn.action(Direction::Request),
            traits: conn.traits(),
            server: conn.server(),
        });
        flows.end(id, &self.regime);
        fate.unwrap_or_else(|fate| fate)
    }

    fn tell_of_admission<F: Balanced>(&mut self, item: &Item<F>, admission: &Admission<'_, F>) {
        let (snapshot, marks, nic) = (self.snapshot, &self.wiring.marks, item.nic);
        let (key, index) = (item.parsed.key(), item.index);
        let service = || {
            let services = snapshot.services.family::<F>();
            services.find(key.protocol, key.tuple.destination(), || marks.mark(&key, nic))
        };
        self.witness.note(index, || {
            Fact::Service(service().map(|view| {
                let by_mark = matches!(view.key, ServiceKey::Mark { .. });
                let rule = by_mark.then(|| marks.number(&key, nic)).flatten();
                Matched { key: view.key, scheduler: view.options.scheduler, rule }
            }))
        });
        let chosen = match admission {
            Admission::Open(opening) => {
                if let Some(how) = opening.persisted {
                    self.witness.note(index, || Fact::Persisted(how));
                }
                if opening.persisted == Some(Persisted::Kept) {
                    return;
                }
                Some(opening.conn.server())
            }
            Admission::Refused(DropReason::NoServer) => None,
            Admission::NotOurs => return self.witness.note(index, || Fact::NotOurs),
            Admission::Refused(reason) => {
                return self.witness.note(index, || Fact::Refused(*reason));
            }
        };
        self.witness.chose(index, || {
            let (servers, counts) = (&*snapshot.servers, self.counts);
            Some(Choice { service: service()?, servers, counts, chosen })
        });
    }
}
