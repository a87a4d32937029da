// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of the kernel's network, and which part of it was not told on yet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb::ids::NicId;
use lb::network::{Neighbour, Route};
use rtnetlink::Error;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use wire::Mac;

use super::kernel::{Kernel, LinkIndex};
use super::routes::{self, Candidate, Links, LocalAddress};

/// What changed since the change before; the first one holds everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkChange {
    /// All routes of the main table, if any of them changed.
    pub routes: Option<Vec<Route>>,
    /// Neighbours that became known, have another MAC, or are known no more.
    pub neighbours: Vec<(Neighbour, Option<Mac>)>,
    /// All addresses of the host, if any of them changed.
    pub addresses: Option<Vec<LocalAddress>>,
}

/// The kernel's network as far as it concerns our host interfaces.
pub(super) struct View {
    interfaces: Vec<(String, NicId)>,
    links: Links,
    addresses: Vec<LocalAddress>,
    routes: Vec<Route>,
    entries: BTreeMap<Neighbour, Entry>,
    untold: Untold,
}

/// A neighbour's entry that can be sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    mac: Mac,
    /// Whether an operator set it: such an entry needs no keeping alive, and must not be asked for.
    fixed: bool,
}

#[derive(Default)]
struct Untold {
    routes: bool,
    addresses: bool,
    neighbours: BTreeMap<Neighbour, Option<Mac>>,
}

impl View {
    /// A view in which nothing is known yet, and all is to be told.
    pub(super) fn new(interfaces: Vec<(String, NicId)>) -> Self {
        Self {
            interfaces,
            links: Links::new(),
            addresses: Vec::new(),
            routes: Vec::new(),
            entries: BTreeMap::new(),
            untold: Untold { routes: true, addresses: true, ..Untold::default() },
        }
    }

    /// Reads links, addresses and routes; says whether an interface of ours came or went, in which
    /// case the neighbours are to be read, too.
    pub(super) async fn read_tables(&mut self, kernel: &Kernel) -> Result<bool, Error> {
        let mut links = Links::new();
        for (name, nic) in &self.interfaces {
            links.extend(kernel.link(name).await?.map(|link| (link, *nic)));
        }
        let announced = kernel.addresses().await?;
        let candidates: Vec<_> = announced.iter().filter_map(Candidate::read).collect();
        let mut table = kernel.routes(AddressFamily::Inet).await?;
        table.extend(kernel.routes(AddressFamily::Inet6).await?);

        let routes = routes::best(&links, &candidates, &table);
        self.untold.routes |= routes != self.routes;
        self.routes = routes;
        let addresses: Vec<_> = candidates.iter().map(|each| each.local(&links)).collect();
        self.untold.addresses |= addresses != self.addresses;
        self.addresses = addresses;
        let links_changed = links != self.links;
        self.links = links;
        Ok(links_changed)
    }

    /// Reads the neighbours of all our interfaces.
    pub(super) async fn read_neighbours(&mut self, kernel: &Kernel) -> Result<(), Error> {
        let mut present = BTreeMap::new();
        for link in self.links.keys() {
            for message in kernel.neighbours(*link).await? {
                if let Some((neighbour, Some(entry))) = self.read_entry(&message) {
                    present.insert(neighbour, entry);
                }
            }
        }
        let absent = self.entries.keys().filter(|each| !present.contains_key(each));
        for neighbour in absent.copied().collect::<Vec<_>>() {
            self.set(neighbour, None);
        }
        for (neighbour, entry) in present {
            self.set(neighbour, Some(entry));
        }
        Ok(())
    }

    /// Takes an announced neighbour.
    pub(super) fn learn(&mut self, message: &NeighbourMessage) {
        if let Some((neighbour, entry)) = self.read_entry(message) {
            self.set(neighbour, entry);
        }
    }

    /// Takes the end of a neighbour.
    pub(super) fn forget(&mut self, message: &NeighbourMessage) {
        if let Some((neighbour, _)) = self.read_entry(message) {
            self.set(neighbour, None);
        }
    }

    /// Where to ask for a neighbour; none if it was set by hand or its interface is not there.
    pub(super) fn where_to_ask(&self, neighbour: Neighbour) -> Option<LinkIndex> {
        if self.entries.get(&neighbour).is_some_and(|entry| entry.fixed) {
            return None;
        }
        let mut links = self.links.iter();
        links.find(|(_, nic)| **nic == neighbour.nic).map(|(link, _)| *link)
    }

    /// Whether there is anything to tell.
    pub(super) fn has_news(&self) -> bool {
        self.untold.routes || self.untold.addresses || !self.untold.neighbours.is_empty()
    }

    /// What was not told yet, which is then told.
    pub(super) fn take_news(&mut self) -> NetworkChange {
        let untold = std::mem::take(&mut self.untold);
        NetworkChange {
            routes: untold.routes.then(|| self.routes.clone()),
            neighbours: untold.neighbours.into_iter().collect(),
            addresses: untold.addresses.then(|| self.addresses.clone()),
        }
    }

    fn set(&mut self, neighbour: Neighbour, entry: Option<Entry>) {
        let before = match entry {
            Some(entry) => self.entries.insert(neighbour, entry),
            None => self.entries.remove(&neighbour),
        };
        let mac = |entry: Option<Entry>| entry.map(|entry| entry.mac);
        if mac(before) != mac(entry) {
            self.untold.neighbours.insert(neighbour, mac(entry));
        }
    }

    /// The neighbour that a message is about, and its entry if it can be sent to; nothing for
    /// interfaces and entries that do not concern us.
    fn read_entry(&self, message: &NeighbourMessage) -> Option<(Neighbour, Option<Entry>)> {
        let nic = *self.links.get(&LinkIndex(message.header.ifindex))?;
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                    address = Some(IpAddr::from(*v4));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                    address = Some(IpAddr::from(*v6));
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
                }
                _ => {}
            }
        }
        let address = address?;
        if address.is_multicast() || message.header.flags.contains(NeighbourFlags::Proxy) {
            return None;
        }
        let fixed = match message.header.state {
            NeighbourState::Permanent | NeighbourState::Noarp => Some(true),
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe => Some(false),
            _ => None,
        };
        let entry = mac.zip(fixed).map(|(mac, fixed)| Entry { mac, fixed });
        Some((Neighbour { nic, address }, entry))
    }
}
