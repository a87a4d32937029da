// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where packets go next: routes, neighbours, and the next hops that connections refer to.
//!
//! [`Network`] is the management core's truth, fed from the kernel or the configuration;
//! [`NetworkView`] is what workers read. A [`NextHopId`] names a neighbour's place and the epoch of
//! the routes: a changed MAC changes the place's content, a changed route the epoch, and a
//! connection with an id of an older epoch resolves its destination anew. So an action never holds
//! a MAC, and a route change reaches every connection at its next packet.
//!
//! Epochs come around again. Each time that half of them are used up ([`NetworkView::era`]) workers
//! let go of all ids that connections hold, so that none is left when its epoch comes back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use wire::{Addr4, Addr6, Family, FamilyId, Link, Mac, V4, V6};
use zerocopy::native_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::NicId;
use crate::limits;

/// A range of addresses: those that share the first `len` bits with `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Any address of the range.
    pub address: IpAddr,
    /// How many leading bits count: 0..=32 or 0..=128.
    pub len: u8,
}

/// A route for packets that leave by one of our NICs, or one that says they cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations.
    pub to: Prefix,
    /// The gateway; without one the destination itself is the neighbour.
    pub via: Option<IpAddr>,
    /// The NIC to leave by; none for destinations that are reached without us.
    pub nic: Option<NicId>,
    /// The source address for packets of our own (the outer header of TUN).
    pub src: Option<IpAddr>,
}

/// What is fixed about a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicFacts {
    /// Its link-layer address.
    pub mac: Mac,
    /// Largest IP packet it sends, in bytes.
    pub mtu: u16,
}

/// A place among the next hops, valid within one epoch of the routes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct NextHopId {
    place: U16,
    epoch: U16,
}

impl NextHopId {
    /// Not resolved yet: belongs to no epoch.
    pub const UNRESOLVED: Self = Self { place: U16::ZERO, epoch: U16::ZERO };

    /// The place among the next hops.
    #[inline]
    pub fn place(self) -> u16 {
        self.place.get()
    }
}

/// A neighbour that can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The NIC to send from.
    pub nic: NicId,
    /// Largest IP packet towards it, in bytes.
    pub mtu: u16,
    /// Link-layer addresses of frames to it: the neighbour's, and the NIC's as their source.
    pub link: Link,
}

impl NextHop {
    /// The place of a neighbour that cannot be sent to.
    const NOBODY: Self =
        Self { nic: NicId(0), mtu: 0, link: Link { dst: Mac([0; 6]), src: Mac([0; 6]) } };
}

/// A neighbour by its address on a NIC's segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Neighbour {
    /// The NIC it is reached by.
    pub nic: NicId,
    /// Its address.
    pub address: IpAddr,
}

/// Why a destination has no next hop now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No route leads there by a NIC of ours.
    NoRoute,
    /// The neighbour's link-layer address is not known.
    NoNeighbour(Neighbour),
}

/// Epochs in which ids of the era before may still be held; two eras fit the id, 0 being no epoch.
const ERA: u64 = u16::MAX as u64 / 2;

/// The mutable truth about routes and neighbours, owned by the management core.
#[derive(Debug)]
pub struct Network {
    nics: Vec<NicFacts>,
    routes: Vec<Route>,
    v4: Arc<RouteTable<V4>>,
    v6: Arc<RouteTable<V6>>,
    macs: HashMap<Neighbour, Mac>,
    places: HashMap<Neighbour, u16>,
    /// Epochs before this one.
    past: u64,
}

impl Network {
    /// A network without routes or neighbours.
    pub fn new(nics: Vec<NicFacts>) -> Self {
        Self {
            nics,
            routes: Vec::new(),
            v4: Arc::new(RouteTable::new(&[])),
            v6: Arc::new(RouteTable::new(&[])),
            macs: HashMap::new(),
            places: HashMap::new(),
            past: 0,
        }
    }

    /// Replaces all routes; says whether that changed anything.
    pub fn set_routes(&mut self, mut routes: Vec<Route>) -> bool {
        routes.sort_by_key(|route| (route.to.len, route.to.address));
        routes.dedup_by_key(|route| route.to);
        if routes == self.routes {
            return false;
        }
        self.routes = routes;
        self.v4 = Arc::new(RouteTable::new(&self.routes));
        self.v6 = Arc::new(RouteTable::new(&self.routes));
        self.new_epoch();
        true
    }

    /// Sets or forgets a neighbour's link-layer address; says whether that changed anything. One of
    /// more than [`limits::NEXT_HOPS`] at once stays unknown.
    pub fn set_neighbour(&mut self, neighbour: Neighbour, mac: Option<Mac>) -> bool {
        match mac {
            None => self.macs.remove(&neighbour).is_some(),
            Some(mac) => {
                if !self.places.contains_key(&neighbour) {
                    if self.places.len() >= limits::NEXT_HOPS {
                        self.new_epoch();
                    }
                    let Ok(place) = u16::try_from(self.places.len()) else {
                        return false;
                    };
                    self.places.insert(neighbour, place);
                }
                self.macs.insert(neighbour, mac) != Some(mac)
            }
        }
    }

    /// The neighbours whose link-layer addresses are known.
    pub fn neighbours(&self) -> impl Iterator<Item = (Neighbour, Mac)> {
        self.macs.iter().map(|(neighbour, mac)| (*neighbour, *mac))
    }

    /// Whether a neighbour's link-layer address is known.
    pub fn knows(&self, neighbour: &Neighbour) -> bool {
        self.macs.contains_key(neighbour)
    }

    /// The neighbours that next hops refer to, each with its place.
    pub fn placed(&self) -> impl Iterator<Item = (u16, Neighbour)> {
        self.places.iter().map(|(neighbour, place)| (*place, *neighbour))
    }

    /// The routes.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// What workers read.
    pub fn view(&self) -> NetworkView {
        let mut view = NetworkView {
            epoch: (self.past % (2 * ERA)) as u16 + 1,
            era: self.past / ERA,
            next_hops: vec![NextHop::NOBODY; self.places.len()],
            mtus: self.nics.iter().map(|nic| nic.mtu).collect(),
            v4: FamilyView::new(&self.v4),
            v6: FamilyView::new(&self.v6),
        };
        for (neighbour, place) in &self.places {
            let hop = self.next_hop(neighbour);
            if let (Some(slot), Some(hop)) = (view.next_hops.get_mut(usize::from(*place)), hop) {
                *slot = hop;
                match neighbour.address {
                    IpAddr::V4(v4) => view.v4.places.insert((neighbour.nic, v4.into()), *place),
                    IpAddr::V6(v6) => view.v6.places.insert((neighbour.nic, v6.into()), *place),
                };
            }
        }
        view
    }

    fn next_hop(&self, neighbour: &Neighbour) -> Option<NextHop> {
        let dst = *self.macs.get(neighbour)?;
        let nic = self.nics.get(neighbour.nic.index())?;
        let link = Link { dst, src: nic.mac };
        Some(NextHop { nic: neighbour.nic, mtu: nic.mtu, link })
    }

    /// Makes every [`NextHopId`] given out so far stale, and packs the places.
    fn new_epoch(&mut self) {
        self.past += 1;
        self.places.clear();
        let known = self.macs.keys().take(limits::NEXT_HOPS);
        self.places = known.enumerate().map(|(place, key)| (*key, place as u16)).collect();
        self.macs.retain(|key, _| self.places.contains_key(key));
    }
}

/// The next hops of a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextHops<'a> {
    epoch: u16,
    places: &'a [NextHop],
}

impl<'a> NextHops<'a> {
    /// The next hop of an id, unless the id is stale or the neighbour is gone.
    #[inline]
    pub(crate) fn get(self, id: NextHopId) -> Option<&'a NextHop> {
        self.place(&id).filter(|hop| hop.mtu != 0)
    }

    /// The place of an id, unless the id is stale: without a neighbour, nothing fits it.
    #[inline(always)]
    pub(crate) fn place(self, id: &NextHopId) -> Option<&'a NextHop> {
        const { assert!(limits::NEXT_HOPS <= 1 << u16::BITS) };
        // Of another epoch, the number is larger than that of any place.
        let epochs = u32::from(id.epoch.get() ^ self.epoch);
        self.places.get((epochs << u16::BITS | u32::from(id.place())) as usize)
    }
}

/// Routes and next hops as workers read them.
#[derive(Debug)]
pub struct NetworkView {
    epoch: u16,
    era: u64,
    /// By place, [`NextHop::NOBODY`] where the neighbour's link-layer address is not known.
    next_hops: Vec<NextHop>,
    mtus: Vec<u16>,
    v4: FamilyView<V4>,
    v6: FamilyView<V6>,
}

impl NetworkView {
    /// How often half of the epochs were used up.
    #[inline]
    pub fn era(&self) -> u64 {
        self.era
    }

    /// The next hop of an id, unless the id is stale or the neighbour is gone.
    #[inline]
    pub fn next_hop(&self, id: NextHopId) -> Option<&NextHop> {
        self.next_hops().get(id)
    }

    /// All next hops.
    #[inline]
    pub(crate) fn next_hops(&self) -> NextHops<'_> {
        NextHops { epoch: self.epoch, places: &self.next_hops }
    }

    /// Finds the next hop towards an address.
    ///
    /// # Errors
    /// [`Unresolved`] says what is missing.
    pub fn resolve<F: NetworkFamily>(&self, to: F::Addr) -> Result<NextHopId, Unresolved> {
        let view = F::view(self);
        let route = view.route(to).ok_or(Unresolved::NoRoute)?;
        let nic = route.nic.ok_or(Unresolved::NoRoute)?;
        let address = route.via.unwrap_or(to);
        match view.places.get(&(nic, address)) {
            Some(place) => Ok(NextHopId { place: U16::new(*place), epoch: U16::new(self.epoch) }),
            None => Err(Unresolved::NoNeighbour(Neighbour { nic, address: address.into() })),
        }
    }

    /// Finds the next hop towards an address of either family.
    ///
    /// # Errors
    /// [`Unresolved`] says what is missing.
    pub fn resolve_ip(&self, to: IpAddr) -> Result<NextHopId, Unresolved> {
        match to {
            IpAddr::V4(to) => self.resolve::<V4>(to.into()),
            IpAddr::V6(to) => self.resolve::<V6>(to.into()),
        }
    }

    /// Largest IP packet that a NIC sends, in bytes.
    pub fn mtu(&self, nic: NicId) -> Option<u16> {
        self.mtus.get(nic.index()).copied()
    }

    /// The neighbour that packets to an address go to next, known or not.
    pub fn neighbour(&self, to: IpAddr) -> Option<Neighbour> {
        fn find<F: NetworkFamily>(view: &NetworkView, to: F::Addr) -> Option<Neighbour> {
            let route = F::view(view).route(to)?;
            let address = route.via.unwrap_or(to).into();
            Some(Neighbour { nic: route.nic?, address })
        }
        match to {
            IpAddr::V4(to) => find::<V4>(self, to.into()),
            IpAddr::V6(to) => find::<V6>(self, to.into()),
        }
    }

    /// The source address for packets of our own towards an address.
    pub fn source<F: NetworkFamily>(&self, to: F::Addr) -> Option<F::Addr> {
        F::view(self).route(to)?.src
    }
}

/// A family whose view can be picked out of a [`NetworkView`].
pub trait NetworkFamily: Family {
    /// The family's part of the view.
    fn view(view: &NetworkView) -> &FamilyView<Self>;
}

impl NetworkFamily for V4 {
    fn view(view: &NetworkView) -> &FamilyView<Self> {
        &view.v4
    }
}

impl NetworkFamily for V6 {
    fn view(view: &NetworkView) -> &FamilyView<Self> {
        &view.v6
    }
}

/// One family's routes and neighbours.
#[derive(Debug)]
pub struct FamilyView<F: Family> {
    routes: Arc<RouteTable<F>>,
    places: HashMap<(NicId, F::Addr), u16>,
}

impl<F: Family> FamilyView<F> {
    fn new(routes: &Arc<RouteTable<F>>) -> Self {
        Self { routes: Arc::clone(routes), places: HashMap::new() }
    }

    fn route(&self, to: F::Addr) -> Option<&FamilyRoute<F>> {
        self.routes.find(to)
    }
}

/// One family's routes.
///
/// They are cut into ranges that do not overlap, sorted by their first address, each with the
/// longest prefix that covers it: one binary search finds the route.
#[derive(Debug)]
struct RouteTable<F: Family> {
    starts: Vec<F::Addr>,
    routes: Vec<Option<FamilyRoute<F>>>,
}

#[derive(Clone, Copy, Debug)]
struct FamilyRoute<F: Family> {
    via: Option<F::Addr>,
    nic: Option<NicId>,
    src: Option<F::Addr>,
}

impl<F: Family> RouteTable<F> {
    fn new(routes: &[Route]) -> Self {
        let mut ranges: Vec<(u128, u128, FamilyRoute<F>)> = routes
            .iter()
            .filter_map(|route| {
                F::from_ip(route.to.address)?;
                let (first, last) = bounds(route.to);
                let via = route.via.and_then(F::from_ip);
                let src = route.src.and_then(F::from_ip);
                Some((first, last, FamilyRoute { via, nic: route.nic, src }))
            })
            .collect();
        // Wider ranges first, so that on a stack the top is the longest prefix.
        ranges.sort_by_key(|(first, last, _)| (*first, u128::MAX - (last - first)));
        let mut cuts = Cuts { starts: vec![0], routes: vec![None], open: Vec::new() };
        for (first, last, route) in ranges {
            cuts.close_before(first);
            cuts.cut(first, Some(route));
            cuts.open.push((last, route));
        }
        cuts.close_before(u128::MAX);
        // The cut behind the family's last address, if there is one, covers nothing.
        let width = 8 * size_of::<F::Addr>() as u32;
        let count = cuts.starts.partition_point(|start| *start <= u128::MAX >> (128 - width));
        let starts = cuts.starts.iter().take(count);
        Self { starts: starts.map(|start| from_bits::<F>(*start)).collect(), routes: cuts.routes }
    }

    fn find(&self, to: F::Addr) -> Option<&FamilyRoute<F>> {
        let index = self.starts.partition_point(|start| *start <= to).checked_sub(1)?;
        self.routes.get(index)?.as_ref()
    }
}

/// The ranges while they are cut; `open` holds the enclosing prefixes, the longest last.
struct Cuts<F: Family> {
    starts: Vec<u128>,
    routes: Vec<Option<FamilyRoute<F>>>,
    open: Vec<(u128, FamilyRoute<F>)>,
}

impl<F: Family> Cuts<F> {
    fn close_before(&mut self, first: u128) {
        while let Some((last, _)) = self.open.last().copied() {
            if last >= first {
                break;
            }
            self.open.pop();
            self.cut(last + 1, self.open.last().map(|(_, route)| *route));
        }
    }

    fn cut(&mut self, start: u128, route: Option<FamilyRoute<F>>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.routes.pop();
        }
        self.starts.push(start);
        self.routes.push(route);
    }
}

/// First and last address of a prefix, as numbers of the family's width.
fn bounds(prefix: Prefix) -> (u128, u128) {
    let (bits, width) = match prefix.address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let host = width - u32::from(prefix.len).min(width);
    let mask = if host >= 128 { u128::MAX } else { (1 << host) - 1 };
    (bits & !mask, bits | mask)
}

fn from_bits<F: Family>(bits: u128) -> F::Addr {
    let address = match F::ID {
        FamilyId::V4 => IpAddr::from(Addr4((bits as u32).to_be_bytes())),
        FamilyId::V6 => IpAddr::from(Addr6(bits.to_be_bytes())),
    };
    F::from_ip(address).unwrap_or_default()
}

#[cfg(test)]
mod tests;
