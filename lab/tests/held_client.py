# SPDX-License-Identifier: MIT OR Apache-2.0
"""Keeps one HTTP connection and fetches /hold over it for each line on standard input.

usage: held_client.py SOURCE ADDRESS; prints the server's name, or an empty line for no answer.
"""

import http.client
import sys


def main(source: str, address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=2, source_address=(source, 0))
    connection.connect()
    for _ in sys.stdin:
        print(fetch(connection), flush=True)


def fetch(connection: http.client.HTTPConnection) -> str:
    try:
        connection.request("GET", "/hold")
        return connection.getresponse().read().decode().split()[0]
    except (TimeoutError, http.client.CannotSendRequest):
        return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
