# SPDX-License-Identifier: MIT OR Apache-2.0
"""The generator against a real director: over shared memory as both sides, and over a tap in the
lab as clients of real servers. All rates are low and all runs end by themselves."""

import json
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import MODES, POINTSMAN, Shape, run

BLAST = str(Path(POINTSMAN).parent / "pointsman-blast")
SHAPE = Shape("two-arm", big_mb=1)
WAN_MAC, LAN_MAC = "02:00:5e:00:03:01", "02:00:5e:00:03:02"
ROUTER_MAC, SERVER_MAC = "02:00:5e:00:03:81", "02:00:5e:00:03:82"
# Rings that hold more than a test sends: a busy machine loses nothing.
RSIZE = 14

CONFIG = """\
[eal]
hugepages = "off"
memory_mb = 128
[workers]
idle = 50
[connections]
capacity = 65536
[[nic]]
name = "wan"
device = "net_memif0,role=server,socket={folder}/wan.sock,socket-abstract=no,mac={wan_mac}"
addresses = ["198.51.100.1/24", "2001:db8:51::1/64"]
[[nic.neighbour]]
address = "198.51.100.254"
mac = "{router_mac}"
[[nic.neighbour]]
address = "2001:db8:51::254"
mac = "{router_mac}"
[[nic]]
name = "lan"
device = "net_memif1,role=server,socket={folder}/lan.sock,socket-abstract=no,mac={lan_mac}"
addresses = ["10.0.0.1/24", "2001:db8:10::1/64"]
[[nic.neighbour]]
address = "10.0.0.11"
mac = "{server_mac}"
[[nic.neighbour]]
address = "2001:db8:10::11"
mac = "{server_mac}"
[[route]]
to = "198.18.0.0/15"
via = "198.51.100.254"
nic = "wan"
[[route]]
to = "2001:2::/48"
via = "2001:db8:51::254"
nic = "wan"
[control]
socket = "{folder}/control.sock"
"""

RULES = """\
-A -t 192.0.2.1:80
-a -t 192.0.2.1:80 -r 10.0.0.11:8080 -m
-A -u 192.0.2.1:80
-a -u 192.0.2.1:80 -r 10.0.0.11:53 -m
-A -u [2001:db8::1]:80
-a -u [2001:db8::1]:80 -r [2001:db8:10::11]:53 -m
-A -t 192.0.2.2:80
-P -t 192.0.2.2:80 -z 10.0.0.101
-a -t 192.0.2.2:80 -r 10.0.0.11:80 -b
-A -u 192.0.2.3:80
-a -u 192.0.2.3:80 -r 10.0.0.11:80 -i
"""


@pytest.fixture(scope="module")
def director(tmp_path_factory):
    """A director between two shared memories: no network, no root, no hugepages."""
    folder = tmp_path_factory.mktemp("blast")
    config = folder / "lb.toml"
    config.write_text(CONFIG.format(folder=folder, wan_mac=WAN_MAC, lan_mac=LAN_MAC,
                                    router_mac=ROUTER_MAC, server_mac=SERVER_MAC))
    with open(folder / "log", "w") as log, subprocess.Popen(
            [POINTSMAN, "run", "--config", str(config)], stderr=log) as process:
        try:
            deadline = time.monotonic() + 30
            while " ready " not in (folder / "log").read_text():
                assert process.poll() is None and time.monotonic() < deadline, \
                    (folder / "log").read_text()
                time.sleep(0.05)
            run(POINTSMAN, "ctl", "--socket", f"{folder}/control.sock", "-R", input=RULES)
            yield folder
        finally:
            process.send_signal(signal.SIGTERM)


def wan(folder: Path) -> list[str]:
    return ["--wan", memory(folder, 0, "wan", ROUTER_MAC), "--dst-mac", WAN_MAC]


def lan(folder: Path) -> list[str]:
    return ["--lan", memory(folder, 1, "lan", SERVER_MAC)]


def memory(folder: Path, number: int, name: str, mac: str) -> str:
    return (f"net_memif{number},role=client,socket={folder}/{name}.sock,socket-abstract=no,"
            f"rsize={RSIZE},mac={mac}")


def blast(folder: Path, *options: str, nics: list[str] | None = None, check: bool = True,
          flows: int = 500, rate: str = "4kpps") -> dict:
    """Runs the generator, on both memories unless told otherwise; returns its JSON. Exit status 1
    says that something was lost."""
    result = folder / "result.json"
    run(BLAST, *(nics or wan(folder) + lan(folder)), "--idle-us", "50", "--verify", "1",
        "--no-loss", "--flows", str(flows), "--rate", rate, "--open-rate", "4kpps",
        "--json", str(result), *options, check=check)
    return json.loads(result.read_text())


def whole(trial: dict, sent: int) -> None:
    """Every frame came once, in order, and right."""
    assert (trial["sent"], trial["received"], trial["verified"]) == (sent, sent, sent)
    for nothing in ("lost", "duplicated", "out_of_order", "bad_checksums", "our_losses"):
        assert trial[nothing] == 0, nothing
    assert 0 < trial["way"]["min_ns"] <= trial["way"]["p50_ns"] <= trial["way"]["max_ns"]


@pytest.mark.parametrize("options", [
    ("192.0.2.1", "--protocol", "tcp", "--size", "64"),
    ("192.0.2.1", "--protocol", "udp", "--size", "imix"),
    ("2001:db8::1", "--protocol", "udp"),
], ids=["TCP of 64 bytes", "UDP IMIX", "UDP over IPv6"])
def test_nat_both_ways_brings_every_frame_back(director, options):
    result = blast(director, "--reflect", "--packets", "2000", "--vip", *options)
    whole(result["trials"][0], 2000)
    assert result["trials"][0]["reflected"] == 2000
    for opening in result["opening"]:
        whole(opening, 500)
    assert len(result["opening"]) == (2 if "tcp" in options else 0)


def test_beyond_what_is_near_every_frame_comes_back_in_order(director):
    """With more than 32768 connections a batch is served a turn after it was received; the tests
    that follow meet the same director."""
    result = blast(director, "--vip", "192.0.2.1", "--reflect", "--packets", "80000",
                   flows=40000, rate="20kpps")
    whole(result["trials"][0], 80000)
    assert result["trials"][0]["reflected"] == 80000
    listed = run(POINTSMAN, "ctl", "--socket", f"{director}/control.sock",
                 "-L", "-n", "-u", "192.0.2.1:80").stdout
    assert int(listed.rsplit(maxsplit=1)[1]) >= 40000, listed


def test_servers_alone_answer_clients_alone(director):
    """As on two machines: one process is the servers, for a time, another the clients."""
    servers = [BLAST, *lan(director), "--reflect", "--seconds", "4", "--idle-us", "50"]
    with subprocess.Popen(servers, text=True, stdout=subprocess.PIPE) as process:
        time.sleep(1)
        result = blast(director, "--vip", "192.0.2.1", "--packets", "1000", nics=wan(director))
        printed, _ = process.communicate(timeout=30)
    whole(result["trials"][0], 1000)
    assert "1000 requests answered, 0 lost by us" in printed


def test_fullnat_both_ways_brings_every_frame_back(director):
    result = blast(director, "--vip", "192.0.2.2", "--reflect", "--packets", "2000",
                   "--protocol", "tcp")
    whole(result["trials"][0], 2000)


def test_a_tunnels_packets_are_known_inside_their_outer_header(director):
    result = blast(director, "--vip", "192.0.2.3", "--packets", "1000")
    whole(result["trials"][0], 1000)


def test_what_no_service_takes_is_lost_and_said_to_be(director):
    result = blast(director, "--vip", "192.0.2.9", "--packets", "200", "--settle", "0.2",
                   check=False)
    assert (result["trials"][0]["received"], result["trials"][0]["lost"]) == (0, 200)


def test_a_search_ends_with_a_rate_that_loses_nothing(director):
    result = blast(director, "--vip", "192.0.2.1", "--reflect", "--rfc2544", "--trial", "0.5",
                   "--resolution", "25")
    found = result["no_drop"]
    assert found["lost"] == 0 and found["sent"] > 0
    assert found in result["trials"]


@contextmanager
def plain_echo(lab):
    """UDP port 9 of each real server answers with what it got."""
    echo = str(Path(__file__).resolve().parent.parent / "echo.py")
    servers = [subprocess.Popen([*lab.enter(f"rs{number}"), "python3", echo, "", "9"])
               for number in (1, 2, 3)]
    try:
        for number in (1, 2, 3):
            deadline = time.monotonic() + 10
            while ":9 " not in lab.inside(f"rs{number}", "ss", "-Hlun").stdout:
                assert time.monotonic() < deadline, "no echo"
                time.sleep(0.05)
        yield
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def wire(lab, tap: str) -> None:
    """Puts the kernel's side of the generator's tap into the clients' switch, as director.sh does
    with the director's, once the generator has brought it up."""
    deadline = time.monotonic() + 10
    while "UP" not in lab.inside("director", "ip", "link", "show", tap, check=False).stdout:
        assert time.monotonic() < deadline, "no tap that is up"
        time.sleep(0.02)
    lab.inside("director", "sysctl", "-qw", f"net.ipv6.conf.{tap}.disable_ipv6=1")
    lab.inside("director", "ip", "link", "set", tap, "down")
    lab.inside("director", "ip", "link", "set", tap, "arp", "off", "master", "br-wan",
               "address", "02:00:5e:00:02:09")
    lab.inside("director", "ip", "link", "set", tap, "up")


def asked_by_tap(lab, vip: str, clients: str) -> dict:
    """What real servers make of 400 frames that come by a tap, from clients that are played."""
    result = lab.state / "blast.json"
    command = [BLAST, "--wan", "net_tap0,iface=blast,mac=02:00:5e:00:03:09", "--vip", vip,
               "--vport", "9", "--client", clients, "--flows", "40", "--rate", "400pps",
               "--packets", "400", "--idle-us", "100", "--verify", "1", "--no-loss",
               "--json", str(result)]
    with plain_echo(lab), subprocess.Popen(lab.enter("director") + command, text=True,
                                           stdout=subprocess.PIPE,
                                           stderr=subprocess.STDOUT) as process:
        wire(lab, "blast")
        printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0, printed
    return json.loads(result.read_text())["trials"][0]


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_real_servers_answer_every_frame_of_a_tap(lab, mode):
    """Clients that are played answer ARP, and the director's address is asked for."""
    lab.service(mode, 9, protocol="-u")
    whole(asked_by_tap(lab, mode.vip, "198.51.100.201-198.51.100.220"), 400)
    assert lab.stats(f"UDP {mode.host}:9")[0] == 40


def test_real_servers_answer_every_frame_of_a_tap_over_ipv6(lab):
    """The same by neighbour discovery."""
    vip = lab.facts_of(6)["VIP_NAT"]
    lab.ctl(f"-A -u [{vip}]:9 -s rr")
    for server in lab.servers_of_the_other_family():
        lab.ctl(f"-a -u [{vip}]:9 -r [{server}]:9 -m")
    whole(asked_by_tap(lab, vip, "2001:db8:51::c9-2001:db8:51::dc"), 400)
    assert lab.stats(f"UDP [{vip}]:9")[0] == 40
