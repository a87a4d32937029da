// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP errors that open connections (`schedule_icmp`; `ip_vs_core.c: ip_vs_in_icmp`).
//!
//! An error about a packet of no connection, but of a service, goes to the server that the
//! client's connection would be given: where several directors share clients and choose by hash,
//! that is the server whose packet did not fit. The connection has no state yet, and ends soon
//! unless its client speaks. What answers a drop may not itself be answered, so a service without
//! server drops it.

use wire::icmp_error::IcmpError;
use wire::{Family, FamilyId, FlowKey, Frame, icmp};

use super::About;
use crate::admit::{Admission, Opening};
use crate::conn::Direction;
use crate::conn::flows::Flows;
use crate::family::Balanced;
use crate::fate::Fate;
use crate::ids::NicId;
use crate::knobs::Knob;
use crate::stage::Stage;
use crate::verdict::{DropReason, Verdict};
use crate::witness::{Fact, Meeting, Witness};

impl<W: Witness> Stage<'_, W> {
    /// What becomes of an error, found by `key`, about a packet of no connection.
    #[cold]
    pub(super) fn schedule_error<F: Balanced, B: Frame>(
        &mut self,
        flows: &mut Flows<'_, F>,
        error: &IcmpError<F>,
        key: &FlowKey<F>,
        (index, nic): (u8, NicId),
        frame: &mut B,
    ) -> Result<Fate, Fate> {
        let elsewhere = self.elsewhere(key, nic);
        if !self.regime.knobs.is_on(Knob::ScheduleIcmp)
            || !is_scheduled(error)
            || matches!(elsewhere, Fate::Settled(Verdict::HandOff(..)))
        {
            return Err(elsewhere);
        }
        if !error.is_intact(frame.head()) {
            return Err(DropReason::BadIcmpChecksum.into());
        }
        if error.header.ttl <= 1 {
            return Err(DropReason::TtlExpired.into());
        }
        let mut admitter = self.admitter();
        let opening = match admitter.admit_error(flows, key, nic) {
            Admission::Open(opening) => opening,
            Admission::Refused(reason) => return Err(reason.into()),
            Admission::NotOurs => return Err(elsewhere),
        };
        let Opening { conn, server: view, service, template, once, .. } = opening;
        let server = conn.server();
        let id = flows.expect((conn, template), &self.regime)?;
        self.count_opening(service, server.slot, error.header.packet_len as u64);
        let way = Direction::Request;
        self.witness.note(index, || Fact::Opened(Meeting::of(&conn, way, self.snapshot, self.now)));
        let about = About { index, key: *key, id, direction: way };
        let fate = self.forward_error(flows, error, &about, Some(view), frame);
        if once {
            flows.end(id, &self.regime);
        }
        fate
    }
}

/// Whether the kernel looks for a connection for errors of this type: all of ICMPv6, but neither
/// redirects nor parameter problems of ICMP.
fn is_scheduled<F: Family>(error: &IcmpError<F>) -> bool {
    match F::ID {
        FamilyId::V4 => {
            matches!(error.kind, icmp::UNREACHABLE | icmp::SOURCE_QUENCH | icmp::TIME_EXCEEDED)
        }
        FamilyId::V6 => true,
    }
}
