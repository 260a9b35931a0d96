#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Failovers while lines between hosts are cut, and what must come of each.

    partitions.py CHAIN NETWORK POLICY CUT...     POLICY: majority, candidate+silence
    partitions.py --cuts NODES                    every single line, and every two lines

CHAIN is the folder of a chain (lib/chain.bash) whose escrowd and nodes are hosts of NETWORK
(lib/network.bash). A CUT names lines, joined by "+". A line is two of escrowd, old (the primary), new
and third, "escrowd-new". Packets vanish; with "=agents" or "=probers" only those of one direction of
asking, with "=refused" whoever asks is refused at once instead, as by a firewall that rejects.

Each cut: escrowd sees a healthy group; the lines are cut, which is shown by connections; sqlsim is told
what the lines no longer carry between nodes; the cluster acts, or a DBA where it has no reason to;
agents ask, that of an old primary that still believes among them; the lines are healed, which is
shown again, and the old primary, which goes on believing, asks again; it learns, and the master key
of the new primary opens in the end. What must come of the asking is worked out from the rules of
escrow-policy(5), in Group.decide, not taken from the program.

One line of JSON for each cut. Exit status 1 if any went wrong.
"""

import ctypes
import errno
import glob
import itertools
import json
import os
import re
import select
import socket
import subprocess
import sys
import time

from trouble import Simulator

PATIENCE_S = 30  # an event that must come has come by then
DEAD_FOR_MS = 3000  # of the policy (lib/partition_chain.bash): longer than anything else here takes
LOST_S = 0.15  # a connection that others have made long ago, and this one has not, is lost
LOST_DEVICE = "02:00:00:00:ff:ff"
CLONE_NEWNET = 0x40000000
SYN_SENT = "02"


def wait(condition, what, seconds=PATIENCE_S):
    """Until it holds; files have no event to wait for but a look."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(what)
        select.select([], [], [], 0.03)


class Network:
    """The hosts and the lines between them: see lib/network.bash."""

    def __init__(self, name, ports):
        self.name, self.ports, self.parties = name, ports, list(ports)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.lost = []  # (from, to, address) that lead nowhere
        self.refused = []  # (from, address) that lead back

    @staticmethod
    def address(party):
        return "192.0.2.100" if party == "escrowd" else f"192.0.2.{party[3:]}"

    def device(self, party, peer):
        return "02:00:00:00:%02x:%02x" % tuple(
            int(self.address(p).rpartition(".")[2]) for p in (party, peer)
        )

    def addresses(self, party, kind):
        """What of a party a cut of that kind makes unreachable."""
        asked, asks = self.address(party), "192.0.2.200"
        if party != "escrowd":
            return [asked]
        return {"agents": [asked], "probers": [asks]}.get(kind, [asked, asks])

    def change(self, changes):
        """Each (party, line for ip)."""
        for party in self.parties:
            lines = [line for changed, line in changes if changed == party]
            if lines:
                command = ["ip", "-n", f"{self.name}-{party}", "-batch", "-"]
                subprocess.run(command, input="\n".join(lines), text=True, check=True)

    def lead(self, source, to, address, device):
        return source, f"neigh replace {address} lladdr {device} dev to-{to} nud permanent"

    def cut(self, lines):
        """Both ways where the line is cut as a whole. What asks in one direction needs packets of
        both: those towards escrowd's address of that direction are enough to silence it."""
        for a, b, kind in lines:
            for source, to in ((a, b), (b, a)):
                if kind in ("agents", "probers") and to != "escrowd":
                    continue
                for address in self.addresses(to, kind):
                    if kind == "refused":
                        self.refused.append((source, address))
                    else:
                        self.lost.append((source, to, address))
        self.change(
            [self.lead(*entry, LOST_DEVICE) for entry in self.lost]
            # Its own host has that address now, and nobody who listens.
            + [(source, f"addr add {address}/32 dev lo") for source, address in self.refused]
        )

    def heal(self):
        self.change(
            [self.lead(s, t, a, self.device(t, s)) for s, t, a in self.lost]
            + [(source, f"addr del {address}/32 dev lo") for source, address in self.refused]
        )
        self.lost, self.refused = [], []

    def socket_at(self, party):
        with open("/proc/self/ns/net") as own, open(f"/run/netns/{self.name}-{party}") as there:
            for place in (there, own):
                if place is own:
                    made = socket.socket()
                if self.libc.setns(place.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
        return made

    def connect(self):
        """Which (from, to) a connection was made over, of all that there are."""
        pairs = {}
        for source, to in itertools.permutations(self.parties, 2):
            made = self.socket_at(source)
            made.setblocking(False)
            error = made.connect_ex((self.address(to), self.ports[to]))
            if error not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
                raise RuntimeError(f"{source} cannot try to reach {to}: {os.strerror(error)}")
            pairs[made.fileno()] = (source, to, made)
        return pairs

    def reached(self, expected):
        """The same, waiting for those that are expected; others have a moment more."""
        pairs, found = self.connect(), set()
        poll = select.poll()
        for number in pairs:
            poll.register(number, select.POLLOUT)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            events = poll.poll(LOST_S * 1000)
            for number, event in events:
                poll.unregister(number)
                if not event & (select.POLLERR | select.POLLHUP):
                    found.add(pairs[number][:2])
            if not events and expected <= found:
                break
        for _, _, made in pairs.values():
            made.close()
        return found

    def show(self, lines):
        """That exactly these lines are cut."""
        lost = set()
        for a, b, kind in lines:
            if kind != "agents":
                lost.add((a, b))
            if kind != "probers":
                lost.add((b, a))
        expected = set(itertools.permutations(self.parties, 2)) - lost
        found = self.reached(expected)
        if found != expected:
            raise RuntimeError(f"not as cut: reached {found - expected}, not {expected - found}")


class Group:
    """What the cluster does under a cut, and what escrowd must say to who asks: by the rules."""

    def __init__(self, policy, nodes, old, lines):
        self.policy, self.nodes, self.old = policy, nodes, old
        self.broken = {frozenset((a, b)) for a, b, _ in lines if "escrowd" not in (a, b)}
        cut = [(b, kind) for a, b, kind in lines if a == "escrowd"]
        self.askers = set(nodes) - {node for node, kind in cut if kind != "probers"}
        self.answering = set(nodes) - {node for node, kind in cut if kind != "agents"}
        self.members = self.cluster()
        others = [node for node in nodes if node != old]
        self.promoted = next(node for node in others if node in self.members)
        self.is_failover = old not in self.members
        self.out = set(nodes) - self.members

    def cluster(self):
        """The nodes that go on together: each reaches each other one, and they are most votes. Two
        nodes have a witness that both reach, whoever gets its vote first. Where the cluster may
        choose, it chooses here what is hardest for escrowd: the old primary is out."""
        votes = 2 - (len(self.nodes) == 2)
        choices = [
            set(choice)
            for size in range(votes, len(self.nodes) + 1)
            for choice in itertools.combinations(self.nodes, size)
            if not any(frozenset(pair) in self.broken for pair in itertools.combinations(choice, 2))
        ]
        return max(choices, key=lambda c: (len(c), self.old not in c, [n in c for n in self.nodes]))

    def names(self, node):
        """Whom it says is the primary. An old primary that is out believes in itself; a secondary
        that is out knows nobody."""
        if node in self.members:
            return self.promoted
        return node if node == self.old else None

    def decide(self, candidate, was_synchronised, ledger_primary):
        """(decision, reason), or None: it cannot ask. was_synchronised: what escrowd saw of the
        candidate when the other replica last said PRIMARY."""
        if candidate not in self.askers:
            return None
        if candidate not in self.answering:
            return "deny", "candidate_unreachable"
        named = [self.names(node) for node in self.answering]
        rivals = [n for n in self.answering if n != candidate and self.names(n) == n]
        reason = "promotion"
        if named.count(candidate) < 2:  # the majority of three, and of two
            if self.policy == "majority" or rivals or set(named) - {candidate, None}:
                return "deny", "witnesses_missing"
            if not was_synchronised:
                return "deny", "silence_unproven"
            reason = "candidate_silence"
        if rivals:
            return "needs_approval", "rival_primary"
        if ledger_primary == candidate:
            return "needs_approval", "restart"
        return "allow", reason


class Lines:
    """The whole lines of a file that grows, from where it ended when this was made."""

    def __init__(self, path, is_whole=False):
        self.file, self.rest, self.lines = open(path, "rb"), b"", []
        if not is_whole:
            self.file.seek(0, os.SEEK_END)

    def read(self):
        *whole, self.rest = (self.rest + self.file.read()).split(b"\n")
        self.lines += [line.decode(errors="replace") for line in whole]
        return self.lines


class Chain:
    def __init__(self, folder, network, policy):
        self.folder, self.policy = folder, policy
        self.sim = Simulator(folder + "/run/sqlsim")
        self.parents = json.load(open(folder + "/pids"))
        self.nodes = sorted(name for name in self.parents if name != "escrowd")
        ports = {n: self.sim("state")["instances"][n.upper()]["port"] for n in self.nodes}
        listening = re.findall(r'"ready": true.*', open(folder + "/log/escrowd").read())[-1]
        ports["escrowd"] = int(re.search(r'"port": (\d+)', listening).group(1))
        self.network = Network(network, {p: ports[p] for p in ["escrowd"] + self.nodes})
        segment, *others = glob.glob(folder + "/audit/*.jsonl")
        if others:
            raise RuntimeError("the audit log has more than one segment")
        self.log, self.records = Lines(segment, is_whole=True), []
        self.primary = self.sim("state")["primary"].lower()
        # What escrowd saw of each when the other one of two was last PRIMARY; None: either.
        self.was_synchronised = {n: n != self.primary for n in self.nodes}

    def audit(self):
        for line in self.log.read()[len(self.records) :]:
            self.records.append(json.loads(line))
        return self.records

    def notify(self, node):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(f"{self.folder}/run/{node}/notify")
            if s.recv(1) != b"k":
                raise RuntimeError(f"the agent of {node} takes no notify")

    def is_knocking(self, node):
        """Somebody there waits for an answer from escrowd's address to the first packet."""
        there = "".join(reversed(["%02X" % int(n) for n in Network.address("escrowd").split(".")]))
        rows = [line.split() for line in open(f"/proc/{self.parents[node]}/net/tcp")]
        return any(row[2].startswith(there) and row[3] == SYN_SENT for row in rows[1:])

    def asked_by_escrowd(self, node):
        statements = self.sim("log", node.upper())["statements"]
        return sum("dm_hadr_cluster" in row["statement"] for row in statements)

    def calm(self):
        """escrowd has asked every replica twice more, so it knows who is what."""
        counts = {node: self.asked_by_escrowd(node) for node in self.nodes}
        for node, count in counts.items():
            self.sim("wait", "statement", node.upper(), "dm_hadr_cluster", str(count + 2), "--timeout", "30000")


class Scene:
    def __init__(self, chain, cut):
        self.chain, self.cut = chain, cut
        self.old = chain.primary
        others = [node for node in chain.nodes if node != self.old]
        roles = {"escrowd": "escrowd", "old": self.old, "new": others[0], "third": others[-1]}
        self.lines = []
        for text in cut.split("+"):
            ends, _, kind = text.partition("=")
            a, b = (roles[role] for role in ends.split("-"))
            self.lines.append((a, b, kind))
        self.group = Group(chain.policy, chain.nodes, self.old, self.lines)
        self.begun = len(chain.audit())
        self.logs = {node: Lines(f"{chain.folder}/log/agent-{node}") for node in chain.nodes}
        self.wrong = []

    def releases(self, node):
        return [
            (r["decision"], r["reason"])
            for r in self.chain.audit()[self.begun :]
            if r["event"] == "release" and r["replica"] == node
        ]

    def says(self, node, text):
        return any(re.search(text, line) for line in self.logs[node].read())

    def tell_sqlsim(self):
        """What the lines no longer carry, and who is out of the cluster."""
        sim, group = self.chain.sim, self.group
        for node in sorted(group.out):
            sim("partition", "--auto", node.upper(), "cluster")
            for member in sorted(group.members):
                sim("partition", node.upper(), member.upper())
        for pair in group.broken:
            sim("partition", *(node.upper() for node in pair))
        if group.is_failover:
            sim("set", f"{self.old.upper()}.primary_replica", self.old.upper())

    def fail_over(self):
        """The cluster, for which --auto was said, or the DBA by plan."""
        if not self.group.is_failover:
            self.chain.sim("failover", self.group.promoted.upper())
        self.chain.sim("wait", "primary", self.group.promoted.upper())

    def expect(self, node, was_synchronised, ledger_primary):
        """What comes of the asking of this node is what the rules say."""
        expected = self.group.decide(node, was_synchronised, ledger_primary)
        if expected is None:
            wait(
                lambda: self.chain.is_knocking(node) or self.says(node, "does not open: escrowd_unavailable"),
                f"{node} tries to reach escrowd",
            )
            seen = self.releases(node)
        else:
            seen = wait(lambda: self.releases(node), f"a decision about {node}")[:1]
            if expected[0] == "needs_approval":
                wait(lambda: self.says(node, "waits for an approval: request"), f"{node} says that it waits")
        if seen != [expected] * (expected is not None):
            self.wrong.append(f"{node}: {seen}, by the rules {expected}")
        return " ".join(expected) if expected else "cannot ask"

    def believe(self):
        """The old primary's key does not open, so that its agent asks."""
        chain = self.chain
        chain.sim("service-account", self.old.upper(), "lost")
        chain.notify(self.old)
        synchronised = chain.was_synchronised[self.old]
        granted = self.group.decide(self.group.promoted, True, self.old)
        primary = self.group.promoted if granted and granted[0] == "allow" else self.old
        return self.expect(self.old, synchronised, primary)

    def believe_on(self):
        """Everybody is reached again, and nobody has told the old primary yet. What was asked before
        may have its answer now, so what counts is what it comes to."""
        self.group.askers = self.group.answering = set(self.chain.nodes)
        begun = len(self.releases(self.old))
        expected = self.group.decide(self.old, False, self.group.promoted)
        self.chain.notify(self.old)
        wait(lambda: expected in self.releases(self.old)[begun:], f"{self.old}: {expected} after the healing")
        if self.chain.policy != "majority":
            self.chain.calm()  # see remember()
        return " ".join(expected)

    def learn(self):
        """The cluster is whole: the old primary is a secondary, and the new one's key opens."""
        chain, sim, old, new = self.chain, self.chain.sim, self.old, self.group.promoted
        if self.group.is_failover:
            sim("set", f"{old.upper()}.primary_replica", "")
        sim("heal")
        sim("wait", "secondary", old.upper())
        sim("service-account", old.upper(), "restored")
        chain.notify(old)
        chain.notify(new)
        sim("wait", "opens", new.upper(), "--timeout", "30000")
        wait(lambda: self.says(new, "opens by itself"), f"the agent of {new} says that the key opens")

    def remember(self, answering):
        """Who was what when escrowd last heard the other one say PRIMARY."""
        chain, new = self.chain, self.group.promoted
        chain.primary = new
        chain.was_synchronised[self.old] = True
        if self.group.is_failover:
            # The one that believed on, when this one was primary already.
            chain.was_synchronised[new] = False
        elif self.old in answering:
            chain.was_synchronised[new] = None  # whether a round fell between the two roles

    def check_silence(self, record):
        """Who is granted by the silence of the other one has waited for it, by the evidence."""
        facts = record["facts"]["evidence"]["facts"]["replicas"]
        ages = [f["history"]["primary_ago_ms"] for f in facts if f["instance"] != record["replica"]]
        if record["reason"] == "candidate_silence" and not all(age >= DEAD_FOR_MS for age in ages):
            self.wrong.append(f"granted by silence: the other one was primary {ages} ms ago")

    def check_safety(self):
        """Whatever the rules are: one replica an epoch, and only one that is primary."""
        grantees = {}
        for record in self.chain.audit():
            if record["event"] == "release" and record["decision"] == "allow":
                grantees.setdefault(record["epoch"], set()).add(record["replica"])
        self.wrong += [f"epoch {e}: granted to {g}" for e, g in grantees.items() if len(g) > 1]
        for record in self.chain.audit()[self.begun :]:
            is_granted = record["event"] == "release" and record["decision"] == "allow"
            if (is_granted or record["event"] == "epoch") and record["replica"] != self.group.promoted:
                self.wrong.append(f"{record['event']} {record['epoch']} for {record['replica']}")
            if is_granted:
                self.check_silence(record)

    def play(self):
        chain, group = self.chain, self.group
        chain.network.cut(self.lines)
        chain.network.show(self.lines)
        self.tell_sqlsim()
        self.fail_over()
        outcome = {"new": self.expect(group.promoted, True, self.old)}
        if group.is_failover:
            outcome["old"] = self.believe()
        answering = group.answering
        chain.network.heal()
        chain.network.show([])
        if group.is_failover:
            outcome["old, healed"] = self.believe_on()
        self.learn()
        self.remember(answering)
        chain.calm()
        self.check_safety()
        return outcome

    def run(self):
        at, outcome = time.monotonic(), {}
        try:
            outcome = self.play()
        except (TimeoutError, RuntimeError) as error:
            asked = {node: self.releases(node) for node in self.chain.nodes}
            self.wrong.append(f"{error or repr(error)}; so far {asked}")
        return {
            "cut": self.cut,
            "old": self.old,
            "promoted": self.group.promoted,
            "by": "cluster" if self.group.is_failover else "plan",
            "outcome": outcome,
            "seconds": round(time.monotonic() - at, 1),
            "wrong": self.wrong,
        }


def cuts(count):
    roles = ["escrowd", "old", "new", "third"][: count + 1]
    lines = ["-".join(pair) for pair in itertools.combinations(roles, 2)]
    return lines + ["+".join(pair) for pair in itertools.combinations(lines, 2)]


def main():
    if sys.argv[1] == "--cuts":
        print("\n".join(cuts(int(sys.argv[2]))))
        return 0
    folder, network, policy, *wanted = sys.argv[1:]
    chain = Chain(folder, network, policy)
    chain.network.show([])
    chain.calm()
    for cut in wanted:
        result = Scene(chain, cut).run()
        print(json.dumps(result), flush=True)
        if result["wrong"]:
            return 1  # what comes after would begin from no healthy group
    return 0


if __name__ == "__main__":
    sys.exit(main())
