// SPDX-License-Identifier: MIT OR Apache-2.0
//! What names a persistence template, as words that can be compared without a lock.

use std::net::IpAddr;

use wire::L4;

use crate::hash::Keyed;

/// Words of a key.
pub(super) const KEY_WORDS: usize = 7;
/// Bytes of a Call-ID that listings show; longer ones are told apart all the same.
pub(super) const TEXT_BYTES: usize = 64;
/// Words of such a text.
pub(super) const TEXT_WORDS: usize = TEXT_BYTES / 8;

/// Marks a key of IPv6 addresses.
const V6: u64 = 1 << 24;
/// Marks a key with a Call-ID.
const CALL: u64 = 1 << 25;

/// The Call-ID of a SIP message (RFC 3261 §20.8), as a template keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId {
    digest: [u64; 2],
    text: [u64; TEXT_WORDS],
}

impl CallId {
    /// The Call-ID in these bytes.
    pub fn new(bytes: &[u8], keyed: &Keyed) -> Self {
        let first = keyed.bytes(bytes);
        let mut text = [0; TEXT_BYTES];
        text.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let (words, _) = text.as_chunks::<8>();
        let mut copied = [0; TEXT_WORDS];
        copied.iter_mut().zip(words).for_each(|(to, from)| *to = u64::from_ne_bytes(*from));
        let second = words.iter().fold(keyed.words(first, bytes.len() as u64), |state, word| {
            keyed.words(state, u64::from_ne_bytes(*word))
        });
        Self { digest: [first, second], text: copied }
    }

    pub(super) fn text(&self) -> &[u64; TEXT_WORDS] {
        &self.text
    }
}

/// What names a template: client (masked), virtual address or mark, port, protocol, and the Call-ID
/// where an engine asks for it.
#[derive(Clone, Copy, Debug)]
pub struct TemplateKey {
    words: [u64; KEY_WORDS],
    hash: u64,
    call: Option<CallId>,
}

impl TemplateKey {
    /// The key of a service with an address; `port` is 0 where all ports of it belong together.
    pub fn address(protocol: L4, client: IpAddr, vip: IpAddr, port: u16) -> Self {
        let kind = u64::from(protocol.number()) << 16 | u64::from(port) | family(client);
        let ([c0, c1], [v0, v1]) = (words(client), words(vip));
        Self { words: [c0, c1, v0, v1, kind, 0, 0], hash: 0, call: None }
    }

    /// The key of a service of marked packets.
    pub fn mark(client: IpAddr, mark: u32) -> Self {
        let [c0, c1] = words(client);
        Self { words: [c0, c1, 0, mark.into(), family(client), 0, 0], hash: 0, call: None }
    }

    /// The key with what an engine found in the packet, if one was asked, ready to be looked up.
    #[must_use]
    pub fn complete(mut self, call: Option<CallId>, keyed: &Keyed) -> Self {
        if let Some(CallId { digest: [first, second], .. }) = call {
            let [c0, c1, v0, v1, kind, ..] = self.words;
            self.words = [c0, c1, v0, v1, kind | CALL, first, second];
        }
        self.call = call;
        self.hash = self.words.iter().fold(0, |state, word| keyed.words(state, *word));
        self
    }

    pub(super) fn words(&self) -> &[u64; KEY_WORDS] {
        &self.words
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn call(&self) -> Option<&CallId> {
        self.call.as_ref()
    }
}

/// What the words of a key say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) client: IpAddr,
    /// None for a mark.
    pub(super) protocol: Option<L4>,
    pub(super) vip: IpAddr,
    pub(super) port: u16,
    pub(super) has_call: bool,
}

/// Reads the words of a key.
pub(super) fn named(key: &[u64; KEY_WORDS]) -> Named {
    let [c0, c1, v0, v1, kind, ..] = *key;
    let v6 = kind & V6 != 0;
    let protocol = L4::from_number((kind >> 16) as u8);
    // The kernel keeps a mark in the first four bytes of an address.
    let mark = |mark: u64| if v6 { address([mark << 32, 0], v6) } else { address([0, mark], v6) };
    Named {
        client: address([c0, c1], v6),
        protocol,
        vip: if protocol.is_some() { address([v0, v1], v6) } else { mark(v1) },
        port: kind as u16,
        has_call: kind & CALL != 0,
    }
}

fn family(address: IpAddr) -> u64 {
    if address.is_ipv6() { V6 } else { 0 }
}

fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(v4) => [0, u32::from(v4).into()],
        IpAddr::V6(v6) => [(u128::from(v6) >> 64) as u64, u128::from(v6) as u64],
    }
}

fn address([high, low]: [u64; 2], v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6((u128::from(high) << 64 | u128::from(low)).into())
    } else {
        IpAddr::V4((low as u32).into())
    }
}
