// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the commands can say and the data path cannot do yet: a row each.

use lb::catalog::Change;
use lb::service::{ServiceKey, ServiceOptions};

use crate::reply::Unavailable;

type Asks = fn(&Wish<'_>) -> bool;

#[rustfmt::skip]
const MISSING: &[(Unavailable, Asks)] = &[
    (Unavailable::Mss, |wish| wish.service(|_, options| options.mss.is_some())),
];

/// The first thing that a change asks for and the data path has not.
pub(super) fn missing(change: &Change) -> Option<Unavailable> {
    let wish = Wish(change);
    MISSING.iter().find(|(_, asks)| asks(&wish)).map(|(unavailable, _)| *unavailable)
}

struct Wish<'a>(&'a Change);

impl Wish<'_> {
    fn service(&self, asks: impl Fn(&ServiceKey, &ServiceOptions) -> bool) -> bool {
        match self.0 {
            Change::AddService(key, options) | Change::EditService(key, options) => {
                asks(key, options)
            }
            _ => false,
        }
    }
}
