# SPDX-License-Identifier: MIT OR Apache-2.0
"""The listing and /metrics against the wire: they moved by what tcpdump saw, no more, no less."""

import pytest

from lab import MODES, Mode, Shape, addresses_in, ip_bytes

SHAPES = [
    Shape(workers=2, queues=1, big_mb=1),
    Shape("one-arm", workers=2, queues=2, big_mb=1),
    Shape(workers=4, queues=4, big_mb=1, family=6),
]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")
each_mode = pytest.mark.parametrize("mode", MODES, indirect=True)
protocols = pytest.mark.parametrize("protocol", ["TCP", "UDP"])


def talk(lab, client: str, mode: Mode, protocol: str) -> None:
    if protocol == "TCP":
        lab.fetch(client, f"http://{mode.host}/", 20)
    else:
        lab.echo(client, mode.vip, 7, count=3, sources=20)
    lab.let_connections_close()


@protocols
@each_mode
def test_a_services_counters_are_what_its_wire_carried(lab, mode, protocol):
    port = 80 if protocol == "TCP" else 7
    name = f"{protocol} {mode.host}:{port}"
    lab.service(mode, port, protocol="-t" if protocol == "TCP" else "-u")
    nic = lab.facts["MAC_WAN"]
    between = f"{lab.ip} and (tcp or udp) and host {mode.vip} and host {lab.client_for(mode)}"
    to_nic = f"{between} and ether dst {nic} and dst host {mode.vip}"
    from_nic = f"{between} and ether src {nic} and src host {mode.vip}"
    with (lab.capture("director", "wan-nic", to_nic) as requests,
          lab.capture("director", "wan-nic", from_nic, name="replies") as replies):
        talk(lab, lab.client_for(mode), mode, protocol)
    sizes_in, sizes_out = ip_bytes(requests), ip_bytes(replies)
    assert bool(sizes_out) == mode.translates_ports, "replies of TUN and DR pass us by"
    want = [20, len(sizes_in), len(sizes_out), sum(sizes_in), sum(sizes_out)]
    assert lab.stats(name) == want
    assert [sum(column) for column in zip(*lab.server_stats(name))] == want
    ledger = lab.ledger()
    labels = {"vip": mode.vip, "port": str(port), "protocol": protocol.lower()}
    assert [ledger.total("service_connections_total", **labels)] + [
        ledger.total(f"service_{unit}_total", direction=direction, **labels)
        for unit in ("packets", "bytes") for direction in ("in", "out")
    ] == want


@each_mode
def test_each_request_leaves_once_towards_the_server(lab, mode):
    lab.service(mode, 7, protocol="-u")
    nic, port = lab.facts["SERVER_NIC"], "udp dst port 7"
    inbound = f"ether dst {lab.facts['MAC_WAN']} and {port}"
    source = f"ether src {lab.facts['MAC_' + nic.upper()]}"
    tunnel = "ip proto 4" if lab.ip == "ip" else "ip6 proto 41"
    outbound = f"{source} and {tunnel if mode.name == 'TUN' else port}"
    with (lab.capture("director", "wan-nic", inbound) as requests,
          lab.capture("director", f"{nic}-nic", outbound, name="forwarded") as forwarded):
        talk(lab, lab.client_for(mode), mode, "UDP")
    outer = 20 if lab.ip == "ip" else 40
    header = outer if mode.name == "TUN" else 0
    assert ip_bytes(forwarded) == [size + header for size in ip_bytes(requests)]
    assert len(ip_bytes(requests)) == 60
    servers = addresses_in(forwarded) & set(lab.rs)
    assert servers == (set() if mode.name == "DR" else set(lab.rs))


def test_zeroed_counters_start_again(lab):
    mode = lab.fullnat
    lab.service(mode)
    lab.fetch(lab.client_for(mode), f"http://{mode.host}/", 3)
    lab.let_connections_close()
    lab.ctl(f"-Z -t {mode.host}:80")
    assert lab.stats(f"TCP {mode.host}:80") == [0, 0, 0, 0, 0]
    lab.fetch(lab.client_for(mode), f"http://{mode.host}/", 2)
    assert lab.stats(f"TCP {mode.host}:80")[0] == 2
