#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Posts one act that was tampered with, and says what escrowd answered.

usage: forge.py CHAIN PORT TRICK

CHAIN is the folder of lib/chain.bash with its certificates and keys. Each trick begins with a
challenge and a right act (the admin orders a drill, or the agent of sql1 asks for a promotion) and
changes one thing. Afterwards the admin makes a right one. Prints both answers: "STATUS CODE, then
200".
"""
import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import ssl
import sys
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, padding, utils

# The order of P-256's group.
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SUBJECT = {"group": "ssis", "database": "SSISDB"}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point(key):
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")


def name(key, head):
    """The TPM Name of a key whose public area begins with head."""
    x, y = point(key)
    return b"\x00\x0b" + hashlib.sha256(head + b"\x00\x20" + x + b"\x00\x20" + y).digest()


# TPMT_PUBLIC up to the point: type, nameAlg, attributes, authPolicy, symmetric, scheme, curve, kdf.
SIGNS = bytes.fromhex("0023000b00040000000000100018000b00030010")
RECEIVES = bytes.fromhex("0023000b0003004000000006008000430010000300100000")[:-2]


def raw_signature(key, data):
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Client:
    """A person or agent of the chain: certificate, act key, one connection."""

    def __init__(self, chain, port, who):
        context = ssl.create_default_context(cafile=f"{chain}/ca/ca.pem")
        context.check_hostname = False
        context.load_cert_chain(f"{chain}/pki/{who}.pem", f"{chain}/pki/{who}.key")
        self.connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=20, context=context
        )
        with open(f"{chain}/keys/{who.replace('agent-', '')}.act", "rb") as file:
            self.key = serialization.load_pem_private_key(file.read(), None)
        self.kid = name(self.key, SIGNS).hex()

    def post(self, path, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request("POST", path, data, {"Content-Type": "application/json"})
        reply = self.connection.getresponse()
        return reply.status, json.loads(reply.read())

    def challenge(self, act, purpose):
        body = {"v": 1, "act": act, "purpose": purpose, "key": self.kid, **SUBJECT}
        status, reply = self.post("/v1/challenge", body)
        if status != 200:
            sys.exit(f"no challenge: {status} {reply}")
        header, payload, _ = reply["answer"].split(".")
        return json.loads(unb64(header)), json.loads(unb64(payload))


class Act:
    """A right act, of which a trick changes what it wants; texts are made when they are asked for."""

    def __init__(self, client, kind, purpose):
        header, self.challenge = client.challenge(kind, purpose)
        self.key = client.key
        self.header = {
            "act": kind,
            "alg": "ES256",
            "aud": self.challenge["member"],
            "kid": client.kid,
            "nonce": header["nonce"],
            "typ": "escrow-act",
        }
        self.payload = {"v": 1, "purpose": purpose, **SUBJECT}
        self.header_text = self.payload_text = None
        self.signature = None

    def input(self):
        header = self.header_text or json.dumps(self.header).encode()
        payload = self.payload_text or json.dumps(self.payload).encode()
        return f"{b64(header)}.{b64(payload)}"

    def compact(self):
        text = self.input()
        signature = self.signature
        if signature is None:
            signature = raw_signature(self.key, text.encode())
        return f"{text}.{b64(signature)}"

    def body(self):
        return {"act": self.compact()}


def order(client):
    act = Act(client, "order", "drill")
    act.payload["expires_in"] = 600
    return act


def object_signature(key, recipient, object_name):
    """What the TPM demands: over the parameters of TPM2_Duplicate, see openapi.yaml."""
    cp_hash = hashlib.sha256(
        bytes.fromhex("0000014b")
        + bytes.fromhex(object_name)
        + name(recipient, RECEIVES)
        + bytes.fromhex("0000000600800043")
    ).digest()
    return raw_signature(key, bytes(4) + cp_hash)


def to(recipient, key, names):
    """The members of a release that name recipient and objects."""
    x, y = point(recipient)
    return {
        "recipient": {"x": b64(x), "y": b64(y)},
        "objects": [
            {"name": entry, "signature": b64(object_signature(key, recipient, entry))}
            for entry in names
        ],
    }


def release(client):
    act = Act(client, "release", "promote")
    recipient = ec.generate_private_key(ec.SECP256R1())
    names = [entry["name"] for entry in act.challenge["objects"][:1]]
    act.payload.update(replica="sql1", order=None, **to(recipient, client.key, names))
    return act


# ---- tricks on an order: each changes act, or returns another body ----

ORDER = {}
RELEASE = {}


def trick(table):
    def enter(function):
        table[function.__name__.replace("_", "-")] = function
        return function

    return enter


def header_trick(title, **members):
    """A header with these members, rightly signed."""
    ORDER[title] = lambda act: act.header.update(members)


def payload_trick(title, old, new):
    """A payload with a text replaced, rightly signed."""

    def change(act):
        act.payload_text = json.dumps(act.payload).encode().replace(old, new)
        if new not in act.payload_text:
            sys.exit("the trick changed nothing")

    ORDER[title] = change


def signature_trick(title, make):
    """Another signature: make(r, s) gives its bytes."""

    def change(act):
        right = raw_signature(act.key, act.input().encode())
        act.signature = make(int.from_bytes(right[:32], "big"), int.from_bytes(right[32:], "big"))

    ORDER[title] = change


def text_trick(title, change):
    """Another compact text."""
    ORDER[title] = lambda act: {"act": change(act.compact())}


def pair(r, s):
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


ORDER["right"] = RELEASE["right-release"] = lambda act: None

header_trick("crit", crit=["exp"], exp=1)
header_trick("b64-false", b64=False, crit=["b64"])
header_trick("jwk", jwk={"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})
header_trick("jku", jku="https://127.0.0.1/keys")
header_trick("x5c", x5c=["MIIB"])
header_trick("es384", alg="ES384")
header_trick("typ", typ="JWT")
header_trick("unknown-key", kid="000b" + "00" * 32)
header_trick("aud", aud="000b" + "00" * 32)
header_trick("nonce-foreign", nonce=b64(bytes(32)))
header_trick("nonce-short", nonce=b64(bytes(16)))
header_trick("nonce-empty", nonce="")
header_trick("header-long", aud="a" * 2000)

signature_trick("signature-zero", lambda r, s: bytes(64))
signature_trick("r-zero", lambda r, s: pair(0, s))
signature_trick("s-zero", lambda r, s: pair(r, 0))
signature_trick("r-order", lambda r, s: pair(N, s))
signature_trick("s-order", lambda r, s: pair(r, N))
signature_trick("signature-ones", lambda r, s: b"\xff" * 64)
signature_trick("signature-short", lambda r, s: pair(r, s)[:63])
signature_trick("signature-long", lambda r, s: pair(r, s) + b"\x00")
signature_trick("signature-der", utils.encode_dss_signature)
signature_trick("signature-empty", lambda r, s: b"")
signature_trick("high-s", lambda r, s: pair(r, max(s, N - s)))
signature_trick("low-s", lambda r, s: pair(r, min(s, N - s)))

text_trick("padding", lambda text: text + "==")
text_trick("trailing-bytes", lambda text: text + "AAAA")
text_trick("trailing-newline", lambda text: text + "\n")
text_trick("leading-space", lambda text: " " + text)
text_trick("inner-space", lambda text: text.replace(".", " .", 1))
text_trick("four-parts", lambda text: text + "." + text.split(".")[2])
text_trick("two-parts", lambda text: text.rsplit(".", 1)[0])
text_trick("detached", lambda text: "{0}..{2}".format(*text.split(".")))
text_trick("nul", lambda text: text + "\x00")
text_trick("very-long", lambda text: text + "A" * 40000)

payload_trick("number-huge", b"600", b"6" + b"0" * 400)
payload_trick("number-exponent", b"600", b"6e2")
payload_trick("number-infinite", b"600", b"1e999")
payload_trick("number-negative", b"600", b"-600")
payload_trick("number-over-64-bits", b"600", b"18446744073709552216")
payload_trick("deep", b"600", b"[" * 4000 + b"]" * 4000)
payload_trick("duplicate-member", b'"expires_in"', b'"expires_in": 1, "expires_in"')
payload_trick("unknown-member", b'"expires_in"', b'"more": 1, "expires_in"')
payload_trick("invalid-utf-8", b'"SSISDB"', b'"SSIS\xff"')
payload_trick("overlong-utf-8", b'"SSISDB"', b'"\xc1\x93SISDB"')
payload_trick("lone-surrogate", b'"SSISDB"', b'"\\ud800SISDB"')
payload_trick("nul-in-string", b'"SSISDB"', b'"SSISDB\\u0000"')
payload_trick("long-string", b'"SSISDB"', b'"' + b"S" * 10000 + b'"')
payload_trick("trailing-json", b"600}", b"600}{}")
payload_trick("byte-order-mark", b'{"v"', b'\xef\xbb\xbf{"v"')


@trick(ORDER)
def alg_none(act):
    act.header["alg"] = "none"
    act.signature = b""


@trick(ORDER)
def alg_none_capitals(act):
    act.header["alg"] = "nOnE"
    act.signature = b""


@trick(ORDER)
def hs256_by_the_public_key(act):
    act.header["alg"] = "HS256"
    public = act.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    act.signature = hmac.new(public, act.input().encode(), hashlib.sha256).digest()


@trick(ORDER)
def rs256(act):
    act.header["alg"] = "RS256"
    key = rsa.generate_private_key(65537, 2048)
    act.signature = key.sign(act.input().encode(), padding.PKCS1v15(), hashes.SHA256())


@trick(ORDER)
def signed_by_another_key(act):
    act.key = ec.generate_private_key(ec.SECP256R1())


@trick(ORDER)
def duplicate_header_member(act):
    act.header_text = json.dumps(act.header).encode()[:-1] + b', "alg": "ES256"}'


@trick(ORDER)
def payload_changed_after_signing(act):
    act.signature = raw_signature(act.key, act.input().encode())
    act.payload["expires_in"] = 6000


@trick(ORDER)
def spare_bits(act):
    """The last character of 64 bytes has four bits that say nothing."""
    text = act.compact()
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return {"act": text[:-1] + digits[digits.index(text[-1]) + 1]}


@trick(ORDER)
def json_flattened(act):
    header, payload, signature = act.compact().split(".")
    return {"act": {"payload": payload, "protected": header, "signature": signature}}


@trick(ORDER)
def json_general(act):
    header, payload, signature = act.compact().split(".")
    entry = {"protected": header, "header": {"kid": "x"}, "signature": signature}
    return {"act": json.dumps({"payload": payload, "signatures": [entry]})}


@trick(ORDER)
def unprotected_header(act):
    return {**act.body(), "header": {"alg": "none"}}


@trick(ORDER)
def body_deep(_act):
    return b'{"act":' * 4000 + b"1" + b"}" * 4000


@trick(ORDER)
def body_invalid_utf_8(_act):
    return b'{"act": "\xff"}'


@trick(ORDER)
def body_duplicate_act(act):
    text = json.dumps(act.compact()).encode()
    return b'{"act": ' + text + b', "act": ' + text + b"}"


# ---- tricks on a release ----


@trick(RELEASE)
def recipient_changed(act):
    """Another recipient than that of the TPM's signatures; the act itself is rightly signed."""
    x, y = point(ec.generate_private_key(ec.SECP256R1()))
    act.payload["recipient"] = {"x": b64(x), "y": b64(y)}


@trick(RELEASE)
def recipient_not_on_the_curve(act):
    act.payload["recipient"]["y"] = act.payload["recipient"]["x"]


@trick(RELEASE)
def recipient_zero(act):
    act.payload["recipient"] = {"x": b64(bytes(32)), "y": b64(bytes(32))}


@trick(RELEASE)
def object_changed(act):
    """Another object than that of the TPM's signature; the act itself is rightly signed."""
    act.payload["objects"][0]["name"] = "000b" + "11" * 32


@trick(RELEASE)
def object_unknown(act):
    """An object that is none of this secret, with everything rightly signed."""
    recipient = ec.generate_private_key(ec.SECP256R1())
    act.payload.update(to(recipient, act.key, ["000b" + "11" * 32]))


@trick(RELEASE)
def object_twice(act):
    act.payload["objects"] *= 2


@trick(RELEASE)
def objects_none(act):
    act.payload["objects"] = []


@trick(RELEASE)
def replica_of_another(act):
    act.payload["replica"] = "sql2"


# ---- tricks with two clients, or two requests ----


def replayed(chain, port):
    admin = Client(chain, port, "admin")
    body = order(admin).body()
    if admin.post("/v1/orders", body)[0] != 200:
        sys.exit("the first was not taken")
    return admin.post("/v1/orders", body)


def replayed_with_the_other_s(chain, port):
    """ECDSA has two signatures for one: (r, s) and (r, N - s)."""
    admin = Client(chain, port, "admin")
    act = order(admin)
    text = act.input()
    act.signature = raw_signature(act.key, text.encode())
    if admin.post("/v1/orders", act.body())[0] != 200:
        sys.exit("the first was not taken")
    other = pair(
        int.from_bytes(act.signature[:32], "big"), N - int.from_bytes(act.signature[32:], "big")
    )
    return admin.post("/v1/orders", {"act": f"{text}.{b64(other)}"})


def over_another_channel(chain, port):
    body = order(Client(chain, port, "admin")).body()
    return Client(chain, port, "agent-sql2").post("/v1/orders", body)


def nonce_of_another_identity(chain, port):
    admin, agent = Client(chain, port, "admin"), Client(chain, port, "agent-sql1")
    act = order(admin)
    act.header["nonce"] = Act(agent, "release", "promote").header["nonce"]
    return admin.post("/v1/orders", act.body())


def nonce_of_another_act(chain, port):
    admin = Client(chain, port, "admin")
    act = order(admin)
    act.header["nonce"] = Act(admin, "order", "rotate").header["nonce"]
    return admin.post("/v1/orders", act.body())


def wrong_path(chain, port):
    admin = Client(chain, port, "admin")
    return admin.post("/v1/receipt", order(admin).body())


def wrong_role(chain, port):
    agent = Client(chain, port, "agent-sql1")
    return agent.post("/v1/orders", order(agent).body())


def nonces_over_a_restart(chain, port):
    """Many nonces, the keeper is killed, many more; then an act with one of before."""
    nonces = []
    admin = Client(chain, port, "admin")
    act = order(admin)
    for count in range(400):
        if count == 200:
            os.kill(int(os.environ["KEEPER_PID"]), signal.SIGKILL)
            wait_until_served(admin)
        nonces.append(unb64(admin.challenge("order", "drill")[0]["nonce"]))
    # No byte is the same in all of them, and no half stands in two.
    if any(len(set(column)) < 64 for column in zip(*nonces, strict=True)):
        sys.exit("a byte that hardly changes")
    for half in (slice(16), slice(16, 32)):
        if len({nonce[half] for nonce in nonces}) != 400:
            sys.exit("the half of a nonce stands there twice")
    print(f"{len(nonces)} nonces of {set(map(len, nonces))} bytes")
    return admin.post("/v1/orders", act.body())


def nonce_expired(chain, port):
    admin = Client(chain, port, "admin")
    act = order(admin)
    body = act.body()
    time.sleep(act.challenge["expires_in"] + 1)
    return Client(chain, port, "admin").post("/v1/orders", body)


def wait_until_served(client):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        client.connection.request("GET", "/v1/health")
        reply = client.connection.getresponse()
        reply.read()
        if reply.status == 200:
            return
    sys.exit("the keeper does not come back")


TOGETHER = {
    function.__name__.replace("_", "-"): function
    for function in (
        replayed,
        replayed_with_the_other_s,
        over_another_channel,
        nonce_of_another_identity,
        nonce_of_another_act,
        wrong_path,
        wrong_role,
        nonces_over_a_restart,
        nonce_expired,
    )
}


def perform(chain, port, title):
    if title in TOGETHER:
        return TOGETHER[title](chain, port)
    who, make, path, tricks = (
        ("admin", order, "/v1/orders", ORDER)
        if title in ORDER
        else ("agent-sql1", release, "/v1/release", RELEASE)
    )
    client = Client(chain, port, who)
    act = make(client)
    body = tricks[title](act)
    return client.post(path, body or act.body())


def main():
    chain, port, title = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    status, reply = perform(chain, port, title)
    answer = status if status == 200 else f"{status} {reply['code']}"
    print(f"{answer}, then {perform(chain, port, 'right')[0]}")


main()
