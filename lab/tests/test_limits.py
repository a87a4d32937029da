# SPDX-License-Identifier: MIT OR Apache-2.0
"""Small limits, reached: a full table and no local port left are drops with a name."""

import pytest

from lab import Shape, bracketed

SHAPES = [
    Shape(capacity=256, local_ports="5000-5003", big_mb=1, family=family) for family in (4, 6)
]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")


def test_no_local_port_left_drops_by_name(lab):
    """Four ports on one local address towards one server endpoint: the fifth flow has none."""
    lab.may_lose("no_local_port")
    name = f"-u {lab.fullnat.host}:7"
    lab.ctl(f"-A {name} -s rr")
    lab.ctl(f"-P {name} -z {lab.locals[0]}")
    lab.ctl(f"-a {name} -r {bracketed(lab.rs[0])}:7 -b")
    before = lab.drops()
    sockets = lab.echo(lab.facts["CLIENT"], lab.fullnat.vip, 7, count=1, sources=6)
    assert [socket == [None] for socket in sockets] == [False] * 4 + [True] * 2
    assert (lab.drops() - before)["no_local_port"] == 2


def test_a_full_connection_table_drops_by_name(lab):
    lab.may_lose("table_full")
    lab.service(lab.dr, 7, protocol="-u")
    before = lab.drops()
    clients = [lab.facts["CLIENT"], lab.facts["FAR_CLIENT"]]
    sockets = [socket for client in clients
               for socket in lab.echo(client, lab.dr.vip, 7, count=1, sources=130)]
    answered = sum(answer is not None for socket in sockets for answer in socket)
    assert answered <= lab.shape.capacity
    assert (lab.drops() - before)["table_full"] > 0
