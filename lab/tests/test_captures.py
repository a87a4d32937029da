# SPDX-License-Identifier: MIT OR Apache-2.0
"""Captures of real traffic, read by tshark: every frame with its verdict and connection."""

import signal
import subprocess
import time
from contextlib import contextmanager

from lab import CURL_REFUSED, POINTSMAN, run

FIELDS = ["frame.interface_name", "frame.packet_flags_direction", "frame.comment"]


@contextmanager
def capturing(lab, subject: str, file):
    """Captures while the body runs; Ctrl-C ends it, and the file is whole."""
    words = [POINTSMAN, "ctl", "--socket", lab.socket, "--capture", *subject.split(), str(file)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as client:
        deadline = time.monotonic() + 10
        while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield
        time.sleep(0.1)
        client.send_signal(signal.SIGINT)
        assert "frames captured, 0 lost" in client.stderr.read()
    assert client.returncode == 0


def frames(file) -> list[list[str]]:
    """NIC, whether it came in, and comment of each frame."""
    fields = [word for field in FIELDS for word in ("-e", field)]
    lines = run("tshark", "-r", str(file), "-T", "fields", *fields).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    return [[nic, "in" if int(way, 16) == 1 else "out", text] for nic, way, text in rows]


def test_a_service_is_captured_on_both_sides(lab, tmp_path):
    lab.service(lab.nat)
    file, client = tmp_path / "service.pcapng", lab.facts["CLIENT"]
    # From here on the servers' link-layer addresses are known, and no frame waits.
    lab.fetch(client, f"http://{lab.nat.host}/", 12)
    with capturing(lab, f"-t {lab.nat.host}:80", file):
        lab.fetch(client, f"http://{lab.nat.host}/", 1)
    rows = frames(file)
    ways = {(nic, way) for nic, way, _ in rows}
    assert ways == {("wan", "in"), ("wan", "out"), ("lan", "in"), ("lan", "out")}
    connection = f"request of TCP {client}:"
    first = rows[0][2]
    assert connection in first and "sent by lan" in first and ", NAT to " in first, first
    assert any("; reply of TCP " in comment for _, _, comment in rows)
    assert sum(way == "in" for _, way, _ in rows) == sum(way == "out" for _, way, _ in rows)


def test_a_drop_is_captured_with_its_reason_and_listed_with_its_last_frame(lab, tmp_path):
    lab.may_lose("no_server")
    lab.ctl(f"-A -t {lab.dr.host}:80")
    file, client = tmp_path / "drops.pcapng", lab.facts["CLIENT"]
    with capturing(lab, "drops", file):
        assert lab.curl_status(client, f"http://{lab.dr.host}/") == CURL_REFUSED
    comments = [comment for _, _, comment in frames(file)]
    assert any("dropped: no_server: " in comment for comment in comments), comments
    told = lab.ctl("--drops no_server").stdout
    assert f"the last by wan: TCP {client}:" in told and f"> {lab.dr.host}:80 S" in told, told
