#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The whole program `run` against a server that only remembers: what it would send to a real one,
and what stands there after it was stopped, at any statement, by a signal or by an error.

    test_scratch.py ESCROWCTL

Prints TAP. Each case is a process of its own. The group of the description is somebody's real one:
what is sent there must change nothing."""
import functools
import io
import json
import os
import re
import runpy
import signal
import sys
import tempfile

import fixture
import rows
import runner
import session
from test_fixture import DROPS, MAKES

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run")
GROUP_DATABASE = "SSISDB"
VALUES = {"@@SERVERNAME AS server_name": [["SQL1", "16.0.1.1", "sa"]],
          "@@LANGUAGE": [["us_english"]], "Updateability": [["READ_ONLY"]]}
# What may be sent about a database that the program did not make: questions, USE, and on a readable
# secondary (guarded by a question) the three statements that it refuses.
ASKS = re.compile(r"SELECT|USE|EXEC \[SSISDB\]\.\[catalog\]\.\[startup\]$"
                  r"|(IF sys\.fn_hadr_is_primary_replica\(N'SSISDB'\) = 0 SELECT 1 AS value; ELSE )?"
                  r"EXEC \[SSISDB\]\.sys\.sp_executesql N'SELECT [^;]*';?$", re.IGNORECASE)
ON_READ_ONLY = re.compile(r"OPEN MASTER KEY|ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY"
                          r"|CREATE USER \[escrow_no_such_user\] WITHOUT LOGIN$")
# What reaches beyond the database that a session is in: logins and rights of the instance, stored
# passwords, KILL. The names in it must be our own.
NAMED = re.compile(r"\[([^]]+)\]|@db_name = N'([^']+)'")
PASSWORD = re.compile(r"PASSWORD = N'(?:[^']|'')*'")
OF_OURS = re.compile(fixture.PREFIX + r"[0-9a-f]{8}(_\w+)?")
PLAIN = {"master", "escrowd_probe", "ssis_failover_monitoring_agent", "escrow_no_such_database",
         "escrow_no_such_user", "escrow_no_such_login",
         "MASTER", "catalog", "startup", "model", GROUP_DATABASE}


class Remembers:
    """In the place of Session: writes what it is sent to a journal, which all of them share."""

    journal = None
    count = 0
    stop_at = 0
    stop = None

    def __init__(self, server, login, _password, database=None, has_read_intent=False):
        del has_read_intent
        self.refusal = None
        self.port, self.login = server["port"], login
        self.database = database or "master"

    def send(self, text):
        if not text:
            return {"done": True}
        entry = json.dumps([self.port, self.login, self.database, text]) + "\n"
        os.write(self.journal, entry.encode("utf-8"))
        Remembers.count += 1
        if Remembers.count == self.stop_at:
            self.stop()
        use = re.fullmatch(r"USE \[([^]]+)\]", text)
        if use:
            self.database = use.group(1)
        for words, rows in VALUES.items():
            if words in text:
                return {"columns": ["x int"] * len(rows[0]), "rows": rows}
        if text.startswith("SELECT"):
            return {"columns": ["x int"], "rows": []}
        return {"done": True}

    def close(self):
        pass


def read(journal):
    if not os.path.exists(journal):
        return []
    with open(journal, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def left_over(journal):
    """What was made and not removed."""
    there = set()
    for _, _, _, text in journal:
        there |= set(MAKES.findall(text))
        there -= set(DROPS.findall(text))
    return there


def describe(folder):
    def instance(port):
        return {"host": "sql.example", "port": port, "ca_file": "ca.pem"}
    described = {**instance(1), "login": "sa", "password_file": "password", "group": {
        "name": "AG1", "database": GROUP_DATABASE, "primary_connections": "READ_WRITE",
        "master_key_password_file": "password", "replicas": [
            {**instance(2 + n), "as": place} for n, place in enumerate(
                ("unreadable", "read_intent", "readable", "resolving", "no_quorum"))]}}
    for name, text in (("ca.pem", ""), ("password", "secret\n"), ("server", json.dumps(described))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def play(folder, stop_at=0, stop=None, arguments=()):
    """Runs the program in a child; returns its exit status and the journal."""
    journal = os.path.join(folder, "journal")
    if os.path.exists(journal):
        os.unlink(journal)
    child = os.fork()
    if child == 0:
        Remembers.journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        Remembers.stop_at, Remembers.stop = stop_at, staticmethod(stop)
        session.Session = runner.Session = Remembers
        runner.EVENTUALLY_S = 0
        sys.argv = [RUN, "--yes", "--escrowctl", sys.argv[1], *arguments,
                    os.path.join(folder, "server")]
        sys.stdout = sys.stderr = io.StringIO()
        # pytest and bats ignore nothing, but a shell's background job ignores SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            runpy.run_path(RUN, run_name="__main__")
        except SystemExit as status:
            os._exit(status.code or 0)
        os._exit(99)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), read(journal)


def strange(journal):
    """Statements that no owner of a server would expect after reading README.md."""
    for port, _, database, text in journal:
        if port != 1 or database == GROUP_DATABASE:
            if not ASKS.match(text) and not (port == 4 and ON_READ_ONLY.match(text)):
                yield f"port {port}, in {database}: {text}"
        elif not text.startswith(("SELECT", "IF ", "USE")):
            for names in NAMED.findall(PASSWORD.sub("", text)):
                name = names[0] or names[1]
                if not OF_OURS.fullmatch(name) and name not in PLAIN:
                    yield f"{name}: {text}"
        if re.match(r"(DROP|CREATE|ALTER|BACKUP|RESTORE) MASTER KEY", text) and port == 1:
            if not OF_OURS.fullmatch(database):
                yield f"in {database}: {text}"


def results(folder):
    whole, journal = play(folder)
    yield whole == 1, "a whole run ends, and its rows differ"
    yield len(journal) > 300 and not left_over(journal), "a whole run leaves nothing"
    found = list(strange(journal))
    yield not found, "no statement that changes what is not its own " + "; ".join(found[:3])
    names = {name for _, _, _, text in journal for name in re.findall(fixture.SCRATCH.pattern, text)}
    yield len(names) == 1, "one name of a database"
    secrets = [text for _, _, _, text in journal if "secret" in text and "OPEN MASTER" not in text]
    yield not secrets, "the password of the group's key is used to OPEN it only"

    made = next(n for n, entry in enumerate(journal, 1) if "DISABLE" in entry[3])
    later = range(made + 1, len(journal) - 20, len(journal) // 12)
    for what, stop, status in (
            ("Ctrl-C", lambda: os.kill(os.getpid(), signal.SIGINT), 2),
            ("SIGTERM", lambda: os.kill(os.getpid(), signal.SIGTERM), 2),
            ("the end of the connection", cut, 1)):
        for number in [*range(1, made + 1), *later]:
            ended, stopped = play(folder, number, stop)
            is_good = not left_over(stopped) and len(stopped) >= number
            is_good = is_good and (ended in (status, 2))
            if not is_good:
                yield False, f"{what} at statement {number}: {ended}, {left_over(stopped)}"
        yield True, f"{what} at each of {made} statements that make something, and later"


def scripts(escrowctl):
    """fixture.grants, whose program is asked once for each role."""
    known = {role: fixture.grants(escrowctl, role, "LOGIN_NAME", "DATABASE_NAME")
             for role in ("agent", "prober")}
    return lambda _, role, name, database: (known[role].replace("LOGIN_NAME", name)
                                            .replace("DATABASE_NAME", database))


def cut():
    raise session.Unreachable("the connection ended")


def main():
    # What every child would do anew.
    rows.read_yaml = functools.cache(rows.read_yaml)
    rows.Rows()
    fixture.grants = scripts(sys.argv[1])
    count, failed = 0, False
    with tempfile.TemporaryDirectory() as folder:
        describe(folder)
        for is_good, what in results(folder):
            count += 1
            failed = failed or not is_good
            print(f"{'ok' if is_good else 'not ok'} {count} {what}", flush=True)
    print(f"1..{count}")
    return failed


sys.exit(main())
