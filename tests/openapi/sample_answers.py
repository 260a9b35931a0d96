#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""sample_answers.py: answers as an escrowd would give them, made by hand, for check_answers.py: each
path, each status, a line each."""
import base64
import json

NAME = "000b" + "5a" * 32
OTHER = "000b" + "c3" * 32
SHA256 = "7e" * 32
TIME = "2026-02-28T23:59:59.999Z"


def encode(count):
    return base64.urlsafe_b64encode(bytes(count)).rstrip(b"=").decode()


POINT = {"x": encode(32), "y": encode(32)}
BLOB = {"key": encode(16), "duplicate": encode(300), "seed": encode(70)}
SUBJECT = {"group": "AG1", "database": "SSISDB"}


def jws(header, payload):
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (dict(header, alg="ES256", kid=NAME), payload)
    ]
    return ".".join(parts + [encode(64)])


def act(kind, **payload):
    header = {"typ": "escrow-act", "act": kind, "aud": OTHER, "nonce": encode(32)}
    return jws(header, dict(payload, v=1))


def answer(kind, **payload):
    header = {"typ": "escrow-answer", "answer": kind, "aud": OTHER, "nonce": encode(32)}
    return {"answer": jws(header, dict(payload, v=1))}


def roster():
    key = {"identity": "spiffe://example.net/admin/ada", "role": "admin", "key": POINT}
    agent = {"identity": "spiffe://example.net/agent/sql1", "role": "agent", "key": POINT}
    payload = {
        "v": 1,
        "version": 3,
        "authority": POINT,
        "recovery": POINT,
        "members": [
            {
                "label": "e1",
                "storage": encode(120),
                "answer": POINT,
                "audit": encode(120),
                "counter": NAME,
                "ek": "none",
            }
        ],
        "keys": [
            dict(key, groups=["*"], instances=[]),
            dict(agent, groups=["AG1"], instances=["SQL1"]),
        ],
    }
    return jws({"typ": "escrow-roster"}, payload)


def acts():
    signed = [{"name": NAME, "signature": encode(64)}]
    approval = {"v": 1, "group": "AG1", "counter": NAME, "epoch": 1, "signature": encode(64)}
    pcrs = {"selection": 128, "digest": encode(32)}
    return {
        "deposit": act(
            "deposit",
            purpose="deposit",
            version=1,
            state="active",
            public=encode(82),
            payload=encode(656),
            blobs=[dict(BLOB, to=NAME), dict(BLOB, to=OTHER)],
            **SUBJECT,
        ),
        "release": act(
            "release",
            purpose="promote",
            replica="SQL1",
            order=None,
            recipient=POINT,
            objects=signed,
            **SUBJECT,
        ),
        "receipt": act(
            "receipt",
            purpose="promote",
            replica="SQL1",
            grant=7,
            outcome="opened",
            object=NAME,
            sql_error=0,
            detail="",
            **SUBJECT,
        ),
        "order": act("order", purpose="drill", expires_in=3600, **SUBJECT),
        "approve": act("approve", purpose="promote", request=9, objects=signed, **SUBJECT),
        "rebaseline": act("rebaseline", purpose="rebaseline", replica="SQL1", **SUBJECT),
        "publish": act(
            "publish",
            purpose="publish",
            roster=roster(),
            approvals=[
                dict(approval, kind="host", pcrs=pcrs),
                dict(approval, kind="node", act_keys=[NAME]),
            ],
        ),
    }


def record(event, **members):
    names = (
        "act actor certificate database decision detail epoch facts grant group key objects order"
        " purpose reason replica roster rules versions tpm_clock reset_count"
    ).split()
    whole = dict.fromkeys(names)
    whole.update(auth="none", event=event, previous=SHA256, sequence=2, time=TIME, rules=SHA256, v=1)
    whole.update(members)
    return json.dumps(whole, sort_keys=True, separators=(",", ":")) + "\n"


def facts():
    age = {"primary_ago_ms": 10, "silent_for_ms": None, "dead_for_ms": 0}
    state = dict.fromkeys(
        "cluster_type role operational_state recovery_health synchronization_health"
        " synchronization_state database_state".split(),
        1,
    )
    state.update(outcome="answered", is_read_write=True, is_forwarder=False, quorum_state=None)
    state.update(server_name={"hex": "ff01"}, primary_replica="SQL1")
    state.update(sequence_number="-12", recovery_lsn=None)
    replica = {"status": "answered", "answered_ms": 4, "state": state, "history": None}
    failure = {"outcome": "refused", "sql_error": 0, "diagnosis": "connection refused"}
    history = dict(age, last_role=2, was_synchronised=True)
    verdict = {"outcome": "allow", "reason": "promotion", "kind": "promotion", "mints_epoch": True}
    verdict.update(witnesses=2, witnesses_needed=2, is_by_silence=False)
    rules = ("candidate", "session", "rival", "witnesses", "promotion", "brake")
    passed = [{"rule": rule, "result": "passed", "reason": None} for rule in rules]
    asked = {"purpose": "promote", "database": "SSISDB", "replica": "SQL1", "is_order_valid": False}
    asked["approval"] = {"count": 2, "epoch": 2, "rules": ["rival", "brake"]}
    group = {
        "cluster_type": "wsfc",
        "databases": ["SSISDB"],
        "replicas": [{"instance": "SQL1", "server_name": "SQL-1"}, {"instance": "SQL2", "server_name": "SQL-2"}],
        "witnesses": "count",
        "witness_count": 2,
        "rival_wait_ms": 300,
        "dead_for_ms": 5000,
        "window_ms": 86400000,
        "retries": 5,
        "brake": 6,
        "approvals": 2,
        "on_restart": "approval",
    }
    grant = {"state": "unsettled", "replica": "SQL2", "requests": 1, "age_ms": 7}
    ledger = {"primary": "SQL2", "epoch": 1, "origin": "baseline", "epoch_age_ms": 5000}
    return {
        "evidence": {
            "v": 1,
            "rules": group,
            "request": asked,
            "facts": {
                "elapsed_ms": 5,
                "session": "found",
                "replicas": [
                    dict(replica, instance="SQL1"),
                    dict(replica, instance="SQL2", state=failure, history=history),
                    dict(replica, instance="SQL3", status="silent", answered_ms=None, state=None),
                ],
            },
            "ledger": {
                "record": ledger,
                "grant": grant,
                "hints": {"recovery_lsn": "37", "sequence_number": None},
                "releases_last_hour": 0,
            },
        },
        "verdict": dict(verdict, rules=passed),
    }


def explained():
    decided = facts()
    request = dict(decided["evidence"]["request"], approval=None)
    verdict = dict(decided["verdict"], outcome="wait", reason="rival_primary")
    return {
        **SUBJECT,
        "rules": SHA256,
        "evidence": dict(decided["evidence"], request=request),
        "decisions": [{"request": request, "verdict": verdict}],
    }


def records():
    signed = acts()
    who = {
        "auth": "act",
        "actor": "spiffe://example.net/agent/sql1",
        "certificate": SHA256,
        "key": NAME,
        **SUBJECT,
    }
    hints = {"recovery_lsn": "37000000001600001", "sequence_number": None}
    receipt = {"outcome": "opened", "object": NAME, "sql_error": 0, "text": "", "settles": False}
    proof = {"receipt": 8, "opens": "no", "sql_error": 15581, "asked": 3}
    yield record("start", detail={"version": "0.1.0", "member": "e1"}, tpm_clock=5, reset_count=1)
    yield record("epoch", detail={"origin": "baseline", "hints": {"SSISDB": hints}}, epoch=1)
    yield record("publish", act=signed["publish"], purpose="publish", roster=3)
    yield record(
        "deposit",
        act=signed["deposit"],
        purpose="deposit",
        objects=[NAME],
        versions=[1],
        detail={"state": "active"},
        **who,
    )
    yield record("order", act=signed["order"], order="ab" * 12, detail={"expires_ms": 1}, **who)
    yield record(
        "release",
        act=signed["release"],
        decision="allow",
        reason="promotion",
        epoch=2,
        facts=facts(),
        replica="SQL1",
        objects=[NAME],
        versions=[1],
        detail={"kind": "promotion", "mints_epoch": True, "hints": hints, "request": None},
        **who,
    )
    yield record("receipt", act=signed["receipt"], grant=7, replica="SQL1", detail=receipt, **who)
    yield record("receipt", act=signed["receipt"], grant=7, replica="SQL1", **who,
                 detail={name: value for name, value in receipt.items() if name != "settles"})
    told = {"grant": 7, "epoch": 2, "replica": "SQL1", "purpose": "promote", **SUBJECT}
    yield record("settle", reason="grant_disproved", detail=proof, **told)
    silent = {"receipt": None, "opens": None, "sql_error": 0, "asked": 0}
    yield record("settle", reason="receipt_missing", detail=silent, **told)
    primary = {"epoch": 2, "replica": "SQL1", "group": SUBJECT["group"]}
    yield record("alert", reason="membership_differs", **primary,
                 detail={"added": ["SQL4"], "missing": ["SQL3"]})
    yield record("alert", reason="master_key_closed", **primary, database=SUBJECT["database"],
                 detail={"sql_error": 15581})
    yield record("unfinished", grant=7, epoch=2, reason="tpm_refused", **who)
    yield record("refusal", act=signed["approve"], decision="deny", reason="nonce_invalid", **who)
    yield record("unproved", reason="key_unknown", detail={"count": 4})
    yield record("repeated", decision="deny", reason="session_not_found", epoch=2, replica="SQL1",
                 purpose="promote", detail={"count": 1200, "record": 8}, **who)
    yield record("log_torn", detail={"segment": "00000001.jsonl", "bytes": 17})
    yield record("approve", act=signed["approve"], replica="SQL1", detail={"request": 9}, **who)
    yield record(
        "rebaseline",
        act=signed["rebaseline"],
        purpose="rebaseline",
        decision="allow",
        reason="rebaselined",
        epoch=3,
        facts=facts(),
        replica="SQL1",
        detail={"origin": "baseline", "hints": {"SSISDB": hints}},
        **who,
    )
    for reason in ("request_expired", "master_key_opens"):
        yield record("expired", reason=reason, replica="SQL1", detail={"request": 9}, **who)
    yield record(
        "release",
        act=signed["release"],
        decision="needs_approval",
        reason="rival_primary",
        epoch=2,
        facts=facts(),
        replica="SQL1",
        objects=[NAME],
        versions=[1],
        detail={
            "kind": "promotion",
            "mints_epoch": True,
            "hints": None,
            "request": {"recipient": POINT, "rules": ["rival"], "expires_ms": 7},
        },
        **who,
    )
    yield record("log_back", detail={"error": "No space left on device"})
    yield record("shutdown")


def pending():
    return dict(
        SUBJECT,
        request=9,
        replica="SQL1",
        actor="spiffe://example.net/agent/sql1",
        purpose="promote",
        reason="brake",
        rules=["brake"],
        time=TIME,
        expires=TIME,
        approvals=1,
        approvals_needed=2,
        not_primary_since=TIME,
        not_heard_since=None,
    )


def status():
    return {
        "member": "e1",
        "key": NAME,
        "ready": False,
        "reasons": ["tpm_unavailable"],
        "trouble": None,
        "roster": 3,
        "rules": SHA256,
        "log": {"sequence": 12, "hash": SHA256, "time": TIME},
        "tls": {
            "loaded": TIME,
            "certificate": {
                "identity": "spiffe://corp.example/escrowd/e1",
                "serial": "01ff",
                "not_before": TIME,
                "not_after": TIME,
            },
            "authorities": [
                {"subject": "CN=escrow CA", "serial": "02", "not_before": TIME, "not_after": TIME}
            ],
            "lists": [{"issuer": "CN=escrow CA", "this_update": TIME, "next_update": TIME}],
        },
        "versions": 1,
        "unimported": 0,
        "unsettled": 1,
        "requests": [pending()],
        "groups": [
            dict(
                SUBJECT,
                primary="SQL1",
                epoch=2,
                master_key="closed",
                membership={"added": ["SQLD"], "missing": []},
                replicas=[
                    {
                        "instance": "SQL1",
                        "outcome": "answered",
                        "role": "primary",
                        "diagnosis": "",
                        "ago_ms": 20,
                    },
                    {
                        "instance": "SQL2",
                        "outcome": None,
                        "role": None,
                        "diagnosis": "",
                        "ago_ms": None,
                    },
                ],
            )
        ],
        "warnings": [
            {"check": "groups", "reason": "master_key_closed", "detail": "1 databases"},
        ],
    }


def say(method, path, status_code, body, request=None, headers=None, kind="application/json"):
    line = {
        "method": method,
        "path": path,
        "status": status_code,
        "content_type": kind,
        "body": body if isinstance(body, str) else json.dumps(body),
        "headers": headers or {},
    }
    if request is not None:
        line["request"] = json.dumps(request)
    print(json.dumps(line))


def problem(method, path, status_code, code, headers=None):
    body = {
        "type": f"urn:escrowd:problem:{code}",
        "title": "Why.",
        "status": status_code,
        "code": code,
        "detail": "More of it.",
    }
    say(method, path, status_code, body, None, headers, "application/problem+json")


def main():
    signed = acts()
    objects = [{"name": NAME, "version": 1, "state": "active", "public": encode(82)}]
    asked = {"v": 1, "act": "release", "purpose": "promote", "key": NAME, **SUBJECT}
    challenge = {"expires_in": 60, "member": OTHER, "roster": 3, "next_version": 2}
    later = {"retry-after": "1"}

    say("GET", "/v1/health", 200, {"ready": True, "reasons": []})
    say("GET", "/v1/health", 503, {"ready": False, "reasons": ["no_roster"]}, None, later)
    say("GET", "/v1/roster", 200, {"roster": roster()})
    say(
        "POST",
        "/v1/challenge",
        200,
        answer("challenge", act="release", objects=objects, **challenge, **SUBJECT),
        asked,
    )
    say(
        "POST",
        "/v1/challenge",
        200,
        answer("challenge", act="publish", objects=[], group=None, database=None, **challenge),
        {"v": 1, "act": "publish", "purpose": "publish", "group": "", "database": "", "key": NAME},
    )
    say(
        "POST",
        "/v1/deposit",
        200,
        answer("durable", sequence=3, version=1, object=NAME, state="active", **SUBJECT),
        {"act": signed["deposit"]},
    )
    say(
        "POST",
        "/v1/release",
        200,
        answer(
            "grant",
            sequence=7,
            epoch=2,
            reason="promotion",
            replica="SQL1",
            objects=[dict(objects[0], payload=encode(656), **BLOB)],
            **SUBJECT,
        ),
        {"act": signed["release"]},
    )
    say("POST", "/v1/release", 202, {"request": 9, "reason": "rival_primary"})
    noted = answer("noted", sequence=8, reason="none")
    say("POST", "/v1/receipt", 200, noted, {"act": signed["receipt"]})
    say("POST", "/v1/orders", 200, noted, {"act": signed["order"]})
    say("POST", "/v1/publish", 200, noted, {"act": signed["publish"]})
    say("POST", "/v1/approve", 200, noted, {"act": signed["approve"]})
    say("POST", "/v1/rebaseline", 200, noted, {"act": signed["rebaseline"]})
    asked_for = dict(pending(), state="pending", act=signed["release"])
    say("GET", "/v1/requests?number=9", 200, asked_for)
    say("GET", "/v1/requests?number=9&wait=5", 200, dict(asked_for, state="closed", act=None))
    order = dict(SUBJECT, order="ab" * 12, purpose="rotate", expires=TIME)
    say("GET", "/v1/orders?wait=30", 200, {"orders": [order]})
    version = {"version": 1, "state": "active", "object": NAME, "sequence": 3, "time": TIME}
    secret = dict(SUBJECT, versions=[dict(version, imported=True)])
    say("GET", "/v1/secrets", 200, {"secrets": [secret]})
    say("GET", "/v1/status", 200, status())
    say("GET", "/v1/explain?target=1", 200, explained())
    say("GET", "/v1/audit?from=1", 200, "".join(records()), kind="application/x-ndjson")

    problem("GET", "/v1/orders?wait=61", 400, "malformed")
    problem("GET", "/v1/status", 403, "identity_unknown")
    problem("POST", "/v1/release", 404, "secret_unknown")
    problem("GET", "/v1/nothing", 404, "no_such_path")
    problem("PUT", "/v1/orders", 405, "method_not_allowed", {"allow": "GET, POST"})
    problem("POST", "/v1/deposit", 409, "version_mismatch")
    problem("POST", "/v1/receipt", 413, "too_large")
    problem("POST", "/v1/publish", 422, "roster_invalid")
    problem("GET", "/v1/secrets", 500, "internal")
    problem("GET", "/v1/roster", 503, "role_down", later)
    problem("GET", "/v1/health", 503, "role_down", later)
    problem("GET", "/v1/health", 413, "too_large", {"connection": "close"})
    problem("BREW", "/v1/health", 400, "malformed", {"connection": "close"})


if __name__ == "__main__":
    main()
