# SPDX-License-Identifier: MIT OR Apache-2.0
"""What is not forwarded: each case ends in the kernel's answer or in a drop with a name."""

import re
import subprocess

import pytest

from lab import CURL_REFUSED, CURL_TIMED_OUT, LAB, MODES, POINTSMAN, Shape, bracketed, spread

SHAPES = [Shape(big_mb=1), Shape(big_mb=1, family=6)]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")


class Held:
    """A connection kept open, asking for a page whenever told to."""

    def __init__(self, lab, client: str, vip: str):
        script = LAB / "tests/held_client.py"
        command = [*lab.enter("client"), "python3", str(script), client, vip]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def ask(self, seconds: float = 5) -> str:
        """Name of the server that answered, or an empty text for no answer in time."""
        self.process.stdin.write(f"{seconds}\n")
        return self.process.stdout.readline().strip()


def dropped(lab, reason: str, before) -> int:
    return (lab.drops() - before)[reason]


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_weight_0_keeps_connections_and_gets_no_new_ones(lab, mode):
    lab.service(mode)
    client = lab.facts["CLIENT"]
    with Held(lab, client, mode.vip) as held:
        server = held.ask()
        index = int(server.removeprefix("rs")) - 1
        lab.ctl(f"-e -t {mode.host}:80 -r {bracketed(lab.rs[index])}:80 {mode.option} -w 0")
        assert server not in spread(lab.fetch(client, f"http://{mode.host}/", 12))
        assert held.ask() == server


def test_a_removed_servers_connections_are_dropped_by_name_until_it_is_back(lab):
    lab.service(lab.nat)
    lab.may_lose("server_removed")
    client = lab.facts["CLIENT"]
    before = lab.drops()
    with Held(lab, client, lab.nat.vip) as held:
        server = held.ask()
        address = bracketed(lab.rs[int(server.removeprefix("rs")) - 1])
        lab.ctl(f"-d -t {lab.nat.host}:80 -r {address}:80")
        assert held.ask(seconds=1) == ""
        assert dropped(lab, "server_removed", before) > 0
        assert server not in spread(lab.fetch(client, f"http://{lab.nat.host}/", 6))
        lab.ctl(f"-a -t {lab.nat.host}:80 -r {address}:80 -m")
        assert held.ask(seconds=15) == server


def test_a_service_with_no_server_available_answers_port_unreachable(lab):
    lab.may_lose("no_server")
    lab.service(lab.nat, weights=(0, 0, 0))
    lab.service(lab.nat, 7, protocol="-u", weights=(0, 0, 0))
    client = lab.facts["CLIENT"]
    assert lab.curl_status(client, f"http://{lab.nat.host}/") == CURL_REFUSED
    assert lab.echo(client, lab.nat.vip, 7) == [[{"refused": True}]]


def test_a_server_that_does_not_answer_arp_or_nd_drops_by_name_and_remedy(lab):
    lab.may_lose("no_neighbour")
    nobody = bracketed(lab.rs[0] + "9")
    lab.ctl(f"-A -t {lab.dr.host}:80 -s rr")
    lab.ctl(f"-a -t {lab.dr.host}:80 -r {nobody}:80 -g")
    before = lab.drops()
    status = lab.curl_status(lab.facts["CLIENT"], f"http://{lab.dr.host}/", seconds=4)
    assert status in (CURL_TIMED_OUT, CURL_REFUSED)
    assert dropped(lab, "no_neighbour", before) > 0
    listing = lab.ctl("--drops").stdout
    assert re.search(r"^no_neighbour\s+\d+ .*`ip neigh`", listing, re.M), listing


def start_second(lab, config: str) -> str:
    """What a second director says when it refuses to start; the first must not notice."""
    file = lab.state / "second.toml"
    file.write_text(config)
    command = [*lab.enter("director"), POINTSMAN, "run", "--config", str(file)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    lab.service(lab.dr)
    lab.fetch(lab.facts["CLIENT"], f"http://{lab.dr.host}/", 3)
    return second.stderr


def test_a_second_director_does_not_take_the_socket_of_the_first(lab):
    config = (lab.state / "pointsman.toml").read_text()
    assert lab.socket in start_second(lab, config)


def test_a_second_director_does_not_take_the_nics_of_the_first(lab):
    config = (lab.state / "pointsman.toml").read_text()
    other = config.replace(lab.socket, f"{lab.socket}.2").replace(":9109", ":9110")
    assert "host interface wan is held by another process" in start_second(lab, other)


def test_a_second_director_does_not_take_the_metrics_port_of_the_first(lab):
    config = (lab.state / "pointsman.toml").read_text()
    nic = '[[nic]]\nname = "null"\ndevice = "net_null0,no-rx=1"\n'
    other = config[:config.index("[[nic]]")].replace(lab.socket, f"{lab.socket}.2") + nic
    assert lab.facts["METRICS"] in start_second(lab, other)
