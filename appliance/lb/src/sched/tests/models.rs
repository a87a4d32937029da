// SPDX-License-Identifier: MIT OR Apache-2.0
//! Four schedulers written down a second time, as slowly and plainly as they can be described,
//! over random histories of a service: servers come, go, change weight and are overloaded between
//! connections.

use std::net::{IpAddr, Ipv4Addr};

use super::desk::Desk;
use crate::ids::{Seed, WorkerId};
use crate::random::Random;

/// Histories of all four together: 10^5.
const HISTORIES: [(Kind, u64); 4] =
    [(Kind::Wrr, 60_000), (Kind::Sh, 20_000), (Kind::Dh, 15_000), (Kind::Mh, 5_000)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Wrr,
    Sh,
    Dh,
    Mh,
}

/// A server as the models know it.
#[derive(Clone, Copy, Debug)]
struct Dest {
    number: u8,
    weight: u32,
    last_weight: u32,
    is_overloaded: bool,
}

#[derive(Default)]
struct Model {
    /// The last added first.
    list: Vec<Dest>,
    flags: (bool, bool),
    at: Option<usize>,
    threshold: i64,
}

fn gcd(weights: impl Iterator<Item = u32>) -> i64 {
    weights.fold(0, |a, b| {
        let (mut a, mut b) = (a, i64::from(b));
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}

impl Model {
    fn highest_and_fall(&self) -> (i64, i64) {
        let fall = gcd(self.list.iter().map(|dest| dest.weight)).max(1);
        let heaviest = self.list.iter().map(|dest| i64::from(dest.weight)).max().unwrap_or(0);
        (heaviest - (fall - 1), fall)
    }

    fn changed(&mut self) {
        let (highest, fall) = self.highest_and_fall();
        self.at = None;
        if self.threshold > highest || self.threshold == 0 {
            self.threshold = highest;
        } else if fall > 1 {
            self.threshold = self.threshold / fall * fall + 1;
        }
    }

    /// Walks the list pass by pass.
    fn wrr(&mut self) -> Option<u8> {
        let (highest, fall) = self.highest_and_fall();
        if !self.list.iter().any(|dest| dest.weight > 0) {
            return None;
        }
        let last = self.at;
        let mut next = last.map_or(0, |last| last + 1);
        let (mut is_last_pass, mut restarted, mut stop) = (false, false, None);
        loop {
            while let Some(dest) = self.list.get(next) {
                if !dest.is_overloaded && i64::from(dest.weight) >= self.threshold {
                    self.at = Some(next);
                    return Some(dest.number);
                }
                if Some(next) == stop {
                    self.at = stop;
                    return None;
                }
                next += 1;
            }
            next = 0;
            self.threshold -= fall;
            if self.threshold <= 0 {
                self.threshold = highest;
                if is_last_pass || last.is_none() {
                    self.at = None;
                    return None;
                }
                restarted = true;
            }
            is_last_pass = self.threshold <= fall;
            if is_last_pass && restarted {
                stop = last;
            }
        }
    }

    fn takes(&self, place: usize) -> bool {
        self.list.get(place).is_some_and(|dest| dest.weight > 0 && !dest.is_overloaded)
    }

    fn dh(&self, vip: u32) -> Option<u8> {
        let bucket = vip.wrapping_mul(0x61C8_8647) >> 24;
        let place = bucket as usize % self.list.len().max(1);
        self.takes(place).then(|| self.list[place].number)
    }

    fn sh(&self, client: u32, port: u16) -> Option<u8> {
        let mut buckets = Vec::new();
        while buckets.len() < 256 && !self.list.is_empty() {
            for (place, dest) in self.list.iter().enumerate() {
                (0..dest.weight.clamp(1, 256)).for_each(|_| buckets.push(place));
            }
        }
        let port = if self.flags.1 { u32::from(port) } else { 0 };
        let key = |offset: u32| {
            (offset + (client.wrapping_add(port).wrapping_mul(0x61C8_8647) >> 24)) % 256
        };
        let hash = key(0);
        let tries = if self.flags.0 { 256 } else { 0 };
        let offsets = std::iter::once(0).chain((0..tries).map(|step| (step + hash) % 256));
        let mut places = offsets.filter_map(|offset| buckets.get(key(offset) as usize));
        places.find(|place| self.takes(**place)).map(|place| self.list[*place].number)
    }

    fn mh(&self, client: u32, port: u16) -> Option<u8> {
        const PLACES: u32 = 4093;
        let common = gcd(self.list.iter().map(|dest| dest.last_weight)) as u32;
        if common == 0 {
            return None;
        }
        let heaviest = self.list.iter().map(|dest| dest.last_weight).max()? / common;
        let shift = heaviest.ilog2().saturating_sub(5);
        let mut ways: Vec<(u32, u32, u32)> = Vec::new();
        for dest in &self.list {
            let name = u32::from(Ipv4Addr::new(10, 2, 0, 10 + dest.number)) + 80;
            let [first, second] = [2_654_435_761, 2_654_446_892].map(|key| sip(name, key));
            let share = (dest.last_weight / common) >> shift;
            let turns = if share == 0 { u32::from(dest.last_weight != 0) } else { share };
            ways.push((first % PLACES, second % (PLACES - 1) + 1, turns));
        }
        let mut table = vec![None; PLACES as usize];
        while table.contains(&None) {
            for (place, (at, skip, turns)) in ways.iter_mut().enumerate() {
                for _ in 0..*turns {
                    if !table.contains(&None) {
                        break;
                    }
                    while table[*at as usize].is_some() {
                        *at = (*at + *skip) % PLACES;
                    }
                    table[*at as usize] = Some(place);
                }
            }
        }
        let port = if self.flags.1 { u32::from(port) } else { 0 };
        let key = |offset: u32| sip(client.wrapping_add(port).wrapping_add(offset), 2_654_435_761);
        let hash = key(0) % PLACES;
        let tries = if self.flags.0 { PLACES } else { 0 };
        let offsets = std::iter::once(0).chain((0..tries).map(|step| (step + hash) % PLACES));
        let mut places = offsets.filter_map(|offset| table[(key(offset) % PLACES) as usize]);
        places.find(|place| self.takes(*place)).map(|place| self.list[place].number)
    }
}

/// SipHash-1-3 of four bytes, as its authors describe it.
fn sip(word: u32, key: u64) -> u32 {
    let names = [*b"somepseu", *b"dorandom", *b"lygenera", *b"tedbytes"];
    let mut v = names.map(|name| u64::from_be_bytes(name) ^ key);
    let round = |v: &mut [u64; 4]| {
        for (a, b, turn) in [(0, 1, 13), (2, 3, 16), (0, 3, 21), (2, 1, 17)] {
            v[a] = v[a].wrapping_add(v[b]);
            v[b] = v[b].rotate_left(turn) ^ v[a];
            if turn == 13 || turn == 17 {
                v[a] = v[a].rotate_left(32);
            }
        }
    };
    let block = u64::from(word) | 4 << 56;
    v[3] ^= block;
    round(&mut v);
    v[0] ^= block;
    v[2] ^= 0xFF;
    (0..3).for_each(|_| round(&mut v));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

/// One history: what was chosen by both, and what happened between.
struct History {
    kind: Kind,
    desk: Desk,
    model: Model,
    random: Random,
    /// Servers that were removed.
    gone: Vec<Dest>,
    story: String,
}

impl History {
    fn new(kind: Kind, seed: u64) -> Self {
        let mut random = Random::new(Seed::fixed(seed), WorkerId(kind as u16));
        let flags = (random.draw() & 1 == 0, random.draw() & 1 == 0);
        let numbers: Vec<u8> = [(flags.0, 1), (flags.1, 2)]
            .iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, number)| *number)
            .collect();
        let name = format!("{kind:?}").to_lowercase();
        let desk = Desk::with_flags(&name, &numbers);
        let model = Model { flags, ..Model::default() };
        let story = format!("seed {seed} {name} {numbers:?}");
        Self { kind, desk, model, random, gone: Vec::new(), story }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.draw() % limit
    }

    fn weight(&mut self) -> u32 {
        let scale = [1, 2, 5, 100, 1000][self.below(5) as usize];
        self.below(7) as u32 * scale
    }

    fn happen(&mut self) {
        let number = self.below(5) as u8 + 1;
        let weight = self.weight();
        let place = self.model.list.iter().position(|dest| dest.number == number);
        let Some(place) = place else {
            self.story += &format!("; +{number}:{weight}");
            self.desk.add(number, weight);
            // A server that comes back has the last weight that it had before.
            let before = self.gone.iter().find(|dest| dest.number == number);
            let last_weight = match (weight, before) {
                (0, Some(before)) => before.last_weight,
                _ => weight,
            };
            let dest = Dest { number, weight, last_weight, is_overloaded: false };
            self.model.list.insert(0, dest);
            return self.model.changed();
        };
        match self.below(4) {
            0 => {
                self.story += &format!("; -{number}");
                if self.model.list[place].is_overloaded {
                    self.desk.overload(number, false);
                }
                self.desk.delete(number);
                let gone = self.model.list.remove(place);
                self.gone.retain(|dest| dest.number != number);
                self.gone.push(gone);
                self.model.changed();
            }
            1 => {
                let dest = &mut self.model.list[place];
                dest.is_overloaded = !dest.is_overloaded;
                self.story += &format!("; {number} overloaded {}", dest.is_overloaded);
                self.desk.overload(number, dest.is_overloaded);
            }
            _ => {
                self.story += &format!("; {number}:{weight}");
                self.desk.edit(number, weight);
                let dest = &mut self.model.list[place];
                dest.weight = weight;
                if weight != 0 {
                    dest.last_weight = weight;
                }
                self.model.changed();
            }
        }
    }

    fn connect(&mut self) {
        let client = 0x0A01_0000 + self.below(1 << 16) as u32;
        let port = self.below(1 << 16) as u16;
        let vip = 0x0A09_0000 + self.below(1 << 16) as u32;
        let address = |word: u32| IpAddr::from(word.to_be_bytes());
        self.desk.vip = address(vip);
        let ours = self.desk.pick(address(client), port);
        let models = match self.kind {
            Kind::Wrr => self.model.wrr(),
            Kind::Sh => self.model.sh(client, port),
            Kind::Dh => self.model.dh(vip),
            Kind::Mh => self.model.mh(client, port),
        };
        assert_eq!(ours, models, "{}", self.story);
    }
}

#[test]
fn random_histories_end_as_in_the_models() {
    for (kind, count) in HISTORIES {
        for seed in 0..count {
            let mut history = History::new(kind, seed);
            for _ in 0..4 {
                (0..=history.below(2)).for_each(|_| history.happen());
                (0..=history.below(4)).for_each(|_| history.connect());
            }
        }
    }
}
