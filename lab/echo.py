#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""UDP echo: answers NAME PEER:PORT and the payload, from the address that was asked.

A socket bound to every address would answer a request to a VIP from the server's own address;
IP_PKTINFO names the address the request came to, and the reply leaves from it.
"""

import socket
import struct
import sys

IP_PKTINFO = 8
PKTINFO = struct.Struct("=I4s4s")


def serve(name: str, port: int) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.bind(("0.0.0.0", port))
    while True:
        payload, control, _, peer = sock.recvmsg(65535, socket.CMSG_SPACE(PKTINFO.size))
        _, _, asked = PKTINFO.unpack(control[0][2])
        reply = f"{name} {peer[0]}:{peer[1]} ".encode() + payload
        source = PKTINFO.pack(0, asked, bytes(4))
        sock.sendmsg([reply], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, peer)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: echo.py NAME PORT")
    serve(sys.argv[1], int(sys.argv[2]))
