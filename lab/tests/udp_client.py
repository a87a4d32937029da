# SPDX-License-Identifier: MIT OR Apache-2.0
"""Asks a UDP echo from several sockets; prints what came back as JSON, null for no answer.

usage: udp_client.py SOURCE FIRST ADDRESS PORT COUNT SOCKETS BYTES; requests are as long as BYTES
says, and the sockets have ports from FIRST on.
"""

import errno
import json
import socket
import sys


def open_socket(source: tuple[str, int], target: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(source)
    sock.connect(target)
    sock.settimeout(1)
    return sock


def ask(sock: socket.socket, count: int, size: int) -> list[dict | None]:
    return [exchange(sock, f"request {number} ".ljust(size, "~")) for number in range(count)]


def exchange(sock: socket.socket, payload: str) -> dict | None:
    try:
        sock.send(payload.encode())
        server, peer, echoed = sock.recv(65535).decode().split(" ", 2)
    except TimeoutError:
        return None
    except ConnectionRefusedError:
        return {"refused": True}
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return {"too_long": True}
    return {
        "server": server,
        "peer": peer,
        "own": "%s:%d" % sock.getsockname()[:2],
        "intact": echoed == payload,
    }


if __name__ == "__main__":
    source, first, address, port, count, sockets, size = sys.argv[1:]
    target = (address, int(port))
    ports = range(int(first), int(first) + int(sockets))
    opened = [open_socket((source, own), target) for own in ports]
    json.dump([ask(sock, int(count), int(size)) for sock in opened], sys.stdout)
