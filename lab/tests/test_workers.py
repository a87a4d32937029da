# SPDX-License-Identifier: MIT OR Apache-2.0
"""Several workers, on NICs with one queue and with many: nothing is lost and all take part."""

import hashlib

import pytest

from lab import MODES, Shape, bad_checksums, spread

CLIENTS = 64
SHAPES = [
    Shape("two-arm", workers=1, queues=1, big_mb=10),
    Shape("two-arm", workers=2, queues=1, big_mb=10),
    Shape("two-arm", workers=2, queues=2, big_mb=10),
    Shape("two-arm", workers=4, queues=1, big_mb=10),
    Shape("two-arm", workers=4, queues=4, big_mb=10),
    Shape("one-arm", workers=4, queues=4, big_mb=10),
    Shape("two-arm", workers=4, queues=1, big_mb=10, family=6),
    Shape("one-arm", workers=4, queues=4, big_mb=10, family=6),
]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")
each_mode = pytest.mark.parametrize("mode", MODES, indirect=True)


def clients(lab, mode) -> list[str]:
    """64 addresses, or the far one alone where the mode serves no near client (lab.py)."""
    if lab.client_for(mode) != lab.facts["CLIENT"]:
        return [lab.client_for(mode)]
    return lab.extra_clients(CLIENTS)


@each_mode
def test_many_clients_are_all_answered_in_turn(lab, mode):
    lab.service(mode)
    sources = clients(lab, mode)
    each = 256 // len(sources)
    answers = lab.fetch_from_all(sources, f"http://{mode.host}/", each)
    counts = spread(answers)
    assert sum(counts.values()) == 256
    assert max(counts.values()) - min(counts.values()) <= 1, "workers share the turns"
    assert lab.stats(f"TCP {mode.host}:80")[0] == 256


@each_mode
def test_files_pass_whole_in_both_directions(lab, mode):
    lab.learns_a_tunnels_mtu(mode)
    lab.service(mode)
    want = (lab.state / "data/big.sha256").read_text().strip()
    client = lab.client_for(mode)
    fetch = f"curl -sS --max-time 60 --interface {client} http://{mode.host}/big | sha256sum"
    got = lab.inside("client", "bash", "-o", "pipefail", "-c", fetch).stdout.split()[0]
    assert got == want
    lab.inside("client", "curl", "-sS", "--fail", "--max-time", "60", "-T",
               str(lab.state / "data/big"), "--interface", client,
               f"http://{mode.host}/upload/{mode.name}")
    [stored] = (lab.state / "data").glob(f"rs*/upload/{mode.name}")
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == want


@each_mode
def test_udp_from_many_sockets_is_echoed(lab, mode):
    lab.service(mode, 7, protocol="-u")
    for client in clients(lab, mode)[:8]:
        sockets = lab.echo(client, mode.vip, 7, count=2, sources=8)
        assert all(answer and answer["intact"] for socket in sockets for answer in socket)


@each_mode
def test_every_worker_forwards_what_it_owns_and_no_frame_is_lost(lab, mode):
    lab.service(mode)
    sources = clients(lab, mode)
    before, drops_before = lab.ledger(), lab.drops()
    with lab.capture("rs1", "eth0", lab.ip) as file:
        lab.fetch_from_all(sources, f"http://{mode.host}/", 128 // len(sources))
    assert bad_checksums(file) == []
    assert lab.drops() - drops_before == {}
    assert lab.imbalances() == []
    after = lab.ledger()
    connections = after.by_worker("connections")
    assert all(connections), f"connections by worker: {connections}"
    forwarded = moved(before, after, "frames_out_total", fate="sent")
    handed = moved(before, after, "frames_out_total", fate="handed_off")
    if lab.shape.queues == lab.shape.workers:
        assert all(forwarded), f"frames sent by worker: {forwarded}"
    else:
        took = moved(before, after, "frames_in_total", origin="handed_in")
        assert all(took[lab.shape.queues:]), f"frames handed to each worker: {took}"
    assert bool(sum(handed)) == (lab.shape.workers > 1), f"handed over: {handed}"


def moved(before, after, name: str, **labels: str) -> list[int]:
    """How far a counter went between two looks, by worker."""
    pairs = zip(after.by_worker(name, **labels), before.by_worker(name, **labels))
    return [late - early for late, early in pairs]
