// SPDX-License-Identifier: MIT OR Apache-2.0
//! One family's services by protocol and endpoint: where the first packet of a connection asks.
//!
//! Open addressing, made anew with each snapshot, at most half full. The place of an endpoint is
//! known before it is looked at, so that a batch of new connections can ask the cache for all of
//! theirs at once. The hash is keyed: strangers choose what is looked for.

use std::sync::Arc;

use wire::{Endpoint, Family, FlowKey, L4, Tuple};

use super::ServiceView;
use crate::hash::Keyed;
use crate::ids::Seed;
use crate::prefetch;

/// Services by what packets to them carry.
#[derive(Debug)]
pub(super) struct Endpoints<F: Family> {
    /// A power of two, or none.
    places: Box<[Option<Place<F>>]>,
    count: usize,
    keyed: Keyed,
}

#[derive(Clone, Debug)]
struct Place<F: Family> {
    protocol: L4,
    to: Endpoint<F>,
    view: Arc<ServiceView>,
}

impl<F: Family> Endpoints<F> {
    /// No services, with room for `count` of them.
    pub(super) fn new(seed: Seed, count: usize) -> Self {
        let places = (2 * count).next_power_of_two();
        Self { places: vec![None; places].into(), count: 0, keyed: Keyed::new(seed) }
    }

    /// Adds a service of an endpoint that has none.
    pub(super) fn insert(&mut self, protocol: L4, to: Endpoint<F>, view: Arc<ServiceView>) {
        if 2 * (self.count + 1) > self.places.len() {
            self.grow();
        }
        self.count += 1;
        self.put(Place { protocol, to, view });
    }

    /// The service of an endpoint.
    #[inline]
    pub(super) fn find(&self, protocol: L4, to: Endpoint<F>) -> Option<&ServiceView> {
        let mut at = self.first(protocol, to);
        loop {
            let place = self.places.get(at)?.as_ref()?;
            if place.to == to && place.protocol == protocol {
                return Some(&place.view);
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }

    /// Asks the cache for where the service of an endpoint is looked for first.
    #[inline]
    pub(super) fn prefetch(&self, protocol: L4, to: Endpoint<F>) {
        if let Some(place) = self.places.get(self.first(protocol, to)) {
            prefetch::read(place);
        }
    }

    /// Whether so many services do not lie in the cache.
    #[inline]
    pub(super) fn are_many(&self) -> bool {
        const FEW: usize = 64;
        self.count > FEW
    }

    #[inline]
    fn first(&self, protocol: L4, to: Endpoint<F>) -> usize {
        let hash = self.keyed.key(&FlowKey { tuple: Tuple::new(to, to), protocol });
        hash as usize & (self.places.len().wrapping_sub(1))
    }

    fn put(&mut self, place: Place<F>) {
        let mut at = self.first(place.protocol, place.to);
        while let Some(Some(_)) = self.places.get(at) {
            at = (at + 1) & (self.places.len() - 1);
        }
        if let Some(free) = self.places.get_mut(at) {
            *free = Some(place);
        }
    }

    fn grow(&mut self) {
        let twice = vec![None; (2 * self.places.len()).max(2)].into();
        for place in std::mem::replace(&mut self.places, twice).into_iter().flatten() {
            self.put(place);
        }
    }
}
