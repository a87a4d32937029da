// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names as this machine knows them: its resolver and `/etc/services`.
//!
//! Each question is asked once, whatever the answer: a listing has the same address on many lines.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use control::command::Transport;
use control::names::Names;

use super::services::Services;

/// Answers that are kept of each kind; beyond, all are forgotten.
const ANSWERS_MAX: usize = 65_536;

/// The names of this machine.
#[derive(Debug, Default)]
pub(super) struct SystemNames {
    services: OnceCell<Services>,
    addresses: RefCell<HashMap<String, Option<Ipv4Addr>>>,
    hosts: RefCell<HashMap<IpAddr, Option<String>>>,
    used: Cell<bool>,
}

impl SystemNames {
    /// Whether a name was found to mean something since this was asked last.
    pub(super) fn take_used(&self) -> bool {
        self.used.take()
    }

    fn services(&self) -> &Services {
        self.services.get_or_init(Services::of_this_machine)
    }

    fn used<T>(&self, found: Option<T>) -> Option<T> {
        self.used.set(self.used.get() || found.is_some());
        found
    }
}

impl Names for SystemNames {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let key = host.to_owned();
        self.used(remembered(&self.addresses, key, || first_ipv4(host)))
    }

    fn port(&self, service: &str, transport: Transport) -> Option<u16> {
        self.used(self.services().port(service, transport))
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        remembered(&self.hosts, address, || name_of(address))
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        self.services().name(port, transport).map(str::to_owned)
    }
}

fn remembered<K: Eq + Hash, V: Clone>(
    answers: &RefCell<HashMap<K, V>>,
    key: K,
    ask: impl FnOnce() -> V,
) -> V {
    let mut answers = answers.borrow_mut();
    if answers.len() >= ANSWERS_MAX {
        answers.clear();
    }
    answers.entry(key).or_insert_with(ask).clone()
}

fn first_ipv4(host: &str) -> Option<Ipv4Addr> {
    let mut found = (host, 0).to_socket_addrs().ok()?;
    found.find_map(|address| match address {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    })
}

/// The resolver answers with the address itself where there is no name.
fn name_of(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    (name.parse::<IpAddr>() != Ok(address)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_its_services_have_names_and_numbers() {
        let names = SystemNames::default();
        assert_eq!(names.address("localhost"), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(names.host(IpAddr::from(Ipv4Addr::LOCALHOST)).as_deref(), Some("localhost"));
        assert!(names.take_used());
        assert!(!names.take_used());
    }

    #[test]
    fn a_question_is_asked_once_even_if_nobody_knows() {
        let answers = RefCell::default();
        let ask = || remembered(&answers, "nowhere", || None::<Ipv4Addr>);
        assert_eq!(ask(), None);
        let again = remembered(&answers, "nowhere", || panic!("asked again"));
        assert_eq!(again, None);
    }

    #[test]
    fn a_host_that_nobody_knows_is_not_used() {
        let names = SystemNames::default();
        assert_eq!(names.address("no such host"), None);
        assert!(!names.take_used());
    }
}
