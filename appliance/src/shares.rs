// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many of a NIC's frames land on another worker than their owner, and are handed over.

use std::fmt;

use control::config::{Owner, Workers};
use lb::rss::{HashFields, Rss};

/// What a NIC hashes, in words.
pub fn hashed(fields: Option<HashFields>) -> &'static str {
    match fields {
        Some(HashFields::Tuple) => "addresses and ports",
        Some(HashFields::Source) => "source address and port",
        Some(HashFields::Destination) => "destination address and port",
        None => "in a way that is not known",
    }
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
    pub fn of(workers: &Workers, rss: Option<&Rss>, fields: Option<HashFields>) -> Self {
        let away = 100 - 100 / workers.count.max(1);
        let unless = |home: bool| if home { 0 } else { away };
        let by_client = rss.is_some_and(Rss::is_by_client);
        let landing = workers.owner == Owner::Landing;
        Self {
            requests: unless(landing || by_client && fields == Some(HashFields::Source)),
            nat_replies: unless(by_client && fields == Some(HashFields::Destination)),
            fullnat_replies: unless(fields.is_some() && rss.and_then(Rss::replies) == fields),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use lb::ids::WorkerId;

    const TUPLE: Option<HashFields> = Some(HashFields::Tuple);
    const SOURCE: Option<HashFields> = Some(HashFields::Source);
    const DESTINATION: Option<HashFields> = Some(HashFields::Destination);

    /// Of four workers: requests by the first NIC, then both kinds of replies by the second.
    fn shares(owner: Owner, wan: Option<HashFields>, lan: Option<HashFields>) -> [u16; 3] {
        let workers = Workers { count: 4, owner, ..Workers::default() };
        let rss = Rss::new(&[7; 40], vec![WorkerId(0); 128], &[wan, lan]);
        let [wan, lan] = [wan, lan].map(|fields| Share::of(&workers, rss.as_ref(), fields));
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
}
