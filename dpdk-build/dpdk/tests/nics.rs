// SPDX-License-Identifier: MIT OR Apache-2.0
//! NICs on virtual devices that need no privilege: net_null, net_ring, net_pcap.

mod unprivileged;

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::LazyLock;

use dpdk::{Burst, Descriptors, Direction, Eal, Errno, Nic, NicConfig, NicError};
use dpdk::{Pool, PoolConfig, Queues, RssConfig, RssKey, RssTypes};
use wire::{Frame, Mac};

/// EAL, started by whichever test comes first.
static EAL: LazyLock<Eal> = LazyLock::new(|| {
    Eal::init(&unprivileged::args()).expect("EAL starts without hugepages and without root")
});

fn pool(name: &str) -> Pool {
    Pool::new(&EAL, &PoolConfig { cache: 0, ..PoolConfig::new(name, 4095) }).unwrap()
}

fn started(device: &str, pool: &Pool) -> (Nic, Queues) {
    let mut nic = Nic::open(&EAL, device).unwrap();
    nic.configure(&NicConfig::default(), pool).unwrap();
    let queues = nic.start().unwrap();
    (nic, queues)
}

#[test]
fn frames_come_from_net_null_as_many_as_asked_for() {
    let pool = pool("null-frames");
    let (nic, mut queues) = started("net_null_frames,size=200", &pool);
    let mut burst = Burst::new();
    assert_eq!(queues.rx[0].receive(&mut burst, 32), 32);
    assert_eq!(queues.rx[0].receive(&mut burst, 64), 32, "a burst holds 64");
    assert!(burst.as_slice().iter().all(|frame| frame.len() == 200 && frame.nic() == nic.id()));
    assert_eq!(queues.tx[0].send(&mut burst), 64);
    assert!(burst.is_empty());
    let stats = nic.stats().unwrap();
    assert_eq!((stats.rx_frames, stats.tx_frames), (64, 64));
    assert_eq!(pool.available(), 4095);
}

#[test]
fn what_a_full_nic_does_not_accept_stays_in_order() {
    let pool = pool("ring-frames");
    let (mut nic, mut queues) = started("net_ring_loop", &pool);
    let mut sent: u32 = 0;
    let mut burst = Burst::new();
    loop {
        while !burst.is_full() {
            burst.push(pool.alloc_from(&sent.to_ne_bytes()).unwrap()).unwrap();
            sent += 1;
        }
        if queues.tx[0].send(&mut burst) < 64 {
            break;
        }
    }
    let accepted = sent - u32::try_from(burst.len()).unwrap();
    assert_eq!(accepted, 1023, "a net_ring queue holds 1023 frames");
    assert_eq!(burst.as_slice()[0].head(), accepted.to_ne_bytes());
    burst.clear();
    for number in 0..accepted {
        assert_eq!(queues.rx[0].receive(&mut burst, 1), 1);
        assert_eq!(burst.pop().unwrap().head(), number.to_ne_bytes());
    }
    assert_eq!(queues.rx[0].receive(&mut burst, 64), 0);
    assert_eq!(pool.available(), 4095);
    drop(queues);
    nic.stop().unwrap();
}

/// A file of this process's own, removed again.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("pointsman-{}-{name}", process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A capture file of one frame, <https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/>.
fn capture(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap();
    let words = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1, 0, 0, length, length];
    let mut file: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    file.extend_from_slice(frame);
    file
}

#[test]
fn a_jumbo_frame_passes_net_pcap_as_a_chain() {
    let (from, to) = (Scratch::new("in.pcap"), Scratch::new("out.pcap"));
    let frame: Vec<u8> = (0..5000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(&from.0, capture(&frame)).unwrap();
    let pool = pool("pcap-frames");
    let device = format!("net_pcap_jumbo,rx_pcap={},tx_pcap={}", from.0.display(), to.0.display());
    let (nic, mut queues) = started(&device, &pool);
    let mut burst = Burst::new();
    assert_eq!(queues.rx[0].receive(&mut burst, 64), 1);
    let received = &burst.as_slice()[0];
    assert_eq!((received.len(), received.segment_count()), (5000, 3));
    let bytes: Vec<u8> = received.segments().flatten().copied().collect();
    assert_eq!(bytes, frame);
    assert_eq!(queues.tx[0].send(&mut burst), 1);
    drop((nic, queues));
    let written = fs::read(&to.0).unwrap();
    assert!(written.ends_with(&frame), "the file written does not hold the frame");
    assert_eq!(pool.available(), 4095);
}

#[test]
fn a_nic_stops_only_without_queues() {
    let pool = pool("stop-frames");
    let mut nic = Nic::open(&EAL, "net_null_stop").unwrap();
    assert_eq!(nic.start().unwrap_err(), NicError::NotConfigured);
    nic.configure(&NicConfig::default(), &pool).unwrap();
    let Queues { rx, tx } = nic.start().unwrap();
    assert_eq!(nic.stop(), Err(NicError::QueuesInUse));
    drop(rx);
    assert_eq!(nic.stop(), Err(NicError::QueuesInUse));
    drop(tx);
    assert_eq!(nic.start().unwrap_err(), NicError::Started);
    nic.stop().unwrap();
    nic.configure(&NicConfig { mtu: 1400, ..NicConfig::default() }, &pool).unwrap();
    assert_eq!(nic.start().unwrap().rx.len(), 1);
}

#[test]
fn a_nic_is_open_once_and_gone_when_the_last_queue_is() {
    let pool = pool("open-frames");
    let (nic, queues) = started("net_null_once", &pool);
    assert!(Nic::names(&EAL).contains(&"net_null_once".into()));
    assert_eq!(Nic::open(&EAL, "net_null_once").unwrap_err(), NicError::AlreadyOpen);
    drop(nic);
    assert!(Nic::names(&EAL).contains(&"net_null_once".into()), "closed under its queues");
    drop(queues);
    assert!(!Nic::names(&EAL).contains(&"net_null_once".into()));
    drop(Nic::open(&EAL, "net_null_once").expect("its name is free again"));
}

#[test]
fn a_worker_owns_its_queue_and_may_be_the_last_to_hold_the_nic() {
    let pool = pool("worker-frames");
    let (nic, mut queues) = started("net_null_worker", &pool);
    let mut queue = queues.rx.remove(0);
    let worker = EAL.spawn("worker", None, move |_| {
        let mut burst = Burst::new();
        (0..100).map(|_| queue.receive(&mut burst, 64)).sum::<usize>()
    });
    drop((nic, queues));
    assert_eq!(worker.unwrap().join().unwrap(), 64);
    assert!(!Nic::names(&EAL).contains(&"net_null_worker".into()));
}

#[test]
fn what_a_nic_cannot_be_is_refused_in_words() {
    let pool = pool("refused-frames");
    let mut nic = Nic::open(&EAL, "net_null_refused").unwrap();
    let info = nic.info().unwrap();
    assert_eq!((info.driver.as_str(), info.device.as_str()), ("net_null", "net_null_refused"));
    let direction = Direction::Receive;
    let (asked, max) = (info.rx_queues_max + 1, info.rx_queues_max);
    let config = NicConfig { rx_queues: asked, ..NicConfig::default() };
    let error = nic.configure(&config, &pool).unwrap_err();
    assert_eq!(error, NicError::QueueCount { direction, asked, max });
    assert!(error.to_string().contains(&format!("offers 1 to {max}")));

    let rss = RssConfig { types: RssTypes::L3_SRC_ONLY, key: None };
    let config = NicConfig { rss: Some(rss), ..NicConfig::default() };
    let offered = info.rss_types.contains(RssTypes::L3_SRC_ONLY);
    let error = NicError::RssTypes(RssTypes::L3_SRC_ONLY);
    assert_eq!(nic.configure(&config, &pool), if offered { Ok(()) } else { Err(error) });

    let none = NicConfig { rx_descriptors: Descriptors::Count(0), ..NicConfig::default() };
    let error = nic.configure(&none, &pool).unwrap_err();
    assert!(matches!(error, NicError::DescriptorCount { asked: 0, .. }), "{error}");
    assert_eq!(
        nic.set_mtu(10),
        Err(NicError::Mtu { asked: 10, min: info.mtu_min, max: info.mtu_max })
    );
}

#[test]
fn a_device_without_a_driver_is_not_found() {
    let error = Nic::open(&EAL, "net_nonsense0").unwrap_err();
    assert!(matches!(error, NicError::NotFound(_)), "{error:?}");
    assert!(error.to_string().contains("net_tap0,iface=wan0"));
    assert_eq!(Nic::open(&EAL, "a\0b").unwrap_err(), NicError::Name);
    assert_eq!(Nic::names(&EAL).iter().filter(|name| name.contains("nonsense")).count(), 0);
}

#[test]
fn modes_and_counters_can_be_read_and_set() {
    let pool = pool("modes-frames");
    let (mut nic, mut queues) = started("net_ring_modes", &pool);
    assert!(nic.link().unwrap().up);
    assert_eq!(nic.mtu(), Ok(1500));
    nic.set_promiscuous(true).unwrap();
    assert!(nic.is_promiscuous());
    nic.set_promiscuous(false).unwrap();
    assert!(!nic.is_promiscuous());
    let mut burst = Burst::new();
    burst.push(pool.alloc_from(&[0; 60]).unwrap()).unwrap();
    queues.tx[0].send(&mut burst);
    queues.rx[0].receive(&mut burst, 64);
    let stats = nic.stats().unwrap();
    assert_eq!((stats.rx_frames, stats.tx_frames), (1, 1));
    nic.reset_stats().unwrap();
    assert_eq!(nic.stats().unwrap(), dpdk::NicStats::default());
}

#[test]
fn an_address_is_set_where_the_driver_can() {
    let pool = pool("mac-frames");
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let (mut nic, _queues) = started("net_null_mac", &pool);
    nic.set_mac(mac).unwrap();
    assert_eq!(nic.mac(), Ok(mac));

    let (mut nic, _queues) = started("net_ring_mac", &pool);
    let before = nic.mac().unwrap();
    let error = nic.set_mac(mac).unwrap_err();
    let action = "set the MAC address";
    assert_eq!(error, NicError::Driver { action, errno: Errno::NotSupported });
    assert!(error.to_string().ends_with("the driver does not offer this"));
    assert_eq!(nic.mac(), Ok(before));
}

#[test]
fn a_nic_without_hashing_says_so() {
    let pool = pool("no-rss-frames");
    let (nic, _queues) = started("net_ring_no_rss", &pool);
    let errno = Errno::NotSupported;
    let action = "read its hashing";
    assert_eq!(nic.rss(), Err(NicError::Driver { action, errno }));
    let action = "read its table of queues";
    assert_eq!(nic.rss_table(), Err(NicError::Driver { action, errno }));
}

#[test]
fn net_null_has_a_key_and_a_table_to_read() {
    let pool = pool("rss-frames");
    let mut nic = Nic::open(&EAL, "net_null_rss").unwrap();
    let info = nic.info().unwrap();
    let types = info.rss_types;
    assert!(!types.is_empty());
    let rss = Some(RssConfig { types, key: None });
    let config = NicConfig { rx_queues: 2, tx_queues: 2, rss, ..NicConfig::default() };
    nic.configure(&config, &pool).unwrap();
    let queues = nic.start().unwrap();
    assert_eq!((queues.rx.len(), queues.rx[1].index(), queues.tx[1].index()), (2, 1, 1));
    let key = nic.rss().unwrap().key.map(|key| key.as_bytes().len());
    assert_eq!(key.unwrap_or(0), usize::from(info.rss_key_bytes));
    assert_eq!(nic.rss_table().unwrap().len(), usize::from(info.rss_table_size));
    nic.set_rss_table(|value| value % 2).unwrap();
    let alternating: Vec<u16> = (0..info.rss_table_size).map(|value| value % 2).collect();
    assert_eq!(nic.rss_table().unwrap(), alternating);
}

#[test]
fn a_nic_without_flow_rules_does_not_hash_a_part_of_the_tuple() {
    let pool = pool("part-frames");
    let (mut nic, _queues) = started("net_ring_part", &pool);
    let key = RssKey::new(&[1; 40]).unwrap();
    let only = RssTypes::L3_SRC_ONLY | RssTypes::L4_SRC_ONLY;
    let refused = nic.hash_only(only, &key, &[0]);
    assert!(matches!(refused, Err(NicError::Driver { .. })), "{refused:?}");
}
