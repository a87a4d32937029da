// SPDX-License-Identifier: MIT OR Apache-2.0
//! Questions to the kernel and its announcements, over rtnetlink (`rtnetlink(7)`).
//!
//! Two sockets, so that a flood of announcements cannot disturb an answer: [`Kernel`] asks,
//! [`Announcements`] listens. Of what is announced only neighbours are read; anything else says no
//! more than that links, addresses or routes are to be read again, because the kernel does not
//! announce every route it removes (those that go with an address or a link, on IPv4).

use std::io;
use std::net::IpAddr;

use futures_util::{Stream, TryStreamExt};
use rtnetlink::packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteHeader, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use rtnetlink::{Error, Handle, MulticastGroup};

/// Room for announcements that were not read yet, in bytes; the kernel may grant less
/// (`net.core.rmem_max`).
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// The number by which the kernel names an interface, unique in its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkIndex(pub(super) u32);

/// A socket for questions to the kernel of this network namespace.
pub(super) struct Kernel {
    handle: Handle,
}

impl Kernel {
    /// Opens the socket; it is served by a task of the present tokio runtime until dropped.
    pub(super) fn connect() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// The index of an interface, if there is one of this name.
    pub(super) async fn link(&self, name: &str) -> Result<Option<LinkIndex>, Error> {
        let mut links = Box::pin(self.handle.link().get().match_name(name).execute());
        match links.try_next().await {
            Ok(link) => Ok(link.map(|link| LinkIndex(link.header.index))),
            Err(error) if is_errno(&error, libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The addresses of all interfaces, in the order of their age on each.
    pub(super) async fn addresses(&self) -> Result<Vec<AddressMessage>, Error> {
        collect(self.handle.address().get().execute()).await
    }

    /// The main table's routes of a family, in the order in which the kernel tries them.
    pub(super) async fn routes(&self, family: AddressFamily) -> Result<Vec<RouteMessage>, Error> {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        wanted.header.table = RouteHeader::RT_TABLE_MAIN;
        collect(self.handle.route().get(wanted).execute()).await
    }

    /// The neighbours of an interface.
    pub(super) async fn neighbours(&self, link: LinkIndex) -> Result<Vec<NeighbourMessage>, Error> {
        let mut request = self.handle.neighbours().get();
        request.message_mut().attributes.push(NeighbourAttribute::IfIndex(link.0));
        collect(request.execute()).await
    }

    /// Makes the kernel resolve a neighbour, or treat it as just used if it is known.
    ///
    /// `NTF_USE` takes the permanence from an entry: never ask for one that an operator has set.
    pub(super) async fn resolve(&self, link: LinkIndex, address: IpAddr) -> Result<(), Error> {
        let entry = self.handle.neighbours().add(link.0, address);
        entry.state(NeighbourState::None).flags(NeighbourFlags::Use).replace().execute().await
    }
}

/// A socket for what the kernel of this network namespace announces.
pub(super) struct Announcements {
    socket: TokioSocket,
}

/// What was announced.
#[derive(Debug)]
pub(super) enum Announcement {
    /// A neighbour's entry came into being or changed.
    Neighbour(NeighbourMessage),
    /// A neighbour's entry went.
    NeighbourGone(NeighbourMessage),
    /// Links, addresses, routes or next-hop objects changed.
    TablesChanged,
    /// Announcements were lost, because they came faster than they were read.
    Missed,
}

impl Announcements {
    /// Opens the socket; what changes from now on is announced.
    pub(super) fn subscribe() -> io::Result<Self> {
        let mut this = Self { socket: TokioSocket::new(NETLINK_ROUTE)? };
        let socket = this.socket.socket_mut();
        socket.set_rx_buf_sz(RECEIVE_BUFFER_BYTES as libc::c_int)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Nexthop,
        ] {
            socket.add_membership(group as u32)?;
        }
        Ok(this)
    }

    /// Waits for announcements. Nothing is lost if the wait is given up.
    pub(super) async fn next(&self) -> io::Result<Vec<Announcement>> {
        match self.socket.recv_from_full().await {
            Ok((datagram, sender)) if sender.port_number() == 0 => Ok(decode(&datagram)),
            Ok(_) => Ok(Vec::new()),
            Err(error) if is_overrun(&error) => {
                self.drain();
                Ok(vec![Announcement::Missed])
            }
            Err(error) => Err(error),
        }
    }

    /// Throws away what waits. After an overrun the kernel goes on to drop announcements until the
    /// socket is empty, and does not say so again: only then is it time to read the tables.
    fn drain(&self) {
        let mut scrap = Vec::with_capacity(64);
        loop {
            scrap.clear();
            match self.socket.socket_ref().recv(&mut scrap, 0) {
                Ok(_) => {}
                Err(error) if is_overrun(&error) => {}
                Err(_) => return,
            }
        }
    }
}

fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

fn decode(mut datagram: &[u8]) -> Vec<Announcement> {
    let mut announcements = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(datagram) {
        let length = buffer.length() as usize;
        announcements.push(announcement(datagram));
        // Messages are aligned to 4 bytes (NLMSG_ALIGNTO).
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    announcements
}

fn announcement(message: &[u8]) -> Announcement {
    match NetlinkMessage::deserialize(message).map(|message| message.payload) {
        Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry))) => {
            Announcement::Neighbour(entry)
        }
        Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(entry))) => {
            Announcement::NeighbourGone(entry)
        }
        Ok(_) | Err(_) => Announcement::TablesChanged,
    }
}

/// Gathers an answer; a table that was never used does not exist, and is an empty answer.
async fn collect<T>(answer: impl Stream<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    match answer.try_collect().await {
        Err(error) if is_errno(&error, libc::ENOENT) => Ok(Vec::new()),
        other => other,
    }
}

fn is_errno(error: &Error, errno: i32) -> bool {
    matches!(error, Error::NetlinkError(answer) if answer.raw_code() == -errno)
}
