#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An escrowd that says what it likes: audit_server.py CERTIFICATE KEY CA FILE.

Answers GET /v1/audit?from=N with all lines of FILE from line N on, GET /v1/NAME with FILE.NAME.
Prints its port.
"""
import http.server
import ssl
import sys
import urllib.parse

CERTIFICATE, KEY, CA, FILE = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        name = url.path.removeprefix("/v1/")
        first = int(urllib.parse.parse_qs(url.query).get("from", ["1"])[0])
        with open(FILE if name == "audit" else f"{FILE}.{name}", "rb") as file:
            body = b"".join(file.readlines()[first - 1:])
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if name == "audit" else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(CERTIFICATE, KEY)
context.load_verify_locations(CA)
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(f"port {server.server_port}", flush=True)
server.serve_forever()
