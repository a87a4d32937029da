// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets as scripts: what comes in, what must leave byte for byte, which counters moved.
//!
//! A script (`scripts/*.pkt`) is read line by line; `#` starts a comment.
//!
//! | line | meaning |
//! |---|---|
//! | `rule LINE`, `refused LINE` | a line of ipvsadm, to be accepted or refused |
//! | `workers N`, `owner landing`, `nic NAME mtu=N no-host` | the director, from the start |
//! | `limits local_ports=A-B connections=N templates=N` | likewise |
//! | `mark N [tcp] [from=P] [to=P] [ports=A-B] [nic=NAME]` | a rule that marks packets |
//! | `unknown ADDRESS`, `known ADDRESS` | a neighbour without MAC; it has one from here on |
//! | `route PREFIX via=A nic=NAME src=A` | a route from here on |
//! | `TIME in NIC PACKET` | a frame arrives; `in` lines after each other are one batch |
//! | `out NIC PACKET` | this frame leaves: compared with one built from scratch |
//! | `punt NIC` | a frame of the batch goes to the host as it came |
//! | `want ADDRESS` | the neighbour's MAC is asked for |
//! | `moved NAME=DELTA ...` | since the last `moved`, these counters and no other |
//! | `templates` | all persistence templates |
//! | `conns`, `stats`, `servers` | all connections; a service's traffic; a service's servers |
//!
//! A line that ends in a backslash goes on in the next. What leaves without being listed fails the
//! script. Packets are described in `script/frame.rs`.

mod lab;
mod script;

macro_rules! scripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let text = include_str!(concat!("scripts/", stringify!($name), ".pkt"));
                if let Err(reason) = script::run(text) {
                    panic!("{}.pkt:{reason}", stringify!($name));
                }
            }
        )*

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts! {
    bad_checksum_stays_bad
    chained
    dr_tcp
    dr_udp_zero_checksum
    dr_v6
    extension_headers
    four_workers_outlive_rules
    fragmented_here
    fragments
    fragments_dr_v6
    fragments_four_workers
    fragments_fullnat
    fragments_hostile
    fragments_marks
    fragments_one_packet
    fragments_out_of_order
    fragments_sctp
    fragments_tun
    fullnat_no_local_address
    fullnat_ports_exhausted
    fullnat_tcp_open
    fullnat_udp_zero_checksum
    fullnat_v6
    half_open_recycled
    icmp_direct
    icmp_foreign
    icmp_fullnat
    icmp_landing
    icmp_nat
    icmp_outer
    icmp_outer_mtu
    icmp_v6
    land_attack
    look_up_order
    looks_plain
    malformed
    mixed_modes
    mss
    nat_icmp_send
    nat_port_map
    nat_tcp_open
    nat_udp_zero_checksum
    nat_v6
    no_connection
    no_host_interface
    no_neighbour
    no_route
    no_server
    one_arm
    one_packet
    other_host
    persistence
    persistence_half_open
    persistence_marks
    persistence_server_gone
    persistence_shared
    persistence_sip
    persistence_workers
    port_reuse_after_time_wait
    rr_order
    same_server_behind_two_services
    sctp
    server_removed_and_back
    service_deleted
    syn_only_opens
    table_full
    tcp_states
    too_big
    ttl_expired
    tun_established
    tun_gre_gue
    tun_ipip
    tun_mixed
    tun_mtu
    udp_timeout
    weight_zero
    wrr_order
}

#[test]
fn every_script_in_the_folder_is_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".pkt").map(str::to_owned))
        .collect();
    files.sort();
    assert_eq!(files, NAMES);
}

#[test]
fn a_script_fails_when_a_counter_moves_that_it_does_not_name() {
    let rules = "rule -A -t 192.0.2.1:80\n";
    let punted = "0ms in wan 198.51.100.7:1 > 192.0.2.1:80 tcp A\n punt wan\n";
    assert_eq!(script::run(&format!("{rules}{punted} moved rx=1 punted=1")), Ok(()));
    let unnamed = script::run(&format!("{rules}{punted} moved rx=1")).unwrap_err();
    assert!(unnamed.contains("moved punted=1 rx=1"), "{unnamed}");
    let unlisted = script::run("0ms in wan 198.51.100.7:1 > 192.0.2.1:80 tcp A").unwrap_err();
    assert!(unlisted.contains("an unlisted frame was punted"), "{unlisted}");
}
