#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""UDP echo over both families: answers NAME PEER:PORT and the payload, from the address asked.
With an empty NAME it answers the payload alone.

A socket bound to every address would answer a request to a VIP from the server's own address;
packet information names the address the request came to, and the reply leaves from it.
"""

import select
import socket
import struct
import sys

IP_PKTINFO = 8
PKTINFO = struct.Struct("=I4s4s")
PKTINFO6 = struct.Struct("=16sI")


def open_socket(family: int, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.bind(("", port))
    return sock


def answer(sock: socket.socket, name: str) -> None:
    payload, control, _, peer = sock.recvmsg(65535, socket.CMSG_SPACE(PKTINFO6.size))
    level, kind, asked = control[0]
    if sock.family == socket.AF_INET6:
        address, _ = PKTINFO6.unpack(asked)
        source = PKTINFO6.pack(address, 0)
    else:
        _, _, address = PKTINFO.unpack(asked)
        source = PKTINFO.pack(0, address, bytes(4))
    head = f"{name} {peer[0]}:{peer[1]} " if name else ""
    sock.sendmsg([head.encode(), payload], [(level, kind, source)], 0, peer)


def serve(name: str, port: int) -> None:
    sockets = [open_socket(family, port) for family in (socket.AF_INET, socket.AF_INET6)]
    while True:
        for sock in select.select(sockets, [], [])[0]:
            answer(sock, name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: echo.py NAME PORT")
    serve(sys.argv[1], int(sys.argv[2]))
