# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fixtures of the end-to-end tests. A lab is built once for all tests of a module and shape."""

import os
import shutil
import signal
import subprocess

import pytest

from lab import POINTSMAN, Lab, Shape


def pytest_sessionstart(session):
    """Refuses to start where the lab cannot work, with what is missing."""
    if os.geteuid() != 0:
        pytest.exit("the lab needs root: it makes network namespaces", returncode=1)
    if shutil.which(POINTSMAN) is None:
        pytest.exit(f"no {POINTSMAN}: run cargo build -p appliance", returncode=1)
    # Ends like Ctrl-C does: with the labs taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_make_parametrize_id(val):
    return str(val) if isinstance(val, Shape) else getattr(val, "name", None)


@pytest.fixture(scope="module")
def lab(request):
    """The lab of a module: its `SHAPES` if it has several, else its `SHAPE`."""
    shape = getattr(request, "param", None) or getattr(request.module, "SHAPE", Shape())
    built = Lab(f"t{os.getpid()}", shape)
    built.up()
    yield built
    log = (built.state / "director.log").read_text(errors="replace")
    built.down()
    left = built.leftovers()
    assert left == "", f"left behind:\n{left}"
    assert "panicked" not in log, log


@pytest.fixture
def mode(request, lab):
    """A forwarding mode with the VIP that it has in this lab."""
    return lab.mode(request.param)


@pytest.fixture(autouse=True)
def a_clean_start_and_a_balanced_end(request):
    """Each test starts without services; after it every frame must be accounted for, and none
    may be lost for a reason that the test did not name."""
    if "lab" not in request.fixturenames:
        yield
        return
    lab = request.getfixturevalue("lab")
    lab.let_connections_close()
    lab.ctl("-C")
    # Connections of the test before may still be about to end, and their service is gone.
    lab.named_losses = {"server_removed"}
    lab.lost_before = lab.ledger().losses()
    yield
    assert lab.imbalances() == []
    lost = lab.ledger().losses() - lab.lost_before
    assert {reason: lost[reason] for reason in lost if reason not in lab.named_losses} == {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of the director's log, and its drops, to the report of a failed test."""
    report = (yield).get_result()
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and lab is not None and (lab.state / "director.log").exists():
        log = (lab.state / "director.log").read_text(errors="replace")
        report.sections.append(("director log", "\n".join(log.splitlines()[-30:])))
        report.sections.append(("drops", "\n".join(f"{k} {v}" for k, v in counted(lab).items())))


def counted(lab) -> dict:
    """The drops, or why there are none to be had: the director may be what failed."""
    try:
        return lab.drops()
    except (AssertionError, subprocess.TimeoutExpired) as failure:
        return {"not to be had:": failure}
