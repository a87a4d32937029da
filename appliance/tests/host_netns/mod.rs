// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the kernel's side, each in a network namespace of its own.
//!
//! A test starts its own binary again under `unshare --net`; the namespace and all that is in it
//! goes with that process, however it ends.

use std::env;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use appliance::host::HostInterface;
use wire::{Arp, Mac, build};

/// Set in the process that is inside the namespace.
const INSIDE: &str = "POINTSMAN_TEST_IN_NAMESPACE";
/// How long anything may take that the kernel does at once.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the test of this name in a new network namespace.
pub fn in_namespace(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return body();
    }
    let this = env::current_exe().expect("the test binary");
    let run = Command::new("unshare")
        .args(["--net", "--"])
        .arg(this)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare of util-linux is installed");
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(
        out.contains("running 1 test"),
        "this test makes a network namespace, which needs root: run it as root\n{out}{err}"
    );
    assert!(run.status.success(), "in the namespace: {out}{err}");
}

/// Runs `ip` with these words; fails with what it says.
pub fn ip(words: &str) -> String {
    run("ip", words)
}

/// Sets a kernel parameter of this namespace.
pub fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{path}"), value).expect(path);
}

fn run(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split_whitespace()).output().expect(program);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {err}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for a frame from the host that is as wanted.
pub fn frame(host: &HostInterface, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match host.read_frame(&mut buffer).expect("the interface is there") {
            Some(length) if wanted(&buffer[..length]) => return buffer[..length].to_vec(),
            Some(_) => {}
            None => sleep(Duration::from_millis(1)),
        }
    }
    panic!("the host did not send that frame within {PATIENCE:?}");
}

/// The frame by which a host asks its segment for an IPv4 address.
pub fn arp_request(from: (Mac, [u8; 4]), target: [u8; 4]) -> Vec<u8> {
    let (mac, sender) = from;
    let [sender, target] = [sender, target].map(|address| Ipv4Addr::from(address).into());
    build::eth().src(mac).dst(Mac::BROADCAST).arp(&Arp::request(mac, sender, target))
}

/// The frame by which `from` tells `to` where it is.
pub fn arp_reply(from: (Mac, [u8; 4]), to: (Mac, [u8; 4])) -> Vec<u8> {
    let [sender, target] = [from, to].map(|(mac, address)| (mac, Ipv4Addr::from(address).into()));
    build::eth().src(from.0).dst(to.0).arp(&Arp::reply(sender, target))
}
