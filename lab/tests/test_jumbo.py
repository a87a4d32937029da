# SPDX-License-Identifier: MIT OR Apache-2.0
"""Packets of up to 9000 bytes, in several buffers each, are forwarded as they are, in all modes."""

import hashlib

import pytest

from lab import MODES, Shape, bad_checksums, fields, ip_bytes

BOTH = ("wan", "lan")
LARGE = [
    Shape(big_mb=1, jumbo=BOTH),
    Shape(big_mb=1, jumbo=BOTH, workers=4),
    Shape(big_mb=1, jumbo=BOTH, workers=4, family=6),
]
MIXED = [
    Shape(big_mb=1, jumbo=(nic,), workers=4, family=family) for nic in BOTH for family in (4, 6)
]
large = pytest.mark.parametrize("lab", LARGE, indirect=True, scope="module")
mixed = pytest.mark.parametrize("lab", MIXED, indirect=True, scope="module")
each_mode = pytest.mark.parametrize("mode", MODES, indirect=True)


@pytest.fixture(autouse=True)
def nobody_learned_anything_yet(lab):
    """What a server learned of its way back through the director outweighs, in IPv6, the rule that
    sends a VIP's replies by the router."""
    for role in ("client", "rs1", "rs2", "rs3"):
        for version in ("-4", "-6"):
            lab.inside(role, "ip", version, "route", "flush", "cache")


def upload(lab, mode) -> None:
    name = f"jumbo-{mode.name}-{lab.shape}"
    lab.inside("client", "curl", "-sS", "--fail", "--max-time", "20", "-T",
               str(lab.state / "data/big"), "--interface", lab.facts["CLIENT"],
               f"http://{mode.host}/upload/{name}")
    [stored] = (lab.state / "data").glob(f"rs*/upload/{name}")
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == wanted(lab)


def download(lab, mode) -> None:
    command = f"curl -sS --max-time 20 --interface {lab.facts['CLIENT']} http://{mode.host}/big"
    done = lab.inside("client", "bash", "-o", "pipefail", "-c", f"{command} | sha256sum")
    assert done.stdout.split()[0] == wanted(lab)


def wanted(lab) -> str:
    return (lab.state / "data/big.sha256").read_text().strip()


@large
@each_mode
def test_datagrams_of_8900_bytes_pass_in_one_frame(lab, mode):
    lab.service(mode, 7, protocol="-u")
    with lab.capture("rs1", "eth0", "udp or proto 4 or ip6 proto 41") as seen:
        sockets = lab.echo(lab.facts["CLIENT"], mode.vip, 7, count=3, sources=9, size=8_900)
    answers = [answer for socket in sockets for answer in socket]
    assert None not in answers
    assert all(answer["intact"] for answer in answers)
    assert {answer["server"] for answer in answers} == {"rs1", "rs2", "rs3"}
    assert min(ip_bytes(seen)) > 8_900, "none came in fragments"
    assert bad_checksums(seen) == []


@large
@each_mode
def test_large_segments_pass_both_ways(lab, mode):
    lab.learns_a_tunnels_mtu(mode)
    lab.service(mode)
    with lab.capture("client", "eth0", "tcp") as seen:
        upload(lab, mode)
        download(lab, mode)
    assert max(ip_bytes(seen)) == 9_000
    largest_up = max(length for length, [port] in zip(ip_bytes(seen), fields(seen, "tcp.dstport"))
                     if port == "80")
    assert largest_up == 9_000


@large
def test_the_host_answers_large_pings(lab):
    for mode in MODES:
        lab.inside("client", "ping", "-c", "2", "-i", "0.2", "-s", "8500", "-M", "do", "-I",
                   lab.facts["CLIENT"], lab.mode(mode).vip)


@mixed
@each_mode
def test_a_smaller_mtu_behind_the_director_is_learned(lab, mode):
    lab.may_lose("too_big")
    lab.service(mode)
    lab.service(mode, 7, protocol="-u")
    upload(lab, mode)
    download(lab, mode)
    # The client may have to be told once, and the server, who is not asked again, once too.
    [answers] = lab.echo(lab.facts["CLIENT"], mode.vip, 7, count=4, size=8_900)
    assert answers[-1] is not None and answers[-1].get("intact"), answers
