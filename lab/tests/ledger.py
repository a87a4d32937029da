# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the director counted, and whether it adds up: no frame is lost without a name."""

import re
from collections import Counter

SAMPLE = re.compile(r"^pointsman_(\w+)(?:\{(.*)\})? (\d+)$", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Ledger:
    """The counters of a page of /metrics, named without `pointsman_`."""

    def __init__(self, page: str):
        self.samples = [
            (name, dict(LABEL.findall(labels)), int(value))
            for name, labels, value in SAMPLE.findall(page)
        ]

    def total(self, name: str, **labels: str) -> int:
        """Sum of a metric over the labels that are not named."""
        found = [value for sample, has, value in self.samples
                 if sample == name and labels.items() <= has.items()]
        assert found, f"no {name} with {labels} in /metrics"
        return sum(found)

    def workers(self) -> list[str]:
        return sorted({has["worker"] for _, has, _ in self.samples if "worker" in has})

    def by_worker(self, name: str, **labels: str) -> list[int]:
        return [self.total(name, worker=worker, **labels) for worker in self.workers()]

    def losses(self) -> Counter:
        """Frames lost so far: dropped by a worker, by the host thread, or by a NIC."""
        kinds = {"drops_total": "reason", "host_lost_total": "direction",
                 "nic_missed_total": "", "nic_no_buffer_total": "", "nic_errors_total": ""}
        lost = Counter()
        for sample, has, value in self.samples:
            if sample in kinds:
                label = has.get(kinds[sample], "")
                lost[label if sample == "drops_total" else f"{sample} {label}".strip()] += value
        return +lost

    def imbalances(self) -> list[str]:
        """What does not add up with the director at rest, one line each."""
        claims = [
            (f"worker {worker}: all that came in went somewhere",
             self.total("frames_in_total", worker=worker),
             self.total("frames_out_total", worker=worker)
             + self.total("drops_total", worker=worker))
            for worker in self.workers()
        ]
        frames_in = {origin: self.total("frames_in_total", origin=origin)
                     for origin in ("received", "handed_in", "from_host")}
        frames_out = {fate: self.total("frames_out_total", fate=fate)
                      for fate in ("sent", "punted", "handed_off")}
        claims += [
            ("no frame waits for an address", self.total("frames_held"), 0),
            ("workers took what the NICs received", frames_in["received"],
             self.total("nic_packets_total", direction="rx")),
            ("the NICs sent what workers gave them", frames_out["sent"],
             self.total("nic_packets_total", direction="tx")),
            ("handed off is handed in", frames_out["handed_off"], frames_in["handed_in"]),
            ("the host got what was punted", frames_out["punted"],
             self.total("host_frames_total", direction="to")
             + self.total("host_lost_total", direction="to")),
            ("workers took the host's frames", frames_in["from_host"],
             self.total("host_frames_total", direction="from")),
        ]
        return [f"{claim}: {left} is not {right}" for claim, left, right in claims
                if left != right]
