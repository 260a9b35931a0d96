#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The fixture against a server that only remembers: whatever fails, all that was made is removed.

Prints TAP. Its argument is the program escrowctl."""
import re
import sys

import fixture

SUFFIX = "0123abcd"
MAKES = re.compile(r"CREATE (DATABASE|LOGIN) \[(\w+)\]")
DROPS = re.compile(r"DROP (DATABASE|LOGIN) \[(\w+)\]")


class Server:
    """Remembers databases and logins; refuses the statement of number `fails`."""

    def __init__(self, fails=None):
        self.fails = fails
        self.count = 0
        self.there = set()
        self.texts = []

    def send(self, text):
        self.count += 1
        self.texts.append(text)
        if self.count == self.fails:
            return {"errors": [{"number": 102, "class": 15, "state": 1, "text": "refused"}]}
        for kind, name in MAKES.findall(text):
            self.there.add((kind, name))
        for kind, name in DROPS.findall(text):
            if (kind, name) not in self.there:
                return {"errors": [{"number": 15151, "class": 16, "state": 1, "text": "not there"}]}
            self.there.remove((kind, name))
        return {"done": True}


def make(server, escrowctl):
    named = fixture.names(SUFFIX)
    passwords = {login: fixture.new_password() for login in fixture.LOGINS}
    fixture.create(server, escrowctl, named, passwords, "Key-1 password")
    return named


def everything_is_announced(escrowctl):
    server = Server()
    make(server, escrowctl)
    announced = "\n".join(what for what, _ in fixture.plan(fixture.names(SUFFIX)))
    return len(server.there) == 6 and all(name in announced for _, name in server.there)


def everything_is_removed(escrowctl):
    server = Server()
    named = make(server, escrowctl)
    return fixture.remove(server, named) == [] and not server.there


def removed_after_each_failure(escrowctl):
    whole = Server()
    make(whole, escrowctl)
    for number in range(1, whole.count + 1):
        server = Server(fails=number)
        try:
            make(server, escrowctl)
            return False
        except fixture.Failed as error:
            if "Key-1 password" in str(error) or "Aa1-" in str(error):
                return False
        server.fails = None
        if fixture.remove(server, fixture.names(SUFFIX)) or server.there:
            return False
    return whole.count > 10


def what_stays_is_named(escrowctl):
    server = Server()
    named = make(server, escrowctl)
    server.fails = server.count + 2  # USE, then the first DROP LOGIN
    left = fixture.remove(server, named)
    return len(left) == 1 and "login" in left[0] and len(server.there) == 1


def scripts_become_batches(escrowctl):
    server = Server()
    named = make(server, escrowctl)
    texts = "\n".join(server.texts)
    return ("$(" not in texts and "\nGO" not in texts and "\n:" not in texts
            and f"GRANT VIEW ANY DEFINITION TO [{named['prober']}]" in texts
            and f"GRANT CONTROL ON DATABASE::[{named['database']}] TO [{named['agent']}]" in texts)


def main():
    tests = [everything_is_announced, everything_is_removed, removed_after_each_failure,
             what_stays_is_named, scripts_become_batches]
    failed = False
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        is_good = test(sys.argv[1])
        failed = failed or not is_good
        print(f"{'ok' if is_good else 'not ok'} {number} {test.__name__}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
