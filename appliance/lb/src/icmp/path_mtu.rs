// SPDX-License-Identifier: MIT OR Apache-2.0
//! What routers said about the way to tunnel servers: the largest packet that gets there (RFC 1191,
//! RFC 8201). Shared by all workers, since any of them may be told.
//!
//! A fixed table of words, each a part of the address's hash, the MTU and when it is forgotten;
//! the newest word for a place wins. Two servers with the same hash would share the smaller packets
//! of one of them, no more.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::hash::Keyed;
use crate::ids::Tick;

/// Places; a server whose place another one took is learned anew from the next error.
const PLACES: usize = 4096;
/// Seconds after which a larger packet is tried again, as the kernel's `mtu_expires`.
const LIFE_S: u64 = 600;
/// Bits of a moment in seconds.
const MOMENT: u64 = 0xff_ffff;

const _: () = assert!(PLACES.is_power_of_two());

/// The MTUs that were learned, in bytes.
#[derive(Debug)]
pub struct PathMtus {
    any: AtomicBool,
    places: Box<[AtomicU64]>,
}

impl Default for PathMtus {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { any: AtomicBool::new(false), places }
    }
}

impl PathMtus {
    /// Remembers the largest packet that gets to an address.
    pub fn learn(&self, keyed: &Keyed, to: IpAddr, mtu: u16, now: Tick) {
        let hash = hash(keyed, to);
        let until = (now.millis() / 1000 + LIFE_S) & MOMENT;
        if let Some(place) = self.places.get(hash as usize % PLACES) {
            place.store(tag(hash) | u64::from(mtu) << 24 | until, Ordering::Relaxed);
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Whether anything was learned since the start.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The largest packet that gets to an address, if anything was learned about it.
    pub fn mtu(&self, keyed: &Keyed, to: IpAddr, now: Tick) -> Option<u16> {
        let hash = hash(keyed, to);
        let word = self.places.get(hash as usize % PLACES)?.load(Ordering::Relaxed);
        let left_s = (word & MOMENT).wrapping_sub(now.millis() / 1000) & MOMENT;
        let mtu = (word >> 24) as u16;
        (mtu != 0 && word & tag(u64::MAX) == tag(hash) && left_s <= LIFE_S).then_some(mtu)
    }
}

fn hash(keyed: &Keyed, address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => keyed.bytes(&v4.octets()),
        IpAddr::V6(v6) => keyed.bytes(&v6.octets()),
    }
}

/// The part of a hash that a word keeps.
const fn tag(hash: u64) -> u64 {
    hash & !0xff_ffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Seed;

    #[test]
    fn an_mtu_is_known_for_ten_minutes_and_for_its_address_only() {
        let keyed = Keyed::new(Seed::fixed(1));
        let paths = PathMtus::default();
        let [near, far] = ["10.0.0.11", "2001:db8::11"].map(|text| text.parse().unwrap());
        let start = Tick::from_secs(100);
        assert_eq!(paths.mtu(&keyed, near, start), None);
        paths.learn(&keyed, near, 1300, start);
        assert_eq!(paths.mtu(&keyed, near, start), Some(1300));
        assert_eq!(paths.mtu(&keyed, far, start), None);
        assert_eq!(paths.mtu(&keyed, near, Tick::from_secs(700)), Some(1300));
        assert_eq!(paths.mtu(&keyed, near, Tick::from_secs(701)), None);
        paths.learn(&keyed, near, 1400, start);
        assert_eq!(paths.mtu(&keyed, near, start), Some(1400));
    }

    #[test]
    fn moments_may_wrap() {
        let keyed = Keyed::new(Seed::fixed(1));
        let paths = PathMtus::default();
        let to = "10.0.0.11".parse().unwrap();
        let late = Tick::from_secs(MOMENT);
        paths.learn(&keyed, to, 1300, late);
        assert_eq!(paths.mtu(&keyed, to, Tick::from_secs(MOMENT + 600)), Some(1300));
        assert_eq!(paths.mtu(&keyed, to, Tick::from_secs(MOMENT + 601)), None);
    }
}
