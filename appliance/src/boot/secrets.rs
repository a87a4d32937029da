// SPDX-License-Identifier: MIT OR Apache-2.0
//! What strangers must not know, or they could aim flows at one bucket or one worker.

use std::time::SystemTime;

use control::config::{self, Config};
use lb::hash::Keyed;
use lb::ids::Seed;

/// The secrets of one run.
pub(super) struct Secrets {
    /// What all keyed hashes start from.
    pub(super) seed: Seed,
    /// The key of all NICs' hashing over receive queues.
    pub(super) rss_key: Vec<u8>,
}

impl Secrets {
    /// Random ones, but for what is configured.
    pub(super) fn new(config: &Config) -> Self {
        let seed = seed();
        let keyed = Keyed::new(seed);
        let random = (0..).flat_map(|word| keyed.words(word, 0).to_ne_bytes());
        let longest = *config::RSS_KEY.end();
        let configured = config.workers.rss_key.clone();
        Self { seed, rss_key: configured.unwrap_or_else(|| random.take(longest).collect()) }
    }
}

/// A seed that nobody outside can know.
fn seed() -> Seed {
    let mut bytes = [0; 16];
    let filled = std::fs::File::open("/dev/urandom")
        .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut bytes));
    if filled.is_err() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        bytes = (now.as_nanos() ^ u128::from(std::process::id()) << 64).to_ne_bytes();
    }
    Seed(bytes)
}
