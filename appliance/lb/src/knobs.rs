// SPDX-License-Identifier: MIT OR Apache-2.0
//! The settings of `/proc/sys/net/ipv4/vs` that change what the balancer does.
//!
//! Names, defaults and meanings are the kernel's (`Documentation/networking/ipvs-sysctl.rst`);
//! what `docs/CONTROL.md` says of each goes before. One table says everything about a knob; the
//! values travel in the snapshot, so that a change holds for every packet after it.

use std::ops::RangeInclusive;

macro_rules! knobs {
    ($($variant:ident $name:literal $default:literal $range:expr, $doc:literal;)*) => {
        /// A setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Knob { $(#[doc = $doc] $variant,)* }

        impl Knob {
            /// Every setting, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name under `net.ipv4.vs`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The value of a director that nobody told otherwise.
            pub const fn default_value(self) -> u32 {
                match self { $(Self::$variant => $default,)* }
            }

            /// The values that it takes.
            pub const fn range(self) -> RangeInclusive<u32> {
                match self { $(Self::$variant => $range,)* }
            }

            /// What it does, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

const OFF_ON: RangeInclusive<u32> = 0..=1;
/// Off, automatic (1 and 2: the kernel moves between them itself), always.
const DEFENCE: RangeInclusive<u32> = 0..=3;
/// As the kernel's `int`.
const COUNT: RangeInclusive<u32> = 0..=i32::MAX as u32;

knobs! {
    AmDroprate "am_droprate" 10 COUNT,
        "Of how many packets that would open a connection drop_packet = 3 drops one; 0 for none.";
    Amemthresh "amemthresh" 1024 COUNT,
        "Free connection entries of a worker under which the automatic defences begin.";
    CacheBypass "cache_bypass" 0 OFF_ON,
        "Whether a marked packet whose service has no server goes where it was sent, by the host.";
    ConnReuseMode "conn_reuse_mode" 1 0..=3,
        "Which connections a SYN from their client begins anew: 0 none, else those in TIME_WAIT \
         and CLOSE, with bit 1 also those in FIN_WAIT whose replies are not seen.";
    DropEntry "drop_entry" 0 DEFENCE,
        "Whether idle connections are dropped at random: 0 no, 1, 2 if entries run out, 3 yes.";
    DropPacket "drop_packet" 0 DEFENCE,
        "Whether packets that would open a connection are dropped by rate: 0 never, 1 and 2 when \
         entries run out, 3 always.";
    ExpireNodestConn "expire_nodest_conn" 0 OFF_ON,
        "Whether connections of a removed server end at once.";
    ExpireQuiescentTemplate "expire_quiescent_template" 0 OFF_ON,
        "Whether clients leave the server that persistence gave them when its weight is 0.";
    LblcExpiration "lblc_expiration" 86400 COUNT,
        "Seconds that lblc remembers the server of an address.";
    LblcrExpiration "lblcr_expiration" 86400 COUNT,
        "Seconds until lblcr takes the busiest server from an address's set.";
    NatIcmpSend "nat_icmp_send" 0 OFF_ON,
        "Whether a server's packet of no connection is answered with ICMP port unreachable.";
    PmtuDisc "pmtu_disc" 1 OFF_ON,
        "Whether a packet that is too big and must not be fragmented is answered with ICMP.";
    RunEstimation "run_estimation" 1 OFF_ON,
        "Whether the figures of --stats and --rate are kept up to date.";
    ScheduleIcmp "schedule_icmp" 0 OFF_ON,
        "Whether an ICMP error about an unknown connection opens it, and goes to its server.";
    SecureTcp "secure_tcp" 0 DEFENCE,
        "Which TCP state table is used, the second being wary of half-open connections: 0 the \
         first, 1 and 2 the second when entries run out, 3 the second.";
    SloppySctp "sloppy_sctp" 0 OFF_ON,
        "Whether any SCTP packet opens a connection, not only INIT.";
    SloppyTcp "sloppy_tcp" 0 OFF_ON,
        "Whether any TCP segment but RST opens a connection, not only SYN.";
    SnatReroute "snat_reroute" 1 OFF_ON,
        "Whether a reply is routed by its new source; without routes by source both are the same.";
}

impl Knob {
    /// The setting of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|knob| knob.name() == name)
    }
}

/// The value of every setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knobs([u32; Knob::ALL.len()]);

impl Knobs {
    /// The value of a setting.
    #[inline]
    pub fn value(&self, knob: Knob) -> u32 {
        self.0.get(knob as usize).copied().unwrap_or(0)
    }

    /// Whether a setting is on.
    #[inline]
    pub fn is_on(&self, knob: Knob) -> bool {
        self.value(knob) != 0
    }

    /// Changes a setting; a value out of [`Knob::range`] becomes the nearest in it.
    pub fn set(&mut self, knob: Knob, value: u32) {
        let range = knob.range();
        if let Some(place) = self.0.get_mut(knob as usize) {
            *place = value.clamp(*range.start(), *range.end());
        }
    }
}

impl Default for Knobs {
    fn default() -> Self {
        let mut knobs = Self([0; Knob::ALL.len()]);
        Knob::ALL.iter().for_each(|knob| knobs.set(*knob, knob.default_value()));
        knobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_listed_by_name_and_their_defaults_are_legal() {
        assert!(Knob::ALL.is_sorted_by_key(|knob| knob.name()));
        for knob in Knob::ALL {
            assert_eq!(Knob::from_name(knob.name()), Some(*knob));
            assert!(knob.range().contains(&knob.default_value()), "{}", knob.name());
            assert!(knob.meaning().ends_with('.'), "{}", knob.name());
        }
    }

    #[test]
    fn a_value_beyond_the_range_becomes_the_nearest() {
        let mut knobs = Knobs::default();
        knobs.set(Knob::SecureTcp, 9);
        assert_eq!(knobs.value(Knob::SecureTcp), 3);
        assert!(knobs.is_on(Knob::SecureTcp) && !knobs.is_on(Knob::DropEntry));
    }
}
