// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMP errors that open connections (`schedule_icmp`), as recorded of the kernel's IPVS
//! (Linux 6.1): the frames that leave, byte for byte, and the connections after them.

mod frames;
mod kernel;
mod lab;

use frames::Replayed;

/// What the recording has and we have otherwise, by design: the case, and why.
const DEVIATIONS: &[(&str, &str)] = &[
    ("24 bytes quoted", "an error quotes 8 bytes behind the IP header, or says nothing (RFC 792)"),
    ("bad ICMP checksum", "a damaged error opens nothing; the kernel looks at the sum afterwards"),
    ("TTL 1", "an error that goes no further opens nothing"),
    ("dh", "by the VIP, as a packet of the client; the kernel takes the client for the VIP"),
    ("lblc SYN of another port", "the error's server is the VIP's; the kernel's is the client's"),
    ("lblcr SYN of another port", "the error's server is the VIP's; the kernel's is the client's"),
];

/// Services whose making was not printed: scheduler, which is their first case's title, and port.
const UNSEEN: [(&str, u16); 7] = [
    ("sh", 9020),
    ("dh", 9021),
    ("mh", 9022),
    ("lblc", 9023),
    ("lblcr", 9024),
    ("wlc", 9025),
    ("wrr", 9026),
];

#[test]
fn an_error_about_an_unknown_connection_goes_where_the_kernel_sends_it() {
    let mut replayed = Replayed::new(DEVIATIONS);
    for (_, lines) in kernel::sections(include_str!("recordings/schedule-icmp.jsonl")) {
        for line in &lines {
            let unseen =
                UNSEEN.iter().find(|(scheduler, _)| line.starts_with(&format!("-- {scheduler} @")));
            if let Some((scheduler, port)) = unseen {
                replayed.line(&format!("$ ipvsadm -A -t 10.1.0.80:{port} -s {scheduler}"));
                for server in 11..=13 {
                    let server = format!("-t 10.1.0.80:{port} -r 10.2.0.{server}:9500 -m");
                    replayed.line(&format!("$ ipvsadm -a {server}"));
                }
            }
            replayed.line(line);
        }
    }
    replayed.finish(57);
}
