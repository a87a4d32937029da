// SPDX-License-Identifier: MIT OR Apache-2.0
//! `struct rte_mbuf`, declared by hand.
//!
//! Between 22.11 and 24.11 its members moved into different anonymous unions while every offset
//! stayed. A generated struct would therefore need one set of accessors per release; this one needs
//! none. `shim.c` asserts each offset when it is compiled against the installed headers.

use std::ffi::c_void;

use crate::rte_mempool;

/// One segment of a frame, `rte_mbuf_core.h`; only the members that are used have names.
#[repr(C, align(64))]
pub struct rte_mbuf {
    /// Start of the segment's buffer, headroom included.
    pub buf_addr: *mut c_void,
    _buf_iova: u64,
    /// Offset of the first data byte in the buffer, in bytes: the headroom that is left.
    pub data_off: u16,
    /// Number of owners of this segment.
    pub refcnt: u16,
    /// Number of segments in the chain; valid in the first one.
    pub nb_segs: u16,
    /// The NIC that received the frame, or any tag its owner puts there.
    pub port: u16,
    /// Offload flags, `RTE_MBUF_F_*`.
    pub ol_flags: u64,
    /// What the NIC recognised, `RTE_PTYPE_*`.
    pub packet_type: u32,
    /// Bytes in the whole chain; valid in the first segment.
    pub pkt_len: u32,
    /// Bytes in this segment.
    pub data_len: u16,
    /// VLAN tag the NIC stripped or is to insert.
    pub vlan_tci: u16,
    _hash: [u32; 2],
    _vlan_tci_outer: u16,
    /// Size of the segment's buffer in bytes, headroom included.
    pub buf_len: u16,
    /// The pool this segment goes back to.
    pub pool: *mut rte_mempool,
    /// The next segment of the chain, or null.
    pub next: *mut rte_mbuf,
    _second_line: [u64; 7],
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<rte_mbuf>() == 128);
    assert!(offset_of!(rte_mbuf, data_off) == 16);
    assert!(offset_of!(rte_mbuf, ol_flags) == 24);
    assert!(offset_of!(rte_mbuf, pkt_len) == 36);
    assert!(offset_of!(rte_mbuf, data_len) == 40);
    assert!(offset_of!(rte_mbuf, buf_len) == 54);
    assert!(offset_of!(rte_mbuf, pool) == 56);
    assert!(offset_of!(rte_mbuf, next) == 64);
};
