# SPDX-License-Identifier: MIT OR Apache-2.0
"""Datagrams larger than a packet: all fragments reach one server, and those of its answer us."""

import pytest

from lab import MODES, Shape

SHAPES = [
    Shape("two-arm", workers=1, queues=1, big_mb=1),
    Shape("two-arm", workers=4, queues=4, big_mb=1),
    Shape("one-arm", workers=4, queues=1, big_mb=1),
    Shape("two-arm", workers=4, queues=4, big_mb=1, family=6),
]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")
each_mode = pytest.mark.parametrize("mode", MODES, indirect=True)


def make_room_for_tunnels(lab):
    """The servers of this lab cannot unwrap fragments of an outer packet (decap.bpf.c), so the
    client makes its own small enough."""
    way = ["dev", "eth0", "src", lab.facts["CLIENT"], "mtu", "1400"]
    lab.inside("client", "ip", "route", "replace", lab.tun.vip, *way)


@each_mode
@pytest.mark.parametrize("size", [1473, 8_000, 64_000])
def test_large_datagrams_are_echoed_whole(lab, mode, size):
    if mode == lab.tun:
        make_room_for_tunnels(lab)
    lab.service(mode, 7, protocol="-u")
    client = lab.client_for(mode)
    before = lab.drops()
    sockets = lab.echo(client, mode.vip, 7, count=3, sources=8, size=size)
    answers = [answer for socket in sockets for answer in socket]
    assert None not in answers
    assert all(answer["intact"] for answer in answers)
    assert all(len({answer["server"] for answer in socket}) == 1 for socket in sockets)
    assert lab.drops() - before == {}
    assert lab.stats(f"UDP {mode.host}:7")[0] == 8


@each_mode
def test_large_and_small_datagrams_of_a_socket_reach_one_server(lab, mode):
    if mode == lab.tun:
        make_room_for_tunnels(lab)
    lab.service(mode, 7, protocol="-u")
    client = lab.client_for(mode)
    servers = set()
    for size in (10, 5_000, 10, 30_000):
        [[answer]] = lab.echo(client, mode.vip, 7, size=size)
        assert answer["intact"]
        servers.add(answer["server"])
    assert servers == {"rs1", "rs2", "rs3"}, "new sockets take turns, whatever their size"
