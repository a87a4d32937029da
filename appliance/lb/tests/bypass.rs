// SPDX-License-Identifier: MIT OR Apache-2.0
//! Marked packets whose service has no server (`cache_bypass`): the frames that leave are those
//! that left the kernel's IPVS (Linux 6.1), where the host sends on what it is given.

mod frames;
mod kernel;
mod lab;

use frames::Replayed;

/// What the recording has and we have otherwise, by design: the case, and why.
const DEVIATIONS: &[(&str, &str)] = &[
    ("off: SYN", "the client is told; the kernel's answer would come from a stranger's address"),
    ("to a VIP", "the host answers for its own addresses"),
];

#[test]
fn a_marked_packet_without_server_goes_where_it_was_sent() {
    let mut replayed = Replayed::new(DEVIATIONS);
    for (_, lines) in kernel::sections(include_str!("recordings/cache-bypass.jsonl")) {
        lines.iter().for_each(|line| replayed.line(line));
    }
    replayed.finish(22);
}
