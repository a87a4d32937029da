// SPDX-License-Identifier: MIT OR Apache-2.0
//! DPDK for the generator: its memory, and the NICs by the names that they are given.

use std::process;

use dpdk::{Eal, Nic, NicConfig, NicError, Pool, PoolConfig, RxQueue, TxQueue};

use crate::row::Failure;
use crate::stand::{Pages, cpus, memory_arguments};

/// Buffers of each NIC: twice its two queues and what threads keep, a power of two less one.
const BUFFERS: u32 = 8191;

/// Starts EAL for these NICs.
///
/// # Errors
/// EAL refused; its own words are above.
pub fn start(devices: &[&str], pages: Pages, more: &[String]) -> Result<Eal, Failure> {
    let mut arguments = memory_arguments(pages);
    arguments.extend([
        "--no-telemetry".to_owned(),
        "--log-level=error".to_owned(),
        format!("--file-prefix=pointsman-blast-{}", process::id()),
        format!("--lcores=0@{}", cpus().first().map_or(0, |cpu| cpu.0)),
    ]);
    let pci: Vec<&&str> = devices.iter().filter(|device| !is_virtual(device)).collect();
    if pci.is_empty() {
        arguments.push("--no-pci".to_owned());
    }
    arguments.extend(pci.into_iter().flat_map(|device| ["-a".to_owned(), (*device).to_owned()]));
    arguments.extend_from_slice(more);
    Ok(Eal::init(&arguments)?)
}

/// Opens and starts a NIC with one queue each way.
///
/// # Errors
/// There is none, or its driver refused.
pub fn open(eal: &Eal, device: &str) -> Result<(Nic, RxQueue, TxQueue, Pool), Failure> {
    let mut nic = Nic::open(eal, device)?;
    let pool = Pool::new(eal, &PoolConfig::new(&format!("blast{}", nic.id().index()), BUFFERS))?;
    nic.configure(&NicConfig::default(), &pool)?;
    let mut queues = nic.start()?;
    // Requests for neighbours come to all, or to a group, and what testpmd sends in a director's
    // place has any address; some drivers have no filter to open.
    let _ = (nic.receive_all_multicast(), nic.set_promiscuous(true));
    match (queues.rx.pop(), queues.tx.pop()) {
        (Some(rx), Some(tx)) => Ok((nic, rx, tx, pool)),
        _ => Err(NicError::NotConfigured.into()),
    }
}

/// Whether DPDK makes the device rather than finds it.
fn is_virtual(device: &str) -> bool {
    !device.split(',').next().unwrap_or_default().contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_no_virtual_device_whatever_its_arguments_are() {
        assert!(!is_virtual("0000:3b:00.0"));
        assert!(!is_virtual("3b:00.0,txq_inline=0"));
        assert!(is_virtual("net_tap0,iface=wan0,mac=02:00:00:00:00:09"));
    }
}
