# SPDX-License-Identifier: MIT OR Apache-2.0
"""What is no service is the host's: the director behaves as any Linux machine at its addresses."""

import subprocess
import time

import pytest

from lab import CURL_REFUSED, Shape, bracketed, fields

SHAPES = [
    Shape(workers=4, queues=1, big_mb=1),
    Shape("one-arm", workers=2, queues=2, big_mb=1),
    Shape(workers=4, queues=1, big_mb=1, family=6),
]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")


def test_the_vip_is_at_the_nics_mac_address(lab):
    """Else the kernel answers for the VIP and DPDK sees nothing of the traffic."""
    lab.service(lab.dr)
    lab.inside("client", "ip", "neigh", "flush", "dev", "eth0")
    lab.fetch(lab.facts["CLIENT"], f"http://{lab.dr.host}/", 3)
    assert lab.neighbour(lab.dr.vip) == lab.facts["MAC_WAN"]


def test_a_vip_is_asked_for_once_and_answered_once(lab):
    lab.service(lab.dr)
    lab.inside("client", "ip", "neigh", "flush", "dev", "eth0")
    expression, kind, names = {
        "ip": ("arp", "2", ("arp.opcode", "arp.src.proto_ipv4", "arp.src.hw_mac")),
        "ip6": ("icmp6", "136", ("icmpv6.type", "icmpv6.nd.na.target_address",
                                 "icmpv6.opt.linkaddr")),
    }[lab.ip]
    with lab.capture("client", "eth0", expression) as file:
        lab.fetch(lab.facts["CLIENT"], f"http://{lab.dr.host}/", 3)
    answers = [row for row in fields(file, *names) if row[:2] == [kind, lab.dr.vip]]
    assert answers == [[kind, lab.dr.vip, lab.facts["MAC_WAN"]]]


def test_the_host_answers_ping(lab):
    lab.service(lab.nat)
    client = lab.facts["CLIENT"]
    for address in (lab.nat.vip, lab.facts["VIP_IDLE"], lab.facts["DIRECTOR_WAN"]):
        lab.inside("client", "ping", "-c", "3", "-i", "0.2", "-W", "2", "-I", client, address)


@pytest.mark.parametrize("client", ["CLIENT", "FAR_CLIENT"])
def test_tcp_to_no_service_is_reset_by_the_vip(lab, client):
    lab.service(lab.nat)
    source = lab.facts[client]
    for vip, port in ((lab.facts["VIP_IDLE"], 80), (lab.nat.vip, 22)):
        with lab.capture("client", "any", f"{lab.ip} proto 6 and src host {vip}") as file:
            assert lab.curl_status(source, f"http://{bracketed(vip)}:{port}/") == CURL_REFUSED
        destination = f"{lab.ip.replace('6', 'v6')}.dst"
        assert fields(file, destination, "tcp.srcport", "tcp.flags") == [
            [source, str(port), "0x0014"]
        ], "one RST, ACK"


def test_udp_to_no_service_is_unreachable_says_the_vip(lab):
    lab.service(lab.nat)
    vip = lab.facts["VIP_IDLE"]
    names, expression, want = {
        "ip": (("ip.src", "icmp.type", "icmp.code"), "icmp", ("3", "3")),
        "ip6": (("ipv6.src", "icmpv6.type", "icmpv6.code"), "icmp6[0] == 1", ("1", "4")),
    }[lab.ip]
    with lab.capture("client", "eth0", expression) as file:
        assert lab.echo(lab.facts["CLIENT"], vip, 7) == [[{"refused": True}]]
    [[sources, kind, code]] = fields(file, *names)
    assert (sources.split(",")[0], kind, code) == (vip, *want)


def test_a_login_to_the_director_works_like_anywhere(lab):
    """Servers of the host, such as sshd, listen beside the services; clients of it get out."""
    lab.service(lab.nat)
    server = subprocess.Popen(
        [*lab.enter("director"), "python3", "-m", "http.server", "--bind", "::", "2222"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=lab.state / "data",
    )
    try:
        deadline = time.monotonic() + 5
        for address in (lab.facts["DIRECTOR_WAN"], lab.nat.vip):
            url = f"http://{bracketed(address)}:2222/big.sha256"
            while lab.curl_status(lab.facts["CLIENT"], url) != 0:
                assert time.monotonic() < deadline, url
        server_page = f"http://{bracketed(lab.rs[0])}/"
        page = lab.inside("director", "curl", "-sS", "--max-time", "5", server_page)
        own = {lab.facts["DIRECTOR_LAN"], *lab.locals}
        assert page.stdout.split()[1].rsplit(":", 1)[0] in own
    finally:
        server.kill()
        server.wait()
