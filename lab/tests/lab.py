# SPDX-License-Identifier: MIT OR Apache-2.0
"""A lab as the tests see it: namespaces to run commands in, a director to talk to."""

import json
import os
import re
import subprocess
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LAB = Path(__file__).resolve().parent.parent
POINTSMAN = os.environ.get("POINTSMAN", str(LAB.parent / "target/release/pointsman"))
CURL_REFUSED = 7
CURL_TIMED_OUT = 28


@dataclass(frozen=True)
class Shape:
    """What a lab is built as."""

    topology: str = "two-arm"
    workers: int = 1
    queues: int = 1
    capacity: int = 65536
    local_ports: str = ""
    big_mb: int = 100

    def __str__(self) -> str:
        return f"{self.topology}-{self.workers}w-{self.queues}q"


@dataclass(frozen=True)
class Answer:
    """A page as the server made it: who answered, whom it saw, where it was asked."""

    server: str
    peer: str
    asked: str

    @property
    def peer_address(self) -> str:
        return self.peer.rsplit(":", 1)[0]

    @property
    def asked_port(self) -> int:
        return int(self.asked.rsplit(":", 1)[1])


@dataclass(frozen=True)
class Mode:
    """A forwarding mode: its ipvsadm option and the VIP its services use."""

    name: str
    option: str
    vip: str
    translates_ports: bool
    server_sees_client: bool


MODES = [
    Mode("NAT", "-m", "192.0.2.1", True, True),
    Mode("FULLNAT", "-b", "192.0.2.2", True, False),
    Mode("TUN", "-i", "192.0.2.3", False, True),
    Mode("DR", "-g", "192.0.2.4", False, True),
]


def run(*command: str, check: bool = True, timeout: float = 60, **options):
    """Runs a command; with check, a failure shows what it printed."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


class Lab:
    """One lab, from `up` to `down`."""

    def __init__(self, prefix: str, shape: Shape):
        self.prefix = prefix
        self.shape = shape
        self.state = Path("/run/pointsman-lab") / prefix
        self.socket = str(self.state / "control.sock")
        facts = run(str(LAB / "net.sh"), "facts", shape.topology).stdout
        self.facts = dict(line.split("=", 1) for line in facts.splitlines())
        self.rs = self.facts["RS"].split()
        self.locals = self.facts["LOCALS"].split()

    def up(self) -> None:
        try:
            self.script("net.sh", "up", self.shape.topology, self.prefix)
            self.script("servers.sh", "up", self.prefix)
            self.start()
            self.script("director.sh", "address", self.prefix)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        self.script("net.sh", "down", self.prefix)

    def start(self) -> None:
        shape = self.shape
        counts = (str(shape.workers), str(shape.queues), str(shape.capacity))
        self.script("director.sh", "start", self.prefix, *counts)

    def stop(self, signal: str = "TERM") -> None:
        self.script("director.sh", "stop", self.prefix, signal)

    def script(self, name: str, *arguments: str) -> None:
        environment = {
            **os.environ,
            "BIG_MB": str(self.shape.big_mb),
            "LOCAL_PORTS": self.shape.local_ports,
        }
        with open("/dev/null", "rb") as nothing:
            run(str(LAB / name), *arguments, env=environment, stdin=nothing)

    def inside(self, role: str, *command: str, **options):
        """Runs a command in the namespace of `client`, `director`, `router` or `rsN`."""
        return run(*self.enter(role), *command, **options)

    def enter(self, role: str) -> list[str]:
        return ["ip", "netns", "exec", f"{self.prefix}-{role}"]

    def ctl(self, line: str, check: bool = True):
        """Sends one line of ipvsadm arguments; returns the finished process."""
        command = (POINTSMAN, "ctl", "--socket", self.socket, *line.split())
        return run(*command, check=check, timeout=5)

    def service(self, mode: Mode, port: int = 80, *, protocol: str = "-t", scheduler: str = "rr",
                server_port: int | None = None, weights: tuple[int, ...] = (1, 1, 1)) -> None:
        """Adds a service with one server per weight, all in one mode."""
        name = f"{protocol} {mode.vip}:{port}"
        self.ctl(f"-A {name} -s {scheduler}")
        if mode.option == "-b":
            for address in self.locals:
                self.ctl(f"-P {name} -z {address}")
        for address, weight in zip(self.rs, weights):
            target = f"{address}:{server_port or port}"
            self.ctl(f"-a {name} -r {target} {mode.option} -w {weight}")

    def client_for(self, mode: Mode) -> str:
        """Address of a client that the mode can serve here.

        In one arm the servers share the near clients' segment; NAT replies to those would not
        pass the director, so NAT is asked from beyond the router, as with any NAT balancer.
        """
        if self.shape.topology == "one-arm" and mode.name == "NAT":
            return self.facts["FAR_CLIENT"]
        return self.facts["CLIENT"]

    def fetch(self, client: str, url: str, count: int, parallel: int = 1) -> list[Answer]:
        """Fetches a page `count` times, each over a connection of its own."""
        parallelism = ["-Z", "--parallel-max", str(parallel)] if parallel > 1 else []
        done = self.inside("client", "curl", "-sS", "--fail", "--max-time", "20", *parallelism,
                           "--interface", client, f"{url}?[1-{count}]")
        answers = [Answer(*line.split()) for line in done.stdout.splitlines()]
        assert len(answers) == count
        return answers

    def fetch_from_all(self, clients: list[str], url: str, each: int) -> list[Answer]:
        """Fetches a page `each` times from every client, 50 at a time in one curl."""
        section = 'url = "{}?[1-{}]"\ninterface = "{}"\nsilent\nshow-error\nfail\nmax-time = 20\n'
        config = "next\n".join(section.format(url, each, client) for client in clients)
        done = self.inside("client", "curl", "-Z", "--parallel-max", "50", "-K", "-", input=config)
        answers = [Answer(*line.split()) for line in done.stdout.splitlines()]
        assert len(answers) == each * len(clients)
        return answers

    def curl_status(self, client: str, url: str, seconds: float = 2) -> int:
        """Exit status of one attempt: 0, 7 refused, 28 no answer in time."""
        return self.inside("client", "curl", "-s", "-o", "/dev/null", "--max-time", str(seconds),
                           "--interface", client, url, check=False).returncode

    def echo(self, client: str, address: str, port: int, count: int = 1, sources: int = 1):
        """Asks the UDP echo `count` times from each of `sources` sockets."""
        done = self.inside("client", "python3", str(LAB / "tests/udp_client.py"), client, address,
                           str(port), str(count), str(sources))
        return json.loads(done.stdout)

    def connections(self, service: str) -> int:
        """Connections of a service since it was added, from `-L -n --stats`."""
        for line in self.ctl("-L -n --stats").stdout.splitlines():
            words = line.split()
            if words[:2] == service.split():
                return int(words[2])
        raise AssertionError(f"no service {service} in the listing")

    def drops(self) -> Counter:
        """Frames dropped so far, by reason."""
        rows = re.findall(r"^\s*([a-z][a-z0-9_]+)\s+(\d+)\b", self.ctl("--drops").stdout, re.M)
        return Counter({reason: int(count) for reason, count in rows})

    def neighbour(self, address: str) -> str:
        """MAC address by which the client reaches an address of its segment."""
        shown = run("ip", "-n", f"{self.prefix}-client", "-j", "neigh", "show", "to", address)
        return json.loads(shown.stdout)[0]["lladdr"]

    @contextmanager
    def capture(self, role: str, interface: str, expression: str):
        """Captures while the body runs; yields the file, complete after the body."""
        file = self.state / f"capture-{role}.pcap"
        file.unlink(missing_ok=True)
        command = ["tcpdump", "-n", "-U", "--immediate-mode", "-i", interface, "-w", str(file),
                   "-Z", "root", expression]
        with subprocess.Popen(self.enter(role) + command, stderr=subprocess.PIPE,
                              text=True) as process:
            assert any("listening on" in line for line in process.stderr), "tcpdump ended"
            try:
                yield file
            finally:
                process.terminate()


def bad_checksums(file: Path) -> list[str]:
    """Frames whose IPv4, TCP, UDP or ICMP checksum is wrong, one line each."""
    headers = ("ip", "tcp", "udp", "icmp")
    switches = [f"{header}.check_checksum:TRUE" for header in headers if header != "icmp"]
    wanted = " || ".join(f'{header}.checksum.status == "Bad"' for header in headers)
    options = [word for switch in switches for word in ("-o", switch)]
    return run("tshark", "-n", "-r", str(file), *options, "-Y", wanted).stdout.splitlines()


def addresses_in(file: Path) -> set[str]:
    """Every IPv4 address that outer headers in a capture name."""
    fields = ["-T", "fields", "-E", "occurrence=f", "-e", "ip.src", "-e", "ip.dst"]
    return set(run("tshark", "-n", "-r", str(file), *fields).stdout.split())


def spread(answers: list[Answer]) -> Counter:
    """How many answers each server gave."""
    return Counter(answer.server for answer in answers)
