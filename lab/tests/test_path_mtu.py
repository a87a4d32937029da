# SPDX-License-Identifier: MIT OR Apache-2.0
"""A way to the servers that carries 1400 bytes: the sender learns it at once and nothing stalls."""

import hashlib

import pytest

from lab import MODES, Shape, bad_checksums, bracketed, fields

SHAPES = [
    Shape(workers=4, queues=4, big_mb=1, lan_mtu=1400),
    Shape(workers=4, queues=4, big_mb=1, lan_mtu=1400, family=6),
]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")
each_mode = pytest.mark.parametrize("mode", MODES, indirect=True)


@pytest.fixture(autouse=True)
def servers_that_ask_for_full_segments(lab):
    """The servers' own link carries 1400 bytes too, but they let clients send segments for 1500."""
    v6 = ["-6"] if lab.ip == "ip6" else []
    for server in ("rs1", "rs2", "rs3"):
        lab.inside(server, "ip", "link", "set", "eth0", "mtu", "1400")
        for table in ("main", "192"):
            ways = lab.inside(server, "ip", *v6, "route", "show", "table", table, "dev", "eth0")
            for way in ways.stdout.splitlines():
                if "fe80" not in way and "multicast" not in way:
                    words = [word for word in way.split() if word != "advmss" and word != "1440"]
                    lab.inside(server, "ip", *v6, "route", "replace", *words, "dev", "eth0",
                               "table", table, "advmss", "1440")
    for flush in (["ip", "route", "flush", "cache"], ["ip", "-6", "route", "flush", "cache"]):
        lab.inside("client", *flush)


def counter(lab, role: str, name: str) -> int:
    shown = lab.inside(role, "nstat", "-az", name).stdout.splitlines()[-1]
    return int(shown.split()[1])


def largest(lab, mode) -> int:
    """What a packet may measure before it is wrapped."""
    outer = 20 if lab.ip == "ip" else 40
    return 1400 - (outer if mode == lab.tun else 0)


@each_mode
def test_an_upload_learns_the_mtu_at_once(lab, mode):
    lab.may_lose("too_big")
    lab.service(mode)
    client = lab.facts["CLIENT"]
    names, icmp, kind = {
        "ip": (("icmp.type", "icmp.code", "icmp.mtu"), "icmp", ("3", "4")),
        "ip6": (("icmpv6.type", "icmpv6.code", "icmpv6.mtu"), "icmp6 and ip6[40] == 2", ("2", "0")),
    }[lab.ip]
    timeouts = counter(lab, "client", "TcpExtTCPTimeouts")
    name = f"mtu-{mode.name}-{lab.shape}"
    with lab.capture("client", "eth0", icmp) as told:
        lab.inside("client", "curl", "-sS", "--fail", "--max-time", "20", "-T",
                   str(lab.state / "data/big"), "--interface", client,
                   f"http://{mode.host}/upload/{name}")
    [stored] = (lab.state / "data").glob(f"rs*/upload/{name}")
    want = (lab.state / "data/big.sha256").read_text().strip()
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == want
    rows = set(map(tuple, fields(told, *names)))
    assert rows == {(*kind, str(largest(lab, mode)))}
    assert bad_checksums(told, ("ip", "icmp", "icmpv6")) == []
    assert counter(lab, "client", "TcpExtTCPTimeouts") == timeouts, "nothing had to time out"


def offered(file, port: str) -> set[int]:
    """The MSS that SYNs and SYN-ACKs in a capture offer, of those to or from a port."""
    rows = fields(file, f"tcp.{port}", "tcp.options.mss_val")
    return {int(mss) for number, mss in rows if number == "80" and mss}


@each_mode
def test_a_clamped_mss_spares_the_detour_where_replies_pass(lab, mode):
    if not mode.translates_ports:
        lab.may_lose("too_big")
    lab.ctl(f"-A -t {mode.host}:80 -s rr --mss auto")
    for address in lab.locals if mode == lab.fullnat else []:
        lab.ctl(f"-P -t {mode.host}:80 -z {address}")
    lab.ctl(f"-a -t {mode.host}:80 -r {bracketed(lab.rs[0])}:80 {mode.option}")
    icmp = "icmp" if lab.ip == "ip" else "icmp6 and ip6[40] == 2"
    with (lab.capture("client", "eth0", icmp) as told,
          lab.capture("client", "eth0", "tcp", "segments") as at_client,
          lab.capture("rs1", "eth0", lab.ip) as at_server):
        lab.inside("client", "curl", "-sS", "--fail", "--max-time", "20", "-T",
                   str(lab.state / "data/big"), "--interface", lab.facts["CLIENT"],
                   f"http://{mode.host}/upload/clamped-{mode.name}-{lab.shape}")
    fits = largest(lab, mode) - (40 if lab.ip == "ip" else 60)
    assert offered(at_server, "dstport") == {fits}, "the server's segments fit the way back"
    if mode.translates_ports:
        assert offered(at_client, "srcport") == {fits}
        assert fields(told, "frame.number") == []
    else:
        assert offered(at_client, "srcport") == {1440}, "the server's own word passes us by"
        assert len(fields(told, "frame.number")) >= 1, "so the client has to be told"
