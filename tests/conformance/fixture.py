# SPDX-License-Identifier: Apache-2.0
"""What the rows need on a server: a scratch database with a master key, and five logins.

Everything is named after one random suffix, is listed before it is made, and is removed again
whatever happens in between. The rights of agent and prober are those that `escrowctl sql-grants`
prints: its own text is run, so that the rows show whether it is enough.
"""
import contextlib
import re
import secrets
import select
import signal
import subprocess
import time

PREFIX = "escrow_conformance_"
SUFFIX = re.compile(r"[0-9a-f]{8}")
SCRATCH = re.compile(PREFIX + SUFFIX.pattern)
PROBE = "[escrowd_probe]"
LOGINS = ("agent", "prober", "nobody", "disabled", "must_change")


def names(suffix):
    """Database and logins of a suffix."""
    return {"database": PREFIX + suffix,
            **{login: f"{PREFIX}{suffix}_{login}" for login in LOGINS}}


def new_password():
    """For a login or a key: meets the password policy of Windows, and holds nothing to quote."""
    return "Aa1-" + secrets.token_urlsafe(24)


def batches(script, password):
    """A script for sqlcmd as batches: without its commands, its variables filled in."""
    lines = [line for line in script.splitlines() if not line.startswith(":")]
    text = "\n".join(lines).replace("$(ESCROW_SQLCMD)", "yes")
    text = text.replace("$(ESCROW_LOGIN_PASSWORD)", password)
    if "$(" in text:
        raise ValueError("the script of sql-grants has a variable that is not known here")
    parts = re.split(r"(?m)^GO\s*$", text)
    return [part for part in map(str.strip, parts) if part]


def grants(escrowctl, role, name, database):
    return subprocess.run(
        [escrowctl, "sql-grants", "--role", role, "--login", name, "--database", database],
        check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def plan(named):
    """What is made, and by which statement it is removed, in the order of making."""
    database = named["database"]
    suffix = database[len(PREFIX):]
    made = [(f"the database {database}, its master key and a certificate in it",
             [drop_stored(named, stored_password(suffix)),
              f"ALTER DATABASE [{database}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE",
              f"DROP DATABASE [{database}]"])]
    for login in LOGINS:
        made.append((f"the login {named[login]}", [f"DROP LOGIN [{named[login]}]"]))
    return made


class Failed(Exception):
    """A statement of the fixture was refused."""


ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def uninterrupted():
    """Ctrl-C waits until the server has answered: what it was about to make is known then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def must(session, statement, secret_values=()):
    with uninterrupted():
        answer = session.send(statement)
    if "errors" in answer:
        for value in secret_values:
            statement = statement.replace(value, "...")
        error = answer["errors"][-1]
        raise Failed(f"error {error['number']}: {error['text']}\n  at: {statement[:200]}")


def stored_password(suffix):
    """What rows store on the instance by sp_control_dbmasterkey_password. To take it back needs its
    value, so that this one password can be told from the suffix; it opens the scratch database."""
    return f"Stored-1 {suffix}"


def drop_stored(named, stored):
    return (f"EXEC sp_control_dbmasterkey_password @db_name = N'{named['database']}',"
            f" @password = N'{stored}', @action = N'drop'")


def reset(session, keys, named):
    """The state that each row begins with: one password, opens by itself, nothing else.

    What is not there cannot be dropped, which is no fault here.
    """
    for statement in (drop_stored(named, keys["stored_password"]),
                      f"DROP CERTIFICATE {PROBE}", "DROP MASTER KEY"):
        session.send(statement)
    must(session, f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = N'{keys['password']}'",
         keys.values())
    must(session, f"CREATE CERTIFICATE {PROBE} WITH SUBJECT = 'escrowd probe',"
                  " EXPIRY_DATE = '20991231'")
    for login in ("agent", "prober"):
        must(session, f"GRANT CONTROL ON CERTIFICATE::{PROBE} TO [{named[login]}]")


def create(session, escrowctl, named, passwords, key_password):
    """Makes everything of plan(); raises Failed, and then some of it exists. CREATE fails for what
    stands already, so that nothing of somebody else's is ever taken for the scratch database."""
    database = named["database"]
    every = list(passwords.values()) + [key_password]
    must(session, f"CREATE DATABASE [{database}]")
    must(session, f"USE [{database}]")
    must(session, f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = N'{key_password}'", every)
    for role in ("agent", "prober"):
        script = grants(escrowctl, role, named[role], database)
        for batch in batches(script, passwords[role]):
            must(session, batch, every)
    must(session, "USE [master]")
    for login, options in (("nobody", ""), ("disabled", ""),
                           ("must_change", " MUST_CHANGE, CHECK_EXPIRATION = ON")):
        must(session, f"CREATE LOGIN [{named[login]}] WITH PASSWORD = N'{passwords[login]}'"
                      f"{options}", every)
    must(session, f"ALTER LOGIN [{named['disabled']}] DISABLE")


NOT_THERE = (15151, 3701)
LOGGED_IN = 15434  # DROP LOGIN: its last session is only now being closed
RETRY_S = 10


def remove(session, named):
    """Removes everything of plan() that is there. Returns what could not be removed, and why."""
    left = []
    session.send("USE [master]")
    for what, statements in reversed(plan(named)):
        for statement in statements[:-1]:
            session.send(statement)
        errors = send_until_free(session, statements[-1]).get("errors")
        if errors and errors[-1]["number"] not in NOT_THERE:
            left.append(f"{what}: {errors[-1]['text']}")
    return left


def send_until_free(session, statement):
    """There is no event for the end of another session, only the question again."""
    deadline = time.monotonic() + RETRY_S
    while True:
        answer = session.send(statement)
        errors = answer.get("errors")
        if not errors or errors[-1]["number"] != LOGGED_IN or time.monotonic() > deadline:
            return answer
        select.select([], [], [], 0.2)
