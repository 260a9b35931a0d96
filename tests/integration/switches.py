#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Promotions with every value of what SQL Server may do one way or another.

    switches.py CHAIN SQLSIM TEXTS cover|singles PAIRS SEED

CHAIN is the folder of a chain (lib/chain.bash) that runs three replicas with agents. The settings
come from sqlsim's own list (tests/sqlsim/settings.py): `cover`, few cases in which each value
occurs, or `singles`, each value alone; and PAIRS of them, drawn by SEED. Each case has the same
promotions and the same refusal, and must end as with the defaults: see Case. A line for each that
did not, and at the end one line of JSON. Exit status 1 if any did not, if some value of some switch
was never set, or if one of TEXTS (what tests/tools/tsql_texts prints) came to no replica as a plain
batch over TLS, or anything came in another way.
"""
import json
import os
import select
import sys
import time

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path[:0] = [os.path.join(TESTS, "sqlsim"), os.path.join(TESTS, "conformance")]
import settings  # noqa: E402
import test_texts  # noqa: E402
from trouble import NODES, Chain  # noqa: E402

OPEN_S = 60  # the master key of a promoted replica opens by then
SAY_S = 30  # and by then the agent has said why it does not
EXPECTED = ["planned: open", "death: open", "failback: open", "lost service key: said", "restored: open"]


class Case:
    """Three promotions: planned, by a death, and back to the one that died. Then one that must be
    refused: ADD fails, because the service account cannot decrypt the service master key, until it
    can again."""

    def __init__(self, chain):
        self.chain, self.sim, self.logs = chain, chain.sim, chain.logs
        self.outcomes, self.wrong = [], []

    def wait(self, *condition):
        words = [*condition, "--timeout", str(1000 * OPEN_S)]
        return self.sim("wait", *words, ok=False, timeout=2 * OPEN_S)["ok"]

    def other(self):
        """A secondary that is there, each in its turn."""
        primary = self.chain.primary()
        return NODES[(NODES.index(primary) + 1) % len(NODES)]

    def fail_over(self, node):
        """The one that was primary before may still be RESOLVING: demote_ms."""
        if not self.wait("secondary", node):
            self.wrong.append(f"{node} does not become a secondary")
        self.sim("failover", node)

    def settled(self, node):
        """The agent there has seen that the master key opens."""
        line = f"{node.lower()}/SSISDB: the master key opens by itself"
        return self.logs.wait(lambda lines: any(line in text for text in lines), SAY_S)

    def expect_open(self, what, node):
        is_open = self.wait("opens", node) and self.settled(node)
        self.outcomes.append(f"{what}: {'open' if is_open else 'closed'}")
        records = self.chain.audit()
        for record in records[self.chain.audited :]:
            if record["event"] == "release" and record["decision"] == "allow":
                if record["replica"] != node.lower():
                    self.wrong.append(f"released to {record['replica']}, the primary is {node}")
        self.chain.audited = len(records)

    def promote(self, what, node):
        self.logs.begin()
        self.fail_over(node)
        self.expect_open(what, node)

    def die(self):
        """The primary dies and another is promoted; returns the dead one, which is back."""
        old = self.chain.primary()
        end = time.monotonic() + OPEN_S
        self.logs.begin()
        self.sim("kill", "--auto", old)
        while self.chain.primary() in (old, None) and time.monotonic() < end:
            select.select([], [], [], 0.02)
        self.expect_open("death", self.chain.primary() or old)
        self.sim("start", old)
        if not self.wait("secondary", old) or not self.wait("login", old, "escrow_agent"):
            self.wrong.append(f"the agent does not come back to {old}")
        return old

    def be_refused(self):
        node = self.other()
        self.logs.begin()
        self.sim("service-account", node, "lost")
        self.fail_over(node)
        said = self.logs.wait(lambda lines: any(self.says(line, node) for line in lines), SAY_S)
        self.outcomes.append(f"lost service key: {'said' if said else 'not said'}")
        self.sim("service-account", node, "restored")
        if not self.chain.notify(node):
            self.wrong.append("the agent does not take a notify")
        self.expect_open("restored", node)

    def ask_suspended(self):
        """A promotion beside a copy that cannot be read now: escrowd asks whether it ever can."""
        node, primary = self.other(), self.chain.primary()
        third = next(n for n in NODES if n not in (node, primary))
        self.sim("set", f"{third}.suspended", "on")
        self.promote("suspended", node)
        self.sim("set", f"{third}.suspended", "off")
        if self.outcomes != ["suspended: open"]:
            self.wrong.append(f"ends otherwise: {', '.join(self.outcomes)}")

    @staticmethod
    def says(line, node):
        """Which instance, what failed, and SQL Server's number, whatever its text is."""
        return (
            node.lower() in line
            and "ALTER MASTER KEY" in line
            and any(f"{number}" in line for number in (15466, 15581))
        )

    def run(self):
        self.promote("planned", self.other())
        self.promote("failback", self.die())
        self.be_refused()
        for line in self.logs.lines:
            if "system call that its sandbox" in line or "Sanitizer" in line:
                self.wrong.append(line)
        if sorted(self.outcomes) != sorted(EXPECTED):
            self.wrong.append(f"ends otherwise: {', '.join(self.outcomes)}")
        if self.sim("state")["unknown_statements"]:
            self.wrong.append("a statement that the model does not know")


def cases_of(known, kind, pair_count, seed):
    first = settings.cover(known, seed) if kind == "cover" else [{}] + settings.singles(known)
    return first + settings.pairs(known, pair_count, seed)


# Printed for a DBA.
NOT_SENT = {"tsql_grants"}


SURVEY_S = 30  # by then escrowd has asked a primary that has settled for its replicas


def unsent(texts, sent):
    for text in texts:
        if text["function"] in NOT_SENT or text["sample"] not in ("", test_texts.SAMPLE):
            continue
        open_key = text["text"].replace("N'SSISDB'", "'SSISDB'")
        hashed = "PASSWORD" in text["text"]
        pattern = test_texts.pattern_of(open_key if hashed else text["text"])
        if not any(pattern.fullmatch(entry["statement"]) for entry in sent):
            yield text


def wire_faults(sim, texts):
    """What did not come to the server as it must. The log has a hash in the place of a password."""
    end = time.monotonic() + SURVEY_S
    while True:
        sent = [entry for node in NODES for entry in sim("log", node)["statements"]]
        texts = list(unsent(texts, sent))
        if not texts or time.monotonic() >= end:
            break
        select.select([], [], [], 0.2)
    for way in sorted({(entry["packet"], entry["tls"]) for entry in sent} - {("SQLBatch", True)}):
        yield f"a message came as {way}"
    for text in texts:
        yield f"{text['function']} was never sent"


def main():
    folder, sqlsim, texts, kind, pair_count, seed = sys.argv[1:7]
    known = settings.switches(sqlsim)
    chain, states, failures, begun = Chain(folder), [], 0, time.monotonic()
    defaults = {name: values[0] for name, values in known.items()}
    cases = cases_of(known, kind, int(pair_count), int(seed))
    for setting in cases:
        for name, value in {**defaults, **setting}.items():
            chain.sim("set", name, value)
        states.append(chain.sim("state")["switches"])
        case = Case(chain)
        case.run()
        if case.wrong:
            failures += 1
            print(f"WRONG {json.dumps(setting)}: {'; '.join(case.wrong)}")
            for line in chain.logs.lines[-40:]:
                print("      " + line)
            sys.stdout.flush()
    for name, value in defaults.items():
        chain.sim("set", name, value)
    case = Case(chain)
    case.ask_suspended()
    faults = case.wrong + [f"no case sets {value}" for value in settings.unseen(known, states)]
    faults += wire_faults(chain.sim, test_texts.read_lines(texts))
    for fault in faults:
        print(f"WRONG {fault}")
    report = {"cases": len(cases), "switches": len(known), "wrong": failures, "seed": int(seed)}
    print(json.dumps({**report, "seconds": round(time.monotonic() - begun)}))
    return 1 if failures or faults else 0


if __name__ == "__main__":
    sys.exit(main())
