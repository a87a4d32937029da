// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use lb::counters::{ServerCounts, WorkerCounters};
use lb::ids::{NicId, Tick};
use lb::limits::Limits;
use wire::{TcpFlags, VecFrame, build};

const LIMITS: Limits =
    Limits { services: 1, servers: 1, connections: 1, templates: 1, ..Limits::DEFAULT };

fn loss(frames: u64) -> Loss {
    Loss { cause: "no_route".into(), frames, remedy: "", last: None }
}

#[test]
fn a_loss_is_as_old_as_the_last_look_that_saw_it_grow() {
    let mut history = History::default();
    assert_eq!(history.age_s(&loss(1)), 0, "nobody has looked yet");
    history.note(&[loss(1)], Tick::from_secs(10));
    history.note(&[loss(1)], Tick::from_secs(16));
    assert_eq!((history.age_s(&loss(1)), history.since_s(&loss(1))), (6, 6));
    assert_eq!(history.age_s(&loss(2)), 0, "it grew since the last look");
    history.note(&[loss(2)], Tick::from_secs(18));
    assert_eq!((history.age_s(&loss(2)), history.since_s(&loss(2))), (0, 8));
}

#[test]
fn a_rate_is_that_of_the_last_ten_seconds() {
    let mut history = History::default();
    history.note(&[], Tick::from_secs(2));
    assert_eq!(history.rate(&loss(5)), 0.0, "nobody has seen it yet");
    history.note(&[loss(5)], Tick::from_secs(4));
    assert_eq!(history.rate(&loss(5)), 2.5);
    for (second, frames) in [(6, 25), (8, 45), (10, 65), (12, 85), (14, 105)] {
        history.note(&[loss(frames)], Tick::from_secs(second));
    }
    assert_eq!(history.rate(&loss(105)), 10.0);
    for second in 15..=20 {
        history.note(&[loss(105)], Tick::from_secs(second));
    }
    assert_eq!(history.rate(&loss(105)), 0.0, "it has stopped");
}

#[test]
fn an_age_is_as_coarse_as_it_is_long() {
    let ages = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(age);
    assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
}

#[test]
fn a_rate_is_as_coarse_as_it_is_high() {
    assert_eq!([0.0, 0.25, 99.9, 1234.5].map(rate), ["0.0", "0.2", "99.9", "1234"]);
}

#[test]
fn what_no_worker_saw_is_listed_by_nic() {
    let nic = NicStats { name: "wan".into(), rx_missed: 7, ..NicStats::default() };
    let host = HostStats { from_host_lost: 2, ..HostStats::default() };
    let text = listing(&beside_workers(&[nic], host), &History::default(), &[]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let heading =
        "Reason Frames PerSecond Since Last Worker NIC Prot Source Destination What to do";
    assert_eq!(rows[0].join(" "), heading);
    assert_eq!(rows[1].join(" "), format!("nic_missed/wan 7 0.0 0s 0s - - - - - {MISSED}"));
    assert_eq!(rows[2].join(" "), format!("host_lost/from 2 0.0 0s 0s - - - - - {FROM_HOST}"));
    assert_eq!(rows[3].join(" "), "total 9");
}

/// Two workers, of which the second dropped a SYN by the second NIC.
fn figures() -> Figures {
    let workers: Vec<_> =
        [WorkerId(0), WorkerId(1)].map(|id| WorkerCounters::new(id, &LIMITS)).into();
    let syn = build::eth().ipv4([198, 51, 100, 7], [192, 0, 2, 1]).tcp(40000, 80);
    let frame = VecFrame::new(&syn.flags(TcpFlags::SYN).payload(&[]));
    workers[0].dropped(DropReason::NoServer, NicId(0), Tick::from_secs(1), &VecFrame::new(&[0; 9]));
    workers[1].dropped(DropReason::NoServer, NicId(1), Tick::from_secs(2), &frame);
    Figures::new(workers, ServerCounts::new(&LIMITS), &LIMITS)
}

#[test]
fn the_last_frame_of_all_workers_is_shown_with_its_nic() {
    let (figures, nics) = (figures(), ["wan".to_owned(), "lan".to_owned()]);
    let text = listing(&by_workers(&figures), &History::default(), &nics);
    let row = "no_server                         2       0.0     0s     0s      1 lan      TCP    \
               198.51.100.7:40000    192.0.2.1:80          Add a server";
    assert!(text.lines().nth(1).is_some_and(|line| line.starts_with(row)), "{text}");
}

#[test]
fn one_loss_is_told_in_full_worker_by_worker() {
    let (figures, nics) = (figures(), ["wan".to_owned(), "lan".to_owned()]);
    let losses = by_workers(&figures);
    let text = detail("no_server", &losses, &History::default(), &figures, &nics).unwrap();
    let expected = format!(
        "reason       no_server\n\
         meaning      {}\n\
         what to do   {}\n\
         frames       2\n\
         per second   0.0\n\
         since        0s ago\n\
         last seen    0s ago\n\
         worker       0: 1 frames, the last by wan: less than an Ethernet header, 9 bytes in all\n\
         worker       1: 1 frames, the last by lan: TCP 198.51.100.7:40000 > 192.0.2.1:80 S, TTL \
         64, 40 bytes, 54 bytes in all\n",
        DropReason::NoServer.meaning(),
        DropReason::NoServer.remedy(),
    );
    assert_eq!(text, expected);
    assert_eq!(detail("no_such", &losses, &History::default(), &figures, &nics), None);
}
