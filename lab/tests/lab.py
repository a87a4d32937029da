# SPDX-License-Identifier: MIT OR Apache-2.0
"""A lab as the tests see it: namespaces to run commands in, a director to talk to."""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hashing
from ledger import Ledger

LAB = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", LAB.parent / "target"))
POINTSMAN = os.environ.get("POINTSMAN", str(TARGET / "debug/pointsman"))
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
    hugepages: str = "off"
    big_mb: int = 100
    rss: tuple[str, ...] = ()
    owner: str = "hash"
    family: int = 4
    lan_mtu: int = 1500
    jumbo: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f"{self.topology}-{self.workers}w-{self.queues}q"
        if self.rss:
            name = "-".join((name, *self.rss, self.owner))
        if self.lan_mtu != 1500:
            name += f"-mtu{self.lan_mtu}"
        if self.jumbo:
            name += f"-jumbo-{'-'.join(self.jumbo)}"
        return f"{name}-ipv6" if self.family == 6 else name


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
    """A forwarding mode: its ipvsadm option and the VIP that its services use in a lab."""

    name: str
    option: str
    vip: str

    @property
    def host(self) -> str:
        """The VIP as it stands before a port."""
        return bracketed(self.vip)

    @property
    def translates_ports(self) -> bool:
        return self.name in TRANSLATING

    @property
    def server_sees_client(self) -> bool:
        return self.name != "FULLNAT"


OPTIONS = {"NAT": "-m", "FULLNAT": "-b", "TUN": "-i", "DR": "-g"}
MODES = list(OPTIONS)
TRANSLATING = ["NAT", "FULLNAT"]


def bracketed(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


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
        self.facts = self.facts_of(shape.family)
        self.rs = self.facts["RS"].split()
        self.locals = self.facts["LOCALS"].split()
        self.director_pids: list[int] = []
        self.named_losses: set[str] = set()
        self.lost_before: Counter = Counter()
        # Below the ports that the kernel gives by itself.
        self.next_port = 20_000
        self.ip = "ip6" if shape.family == 6 else "ip"
        self.nat, self.fullnat, self.tun, self.dr = map(self.mode, MODES)

    def facts_of(self, family: int) -> dict[str, str]:
        facts = run(str(LAB / "net.sh"), "facts", self.shape.topology, str(family)).stdout
        return dict(line.split("=", 1) for line in facts.splitlines())

    def servers_of_the_other_family(self) -> list[str]:
        return self.facts_of(4 if self.shape.family == 6 else 6)["RS"].split()

    def mode(self, name: str) -> Mode:
        return Mode(name, OPTIONS[name], self.facts[f"VIP_{name}"])

    def up(self) -> None:
        try:
            self.script("net.sh", "up", self.shape.topology, self.prefix)
            self.script("servers.sh", "up", self.prefix)
            self.start()
            self.script("director.sh", "address", self.prefix)
            self.await_routes()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        self.script("net.sh", "down", self.prefix)

    def start(self) -> None:
        """Starts the director. What it sends before its taps are put to work is lost, and is no
        test's loss."""
        shape = self.shape
        counts = (str(shape.workers), str(shape.queues), str(shape.capacity))
        self.script("director.sh", "start", self.prefix, *counts)
        self.director_pids.append(int((self.state / "director.pid").read_text()))
        for nic, fields in zip(self.facts["NICS"].split(), shape.rss):
            hashing.attach(self.director_pids[-1], f"{nic}-nic", fields, self.state)
        self.lost_before = self.ledger().losses()

    def await_routes(self) -> None:
        """Waits until the director has heard of the routes that were made last: a client beyond
        the router is answered."""
        self.service(self.fullnat)
        url = f"http://{self.fullnat.host}/"
        deadline = time.monotonic() + 10
        while self.curl_status(self.facts["FAR_CLIENT"], url, seconds=0.5) != 0:
            assert time.monotonic() < deadline, "a far client is not answered"
        self.ctl("-C")

    def stop(self, by: str = "TERM") -> None:
        self.script("director.sh", "stop", self.prefix, by)

    def hang_up(self, until_logged: str) -> None:
        """Sends SIGHUP and waits for a line in the log."""
        log = self.state / "director.log"
        already = log.read_text().count(until_logged)
        os.kill(self.director_pids[-1], signal.SIGHUP)
        deadline = time.monotonic() + 5
        while log.read_text().count(until_logged) == already:
            assert time.monotonic() < deadline, f"not logged: {until_logged}"
            time.sleep(0.02)

    def await_saved(self, rules: str) -> None:
        """Waits until the rules are in their file, as they are some milliseconds after a change."""
        deadline = time.monotonic() + 5
        while (self.state / "saved.rules").read_text() != rules:
            assert time.monotonic() < deadline, "the rules were not saved"
            time.sleep(0.005)

    def script(self, name: str, *arguments: str) -> None:
        environment = {
            **os.environ,
            "POINTSMAN": POINTSMAN,
            "BIG_MB": str(self.shape.big_mb),
            "LOCAL_PORTS": self.shape.local_ports,
            "HUGEPAGES": self.shape.hugepages,
            "OWNER": self.shape.owner,
            "LAN_MTU": str(self.shape.lan_mtu),
            "JUMBO": " ".join(self.shape.jumbo),
            "RSS": " ".join(self.shape.rss),
            "RSS_KEY": hashing.KEY.hex(),
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
        name = f"{protocol} {mode.host}:{port}"
        self.ctl(f"-A {name} -s {scheduler}")
        if mode.option == "-b":
            for address in self.locals:
                self.ctl(f"-P {name} -z {address}")
        for address, weight in zip(self.rs, weights):
            target = f"{bracketed(address)}:{server_port or port}"
            self.ctl(f"-a {name} -r {target} {mode.option} -w {weight}")

    def client_for(self, mode: Mode) -> str:
        """Address of a client that the mode can serve here.

        In one arm the servers share the near clients' segment; NAT replies to those would not
        pass the director, so NAT is asked from beyond the router, as with any NAT balancer.
        """
        if self.shape.topology == "one-arm" and mode.name == "NAT":
            return self.facts["FAR_CLIENT"]
        return self.facts["CLIENT"]

    def extra_clients(self, count: int) -> list[str]:
        """Gives the client further addresses."""
        self.script("net.sh", "clients", self.prefix, str(count))
        prefix, first = self.facts["CLIENT_EXTRA"], int(self.facts["CLIENT_EXTRA_FIRST"])
        return [f"{prefix}{first + index}" for index in range(count)]

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

    def echo(self, client: str, address: str, port: int, count: int = 1, sources: int = 1,
             size: int = 10):
        """Asks the UDP echo `count` times from each of `sources` sockets, `size` bytes each. No
        port is used twice: the director still knows the connections of earlier tests."""
        first, self.next_port = self.next_port, self.next_port + sources
        numbers = map(str, (port, count, sources, size))
        done = self.inside("client", "python3", str(LAB / "tests/udp_client.py"), client,
                           str(first), address, *numbers)
        return json.loads(done.stdout)

    def stats(self, service: str) -> list[int]:
        """Connections, packets in and out, bytes in and out of a service since it was added."""
        return self.listed(service)[0]

    def server_stats(self, service: str) -> list[list[int]]:
        """The same of each of its servers."""
        return self.listed(service)[1:]

    def listed(self, service: str) -> list[list[int]]:
        """The numbers of a service and then of its servers, from `-L -n --stats`."""
        rows: list[list[int]] = []
        for line in self.ctl("-L -n --stats --exact").stdout.splitlines():
            words = line.split()
            if words[:2] == service.split() or (rows and words[0] == "->"):
                rows.append([int(word) for word in words[2:]])
            elif rows:
                break
        assert rows, f"no service {service} in the listing"
        return rows

    def drops(self) -> Counter:
        """Frames dropped so far, by reason."""
        rows = re.findall(r"^\s*([a-z][a-z0-9_]+)\s+(\d+)\b", self.ctl("--drops").stdout, re.M)
        return Counter({reason: int(count) for reason, count in rows})

    def may_lose(self, *reasons: str) -> None:
        """Names the losses that the present test is about; any other one fails it."""
        self.named_losses.update(reasons)

    def learns_a_tunnels_mtu(self, mode: Mode) -> None:
        """Names what an upload loses to learn that a tunnel takes smaller packets."""
        if mode == self.tun:
            self.may_lose("too_big")

    def ledger(self) -> Ledger:
        """The director's counters now."""
        url = f"http://{self.facts['METRICS']}/metrics"
        return Ledger(self.inside("director", "curl", "-sS", "--max-time", "5", url).stdout)

    def imbalances(self) -> list[str]:
        """What does not add up, once the director had two seconds to come to rest."""
        deadline = time.monotonic() + 2
        while (found := self.ledger().imbalances()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def let_connections_close(self) -> None:
        """Waits until neither side has a FIN under way; gives up after five seconds, since the
        end of a connection whose server was removed is never acknowledged."""
        closing = [word for state in ("fin-wait-1", "closing", "last-ack")
                   for word in ("state", state)]
        deadline = time.monotonic() + 5
        for role in ("client", "rs1", "rs2", "rs3"):
            while (self.inside(role, "ss", "-Htn", *closing).stdout
                   and time.monotonic() < deadline):
                time.sleep(0.02)

    def leftovers(self) -> str:
        """What is there of the lab, and of every director it had."""
        left = run(str(LAB / "net.sh"), "check-clean", self.prefix, check=False).stdout
        for pid in self.director_pids:
            for folder in ("/run/dpdk", "/dev/hugepages", "/dev/shm"):
                left += "".join(f"{path}\n" for path in Path(folder).glob(f"*pointsman-{pid}*"))
        return left

    def neighbour(self, address: str) -> str:
        """MAC address by which the client reaches an address of its segment."""
        shown = run("ip", "-n", f"{self.prefix}-client", "-j", "neigh", "show", "to", address)
        return json.loads(shown.stdout)[0]["lladdr"]

    @contextmanager
    def capture(self, role: str, interface: str, expression: str, name: str = "capture"):
        """Captures while the body runs; yields the file, complete after the body."""
        file = self.state / f"{name}-{role}.pcap"
        file.unlink(missing_ok=True)
        command = ["tcpdump", "-n", "-U", "--immediate-mode", "-i", interface, "-w", str(file),
                   "-Z", "root", expression]
        with subprocess.Popen(self.enter(role) + command, stderr=subprocess.PIPE,
                              text=True) as process:
            assert any("listening on" in line for line in process.stderr), "tcpdump ended"
            try:
                yield file
                # It ends without looking at what waits in its buffer.
                time.sleep(0.2)
            finally:
                process.terminate()


CHECKED = ("ip", "tcp", "udp", "icmp", "icmpv6")


def bad_checksums(file: Path, headers: tuple[str, ...] = CHECKED) -> list[str]:
    """Frames whose IPv4, TCP, UDP or ICMP checksum is wrong, one line each.

    Errors quote the beginning of a packet, and Wireshark takes that for the whole of it: leave
    TCP and UDP out where there are any.

    Where TCP's is 0, Linux may send 0xffff, which is the same number to a receiver but not to
    Wireshark.
    """
    switches = [f"{header}.check_checksum:TRUE" for header in CHECKED[:3]]
    wanted = " || ".join(f'{header}.checksum.status == "Bad"' for header in headers)
    wanted = f"({wanted}) && !(tcp.checksum == 0xffff)"
    options = [word for switch in switches for word in ("-o", switch)]
    return run("tshark", "-n", "-r", str(file), *options, "-Y", wanted).stdout.splitlines()


def fields(file: Path, *names: str, occurrence: str = "a") -> list[list[str]]:
    """Fields of each frame in a capture, as Wireshark names them; `f` is the outermost only."""
    wanted = [word for name in names for word in ("-e", name)]
    options = ["-T", "fields", "-E", f"occurrence={occurrence}", *wanted]
    lines = run("tshark", "-n", "-r", str(file), *options).stdout.splitlines()
    return [line.split("\t") for line in lines]


def addresses_in(file: Path) -> set[str]:
    """Every address that outer headers in a capture name."""
    names = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst")
    rows = fields(file, *names, occurrence="f")
    return {address for row in rows for address in row if address}


def ip_bytes(file: Path) -> list[int]:
    """Length of each IP packet in a capture, in bytes."""
    rows = fields(file, "ip.len", "ipv6.plen", occurrence="f")
    return [int(v4) if v4 else 40 + int(v6) for v4, v6 in rows]


def spread(answers: list[Answer]) -> Counter:
    """How many answers each server gave."""
    return Counter(answer.server for answer in answers)
