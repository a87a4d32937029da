# SPDX-License-Identifier: MIT OR Apache-2.0
"""Packet buffers in hugepages, which are all given back, however the director ends."""

from pathlib import Path

import pytest

from lab import MODES, Shape, spread

SHAPE = Shape(workers=2, queues=2, hugepages="on", big_mb=1)
RESERVED = Path("/proc/sys/vm/nr_hugepages")
PAGES = 256


def free_pages() -> int:
    [line] = [line for line in Path("/proc/meminfo").read_text().splitlines()
              if line.startswith("HugePages_Free:")]
    return int(line.split()[1])


@pytest.fixture(scope="module", autouse=True)
def pages_for_a_while():
    """Reserves pages of 2 MiB and puts the host's setting back."""
    before = RESERVED.read_text()
    try:
        RESERVED.write_text(str(int(before) + PAGES))
        if free_pages() < PAGES:
            pytest.skip(f"this machine has no {PAGES} hugepages to spare")
        yield
    finally:
        RESERVED.write_text(before)


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_traffic_flows_and_the_pages_come_back(pages_for_a_while, lab, signal):
    client = lab.facts["CLIENT"]
    for mode in map(lab.mode, MODES):
        lab.service(mode)
        answers = lab.fetch(client, f"http://{mode.host}/", 6)
        assert spread(answers) == {"rs1": 2, "rs2": 2, "rs3": 2}
    in_use = free_pages()
    lab.stop(signal)
    freed = free_pages() - in_use
    lab.start()
    assert freed >= 128, "256 MB of packet buffers"
