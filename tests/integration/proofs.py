#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Proofs for others.bats: what cannot be seen in an answer or with one shell command.

usage: proofs.py created TRACE FOLDER
           TRACE is of `strace -f -y -e trace=%file,%desc,umask`. Every file below FOLDER that holds
           a secret was made with mode 0600 by its open() and never had another. Prints their names.
       proofs.py secrets CHAIN
           No secret of the chain stands in a log line or audit record, in any of the encodings that
           somebody might have written it in. Prints how many were looked for, and where.
       proofs.py nodelay PID...
           Every TCP connection of these processes has TCP_NODELAY. Prints how many there are.

Exit status 1, and what is wrong, where the proof fails."""
import base64
import ctypes
import os
import re
import socket
import sys

from cryptography.hazmat.primitives import serialization

SYS_PIDFD_GETFD = 438
# Secrets that are no PEM key.
SECRET_NAMES = (".auth", "sql-agent", "sql-prober", "password")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def files(folder):
    for parent, _, names in os.walk(folder):
        for entry in names:
            path = os.path.join(parent, entry)
            if os.path.isfile(path):
                yield path


def is_secret(path):
    return path.endswith(SECRET_NAMES) or b"PRIVATE KEY" in read(path)


# ---- created ----


def modes_of(trace):
    """{path: set of modes that it ever had}, of files that were made while the trace was taken."""
    modes = {}
    umask = 0
    with open(trace, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if match := re.search(r"\bumask\((0[0-7]*)", line):
                umask = int(match[1], 8)
            elif match := re.search(r"\bopen(?:at)?\(.*O_CREAT.*, (0[0-7]*)\) = \d+<(.*)>$", line):
                modes.setdefault(match[2], set()).add(int(match[1], 8) & ~umask)
            elif match := re.search(r'\bfchmod\(\d+<(.*)>, (0[0-7]*)\) = 0', line):
                modes.setdefault(match[1], set()).add(int(match[2], 8))
            elif match := re.search(r'\b(?:f?chmodat|chmod)\(.*"(.*)", (0[0-7]*).*\) = 0', line):
                modes.setdefault(os.path.abspath(match[1]), set()).add(int(match[2], 8))
            elif match := re.search(r'\brename(?:at2?)?\(.*?"(.*?)", .*?"(.*?)".*\) = 0', line):
                old, new = (os.path.abspath(path) for path in match.groups())
                modes[new] = modes.pop(old, set())
    return modes


def created(trace, folder):
    modes = modes_of(trace)
    for path in sorted(filter(is_secret, files(folder))):
        had = modes.get(os.path.abspath(path))
        if not had:
            yield f"{path}: nobody was seen making it"
        elif had != {0o600}:
            yield f"{path}: had the modes {sorted(map(oct, had))}"
        else:
            print(os.path.relpath(path, folder))


# ---- secrets ----


def spellings(secret):
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        # Wherever it stands in a longer text that was encoded as a whole.
        for before in range(3):
            text = encode(bytes(before) + secret)
            yield text[4 if before else 0 : -4]
    if secret.isascii():
        yield secret.decode().encode("utf-16-le")


def secrets_of(path):
    data = read(path)
    if b"PRIVATE KEY" not in data:
        yield data.strip() if data.strip().isalnum() else data
        return
    key = serialization.load_pem_private_key(data, None)
    yield key.private_numbers().private_value.to_bytes(32, "big")
    yield max(data.split(b"\n"), key=len)  # a line of the file itself


def secrets(chain):
    places = [p for p in files(chain) if p.endswith(".jsonl") or f"{chain}/log/" in p]
    texts = {place: read(place) for place in places}
    count = 0
    for path in filter(is_secret, files(chain)):
        if path in texts:
            continue
        for secret in secrets_of(path):
            count += 1
            if len(secret) < 12:
                yield f"{path}: too short to be looked for"
            for spelling in spellings(secret):
                for place, text in texts.items():
                    if spelling in text:
                        yield f"{path}: stands in {place}"
    print(f"{count} secrets, {len(places)} files, {sum(map(len, texts.values()))} bytes")


# ---- nodelay ----


def sockets_of(pid):
    """Copies of a process's TCP connections."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    for entry in os.listdir(f"/proc/{pid}/fd"):
        if not os.readlink(f"/proc/{pid}/fd/{entry}").startswith("socket:"):
            continue
        fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, int(entry), 0)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        copy = socket.socket(fileno=fd)
        if copy.family != socket.AF_UNIX and not copy.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            yield copy
        else:
            copy.close()
    os.close(pidfd)


def nodelay(*pids):
    count = 0
    for pid in map(int, pids):
        for connection in sockets_of(pid):
            count += 1
            if not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY):
                yield f"{pid}: a connection without TCP_NODELAY: {connection.getpeername()}"
    print(f"{count} connections")


def main():
    proof = {"created": created, "secrets": secrets, "nodelay": nodelay}[sys.argv[1]]
    faults = list(proof(*sys.argv[2:]))
    print("\n".join(faults), end="")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
