# SPDX-License-Identifier: MIT OR Apache-2.0
"""Keeps one HTTP connection and fetches /hold over it for each line on standard input.

usage: held_client.py SOURCE ADDRESS; a line says how many seconds to wait. Prints the server's
name, or an empty line for no answer in time. A request without answer is not given up: TCP goes
on sending it, and the next line waits for the answer to it first.
"""

import http.client
import socket
import sys

REQUEST = b"GET /hold HTTP/1.1\r\nHost: held\r\n\r\n"


class Connection:
    def __init__(self, source: str, address: str):
        self.socket = socket.create_connection((address, 80), 5, (source, 0))
        self.unanswered = 0

    def ask(self, seconds: float) -> str:
        self.socket.settimeout(seconds)
        self.socket.sendall(REQUEST)
        self.unanswered += 1
        name = ""
        while self.unanswered:
            name = self.answer()
            if not name:
                break
            self.unanswered -= 1
        return name

    def answer(self) -> str:
        try:
            response = http.client.HTTPResponse(self.socket)
            response.begin()
            return response.read().decode().split()[0]
        except TimeoutError:
            return ""


if __name__ == "__main__":
    connection = Connection(*sys.argv[1:])
    for line in sys.stdin:
        print(connection.ask(float(line)), flush=True)
