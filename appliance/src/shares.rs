// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many of a NIC's frames land on another worker than their owner, and are handed over.

use std::fmt;

use control::config::{Owner, Workers};
use lb::steer::rss::{HashFields, Hashed, KINDS, Rss};
use wire::{FamilyId, L4};

/// What a NIC hashes, in words.
pub fn hashed(nic: Hashed) -> String {
    let of = |(family, protocol)| match nic.of(family, protocol) {
        Some(HashFields::Tuple) => "addresses and ports",
        Some(HashFields::Source) => "source address and port",
        Some(HashFields::Destination) => "destination address and port",
        None => "in a way that is not known",
    };
    of_kinds(of, |what, kinds| format!("{what} of {kinds}"))
}

/// The part of a NIC's frames of each kind that is handed over, in hundredths, if flows are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From clients to services.
    pub requests: u16,
    /// From NAT servers.
    pub nat_replies: u16,
    /// From FULLNAT servers.
    pub fullnat_replies: u16,
}

impl Share {
    /// What is to be expected of a NIC that hashes `fields`, where ownership follows `rss`.
    pub fn of(
        workers: &Workers,
        rss: Option<&Rss>,
        nic: Hashed,
        (family, protocol): (FamilyId, L4),
    ) -> Self {
        let away = 100 - 100 / workers.count.max(1);
        let unless = |home: bool| if home { 0 } else { away };
        let fields = nic.of(family, protocol);
        let by_client = rss.is_some_and(|rss| rss.is_by_client(family, protocol));
        let is_known = rss.is_some_and(|rss| rss.is_known(family, protocol));
        let landing = workers.owner == Owner::Landing && (protocol == L4::Tcp || is_known);
        let replies = rss.and_then(|rss| rss.replies(family, protocol));
        Self {
            requests: unless(landing || by_client && fields == Some(HashFields::Source)),
            nat_replies: unless(by_client && fields == Some(HashFields::Destination)),
            fullnat_replies: unless(fields.is_some() && replies == fields),
        }
    }

    /// What is to be expected of each kind of packet.
    pub fn all(workers: &Workers, rss: Option<&Rss>, nic: Hashed) -> [Self; KINDS.len()] {
        KINDS.map(|kind| Self::of(workers, rss, nic, kind))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, nat_replies, fullnat_replies } = self;
        write!(
            f,
            "{requests} % of requests, {nat_replies} % of NAT replies, {fullnat_replies} % of \
             FULLNAT replies"
        )
    }
}

/// What is handed over of each kind of packet, in words.
pub fn handed_over(workers: &Workers, rss: Option<&Rss>, nic: Hashed) -> String {
    let of = |kind| Share::of(workers, rss, nic, kind);
    of_kinds(of, |share, kinds| format!("of {kinds} {share}"))
}

/// Says something of each kind of packet: once, if it is the same of all.
fn of_kinds<T: Copy + PartialEq + fmt::Display>(
    of: impl Fn((FamilyId, L4)) -> T,
    say: impl Fn(T, &str) -> String,
) -> String {
    let mut said: Vec<(T, Vec<&str>)> = Vec::new();
    for (kind, name) in KINDS.into_iter().zip(["TCP", "UDP", "TCP over IPv6", "UDP over IPv6"]) {
        let what = of(kind);
        match said.iter_mut().find(|(known, _)| *known == what) {
            Some((_, names)) => names.push(name),
            None => said.push((what, vec![name])),
        }
    }
    match said.as_slice() {
        [(what, _)] => what.to_string(),
        _ => {
            let parts = said.iter().map(|(what, names)| say(*what, &names.join(" and ")));
            parts.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb::ids::WorkerId;

    const TUPLE: Option<HashFields> = Some(HashFields::Tuple);
    const SOURCE: Option<HashFields> = Some(HashFields::Source);
    const DESTINATION: Option<HashFields> = Some(HashFields::Destination);

    fn rss(nics: &[Hashed]) -> Option<Rss> {
        Rss::new(&[7; 40], vec![WorkerId(0); 128], nics)
    }

    /// Of four workers: requests by the first NIC, then both kinds of replies by the second.
    fn shares(owner: Owner, wan: Option<HashFields>, lan: Option<HashFields>) -> [u16; 3] {
        let workers = Workers { count: 4, owner, ..Workers::default() };
        let nics = [wan.into(), lan.into()];
        let rss = rss(&nics);
        let [wan, lan] = nics.map(|nic| Share::of(&workers, rss.as_ref(), nic, KINDS[0]));
        [wan.requests, lan.nat_replies, lan.fullnat_replies]
    }

    #[test]
    fn what_is_handed_over_follows_from_what_nics_hash() {
        assert_eq!(shares(Owner::Hash, None, None), [75, 75, 75]);
        assert_eq!(shares(Owner::Hash, TUPLE, TUPLE), [75, 75, 0]);
        assert_eq!(shares(Owner::Hash, SOURCE, DESTINATION), [0, 0, 0]);
        assert_eq!(shares(Owner::Hash, SOURCE, TUPLE), [0, 75, 0]);
        assert_eq!(shares(Owner::Landing, TUPLE, TUPLE)[0], 0);
        assert_eq!(shares(Owner::Landing, None, None)[0], 0);
    }

    #[test]
    fn what_is_the_same_of_all_packets_is_said_once() {
        let workers = Workers { count: 2, owner: Owner::Landing, ..Workers::default() };
        let known = Hashed::from(TUPLE);
        assert_eq!(hashed(known), "addresses and ports");
        let all = handed_over(&workers, rss(&[known]).as_ref(), known);
        assert_eq!(all, "0 % of requests, 50 % of NAT replies, 0 % of FULLNAT replies");
        let tcp = Hashed::default().with(FamilyId::V4, L4::Tcp, HashFields::Tuple);
        let tcp = tcp.with(FamilyId::V6, L4::Tcp, HashFields::Tuple);
        assert_eq!(
            hashed(tcp),
            "addresses and ports of TCP and TCP over IPv6; in a way that is not known of UDP and \
             UDP over IPv6"
        );
        let each = handed_over(&workers, rss(&[tcp]).as_ref(), tcp);
        assert!(each.starts_with("of TCP and TCP over IPv6 0 % of requests, "), "{each}");
        assert!(each.contains("; of UDP and UDP over IPv6 50 % of requests, "), "{each}");
    }
}
