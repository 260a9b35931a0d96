#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Knocks at escrowd's door in a way that no client of ours would, and says what came back.

usage: intruder.py CHAIN PORT TRICK

CHAIN is the folder of lib/chain.bash with its CA, certificates and keys. Prints what the trick got
("STATUS CODE", "closed", or "no answer" where there must not be one) and the status that an honest
client gets afterwards: "400 malformed, closed, then 200".
"""
import datetime
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

WAIT_S = 20
DAY = datetime.timedelta(days=1)
NOTHING = "no answer"
HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"


class Door:
    def __init__(self, chain, port):
        self.chain = chain
        self.port = port

    def tcp(self):
        plain = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain

    def context(self, who=None):
        context = ssl.create_default_context(cafile=f"{self.chain}/ca/ca.pem")
        context.check_hostname = False
        if who:
            context.load_cert_chain(f"{self.chain}/pki/{who}.pem", f"{self.chain}/pki/{who}.key")
        return context

    def tls(self, who="admin", context=None):
        return (context or self.context(who)).wrap_socket(self.tcp())

    # ---- certificates that nobody should have ----

    def certificate(self, issuer=None, *, start=-DAY, end=DAY, usage=None, names=None, subject=None,
                    serial=None):
        """A context with a new certificate; issuer is (certificate, key), by default the CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = issuer or self.authority()
        now = datetime.datetime.utcnow()
        names = names or ["spiffe://test/admin"]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")]))
            .issuer_name(issuer[0].subject)
            .public_key(key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(
                x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.CLIENT_AUTH]), False
            )
            .add_extension(
                x509.SubjectAlternativeName([make_name(text) for text in names]), False
            )
        )
        certificate = builder.sign(issuer[1], hashes.SHA256())
        path = f"{self.chain}/run/intruder.pem"
        with open(path, "wb") as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM))
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        context = self.context()
        context.load_cert_chain(path)
        return context

    def authority(self):
        with open(f"{self.chain}/ca/ca.pem", "rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read())
        with open(f"{self.chain}/ca/ca.key", "rb") as file:
            return certificate, serialization.load_pem_private_key(file.read(), None)

    def forged_authority(self):
        """Another CA with our CA's name and serial number."""
        ours = self.authority()[0]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(ours.subject)
            .issuer_name(ours.issuer)
            .public_key(key.public_key())
            .serial_number(ours.serial_number)
            .not_valid_before(ours.not_valid_before)
            .not_valid_after(ours.not_valid_after)
            .add_extension(x509.BasicConstraints(True, None), True)
        )
        return builder.sign(key, hashes.SHA256()), key


def make_name(text):
    if text.startswith("spiffe:"):
        return x509.UniformResourceIdentifier(text)
    return x509.DNSName(text)


def read_reply(stream, has_body=True):
    """One reply: status, code or "", bytes behind it, whether it is the last; None if there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = stream.recv(65536)
        if not part:
            return None
        data += part
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    length = int(headers.get("content-length", "0")) if has_body else 0
    while len(rest) < length:
        rest += stream.recv(65536)
    problem = headers.get("content-type") == "application/problem+json" and length > 0
    code = json.loads(rest[:length])["code"] if problem else ""
    is_last = headers.get("connection") == "close"
    return int(lines[0].split()[1]), code, rest[length:], is_last


def ends(stream):
    """Whether the server ends the connection, and says nothing more."""
    try:
        return stream.recv(65536) == b""
    except (ConnectionError, ssl.SSLError):
        return True


def exchange(stream, data, has_body=True):
    """Sends, and says what came: the status, its code, and whether that was the end."""
    try:
        stream.sendall(data)
        reply = read_reply(stream, has_body)
    except (ConnectionError, ssl.SSLError):
        return NOTHING
    if reply is None:
        return NOTHING
    status, code, rest, is_last = reply
    words = [f"{status} {code}".strip()]
    if rest:
        words.append(f"{len(rest)} bytes more")
    if is_last:
        words.append("closed" if ends(stream) else "not closed")
    return ", ".join(words)


def ask(door, context, request=HEALTH):
    """What a client with this context gets for a request."""
    try:
        with door.tls(context=context) as stream:
            return exchange(stream, request)
    except (ConnectionError, ssl.SSLError):
        return NOTHING


def plain(door, data):
    with door.tcp() as stream:
        return exchange(stream, data)


TRICKS = {}


def trick(function):
    TRICKS[function.__name__.replace("_", "-")] = function
    return function


def context_trick(title, make):
    TRICKS[title] = lambda door: ask(door, make(door))


def plain_trick(title, data):
    """Bytes to the bare port, which is for TLS."""
    TRICKS[title] = lambda door: plain(door, data)


def raw_trick(title, data):
    """Bytes over the channel of the admin."""

    def perform(door):
        with door.tls() as stream:
            return exchange(stream, data)

    TRICKS[title] = perform


# ---- certificates and TLS ----

context_trick("right", lambda door: door.context("admin"))
context_trick("no-certificate", lambda door: door.context())
context_trick("other-authority", lambda door: door.certificate(door.forged_authority()))
context_trick("expired", lambda door: door.certificate(start=-2 * DAY, end=-DAY))
context_trick("not-yet-valid", lambda door: door.certificate(start=DAY, end=2 * DAY))
context_trick("two-identities", lambda door: door.certificate(
    names=["spiffe://test/admin", "spiffe://test/auditor"]))
context_trick("identity-in-the-common-name-alone", lambda door: door.certificate(names=["admin"]))
context_trick("for-servers", lambda door: door.certificate(usage=ExtendedKeyUsageOID.SERVER_AUTH))
context_trick("revoked", lambda door: door.context("agent-sql2"))


@trick
def issued_by_a_leaf(door):
    with open(f"{door.chain}/pki/admin.pem", "rb") as file:
        certificate = x509.load_pem_x509_certificate(file.read())
    with open(f"{door.chain}/pki/admin.key", "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    return ask(door, door.certificate((certificate, key)))


@trick
def tls_1_2(door):
    context = door.context("admin")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return ask(door, context)


plain_trick("plain-http", HEALTH)
plain_trick("garbage", b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(range(256)) * 4)
plain_trick("hello-over-a-record", b"\x16\x03\x01\xff\xff" + b"\x01\x00\xff\xfb" + bytes(65535))
# 100 records of 16 KB that claim to be one ClientHello of 1.6 MB.
plain_trick("hello-without-end", (b"\x16\x03\x01\x40\x00" + b"\x01\x18\x00\x00" + bytes(16380)) * 100)


def drip(stream, data, each_s=0.05):
    """A byte at a time until the server has had enough; whether it had before the end of data."""
    try:
        for position in range(len(data)):
            stream.sendall(data[position : position + 1])
            time.sleep(each_s)
    except (ConnectionError, ssl.SSLError):
        return "closed"
    return "taken whole"


@trick
def hello_dripped(door):
    with door.tcp() as stream:
        return drip(stream, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))


@trick
def head_dripped(door):
    with door.tls() as stream:
        return drip(stream, HEALTH[:-4] + b"X: " + b"a" * 500)


@trick
def body_dripped(door):
    with door.tls() as stream:
        stream.sendall(post(b"", length=b"4096"))
        return drip(stream, b" " * 500)


# ---- HTTP ----


def post(body, *lines, length=None):
    head = [b"POST /v1/challenge HTTP/1.1", b"Host: x", b"Content-Type: application/json", *lines]
    if length is None and not lines:
        length = str(len(body)).encode()
    if length is not None:
        head.append(b"Content-Length: " + length)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def get(*lines, target=b"/v1/health", first=None):
    head = [first or b"GET " + target + b" HTTP/1.1", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n"


CHUNKED = b"2\r\n{}\r\n0\r\n\r\n"
raw_trick("length-twice", post(b"{}", b"Content-Length: 2", length=b"2"))
raw_trick("length-twice-different", post(b"{}", b"Content-Length: 0", length=b"2"))
raw_trick("length-list", post(b"{}", length=b"2, 2"))
raw_trick("length-signed", post(b"{}", length=b"+2"))
raw_trick("length-hexadecimal", post(b"{}", length=b"0x2"))
raw_trick("length-negative", post(b"{}", length=b"-1"))
raw_trick("length-over-64-bits", post(b"{}", length=b"18446744073709551618"))
raw_trick("length-and-chunks", post(CHUNKED, b"Transfer-Encoding: chunked", length=b"2"))
raw_trick("chunks", post(CHUNKED, b"Transfer-Encoding: chunked"))
raw_trick("chunks-twice", post(CHUNKED, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"))
raw_trick("chunks-obscured", post(CHUNKED, b"Transfer-Encoding: xchunked", length=b"2"))
raw_trick("chunks-of-another-case", post(CHUNKED, b"transfer-encoding:\tChUnKeD"))
raw_trick("chunk-negative", post(b"-2\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"))
raw_trick("chunk-huge", post(b"FFFFFFFFFFFFFFFF\r\n{}", b"Transfer-Encoding: chunked"))
raw_trick("chunk-extension", post(b"2;a=b\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"))
raw_trick("chunk-trailer", post(b"2\r\n{}\r\n0\r\nHost: y\r\n\r\n", b"Transfer-Encoding: chunked"))
raw_trick("identity-encoding", post(b"{}", b"Transfer-Encoding: identity", length=b"2"))
raw_trick("second-request-in-the-body", post(HEALTH, length=b"0"))
raw_trick("second-request-behind-the-body", post(b"{}" + HEALTH, length=b"2"))
raw_trick("second-request-behind-the-head", HEALTH + HEALTH)
raw_trick("body-of-get", get(b"Host: x", b"Content-Length: 2") + b"{}")
raw_trick("folded-line", get(b"Host: x", b"X: a", b" b"))
raw_trick("bare-lf", HEALTH.replace(b"\r\n", b"\n"))
raw_trick("bare-cr", get(b"Host: x", b"X: a\rContent-Length: 5"))
raw_trick("nul", get(b"Host: x", b"X: a\x00b"))
raw_trick("space-before-the-colon", get(b"Host: x", b"Content-Length : 2"))
raw_trick("line-without-a-colon", get(b"Host: x", b"nothing"))
raw_trick("line-without-a-name", get(b"Host: x", b": nothing"))
raw_trick("no-host", get())
raw_trick("host-twice", get(b"Host: x", b"Host: y"))
raw_trick("absolute-form", get(b"Host: x", target=b"https://x/v1/health"))
raw_trick("authority-form", get(b"Host: x", first=b"CONNECT x:443 HTTP/1.1"))
raw_trick("asterisk-form", get(b"Host: x", first=b"OPTIONS * HTTP/1.1"))
raw_trick("http-1-0", get(b"Host: x", first=b"GET /v1/health HTTP/1.0"))
raw_trick("http-0-9", b"GET /v1/health\r\n")
raw_trick("http-2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
raw_trick("unknown-method", get(b"Host: x", first=b"BREW /v1/health HTTP/1.1"))
raw_trick("expectation", post(b"{}", b"Expect: the-unexpected", length=b"2"))
raw_trick("role-that-may-not", get(b"Host: x", target=b"/v1/orders"))
TRICKS["nobody"] = lambda door: status_of(
    door, door.certificate(names=["spiffe://test/nobody"])
)
raw_trick("options", get(b"Host: x", first=b"OPTIONS /v1/health HTTP/1.1"))
raw_trick("trace", get(b"Host: x", first=b"TRACE /v1/health HTTP/1.1"))
raw_trick("head-too-large", get(b"Host: x", b"X: " + b"a" * 9000))
raw_trick("head-without-end", b"GET /v1/health HTTP/1.1\r\n" + b"X: a\r\n" * 4000)
raw_trick("line-without-end", b"GET /" + b"a" * 20000)
raw_trick("headers-too-many", get(b"Host: x", *[b"X: a"] * 70))
raw_trick("body-too-large", post(b" " * 200000))
raw_trick("length-too-large", post(b"", length=b"999999999"))


# ---- known failures of others ----


def every_operation():
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(f"{tests}/../escrowd/openapi.yaml", encoding="utf-8") as file:
        paths = yaml.safe_load(file)["paths"]
    for path, item in paths.items():
        for method in item:
            body = b"{}" if method == "post" else b""
            head = f"{method.upper()} {path} HTTP/1.1\r\nHost: x\r\n"
            if body:
                head += "Content-Type: application/json\r\nContent-Length: 2\r\n"
            yield head.encode() + b"\r\n" + body


@trick
def every_path(door):
    """Each method of each path: without a certificate, with one of another CA, without TLS."""
    other = door.certificate(door.forged_authority())
    tried = 0
    answers = set()
    for request in every_operation():
        if not ask(door, door.context("admin"), request)[:3].isdigit():
            return f"{request} is not answered to anybody"
        answers.add(ask(door, door.context(), request))
        answers.add(ask(door, other, request))
        answers.add(plain(door, request))
        tried += 1
    return f"{tried} operations: {' '.join(sorted(answers))}"


def status_of(door, context):
    return ask(door, context, get(b"Host: x", target=b"/v1/status"))


@trick
def namesakes(door):
    """Certificates with the admin's common name and serial number, and what each may see."""
    with open(f"{door.chain}/pki/admin.pem", "rb") as file:
        admin = x509.load_pem_x509_certificate(file.read())
    same = {"subject": admin.subject, "serial": admin.serial_number}
    name = admin.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    answers = [status_of(door, door.context("admin"))]
    answers.append(status_of(door, door.certificate(door.forged_authority(), **same)))
    answers.append(status_of(door, door.certificate(names=["spiffe://test/nobody"], **same)))
    dns = name[0].value if name else "admin"
    answers.append(status_of(door, door.certificate(names=[dns], **same)))
    return "; ".join(answers)


# ---- many ----


@trick
def head(door):
    """If it had a body, the next reply would begin with that."""
    with door.tls() as stream:
        request = get(b"Host: x", first=b"HEAD /v1/health HTTP/1.1")
        return f"{exchange(stream, request, has_body=False)}, {exchange(stream, HEALTH)}"


@trick
def thousands_of_requests(door):
    with door.tls() as stream:
        answers = {exchange(stream, HEALTH) for _ in range(2000)}
    return " ".join(sorted(answers))


def ask_again(door):
    """As clients do: until there is an answer. The kernel may have no place for a connection, too."""
    deadline = time.monotonic() + 30
    answer = NOTHING
    while answer == NOTHING and time.monotonic() < deadline:
        try:
            answer = ask(door, door.context("admin"))
        except TimeoutError:
            pass
    return answer


@trick
def silence(door):
    """5,000 connections that say nothing, the first 500 of them in the middle of a handshake.

    They end by a reset: of those that the kernel has not let in yet, an orderly end would be sent
    again and again, and they would still come, by hundreds, when the honest client does.
    """
    hello = ssl.MemoryBIO()
    session = door.context().wrap_bio(ssl.MemoryBIO(), hello)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    first = hello.read()
    silent = []
    for count in range(5000):
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        silent.append(stream)
        if count < 500:
            stream.connect(("127.0.0.1", door.port))
            stream.sendall(first)
        else:
            stream.setblocking(False)
            stream.connect_ex(("127.0.0.1", door.port))
    answer = ask_again(door)
    for stream in silent:
        stream.close()
    ask_again(door)
    return answer


@trick
def seventeen_of_one_identity(door):
    streams, answers = [], []
    for _ in range(17):
        # Each asks at once: one that waits for the others may meet its deadline on a busy machine.
        streams.append(door.tls())
        answers.append(exchange(streams[-1], HEALTH))
    first = "closed" if ends(streams[0]) else "open"
    other = ask(door, door.context("auditor"))
    for stream in streams:
        stream.close()
    return f"{answers.count('200')} times 200, the first is {first}, {other} for another"


@trick
def vanishing_pollers(door):
    for _ in range(20):
        stream = door.tls("agent-sql1")
        stream.sendall(HEALTH.replace(b"/v1/health", b"/v1/orders?wait=60"))
        stream.close()
    return "gone"


@trick
def pipelined_behind_a_poll(door):
    with door.tls("agent-sql1") as stream:
        stream.sendall(HEALTH.replace(b"/v1/health", b"/v1/orders?wait=60"))
        stream.settimeout(0.3)
        try:
            return f"not waiting: {stream.recv(1000)}"
        except TimeoutError:
            stream.settimeout(WAIT_S)
        return exchange(stream, HEALTH)


@trick
def revoked_while_connected(door):
    """One connection that makes requests and one that waits for an order."""
    who = "agent-sql3"
    with door.tls(who) as poll, door.tls(who) as live:
        poll.sendall(HEALTH.replace(b"/v1/health", b"/v1/orders?wait=60"))
        answers = [exchange(live, HEALTH)]
        certs = os.path.join(os.path.dirname(__file__), "../../certs/escrow-certs")
        subprocess.run(
            [certs, "revoke", f"{door.chain}/ca", f"{door.chain}/pki/{who}.pem"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        os.kill(int(os.environ["ESCROWD_PID"]), signal.SIGHUP)
        answers.append("waiting " + exchange(poll, b""))
        answers.append(exchange(live, HEALTH))
    return ", ".join(answers)


@trick
def idle(door):
    with door.tls() as stream:
        if exchange(stream, HEALTH) != "200":
            return "not served"
        start = time.monotonic()
        return "closed" if ends(stream) and time.monotonic() - start < WAIT_S / 2 else "open"


def main():
    door = Door(sys.argv[1], int(sys.argv[2]))
    answer = TRICKS[sys.argv[3]](door)
    print(f"{answer}, then {ask(door, door.context('admin'))}")


main()
