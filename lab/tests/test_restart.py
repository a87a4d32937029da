# SPDX-License-Identifier: MIT OR Apache-2.0
"""The director's end and return: what stays on the host, what clients notice."""

import json
from pathlib import Path

import pytest

from lab import CURL_REFUSED, CURL_TIMED_OUT, MODES, Shape, bracketed, fields, run, spread

SHAPES = [Shape(workers=4, queues=4, big_mb=1, family=family) for family in (4, 6)]
pytestmark = pytest.mark.parametrize("lab", SHAPES, indirect=True, scope="module")


def host_state(lab) -> tuple[list, list]:
    """Addresses and routes in the director's namespace, lifetimes and link state apart."""
    def shown(*command: str):
        return json.loads(run("ip", "-n", f"{lab.prefix}-director", "-j", *command).stdout)

    addresses = [
        (link["ifname"], address["local"], address["prefixlen"])
        for link in shown("addr", "show")
        for address in link.get("addr_info", [])
        if link["ifname"] in ("wan", "lan")
    ]
    routes = [(route["dst"], route.get("gateway")) for family in ("-4", "-6")
              for route in shown(family, "route", "show")]
    return addresses, routes


def carrier(lab, interface: str) -> bool:
    shown = run("ip", "-n", f"{lab.prefix}-director", "-j", "link", "show", interface).stdout
    return "LOWER_UP" in json.loads(shown)[0]["flags"]


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_vips_routes_and_rules_outlive_the_director(lab, signal):
    client = lab.facts["CLIENT"]
    for mode in map(lab.mode, MODES):
        lab.service(mode)
    rules = lab.ctl("-S -n").stdout
    before = host_state(lab)
    lab.await_saved(rules)
    lab.stop(signal)
    assert not carrier(lab, "wan"), "VRRP learns of our end by the carrier"
    # Not of a service: this SYN may wait for ARP, and be scheduled after the restart.
    silence = lab.curl_status(client, f"http://{bracketed(lab.facts['VIP_IDLE'])}/", seconds=1)
    assert silence in (CURL_REFUSED, CURL_TIMED_OUT)
    lab.start()
    assert host_state(lab) == before
    assert lab.ctl("-S -n").stdout == rules
    flags = "tcp[13]" if lab.ip == "ip" else "ip6 proto 6 and ip6[53]"
    syn = f"{flags} == 2 and not host {lab.facts['VIP_IDLE']}"
    with lab.capture("client", "eth0", syn) as attempts:
        for mode in map(lab.mode, MODES):
            answers = lab.fetch(client, f"http://{mode.host}/", 6)
            assert spread(answers) == {"rs1": 2, "rs2": 2, "rs3": 2}
    assert len(fields(attempts, "tcp.dstport")) == 24, "no SYN had to be sent again"


def test_sigterm_takes_the_socket_and_the_nics_along(lab):
    lab.stop("TERM")
    left = run("ip", "-n", f"{lab.prefix}-director", "-br", "link").stdout
    socket_left = Path(lab.socket).exists()
    lab.start()
    assert "-nic" not in left
    assert not socket_left


def test_sighup_reads_the_timeouts_again_and_refuses_a_wrong_file(lab):
    config = lab.state / "pointsman.toml"
    lab.service(lab.nat)
    right = config.read_text()
    try:
        config.write_text(right + "\n[timeouts]\ntcp_established = 77\n")
        lab.hang_up("read again; in force: tcp_established = 77")
        assert "77 120 300" in lab.ctl("-L --timeout").stdout
        config.write_text(right + "\n[timeouts]\ntcp_estabished = 78\n")
        lab.hang_up("the nearest valid one is `tcp_established`")
        assert "77 120 300" in lab.ctl("-L --timeout").stdout
    finally:
        config.write_text(right)
    lab.fetch(lab.facts["CLIENT"], f"http://{lab.nat.host}/", 6)
