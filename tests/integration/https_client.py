#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An HTTPS client that sends exactly what it is told to.

usage: https_client.py PORT PKI NAME

Each line of standard input is a JSON object, one connection serves them all:
  {"send": TEXT}                 send, then read one reply
  {"send": TEXT, "drip_ms": N}   the same, a byte every N ms, until the server closes
  {"connect": true}              only open the connection
Each answer is one line: {"status": N, "headers": {...}, "body": TEXT}, {"connected": true} or
{"closed": true, "sent": BYTES}.
"""
import json
import select
import socket
import ssl
import sys

DEADLINE_S = 20


class Client:
    def __init__(self, port, pki, name):
        context = ssl.create_default_context(cafile=f"{pki}/ca.pem")
        context.load_cert_chain(f"{pki}/{name}.pem", f"{pki}/{name}.key")
        self.context = context
        self.port = port
        self.socket = None
        self.received = b""

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = self.context.wrap_socket(plain, server_hostname="127.0.0.1")

    def more(self):
        part = self.socket.recv(65536)
        if not part:
            raise EOFError
        self.received += part

    def reply(self):
        while b"\r\n\r\n" not in self.received:
            self.more()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", "0"))
        while len(self.received) < length:
            self.more()
        body, self.received = self.received[:length], self.received[length:]
        return {"status": int(lines[0].split()[1]), "headers": headers, "body": body.decode()}

    def obey(self, order):
        if self.socket is None:
            self.connect()
        if order.get("connect"):
            return {"connected": True}
        data = order["send"].encode("latin-1")
        sent = 0
        try:
            if "drip_ms" in order:
                for sent in range(1, len(data) + 1):
                    self.socket.send(data[sent - 1 : sent])
                    if select.select([self.socket], [], [], order["drip_ms"] / 1000)[0]:
                        self.more()
            else:
                self.socket.sendall(data)
                sent = len(data)
            return self.reply()
        except (EOFError, OSError):
            return {"closed": True, "sent": sent}


def main():
    client = Client(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    for line in sys.stdin:
        try:
            answer = client.obey(json.loads(line))
        except OSError as error:
            answer = {"closed": True, "error": str(error)}
        print(json.dumps(answer), flush=True)


main()
