# SPDX-License-Identifier: MIT OR Apache-2.0
"""On NICs whose hash is known, packets land on the worker that owns them: none is handed over."""

import pytest

from lab import MODES, Shape

CLIENTS = 64
BY_END = Shape("two-arm", workers=4, queues=4, big_mb=1, rss=("source", "destination"))
LANDING = Shape("two-arm", workers=4, queues=4, big_mb=1, rss=("tuple", "tuple"), owner="landing")
pytestmark = pytest.mark.parametrize("lab", [BY_END, LANDING], indirect=True, scope="module")


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_no_frame_is_handed_over(lab, mode):
    if lab.shape.owner == "landing" and mode.name == "NAT":
        lab.ctl(f"-A -t {mode.host}:80 -s rr")
        refused = lab.ctl(f"-a -t {mode.host}:80 -r {lab.rs[0]}:80 -m", check=False)
        assert refused.returncode != 0 and 'owner = "hash"' in refused.stderr
        return
    lab.service(mode)
    sources = lab.extra_clients(CLIENTS)
    before = lab.ledger()
    answers = lab.fetch_from_all(sources, f"http://{mode.host}/", 2)
    assert len(answers) == 2 * CLIENTS
    after = lab.ledger()
    handed = [late - early for late, early in zip(
        after.by_worker("frames_out_total", fate="handed_off"),
        before.by_worker("frames_out_total", fate="handed_off"))]
    assert handed == [0, 0, 0, 0]
    assert all(after.by_worker("connections")), "every worker owns connections"


def test_the_log_says_what_is_expected(lab):
    log = (lab.state / "director.log").read_text()
    if lab.shape.owner == "landing":
        assert log.count("hashes addresses and ports; of its frames workers hand over about "
                         "0 % of requests") == 2
    else:
        assert "hashes source address and port; of its frames workers hand over about 0 % of" in log
        assert "75 % of requests, 0 % of NAT replies, 0 % of FULLNAT replies" in log
