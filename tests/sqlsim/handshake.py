#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS inside TDS without a login: handshake.py PORT [SOURCE-ADDRESS] prints the TLS version and the
certificate."""
import socket
import ssl
import struct
import sys

PRELOGIN = 0x12
ENCRYPT_ON = bytes([0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF]) + bytes(6) + b"\x01"


def send(stream, payload):
    stream.sendall(struct.pack(">BBHHBB", PRELOGIN, 1, len(payload) + 8, 0, 0, 0) + payload)


def receive(stream):
    header = stream.recv(8, socket.MSG_WAITALL)
    (length,) = struct.unpack(">H", header[2:4])
    return stream.recv(length - 8, socket.MSG_WAITALL)


def main():
    source = (sys.argv[2], 0) if len(sys.argv) > 2 else None
    stream = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10, source)
    send(stream, ENCRYPT_ON)
    receive(stream)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            send(stream, outgoing.read())
            incoming.write(receive(stream))
    print(tls.version())
    print(ssl.DER_cert_to_PEM_cert(tls.getpeercert(True)), end="")


main()
