#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A peer that is no SQL Server: `http` answers at once, `drip` sends a TDS answer byte by byte.

Prints its port. Serves until it is killed.
"""
import socket
import sys
import threading


def drip(connection):
    never = threading.Event()
    connection.sendall(b"\x04\x01\x02\x00\x00\x00\x01\x00")
    while True:
        connection.sendall(b"\x00")
        never.wait(0.1)


def http(connection):
    connection.recv(64)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def serve(connection):
    with connection:
        try:
            {"drip": drip, "http": http}[sys.argv[1]](connection)
        except OSError:
            pass


with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=(peer,), daemon=True).start()
