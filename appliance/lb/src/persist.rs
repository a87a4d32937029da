// SPDX-License-Identifier: MIT OR Apache-2.0
//! Persistence: the server that a client's connections go to, before the scheduler is asked.
//!
//! After `ip_vs_core.c: ip_vs_sched_persist`. All ports of a service without a port belong
//! together, and so do those of FTP (port 21) and of a mark. A template stays with a server of
//! weight 0 or at its threshold, unless `expire_quiescent_template` says otherwise; one whose
//! server was removed is given another.

pub(crate) mod call_id;
pub mod templates;

use std::net::IpAddr;

use wire::{Family, FlowKey, L4, Parsed};

use crate::counters::ServerCounts;
use crate::hash::Keyed;
use crate::ids::{ServerId, Tick};
use crate::knobs::Knob;
use crate::persist::templates::{CallId, Full, Held, Leaving, TemplateKey};
use crate::service::{ClientMask, Engine, FTP, Persistence, ServiceKey};
use crate::snapshot::{ServiceView, Snapshot};
use crate::verdict::DropReason;
use crate::witness::Persisted;

/// What is needed to find a client's server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Persister<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) counts: &'a ServerCounts,
    pub(crate) keyed: &'a Keyed,
    pub(crate) now: Tick,
}

impl Persister<'_> {
    /// The client's template, with one more connection under it; `pick` is asked where there is
    /// none yet or its server is gone.
    pub(crate) fn hold(
        &self,
        persistence: &Persistence,
        key: &TemplateKey,
        pick: impl FnOnce() -> Option<ServerId>,
    ) -> Result<(Held, Persisted), DropReason> {
        let (templates, now) = (self.counts.templates(), self.now);
        let timeout_s = persistence.timeout_s;
        let (held, how) = match templates.enter(key, now) {
            Some(held) if self.is_valid(held.server) => (held, Persisted::Kept),
            Some(held) => match pick() {
                Some(server) => (templates.rebind(held, server, timeout_s, now), Persisted::Moved),
                None => {
                    templates.leave(held.id, Leaving::Ended, now);
                    return Err(DropReason::NoServer);
                }
            },
            None => {
                let server = pick().ok_or(DropReason::NoServer)?;
                let bound = templates.bind(key, server, timeout_s, now);
                (bound.map_err(|Full| DropReason::TemplatesFull)?, Persisted::Made)
            }
        };
        templates.restart(held, now);
        Ok((held, how))
    }

    /// What names the client's template.
    pub(crate) fn key<'h, F: Family>(
        &self,
        service: &ServiceView,
        mask: ClientMask,
        packet: &FlowKey<F>,
        payload: impl FnOnce() -> Option<&'h [u8]>,
    ) -> Result<TemplateKey, DropReason> {
        let client = masked(packet.tuple.src.into(), mask);
        let key = match service.key {
            ServiceKey::Mark { mark, .. } => TemplateKey::mark(client, mark),
            ServiceKey::Endpoint { protocol, port, .. } => {
                let own = packet.tuple.dport.get() == port && port != FTP;
                let port = if own { port } else { 0 };
                TemplateKey::address(protocol, client, packet.tuple.dst.into(), port)
            }
        };
        let call = match service.options.engine {
            None => None,
            Some(Engine::Sip) => {
                let datagram = (packet.protocol == L4::Udp).then(payload).flatten();
                let found = datagram.and_then(call_id::find).ok_or(DropReason::NoCallId)?;
                Some(CallId::new(found, self.keyed))
            }
        };
        Ok(key.complete(call, self.keyed))
    }

    /// Whether a template may go on naming this server (`ip_vs_check_template`).
    fn is_valid(&self, server: ServerId) -> bool {
        let view = self.snapshot.server(server);
        let leaves = self.snapshot.knobs.is_on(Knob::ExpireQuiescentTemplate);
        view.is_some_and(|view| view.in_service && !(leaves && view.weight == 0))
    }
}

/// What of a client's address counts.
fn masked(client: IpAddr, mask: ClientMask) -> IpAddr {
    match (client, mask) {
        (IpAddr::V4(v4), ClientMask::V4(bits)) => IpAddr::V4((u32::from(v4) & bits).into()),
        (IpAddr::V6(v6), ClientMask::V6(length)) => {
            let below = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & !below).into())
        }
        _ => client,
    }
}

/// The payload of a datagram, as far as the first segment has it.
pub(crate) fn payload<'h, F: Family>(parsed: &Parsed<F>, head: &'h [u8]) -> Option<&'h [u8]> {
    let end = (parsed.l3() + parsed.ip_len()).min(head.len());
    head.get(parsed.l4() + size_of::<wire::Udp>()..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bits_of_ipv4_and_the_first_ones_of_ipv6_can_count() {
        let v4: IpAddr = [198, 51, 100, 7].into();
        let odd = ClientMask::V4(0x00FF_0001);
        assert_eq!(masked(v4, odd), IpAddr::from([0, 51, 0, 1]));
        let v6: IpAddr = "2001:db8:51::ffff".parse().unwrap();
        for (length, client) in
            [(0, "::"), (33, "2001:db8::"), (128, "2001:db8:51::ffff"), (127, "2001:db8:51::fffe")]
        {
            assert_eq!(masked(v6, ClientMask::V6(length)).to_string(), client, "/{length}");
        }
    }
}
