# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sends frames as they are: one for each line of hexadecimal digits; answers each with a line.

usage: raw_sender.py INTERFACE
"""

import socket
import sys

sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind((sys.argv[1], 0))
for line in sys.stdin:
    sender.send(bytes.fromhex(line))
    print("sent", flush=True)
