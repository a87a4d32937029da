# SPDX-License-Identifier: MIT OR Apache-2.0
"""Frames that nobody means well with, each with what must become of it.

Built with scapy, which lies as it is told, and sent from addresses that nobody has.
"""

from scapy.all import Ether, IP, IPv6, ICMP, TCP, UDP, Raw
from scapy.all import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.all import IPv6ExtHdrRouting, ICMPv6DestUnreach, Dot1Q

SOURCE = {4: "198.51.100.77", 6: "2001:db8:51::77"}
VIP = {4: "192.0.2.1", 6: "2001:db8:c::1"}
HOST = "host"
SYN = {"sport": 4000, "dport": 80, "flags": "S"}


def ip(**fields):
    return IP(**{"src": SOURCE[4], "dst": VIP[4]} | fields)


def ip6(**fields):
    return IPv6(**{"src": SOURCE[6], "dst": VIP[6]} | fields)


def datagram(size):
    """The beginning of a datagram from port 4000 to port 7."""
    return (b"\x0f\xa0\x00\x07" * size)[:size]


def pieces(*parts):
    """Fragments of one datagram: (offset in units of 8, bytes, more to come)."""
    return [ip(id=7, proto=17, frag=offset, flags="MF" if more else 0) / Raw(datagram(size))
            for offset, size, more in parts]


def pieces6(*parts):
    return [ip6() / IPv6ExtHdrFragment(id=7, nh=17, offset=offset, m=int(more))
            / Raw(datagram(size)) for offset, size, more in parts]


def v4_frames():
    """What it is, the packets in their order, why the last one is dropped (or that the host
    gets it)."""
    yield "IP version 5", [ip(version=5) / TCP(**SYN)], "bad_ip_header"
    yield "IP header of 16 bytes", [ip(ihl=4) / TCP(**SYN)], "bad_ip_header"
    yield "IP header longer than the packet", [ip(ihl=15, len=40) / TCP(**SYN)], "bad_ip_length"
    yield "IP length beyond the frame", [ip(len=1400) / TCP(**SYN)], "bad_ip_length"
    yield "IP length inside the header", [ip(len=19) / TCP(**SYN)], "bad_ip_length"
    yield "wrong IP checksum", [ip(chksum=0x1234) / TCP(**SYN)], "bad_ip_checksum"
    yield "IP length inside the TCP header", [ip(len=30) / TCP(**SYN)], "bad_l4_header"
    yield "TCP header of 16 bytes", [ip() / TCP(dataofs=4, **SYN)], "bad_l4_header"
    yield "TCP header beyond the packet", [ip() / TCP(dataofs=15, **SYN)], "bad_l4_header"
    yield "UDP length of 7", [ip() / UDP(sport=4000, dport=7, len=7)], "bad_l4_header"
    yield "UDP length beyond it", [ip() / UDP(sport=4000, dport=7, len=999)], "bad_l4_header"
    yield "a frame that ends early", [Raw(bytes(ip() / TCP(**SYN))[:12])], "truncated"
    yield "TTL 1", [ip(ttl=1) / TCP(**SYN)], "ttl_expired"
    yield "TTL 0", [ip(ttl=0) / TCP(**SYN)], "ttl_expired"
    for source in ("224.0.0.9", "255.255.255.255", "127.0.0.1", "0.0.0.0"):
        yield f"from {source}", [ip(src=source) / TCP(**SYN)], "bad_source"
    yield "from the VIP itself", [ip(src=VIP[4]) / TCP(**SYN | {"sport": 80})], "bad_source"
    yield "to port 0", [ip() / TCP(**SYN | {"dport": 0})], HOST
    yield "a first fragment without ports", pieces((0, 4, False))[:1], "bad_l4_header"
    yield "a tiny first fragment", [ip(id=8, proto=6, flags="MF") / Raw(bytes(8))], "fragment_tiny"
    inside = ip(id=9, proto=6, frag=1) / Raw(bytes(24))
    yield "a fragment inside the TCP header", [inside], "fragment_tiny"
    yield "a fragment of 9 bytes with more to come", pieces((2, 9, True)), "fragment_bad"
    yield "a fragment beyond 65535", pieces((8189, 64, False)), "fragment_oversize"
    yield "overlapping fragments", pieces((0, 24, True), (2, 24, True)), "fragment_overlap"
    quoted = IP(src=VIP[4], dst="198.51.100.78") / TCP(sport=80, dport=4001)
    yield "an error about nobody's connection", [ip() / ICMP(type=3, code=1) / quoted], HOST
    yield "a VLAN tag", [Dot1Q(vlan=5) / ip() / TCP(**SYN)], HOST


def v6_frames():
    yield "IP version 7", [ip6(version=7) / TCP(**SYN)], "bad_ip_header"
    yield "payload beyond the frame", [ip6(plen=999) / TCP(**SYN)], "bad_ip_length"
    yield "payload inside the TCP header", [ip6(plen=10) / TCP(**SYN)], "bad_l4_header"
    yield "TCP header of 16 bytes", [ip6() / TCP(dataofs=4, **SYN)], "bad_l4_header"
    yield "UDP length of 7", [ip6() / UDP(sport=4000, dport=7, len=7)], "bad_l4_header"
    yield "hop limit 1", [ip6(hlim=1) / TCP(**SYN)], "ttl_expired"
    for source in ("ff02::9", "::1", "::"):
        yield f"from {source}", [ip6(src=source) / TCP(**SYN)], "bad_source"
    yield "from the VIP itself", [ip6(src=VIP[6]) / TCP(**SYN | {"sport": 80})], "bad_source"
    bomb = ip6()
    for _ in range(40):
        bomb = bomb / IPv6ExtHdrDestOpt()
    yield "forty extension headers", [bomb / TCP(**SYN)], "extension_headers"
    beyond = ip6(nh=0) / Raw(b"\x06\xff" + bytes(14))
    yield "an extension header beyond the packet", [beyond], "bad_l4_header"
    yield "a fragment of 9 bytes with more to come", pieces6((2, 9, True)), "fragment_bad"
    yield "a fragment beyond 65535", pieces6((8189, 64, False)), "fragment_oversize"
    yield "overlapping fragments", pieces6((0, 24, True), (2, 24, True)), "fragment_overlap"
    tiny = ip6() / IPv6ExtHdrFragment(id=8, nh=6, m=1) / Raw(bytes(8))
    yield "a tiny first fragment", [tiny], "fragment_tiny"
    quoted = IPv6(src=VIP[6], dst="2001:db8:51::78") / TCP(sport=80, dport=4001)
    yield "an error about nobody's connection", [ip6() / ICMPv6DestUnreach() / quoted], HOST
    way = ip6() / IPv6ExtHdrRouting(segleft=2, addresses=["2001:db8::1"] * 2) / TCP(**SYN)
    yield "a source route that goes on", [way], HOST
    yield "a jumbo option", [ip6(plen=0) / IPv6ExtHdrHopByHop() / TCP(**SYN)], "bad_l4_header"


def frames(family: int, mac: str):
    """Each case with its frames as bytes, addressed to a NIC."""
    kind = 0x0800 if family == 4 else 0x86DD
    for what, packets, want in v4_frames() if family == 4 else v6_frames():
        sent = []
        for packet in packets:
            eth = Ether(src="02:00:00:00:77:77", dst=mac)
            if not isinstance(packet, Dot1Q):
                eth.type = kind
            sent.append(bytes(eth / packet))
        yield what, sent, want
