#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""recorder.py PKI CA SERVER PORT OUT: stands between clients and an escrowd and writes down every
request and its answer, in lines for check_answers.py.

It has the keys of both sides: SERVER names escrowd's certificate in the folder PKI, and towards
escrowd it uses the certificate there that the client has shown. Bytes pass unchanged. Says
{"port": N} when it listens, {"passed": TARGET} when escrowd has a request; ends by its signal."""
import glob
import json
import os
import socket
import ssl
import sys
import threading

WAIT_S = 90  # more than the longest poll


class Broken(Exception):
    """The other side ended the connection."""


class Stream:
    """Cuts messages out of a connection."""

    def __init__(self, connection):
        self.connection = connection
        self.bytes = b""

    def _more(self):
        try:
            chunk = self.connection.recv(65536)
        except OSError:
            chunk = b""
        if not chunk:
            raise Broken
        self.bytes += chunk

    def _take(self, count):
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def message(self, has_body=True):
        """First line, headers by lower-case name, body, and all of it as it came."""
        while b"\r\n\r\n" not in self.bytes:
            self._more()
        head = self._take(self.bytes.index(b"\r\n\r\n") + 4)
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0)) if has_body else 0
        while len(self.bytes) < length:
            self._more()
        body = self._take(length)
        return first, headers, body, head + body


class Recorder:
    def __init__(self, folder, ca_file, server, port, out):
        self.port = int(port)
        self.ca_file = ca_file
        self.out = open(out, "a", encoding="utf-8", buffering=1)
        self.lock = threading.Lock()
        self.clients = {}
        for path in glob.glob(os.path.join(folder, "*.pem")):
            with open(path, encoding="ascii") as file:
                text = file.read()
            end = "-----END CERTIFICATE-----"
            leaf = text[: text.index(end) + len(end)] if end in text else None
            if leaf:
                self.clients[ssl.PEM_cert_to_DER_cert(leaf)] = path
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.minimum_version = ssl.TLSVersion.TLSv1_3
        self.server.load_cert_chain(
            os.path.join(folder, server + ".pem"), os.path.join(folder, server + ".key")
        )
        self.server.load_verify_locations(ca_file)
        self.server.verify_mode = ssl.CERT_REQUIRED

    def connect(self, certificate):
        path = self.clients[certificate]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.ca_file)
        context.load_cert_chain(path, path[: -len(".pem")] + ".key")
        connection = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(connection)

    def write(self, request, answer):
        method, path, _ = request[0].split(" ")
        line = {
            "method": method,
            "path": path,
            "status": int(answer[0].split(" ")[1]),
            "content_type": answer[1].get("content-type"),
            "headers": answer[1],
            "body": answer[2].decode(),
        }
        if request[2]:
            line["request"] = request[2].decode("utf-8", "replace")
        with self.lock:
            self.out.write(json.dumps(line) + "\n")

    def serve(self, accepted):
        try:
            accepted.settimeout(WAIT_S)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.server.wrap_socket(accepted, server_side=True) as near:
                with self.connect(near.getpeercert(binary_form=True)) as far:
                    self.exchange(near, far)
        except (Broken, OSError):
            pass  # a client may go away at any time

    def exchange(self, near, far):
        client, escrowd = Stream(near), Stream(far)
        while True:
            request = client.message()
            far.sendall(request[3])
            print(json.dumps({"passed": request[0].split(" ")[1]}), flush=True)
            answer = escrowd.message(has_body=not request[0].startswith("HEAD "))
            self.write(request, answer)
            near.sendall(answer[3])
            if answer[1].get("connection") == "close":
                return

    def run(self):
        listener = socket.create_server(("127.0.0.1", 0))
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        while True:
            accepted, _ = listener.accept()
            threading.Thread(target=self.serve, args=(accepted,), daemon=True).start()


if __name__ == "__main__":
    Recorder(*sys.argv[1:]).run()
