# SPDX-License-Identifier: Apache-2.0
"""Runs rows on one server whose database and logins stand, and says what it answered."""
import re
import time

import fixture
import report
from rows import ANOTHER
from session import Session, Unreachable

CHANGES = re.compile(r"\s*(ALTER|CREATE|DROP|GRANT|REVOKE|DENY|BACKUP|RESTORE"
                     r"|EXEC sp_control_dbmasterkey_password)\b", re.IGNORECASE)
ENGLISH = "us_english"
OPTIONAL_LOGINS = ("locked", "expired", "contained_user")  # a server has them only by the hand of its administrator
EVENTUALLY_S = 10  # how long a step may wait for what comes without an answer
LONG_PASSWORD = ("Long-1 " + "0123456789" * 13)[:127]
IDENTITY = ("SELECT @@SERVERNAME AS server_name,"
            " CONVERT(nvarchar(128), SERVERPROPERTY(N'ProductVersion')) AS product_version,"
            " ORIGINAL_LOGIN() AS login_name")


class Runner:
    """One server; `named` are the names of database and logins, `passwords` theirs, `keys` the
    passwords of the master key: the one that it has, and the one that may be stored."""

    def __init__(self, server, rows, named, passwords, keys):
        self.server = server
        self.rows = rows
        self.named = named
        self.passwords = passwords
        self.keys = keys
        self.is_dirty = False
        self.kept = {}
        self.administrator = self.log_in("sysadmin", server)
        self.version, name = self.identify()
        rows.compares_texts = self.language() == ENGLISH
        state = "SERVER PERFORMANCE STATE" if self.major() >= 16 else "SERVER STATE"
        self.values = dict(named, **keys, sysadmin=server["login"], long=LONG_PASSWORD,
                           view_state="VIEW " + state)
        if server["group"]:
            self.values.update(group=server["group"]["name"],
                               group_database=server["group"]["database"])
            if "master_key_password" in server["group"]:
                self.values["group_password"] = server["group"]["master_key_password"]
        if server["contained"]:
            self.values["contained_database"] = server["contained"]["database"]
        if server["distributed"]:
            self.values["distributed"] = server["distributed"]["name"]
        hidden = {key: value for key, value in self.values.items() if key != "view_state"}
        self.mask = report.Mask({**hidden, **self.other_names(name)})

    def log_in(self, label, place, **options):
        """A session of the login that a label begins with."""
        login, *words = label.split()
        if login == "sysadmin":
            return Session(place, self.server["login"], self.server["login_password"], **options)
        password = "wrong" if "wrong-password" in words else self.passwords.get(login, "unknown")
        name = self.named.get(login, "escrow_no_such_login")
        return Session(place, name, password, **options)

    def identify(self):
        answer = self.administrator.send(IDENTITY)
        if "errors" in answer:
            raise fixture.Failed(f"the login is refused: {report.one_line(answer)}")
        name, version, _ = answer["rows"][0]
        return version, name

    def language(self):
        answer = self.administrator.send("SELECT @@LANGUAGE AS language")
        return answer["rows"][0][0] if answer.get("rows") else "unknown"

    def other_names(self, name):
        """Of the machines, which no report is to hold; <server 2> is the second replica described,
        <replica 1> one that was not described."""
        found = {"server": name, "host": self.server["host"], "tls_name": self.server["tls_name"]}
        replicas = self.server["group"]["replicas"] if self.server["group"] else []
        for number, replica in enumerate(replicas, 2):
            found[f"host {number}"] = replica["host"]
            session = self.log_in("sysadmin", replica)
            answer = session.send(IDENTITY)
            session.close()
            if "rows" in answer:
                found[f"server {number}"] = answer["rows"][0][0]
        answer = self.administrator.send("SELECT replica_server_name FROM sys.availability_replicas")
        found.update({f"replica {number}": row[0]
                      for number, row in enumerate(answer.get("rows", []), 1)
                      if row[0] not in found.values()})
        machines = {f"machine of {key}": value.partition("\\")[0]
                    for key, value in found.items() if "\\" in value}
        return {**found, **machines}

    def major(self):
        return int(self.version.split(".")[0])

    def close(self):
        self.administrator.close()

    def place(self, row):
        """The instance that a row is about, or None."""
        if row["at"] == "server":
            return self.server
        if row["at"] == "refuses_intent":
            group = self.server["group"] or {}
            return self.server if group.get("primary_connections") == "READ_WRITE" else None
        if row["at"] in ("listener", "contained_unreadable"):
            return (self.server["contained"] or {}).get(row["at"].replace("contained_", ""))
        if row["at"] == "distributed_secondary":
            return (self.server["distributed"] or {}).get("secondary")
        replicas = self.server["group"]["replicas"] if self.server["group"] else []
        return next((replica for replica in replicas if replica["as"] == row["at"]), None)

    def reason_not_to(self, row):
        """Why this row cannot be run here, or None."""
        if "since" in row and self.major() < row["since"]:
            return f"is for version {row['since']} and later"
        if "until" in row and self.major() > row["until"]:
            return f"is for version {row['until']} and earlier"
        if "group" in row["needs"] and not self.server["group"]:
            return "needs an availability group (group: in the description)"
        if "wsfc" in row["needs"] and self.server["group"]["cluster_type"] != "WSFC":
            return "needs a group in a Windows Server failover cluster"
        if "group_password" in row["needs"] and "group_password" not in self.values:
            return "needs the password of the group's master key (master_key_password_file)"
        if "catalog" in row["needs"] and "catalog" not in self.named:
            return "needs an SSIS catalog in which the logins are users (prepared: catalog)"
        for need in ("contained", "distributed"):
            if any(word.startswith(need) for word in row["needs"]) and not self.server[need]:
                return f"needs a {need} group ({need}: in the description)"
        if not self.place(row):
            return f"needs a replica described as: {row['at']}"
        for login in OPTIONAL_LOGINS:
            if row["login"].startswith(login) and login not in self.named:
                return f"needs a login that is {login} (logins: {login}, in the description)"
        return None

    def fill(self, statement):
        for name, value in {**self.values, **self.kept}.items():
            statement = statement.replace(f"<{name}>", value)
        return statement

    def prepare(self):
        """The state that each row begins with, unless nothing changed it."""
        if not self.is_dirty:
            return
        fixture.must(self.administrator, f"USE [{self.named['database']}]")
        fixture.reset(self.administrator, self.keys, self.named)
        fixture.must(self.administrator, "USE [master]")
        self.is_dirty = False

    def run(self, row):
        """The result of a row, as the report holds it."""
        result = {key: row[key] for key in ("id", "title", "source")}
        reason = self.reason_not_to(row)
        if reason:
            return {**result, "verdict": report.NOT_RUN, "reason": reason}
        sessions = {}
        self.kept = {}
        try:
            if row["in"] == "database":
                self.prepare()
            steps = self.run_steps(row, sessions)
        except (Unreachable, fixture.Failed) as error:
            self.is_dirty = True
            return {**result, "verdict": report.DIFFERENT, "steps": [],
                    "reason": "it could not be run: " + self.mask(str(error))}
        finally:
            for session in sessions.values():
                if session is not self.administrator:
                    session.close()
            self.undo(row)
        if len(steps) < len(row["steps"]):
            return {**result, "verdict": report.NOT_RUN, "reason": "it is not as the row needs it: "
                    + steps[-1]["send"] + " gives " + report.one_line(steps[-1]["got"])}
        found = {step["switch"]: step.pop("found") for step in steps if "found" in step}
        is_same = all(step["same"] for step in steps)
        return {**result, "verdict": report.SAME if is_same else report.DIFFERENT,
                "switches": found, "steps": steps}

    def undo(self, row):
        """What a row has for its end, whatever came before: it must be done."""
        for statement in row["finally"]:
            fixture.must(self.administrator, self.fill(statement), self.keys.values())
        if row["finally"]:
            fixture.must(self.administrator, "USE [master]")

    def session_of(self, row, step, sessions):
        """The session that a step names, opened by its first step."""
        label = step["by"]
        if label == "sysadmin" and row["in"] == "master" and row["at"] == "server":
            sessions[label] = self.administrator  # which such rows leave as it was
        if label not in sessions:
            where = row["in"]
            options = {}
            if "login_database" in row["needs"]:
                options["database"] = self.fill(where)
            options["has_read_intent"] = "intent" in row["needs"]
            session = self.log_in(label, self.place(row), **options)
            sessions[label] = session
            if where == "database" and not session.refusal:
                fixture.must(session, f"USE [{self.named['database']}]")
        return sessions[label]

    def run_steps(self, row, sessions):
        steps = []
        for step in row["steps"]:
            session = self.session_of(row, step, sessions)
            judged = self.ask(session, step)
            deadline = time.monotonic() + EVENTUALLY_S
            while "eventually" in step and not judged["same"] and time.monotonic() < deadline:
                judged = self.ask(session, step)
            steps.append(judged)
            if "guard" in step and not judged["same"]:
                break
            if "keep" in step and judged["got"].get("rows"):
                self.kept[step["keep"]] = str(judged["got"]["rows"][0][0])
            if CHANGES.match(step["send"]) and "errors" not in judged["got"]:
                self.is_dirty = True
            if step.get("end_session"):
                sessions.pop(step["by"]).close()
        return steps

    def ask(self, session, step):
        try:
            got = session.send(self.fill(step["send"]))
        except Unreachable as error:
            got = {"unreachable": str(error)}
        return self.judge(step, got)

    def judge(self, step, got):
        alternatives = step["alternatives"]
        name = step["switch"]["name"] if "switch" in step else None
        set_to = self.server["switches"].get(name)
        if set_to is not None and (set_to in alternatives or ANOTHER in alternatives):
            value = set_to if set_to in alternatives else ANOTHER
            alternatives = {value: alternatives[value]}
        found = [value for value, expected in alternatives.items()
                 if self.rows.matches(self.filled(expected), got)]
        judged = {"by": step["by"], "send": step["send"], "same": bool(found),
                  "expected": [{"value": value, "answer": self.shown(expected)}
                               for value, expected in alternatives.items()],
                  "got": self.mask(got)}
        if name:
            judged["switch"] = name
            judged["found"] = self.name_of(found[0], got) if found else "another behaviour"
        return judged

    @staticmethod
    def name_of(value, got):
        """Of a behaviour that was found; where several are one to us, the state that tells them."""
        return f"{got['errors'][-1]['state']}" if value == ANOTHER else value

    def filled(self, expected):
        """An expectation with names in the place of placeholders."""
        if "rows" not in expected:
            return expected
        rows = [[self.fill(value) if isinstance(value, str) else value for value in row]
                for row in expected["rows"]]
        return {**expected, "rows": rows}

    def shown(self, expected):
        if "errors" not in expected:
            return expected
        return {"errors": [self.rows.expected_error(error) for error in expected["errors"]]}
