# SPDX-License-Identifier: MIT OR Apache-2.0
"""What is no service is the host's: the director behaves as any Linux machine at its addresses."""

import subprocess
import time

import pytest

from lab import CURL_REFUSED, MODES, Shape, fields

SHAPES = [Shape(workers=4, queues=1, big_mb=1), Shape("one-arm", workers=2, queues=2, big_mb=1)]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")
NAT = MODES[0]


def test_the_vip_is_at_the_nics_mac_address(lab):
    """Else the kernel answers for the VIP and DPDK sees nothing of the traffic."""
    lab.service(MODES[3])
    lab.inside("client", "ip", "neigh", "flush", "dev", "eth0")
    with lab.capture("client", "eth0", "arp") as file:
        lab.fetch(lab.facts["CLIENT"], f"http://{MODES[3].vip}/", 3)
    assert lab.neighbour(MODES[3].vip) == lab.facts["MAC_WAN"]
    answers = [row for row in fields(file, "arp.opcode", "arp.src.proto_ipv4", "arp.src.hw_mac")
               if row[:2] == ["2", MODES[3].vip]]
    assert answers == [["2", MODES[3].vip, lab.facts["MAC_WAN"]]], "asked once, answered once"


def test_the_host_answers_ping(lab):
    lab.service(NAT)
    client = lab.facts["CLIENT"]
    for address in (NAT.vip, lab.facts["VIP_IDLE"], lab.facts["DIRECTOR_WAN"]):
        lab.inside("client", "ping", "-c", "3", "-i", "0.2", "-W", "2", "-I", client, address)


@pytest.mark.parametrize("client", ["CLIENT", "FAR_CLIENT"])
def test_tcp_to_no_service_is_reset_by_the_vip(lab, client):
    lab.service(NAT)
    source = lab.facts[client]
    for vip, port in ((lab.facts["VIP_IDLE"], 80), (NAT.vip, 22)):
        with lab.capture("client", "any", f"tcp and src host {vip}") as file:
            assert lab.curl_status(source, f"http://{vip}:{port}/") == CURL_REFUSED
        assert fields(file, "ip.dst", "tcp.srcport", "tcp.flags") == [
            [source, str(port), "0x0014"]
        ], "one RST, ACK"


def test_udp_to_no_service_is_unreachable_says_the_vip(lab):
    lab.service(NAT)
    vip = lab.facts["VIP_IDLE"]
    with lab.capture("client", "eth0", "icmp") as file:
        assert lab.echo(lab.facts["CLIENT"], vip, 7) == [[{"refused": True}]]
    [[sources, kind, code]] = fields(file, "ip.src", "icmp.type", "icmp.code")
    assert (sources.split(",")[0], kind, code) == (vip, "3", "3")


def test_a_login_to_the_director_works_like_anywhere(lab):
    """Servers of the host, such as sshd, listen beside the services; clients of it get out."""
    lab.service(NAT)
    server = subprocess.Popen(
        [*lab.enter("director"), "python3", "-m", "http.server", "2222"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=lab.state / "data",
    )
    try:
        deadline = time.monotonic() + 5
        for address in (lab.facts["DIRECTOR_WAN"], NAT.vip):
            url = f"http://{address}:2222/big.sha256"
            while lab.curl_status(lab.facts["CLIENT"], url) != 0:
                assert time.monotonic() < deadline, url
        page = lab.inside("director", "curl", "-sS", "--max-time", "5", f"http://{lab.rs[0]}/")
        assert page.stdout.split()[1].rsplit(":", 1)[0] == lab.facts["DIRECTOR_LAN"]
    finally:
        server.kill()
        server.wait()
