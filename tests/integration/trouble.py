#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every trouble that a SQL Server can make, at every step of a promotion, with what must hold.

    trouble.py CHAIN singles|echo|pairs COUNT SEED    COUNT cases drawn by SEED, "all" of them, "2/6"
                                                      the second sixth, or by number: "#93,64"

CHAIN is the folder of a chain (lib/chain.bash) that runs three replicas with agents; for echo and
pairs its policy has "echo: true", and every secondary can be read. A case sets the rules of its troubles, has one replica promoted, lets the trouble do its worst, takes it away where
it lasts, and then looks from outside: see check(). One line for each case that went wrong, and at
the end one line of JSON with the counts. Exit status 1 if any case went wrong.
"""

import glob
import itertools
import json
import os
import random
import re
import select
import socket
import sys
import time

NODES = ["SQL1", "SQL2", "SQL3"]
HIT_S = 4  # a trouble is met by then, if it is met at all
SURVEY_S = 9  # and by then, where escrowd's survey of the primaries meets it
LINE_S = 30  # and somebody has said so by then: a prober that hangs is killed after 8 s
OPEN_S = 60  # the master key opens again so long after the instance is healthy
AWAIT_S = 20  # and so long later where its worker waits for admins: it asks again by itself then
REFUSED_S = 100  # the same after a refused login, which holds back agent and prober
WORKER_S = 15  # no worker lives longer: worker_deadline, and the time that a busy machine takes

AGENT, PROBER = ["--login", "escrow_agent"], ["--login", "escrow_prober"]

# Where a trouble strikes: whom of the promotion's three replicas, what step, whose, which words of a
# rule choose it. "after" lets that many of the same statement pass.
STEPS = [
    (node, f"{stage} of whoever connects to the {node} replica", "connect", stage, [])
    for node in ("new", "old", "third")
    for stage in ("accept", "prelogin", "tls")
]
STEPS += [("new", "login of the agent", "login", "login", AGENT)]
STEPS += [
    (node, f"login of escrowd's prober at the {node} replica", "login", "login", PROBER)
    for node in ("new", "old", "third")
]
STEPS += [
    ("new", f"agent: {what}", "statement", text, AGENT + ["--after", str(after)])
    for what, text, after in (
        ("the prober polls the role", "SELECT ars.role", 0),
        ("entering the database", "USE [SSISDB]", 0),
        ("the prober asks if the key opens", "SIGNBYCERT", 0),
        ("the worker asks if the key opens", "SIGNBYCERT", 1),
        ("SET CONTEXT_INFO", "SET CONTEXT_INFO", 0),
        ("OPEN MASTER KEY", "OPEN MASTER KEY", 0),
        ("ALTER MASTER KEY", "ALTER MASTER KEY ADD", 0),
        ("CLOSE MASTER KEY", "CLOSE MASTER KEY", 0),
        ("the worker's proof", "SIGNBYCERT", 2),
        ("catalog.startup", "[catalog].[startup]", 0),
    )
]
STEPS += [
    (node, f"escrowd: {what} ({node} replica)", "statement", text, PROBER)
    for node in ("new", "old", "third")
    for what, text in (
        ("state question", "ar.replica_server_name, "),
        ("quorum question", "dm_hadr_cluster"),
    )
]
STEPS += [("new", "escrowd: session question", "statement", "dm_exec_sessions", PROBER)]
# What a primary is asked when all is well, after its promotion.
STEPS += [
    ("new", f"escrowd: {what}", "statement", text, PROBER)
    for what, text in (
        ("the survey asks if the key opens", "SIGNBYCERT"),
        ("the survey asks for the members", "SELECT ar.replica_server_name FROM"),
    )
]

# What is there with "echo: true" alone. Either secondary will do.
ECHO_STEPS = [("new", "agent: the commit of the echo", "statement", "sp_addextendedproperty", AGENT)]
ECHO_STEPS += [
    (node, f"escrowd: the read of the echo ({node} replica)", "statement", "sys.extended_properties", PROBER)
    for node in ("old", "third")
]

# What happens there. The SQL error number that a DBA must be told, where there is one.
CUTS = [["hang"], ["close"], ["reset"]]
LATE = [["slow", "300"], ["drip", "64", "20"]]
TROUBLES = {
    "accept": [(k + ["--at", "accept"], None) for k in CUTS],
    "answered": [
        (k, None) for k in CUTS + LATE + [["garbage", "SEED"], ["hang", "7"], ["close", "7"]]
    ],
    "login": [(["error", n, "14"], n) for n in ("18456", "18401")],
    "statement": [(k + ["--at", "query"], None) for k in CUTS + [["block"]]]
    + [(k + ["--at", "answer"], None) for k in LATE]
    + [
        (k + ["--at", "answer"], None)
        for k in (["garbage", "SEED"], ["hang", "9"], ["close", "9"], ["reset", "0"])
    ]
    + [
        (["error", n, c, "--at", at], n)
        for n, c, at in (
            ("983", "14", "query"),
            ("1205", "13", "query"),
            ("3906", "16", "query"),
            ("596", "21", "answer"),
        )
    ],
}
HARMLESS = {"slow", "drip"}
WORDS = ["SET CONTEXT_INFO", "OPEN MASTER KEY", "ALTER MASTER KEY", "CLOSE MASTER KEY", "catalog.startup"]


class Rule:
    """One trouble at one step, once or until it is taken away."""

    def __init__(self, step, trouble, lasts):
        self.node, self.step, self.kind, where, self.whose = step
        words, self.error = trouble
        self.lasts = lasts
        # Asked when all is well, perhaps seconds after the master key was opened.
        self.is_late = "survey" in self.step
        if self.step.endswith("for the members"):
            self.error = None  # the keeper is told that it failed, not by which number
        # What a worker was about must be in the line; a prober's questions have no name of theirs.
        self.word = next((w for w in WORDS if w in self.step), None)
        self.words = list(words)
        if self.kind == "statement":
            self.words += ["--statement", where]
        elif "--at" not in self.words:
            self.words += ["--at", where]
        self.words += self.whose
        if not lasts:
            # Whoever connects first sees which address answers, by a connection that it drops.
            self.words += ["--count", "2" if where == "accept" else "1"]

    def __str__(self):
        return f"{' '.join(self.words[:2])} at {self.step}, {'until healed' if self.lasts else 'once'}"

    def is_harmless(self):
        """Nothing fails of it: it is late, a prober makes a broken connection anew, once (garbage
        may look to the driver like its end), the question whether the key opens meets an error,
        once, which is a no, and no is right, or the other secondary has the echo as well."""
        is_cut = self.words[0] in ("close", "reset") or self.error == "596"
        is_cut |= self.words[0] == "garbage" and self.kind == "statement"
        is_no = self.error is not None and self.step.endswith("asks if the key opens")
        is_one_of_two = "read of the echo" in self.step
        is_over = (is_cut or is_no) and not self.word and not self.lasts
        return self.words[0] in HARMLESS or is_one_of_two or is_over


def at_steps(steps):
    for step in steps:
        if step[2] == "statement":
            troubles = TROUBLES["statement"]
        elif step[3] == "accept":
            troubles = TROUBLES["accept"]
        else:
            troubles = TROUBLES["answered"] + (TROUBLES["login"] if step[2] == "login" else [])
        for trouble, lasts in itertools.product(troubles, (False, True)):
            yield [Rule(step, trouble, lasts)]


def singles():
    return at_steps(STEPS)


def echo():
    return at_steps(ECHO_STEPS)


def pairs():
    """Two troubles at two steps."""
    for a, b in itertools.combinations([rules[0] for rules in at_steps(STEPS + ECHO_STEPS)], 2):
        if a.step != b.step:
            yield [a, b]


class Simulator:
    def __init__(self, path):
        self.path = path

    def __call__(self, *words, ok=True, timeout=60):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(timeout)
            s.connect(self.path)
            s.sendall(json.dumps(list(words)).encode() + b"\n")
            answer = json.loads(s.makefile().readline())
        if ok and not answer["ok"]:
            raise RuntimeError(f"sqlsim: {words}: {answer['error']}")
        return answer


class Logs:
    """What agents and escrowd have said since the case began."""

    def __init__(self, folder):
        names = ["escrowd"] + [f"agent-{n.lower()}" for n in NODES]
        self.files = [[open(os.path.join(folder, name), "rb"), b""] for name in names]
        self.lines = []

    def begin(self):
        self.read()
        self.lines = []

    def read(self):
        for entry in self.files:
            *whole, entry[1] = (entry[1] + entry[0].read()).split(b"\n")
            self.lines += [line.decode(errors="replace") for line in whole]
        return self.lines

    def wait(self, condition, seconds):
        """Until it holds of the lines; logs have no event to wait for but a look."""
        end = time.monotonic() + seconds
        while not condition(self.read()):
            if time.monotonic() > end:
                return False
            select.select([], [], [], 0.05)
        return True


def children(parents):
    """{pid: (parent, command line, age in seconds)} of the processes that these started."""
    found = {}
    uptime = float(open("/proc/uptime").read().split()[0])
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            stat = open(folder + "/stat").read().rpartition(")")[2].split()
            command = open(folder + "/cmdline").read().replace("\0", " ")
        except OSError:
            continue
        if stat[1] in parents and stat[0] != "Z":
            age = uptime - int(stat[19]) / os.sysconf("SC_CLK_TCK")
            found[int(os.path.basename(folder))] = (stat[1], command, age)
    return found


class Chain:
    def __init__(self, folder):
        self.folder = folder
        self.sim = Simulator(folder + "/run/sqlsim")
        self.logs = Logs(folder + "/log")
        self.parents = json.load(open(folder + "/pids"))
        self.steady = self.roles()
        self.records, self.read = [], {}
        self.audited = len(self.audit())

    def roles(self):
        """Processes that nothing may end: all but probers, which the driver may take with it."""
        own = set(self.parents.values())
        kept = {p for p, (_, c, _) in children(own).items() if re.search("--role (keeper|front)", c)}
        return kept | {int(p) for p in own if os.path.exists(f"/proc/{p}/exe")}

    def audit(self):
        """All records so far; of each file what came since the last time is read."""
        for name in sorted(glob.glob(self.folder + "/audit/*.jsonl")):
            with open(name, "rb") as file:
                file.seek(self.read.get(name, 0))
                whole = file.read().rpartition(b"\n")[0]
            self.read[name] = self.read.get(name, 0) + len(whole) + (1 if whole else 0)
            self.records += [json.loads(line) for line in whole.splitlines()]
        return self.records

    def primary(self):
        return self.sim("state")["primary"]

    def notify(self, node):
        """What `escrow-agent notify` says to the agent; False: nobody takes it."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(f"{self.folder}/run/{node.lower()}/notify")
                return s.recv(1) == b"k"
        except OSError:
            return False


def tells(rule, node):
    """A line that says which instance, that it failed, SQL Server's number, and what comes next."""
    next_step = re.compile(
        r"again|next (attempt|question)|by hand|tried|every \d|asked next|is tried|is started when"
        r"|all the same"
    )

    def holds(line):
        if not re.search(rf"\b{node}\b", line, re.IGNORECASE) or not next_step.search(line):
            return False
        if "opens by itself again" in line or "answers again" in line:
            return False
        if rule.word and rule.word not in line:
            return False
        return rule.error is None or rule.error in line

    return lambda lines: any(holds(line) for line in lines)


class Case:
    def __init__(self, chain, rules, seed):
        self.chain, self.rules, self.seed = chain, rules, seed
        self.wrong = []
        old = chain.primary()
        turn = (NODES.index(old) + 1 + seed % 2) % 3
        new = NODES[turn]
        third = next(n for n in NODES if n not in (old, new))
        self.nodes = {"new": new, "old": old, "third": third}
        self.met = 0

    def prepare(self):
        sim = self.chain.sim
        for rule in self.rules:
            node = self.nodes[rule.node]
            words = [str(self.seed) if w == "SEED" else w for w in rule.words]
            sim("trouble", node, *words)
            # An open connection is cut, so that somebody connects.
            if rule.kind != "statement" and not (rule.node == "new" and rule.whose == AGENT):
                sim("trouble", node, "close", "--at", "query", *PROBER, "--count", "1")

    def hits(self, state):
        """How often each rule has struck; the rules of a node stand in the order of prepare()."""
        state = state["instances"]
        taken = {node: 0 for node in NODES}
        found = []
        for rule in self.rules:
            node = self.nodes[rule.node]
            found.append(state[node]["troubles"][taken[node]]["hits"])
            has_cut = rule.kind != "statement" and not (rule.node == "new" and rule.whose == AGENT)
            taken[node] += 2 if has_cut else 1
        return found

    def suffer(self):
        """Until each trouble has struck and somebody has said so, or it is clear that none will."""
        is_late = any(rule.is_late for rule in self.rules)
        end = time.monotonic() + (SURVEY_S if is_late else HIT_S)
        state = self.chain.sim("state")
        while not all(self.hits(state)) and time.monotonic() < end:
            if not is_late and self.nodes["new"] in state["opens_on"] and self.settled():
                break
            select.select([], [], [], 0.1)
            state = self.chain.sim("state")
        state = self.chain.sim("state")
        struck = [rule for rule, count in zip(self.rules, self.hits(state)) if count]
        self.met = len(struck)
        # Of two troubles one may keep the other one's step from being seen.
        tell = [tells(r, self.nodes[r.node]) for r in struck if not r.is_harmless()]
        if tell and not self.chain.logs.wait(lambda lines: self.is_told(tell, lines), LINE_S):
            self.wrong.append(f"nobody says what happened ({' + '.join(map(str, struck))})")

    def is_told(self, tell, lines):
        """In a log, or where the audit log has what was asked."""
        return any(t(lines) for t in tell) or any(t(facts) for facts in [self.facts()] for t in tell)

    def facts(self):
        """What replicas answered when a release was decided on, or settled, by the audit log."""
        records = self.chain.audit()[self.chain.audited :]
        facts = [r["facts"]["evidence"]["facts"]["replicas"] for r in records if r["event"] == "release"]
        failed = [f for f in itertools.chain(*facts) if '"outcome": "answered"' not in json.dumps(f)]
        settled = [r for r in records if r["event"] == "settle" and r["reason"] != "grant_proved"]
        return [f"{f['instance']} {json.dumps(f)}, asked again" for f in failed] + [
            f"{r['replica']} {json.dumps(r['detail'])}, asked again" for r in settled
        ]

    def settled(self):
        name = f"{self.nodes['new'].lower()}/SSISDB: the master key opens by itself"
        return any(name in line for line in self.chain.logs.read())

    def patience(self):
        """How long it may take until all is well again."""
        lines = self.chain.logs.read()
        refused = re.compile("login_refused|refuses the login|the login was refused|error 18456")
        if any(refused.search(line) for line in lines):
            return REFUSED_S
        return OPEN_S + (AWAIT_S if any("waits for an approval" in line for line in lines) else 0)

    def opens(self, seconds):
        new, timeout = self.nodes["new"], str(seconds * 1000)
        return self.chain.sim("wait", "opens", new, "--timeout", timeout, ok=False, timeout=120)["ok"]

    def heal(self):
        sim, new = self.chain.sim, self.nodes["new"]
        for node in NODES:
            sim("trouble", node, "off")
        begun = time.monotonic()
        seconds = self.patience()
        if seconds != REFUSED_S and not self.chain.notify(new):
            self.wrong.append("the agent does not take a notify")
        is_open = self.opens(seconds)
        # A login that was refused in the case before holds this one back too, which nobody says
        # before a release has been asked for.
        if not is_open and self.patience() > seconds:
            is_open = self.opens(self.patience() - seconds)
            seconds = self.patience()
        if not is_open:
            self.wrong.append(f"the master key of {new} does not open {seconds} s after the healing")
        elif not self.chain.logs.wait(lambda _: self.settled(), seconds):
            self.wrong.append(f"the agent of {new} does not see that the master key opens")
        return time.monotonic() - begun

    def calm(self, lines):
        """Whoever said that an instance cannot be asked has said that it can again."""
        for node in (n.lower() for n in NODES):
            for bad, good in (
                (f"watch: {node} (cannot|does not)", f"watch: {node} answers again"),
                (f"escrow-agent: {node}: the instance cannot", f"escrow-agent: {node}/SSISDB: (not )?primary"),
            ):
                last = {kind: i for i, line in enumerate(lines) for kind in (bad, good) if re.search(kind, line)}
                if last.get(bad, -1) > last.get(good, -1):
                    return False
        return True

    def check(self):
        chain = self.chain
        seconds = self.patience()
        if not chain.logs.wait(self.calm, seconds):
            self.wrong.append(f"a replica is not asked again within {seconds} s")
        new = self.nodes["new"].lower()
        if not chain.steady <= chain.roles():
            self.wrong.append("a process that must live has ended")
            chain.steady = chain.roles()
        records = chain.audit()
        for record in records[chain.audited :]:
            if record["event"] == "release" and record["decision"] == "allow":
                if record["replica"] != new:
                    self.wrong.append(f"released to {record['replica']}, the primary is {new}")
        chain.audited = len(records)
        for pid, (_, command, age) in children(set(chain.parents.values())).items():
            if "--role worker" in command and age > WORKER_S:
                self.wrong.append(f"worker {pid} is {age:.1f} s old")
        for line in chain.logs.lines:
            if "system call that its sandbox" in line or "Sanitizer" in line:
                self.wrong.append(line)

    def run(self):
        self.chain.logs.begin()
        self.prepare()
        self.chain.sim("wait", "secondary", self.nodes["new"])
        self.chain.sim("failover", self.nodes["new"])
        self.chain.sim("wait", "primary", self.nodes["new"])
        self.suffer()
        seconds = self.heal()
        self.check()
        return seconds


def sample(kind, count, seed):
    cases = list({"singles": singles, "echo": echo, "pairs": pairs}[kind]())
    total = len(cases)
    order = list(range(total))
    if count.startswith("#"):
        order = [int(n) for n in count[1:].split(",")]
    elif "/" in count:
        part, parts = map(int, count.split("/"))
        order = order[part - 1 :: parts]
    elif count != "all":
        order = random.Random(seed).sample(order, min(int(count), total))
    return [(i, cases[i]) for i in order], total


def main():
    folder, kind, count, seed = sys.argv[1:5]
    cases, total = sample(kind, count, int(seed))
    chain = Chain(folder)
    failures, met, slowest, begun = 0, 0, 0.0, time.monotonic()
    for number, rules in cases:
        case = Case(chain, rules, int(seed) + number)
        at = time.monotonic()
        healed = case.run()
        met += case.met
        slowest = max(slowest, healed)
        text = f"{kind} {number}: {' + '.join(map(str, rules))}"
        if os.environ.get("TROUBLE_VERBOSE"):
            print(f"{time.monotonic() - at:5.1f} s, healed {healed:4.1f} s, met {case.met}: {text}")
            sys.stdout.flush()
        if case.wrong:
            failures += 1
            print(f"WRONG {text} (promoted {case.nodes['new']}): {'; '.join(case.wrong)}")
            for line in chain.logs.lines[-40:]:
                print("      " + line)
            sys.stdout.flush()
    print(
        json.dumps(
            {
                "kind": kind,
                "cases": len(cases),
                "of": total,
                "seed": int(seed),
                "troubles_met": met,
                "wrong": failures,
                "slowest_healing_s": round(slowest, 1),
                "seconds": round(time.monotonic() - begun),
            }
        )
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
