# SPDX-License-Identifier: MIT OR Apache-2.0
"""Each forwarding mode, two-arm and one-arm: what the client, the server and the wire see."""

import hashlib

import pytest

from lab import MODES, TRANSLATING, Mode, Shape
from lab import addresses_in, bad_checksums, bracketed, fields, spread

SHAPES = [
    Shape("two-arm"),
    Shape("one-arm", big_mb=20),
    Shape("two-arm", family=6),
    Shape("one-arm", family=6, big_mb=20),
]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")
each_mode = pytest.mark.parametrize("mode", MODES, indirect=True)
each_translating_mode = pytest.mark.parametrize("mode", TRANSLATING, indirect=True)


def seen_by_server(lab, mode: Mode, client: str) -> set[str]:
    return {client} if mode.server_sees_client else set(lab.locals)


@each_mode
def test_sequential_and_parallel_requests_are_answered_in_turn(lab, mode):
    lab.service(mode)
    client = lab.client_for(mode)
    sequential = lab.fetch(client, f"http://{mode.host}/", 200)
    parallel = lab.fetch(client, f"http://{mode.host}/", 50, parallel=50)
    assert sorted(spread(sequential).values()) == [66, 67, 67]
    assert max(spread(parallel).values()) - min(spread(parallel).values()) <= 1
    seen = {answer.peer_address for answer in sequential + parallel}
    assert seen <= seen_by_server(lab, mode, client)
    assert lab.stats(f"TCP {mode.host}:80")[0] == 250


@each_mode
def test_weights_share_as_wrr_says(lab, mode):
    lab.service(mode, scheduler="wrr", weights=(1, 2, 3))
    answers = lab.fetch(lab.client_for(mode), f"http://{mode.host}/", 60)
    assert spread(answers) == {"rs1": 10, "rs2": 20, "rs3": 30}


@each_mode
def test_a_large_file_comes_back_whole(lab, mode):
    lab.service(mode)
    command = f"curl -sS --max-time 60 --interface {lab.client_for(mode)} http://{mode.host}/big"
    done = lab.inside("client", "bash", "-o", "pipefail", "-c", f"{command} | sha256sum")
    assert done.stdout.split()[0] == (lab.state / "data/big.sha256").read_text().strip()


@each_mode
def test_a_large_file_arrives_whole(lab, mode):
    lab.learns_a_tunnels_mtu(mode)
    lab.service(mode)
    name = f"{mode.name}-{lab.shape}"
    lab.inside("client", "curl", "-sS", "--fail", "--max-time", "60", "-T",
               str(lab.state / "data/big"), "--interface", lab.client_for(mode),
               f"http://{mode.host}/upload/{name}")
    [stored] = (lab.state / "data").glob(f"rs*/upload/{name}")
    digest = hashlib.file_digest(stored.open("rb"), "sha256").hexdigest()
    stored.unlink()
    assert digest == (lab.state / "data/big.sha256").read_text().strip()


@each_mode
def test_udp_echoes_and_a_socket_stays_with_its_server(lab, mode):
    lab.service(mode, 7, protocol="-u")
    client = lab.client_for(mode)
    sockets = lab.echo(client, mode.vip, 7, count=5, sources=30)
    answers = [answer for socket in sockets for answer in socket]
    assert None not in answers
    assert all(answer["intact"] for answer in answers)
    assert all(len({answer["server"] for answer in socket}) == 1 for socket in sockets)
    assert {answer["server"] for answer in answers} == {"rs1", "rs2", "rs3"}
    peers = {answer["peer"].rsplit(":", 1)[0] for answer in answers}
    assert peers <= seen_by_server(lab, mode, client)
    if mode.name != "FULLNAT":
        assert all(answer["peer"] == answer["own"] for answer in answers)


@each_translating_mode
def test_a_service_may_map_to_another_port(lab, mode):
    lab.service(mode, 81, server_port=8080)
    lab.service(mode, 70, protocol="-u", server_port=7)
    client = lab.client_for(mode)
    answers = lab.fetch(client, f"http://{mode.host}:81/", 9)
    assert {answer.asked_port for answer in answers} == {8080}
    assert None not in lab.echo(client, mode.vip, 70, count=3)[0]


@each_mode
def test_the_client_sees_nothing_but_the_vip(lab, mode):
    lab.service(mode)
    client = lab.client_for(mode)
    with lab.capture("client", "any", f"{lab.ip} and (tcp or udp)") as file:
        lab.fetch(client, f"http://{mode.host}/", 12)
    assert addresses_in(file) == {client, mode.vip}


@each_mode
def test_no_checksum_is_wrong_at_the_server(lab, mode):
    lab.service(mode)
    lab.service(mode, 7, protocol="-u")
    client = lab.client_for(mode)
    with lab.capture("rs1", "eth0", lab.ip) as file:
        lab.fetch(client, f"http://{mode.host}/", 30)
        lab.echo(client, mode.vip, 7, count=3, sources=6)
    assert file.stat().st_size > 2000
    assert bad_checksums(file) == []


def test_servers_of_different_modes_share_a_service(lab):
    vip, rs1, rs2, rs3 = map(bracketed, (lab.facts["VIP_MIXED"], *lab.rs))
    lab.ctl(f"-A -t {vip}:80 -s rr")
    lab.ctl(f"-a -t {vip}:80 -r {rs1}:80 -m")
    lab.ctl(f"-a -t {vip}:80 -r {rs2}:80 -g")
    lab.ctl(f"-a -t {vip}:80 -r {rs3}:80 -i")
    answers = lab.fetch(lab.facts["FAR_CLIENT"], f"http://{vip}/", 30)
    assert spread(answers) == {"rs1": 10, "rs2": 10, "rs3": 10}


def test_servers_of_the_other_family_are_reached_by_tunnels(lab):
    vip = bracketed(lab.facts["VIP_CROSS"])
    lab.ctl(f"-A -t {vip}:80 -s rr")
    for address in lab.servers_of_the_other_family():
        lab.ctl(f"-a -t {vip}:80 -r {bracketed(address)}:80 -i")
    for client in (lab.facts["CLIENT"], lab.facts["FAR_CLIENT"]):
        answers = lab.fetch(client, f"http://{vip}/", 30)
        assert spread(answers) == {"rs1": 10, "rs2": 10, "rs3": 10}
        assert {answer.peer_address for answer in answers} == {client}


def test_clients_beyond_the_router_are_served_in_every_mode(lab):
    for mode in map(lab.mode, MODES):
        lab.service(mode)
        lab.fetch(lab.facts["FAR_CLIENT"], f"http://{mode.host}/", 6)


def test_the_client_learns_the_tunnels_mtu(lab):
    """The outer header does not fit a full packet; without the ICMP no upload would end."""
    lab.may_lose("too_big")
    client, tun = lab.facts["CLIENT"], lab.tun
    lab.service(tun)
    lab.inside("client", "ip", "route", "flush", "cache")
    lab.inside("client", "ip", "-6", "route", "flush", "cache")
    names, want = {
        "ip": (("icmp.type", "icmp.code", "icmp.mtu"), ("3", "4", "1480")),
        "ip6": (("icmpv6.type", "icmpv6.code", "icmpv6.mtu"), ("2", "0", "1460")),
    }[lab.ip]
    icmp = "icmp" if lab.ip == "ip" else "icmp6"
    with lab.capture("client", "eth0", f"{icmp} and src host {tun.vip}") as file:
        lab.inside("client", "curl", "-sS", "--fail", "--max-time", "20", "--interface", client,
                   "-d", "x" * 10_000, "-o", "/dev/null", f"http://{tun.host}/")
    told = [row for row in fields(file, *names) if row[0] not in ("135", "136")]
    assert told and set(map(tuple, told)) == {want}
    route = lab.inside("client", "ip", "route", "get", tun.vip, "from", client).stdout
    assert f"mtu {want[2]}" in route
