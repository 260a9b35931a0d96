#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Settings of sqlsim's switches that a suite runs with, from the one list of them.

    settings.py SQLSIM cover SEED          few cases, in which each value of each switch occurs
    settings.py SQLSIM singles             each value that is not the default, alone
    settings.py SQLSIM pairs COUNT SEED    two such values, of two switches
    settings.py SQLSIM unseen <STATES      the values that no run had, of the states that it had

Prints a case a line, as NAME=VALUE words; of `cover` the first one is the default of everything.
STATES are lines of JSON, the object "switches" of `sqlsim ctl SOCKET state`. Switches without a
source are the simulator's own and have no other behaviour to try. `unseen` ends with 1 if it names
any.
"""
import itertools
import json
import random
import subprocess
import sys


def switches(sqlsim):
    """{name: values, the default first} of what SQL Server may do one way or another."""
    lines = subprocess.run([sqlsim, "switches"], check=True, stdout=subprocess.PIPE,
                           encoding="utf-8").stdout.splitlines()
    listed = [json.loads(line) for line in lines]
    return {switch["name"]: switch["values"] for switch in listed if switch["source"]}


def cover(known, seed):
    """Case n has value n of each switch, and where there is none any of them."""
    draw = random.Random(seed)
    count = max(len(values) for values in known.values())
    return [{name: values[n] if n < len(values) else draw.choice(values)
             for name, values in known.items()} for n in range(count)]


def singles(known):
    return [{name: value} for name, values in known.items() for value in values[1:]]


def pairs(known, count, seed):
    every = [{**one, **other} for one, other in itertools.combinations(singles(known), 2)
             if one.keys() != other.keys()]
    return random.Random(seed).sample(every, min(count, len(every)))


def unseen(known, states):
    return [f"{name}={value}" for name, values in known.items() for value in values
            if not any(state.get(name) == value for state in states)]


def main():
    known = switches(sys.argv[1])
    kind, *numbers = sys.argv[2:]
    if kind == "unseen":
        missing = unseen(known, [json.loads(line) for line in sys.stdin if line.strip()])
        print("\n".join(missing))
        return bool(missing)
    cases = {"cover": cover, "singles": singles, "pairs": pairs}[kind](known, *map(int, numbers))
    for case in cases:
        print(" ".join(f"{name}={value}" for name, value in case.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
