# SPDX-License-Identifier: MIT OR Apache-2.0
"""Frames made to harm: each is a drop with a name, or the host's; none is forwarded or fatal."""

import subprocess
import time

import pytest

import hostile
from lab import LAB, Shape, ip_bytes

SHAPES = [Shape(workers=4, queues=1, big_mb=1), Shape(workers=4, queues=1, big_mb=1, family=6)]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")


def became(lab, before, punted_before: float) -> list[str]:
    """What became of the last frame, once anything has."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        names = sorted((lab.drops() - before).elements())
        if names:
            return [name for name in names if name != "total"]
        if lab.ledger().total("frames_out_total", fate="punted") > punted_before:
            return [hostile.HOST]
        time.sleep(0.02)
    return ["nothing"]


def test_hostile_frames_are_dropped_by_name(lab):
    lab.service(lab.nat)
    lab.service(lab.nat, 7, protocol="-u")
    lab.inside("client", "ping", "-c", "1", "-W", "2", lab.nat.vip)
    family = lab.shape.family
    wrong = []
    source = f"{lab.ip} and ether src {lab.facts['MAC_LAN']} and host {hostile.SOURCE[family]}"
    command = [*lab.enter("client"), "python3", str(LAB / "tests/raw_sender.py"), "eth0"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (lab.capture("director", "lan-nic", source) as forwarded,
          subprocess.Popen(command, bufsize=1, **pipes) as sender):
        for what, frames, want in hostile.frames(family, lab.facts["MAC_WAN"]):
            lab.may_lose(want)
            before = lab.drops()
            punted = lab.ledger().total("frames_out_total", fate="punted")
            for frame in frames:
                sender.stdin.write(frame.hex() + "\n")
                assert sender.stdout.readline() == "sent\n"
            got = became(lab, before, punted)
            if got != [want]:
                wrong.append(f"{what}: {got}, not {want}")
        sender.stdin.close()
    assert wrong == [], "\n".join(wrong)
    assert len(ip_bytes(forwarded)) == 1, "the first of two that overlap is as good as any"
    lab.fetch(lab.facts["CLIENT"], f"http://{lab.nat.host}/", 3)
