# SPDX-License-Identifier: MIT OR Apache-2.0
"""Several workers, on NICs with one queue and with many: nothing is lost and all take part."""

import hashlib
import re

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
]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")
each_mode = pytest.mark.parametrize("mode", MODES)


def clients(lab, mode) -> list[str]:
    """64 addresses, or the far one alone where the mode serves no near client (lab.py)."""
    if lab.client_for(mode) != lab.facts["CLIENT"]:
        return [lab.client_for(mode)]
    lab.script("net.sh", "clients", lab.prefix, str(CLIENTS))
    prefix, first = lab.facts["CLIENT_EXTRA"], int(lab.facts["CLIENT_EXTRA_FIRST"])
    return [f"{prefix}.{first + index}" for index in range(CLIENTS)]


def worker_counters(lab, metric: str) -> dict[str, int]:
    """A counter of /metrics by worker, summed over its other labels."""
    text = lab.inside("director", "curl", "-sS", "http://127.0.0.1:9109/metrics").stdout
    totals: dict[str, int] = {}
    for labels, value in re.findall(rf"^{metric}{{(.*?)}} (\d+)", text, re.M):
        worker = re.search(r'worker="(\d+)"', labels).group(1)
        totals[worker] = totals.get(worker, 0) + int(value)
    return totals


@each_mode
def test_many_clients_are_all_answered_in_turn(lab, mode):
    lab.service(mode)
    sources = clients(lab, mode)
    each = 256 // len(sources)
    answers = lab.fetch_from_all(sources, f"http://{mode.vip}/", each)
    counts = spread(answers)
    assert sum(counts.values()) == 256
    assert max(counts.values()) - min(counts.values()) <= lab.shape.workers
    assert lab.connections(f"TCP {mode.vip}:80") == 256


@each_mode
def test_files_pass_whole_in_both_directions(lab, mode):
    lab.service(mode)
    want = (lab.state / "data/big.sha256").read_text().strip()
    client = lab.client_for(mode)
    fetch = f"curl -sS --max-time 60 --interface {client} http://{mode.vip}/big | sha256sum"
    got = lab.inside("client", "bash", "-o", "pipefail", "-c", fetch).stdout.split()[0]
    assert got == want
    lab.inside("client", "curl", "-sS", "--fail", "--max-time", "60", "-T",
               str(lab.state / "data/big"), "--interface", client,
               f"http://{mode.vip}/upload/{mode.name}")
    [stored] = (lab.state / "data").glob(f"rs*/upload/{mode.name}")
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == want


@each_mode
def test_udp_from_many_sockets_is_echoed(lab, mode):
    lab.service(mode, 7, protocol="-u")
    for client in clients(lab, mode)[:8]:
        sockets = lab.echo(client, mode.vip, 7, count=2, sources=8)
        assert all(answer and answer["intact"] for socket in sockets for answer in socket)


def test_every_worker_forwards_and_hands_over_what_is_not_its_own(lab):
    if lab.shape.workers == 1:
        pytest.skip("one worker has nobody to hand a frame to")
    mode = MODES[1]
    lab.service(mode)
    sources = clients(lab, mode)
    with lab.capture("rs1", "eth0", "ip") as file:
        lab.fetch_from_all(sources, f"http://{mode.vip}/", 2)
    assert bad_checksums(file) == []
    sent = worker_counters(lab, "pointsman_worker_sent_frames_total")
    handed = worker_counters(lab, "pointsman_worker_handed_off_frames_total")
    assert len(sent) == lab.shape.workers
    assert all(sent.values()), sent
    assert sum(handed.values()) > 0


def test_no_frame_is_lost_in_the_director(lab):
    """What it dropped must be nothing, and what it holds at rest as well."""
    before = lab.drops()
    lab.service(MODES[0])
    lab.fetch_from_all(clients(lab, MODES[0]), f"http://{MODES[0].vip}/", 2)
    assert lab.drops() - before == {}
