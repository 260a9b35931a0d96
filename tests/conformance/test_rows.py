#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Every step of every row can fail: takes a report in which all is the same (JSON, on standard
input), alters each answer in every way that a server could differ, and demands that it is seen.

Prints TAP. The report has placeholders where the rows have them, so they compare as they are."""
import copy
import json
import sys

import rows


def altered_error(answer):
    """Another number, class or text; one more; none at all."""
    for key, other in (("number", 49999), ("class", 25), ("text", "Something else.")):
        changed = copy.deepcopy(answer)
        changed["errors"][-1][key] = other
        yield f"another {key}", changed
    yield "an error more", {"errors": answer["errors"] + [
        {"number": 49999, "class": 16, "state": 1, "text": "Something else."}]}
    yield "no error", {"done": True}
    yield "rows in its place", {"columns": ["x int"], "rows": []}


def altered_rows(answer, has_rows):
    """Other columns, other numbers of rows, other values, an error."""
    for column in range(len(answer["columns"])):
        name, kind = answer["columns"][column].split()
        for what, other in (("name", "x" + name + " " + kind), ("type", name + " money")):
            changed = copy.deepcopy(answer)
            changed["columns"][column] = other
            yield f"another {what} of column {name}", changed
    yield "a column less", {**answer, "columns": answer["columns"][1:]}
    yield "no result set", {"done": True}
    yield "an error", {"errors": [{"number": 49999, "class": 16, "state": 1, "text": "x"}]}
    if has_rows:
        more = answer["rows"] + [[None] * len(answer["columns"])]
        yield "a row more", {**answer, "rows": more}
    if answer["rows"]:
        if has_rows:
            yield "a row less", {**answer, "rows": answer["rows"][1:]}


def altered(answer, expected):
    if "errors" in answer:
        yield from altered_error(answer)
    elif "columns" in answer:
        yield from altered_rows(answer, "rows" in expected)
    else:
        yield "an error", {"errors": [{"number": 49999, "class": 16, "state": 1, "text": "x"}]}
        yield "rows", {"columns": ["x int"], "rows": []}


def faults(all_rows, row, result):
    """What of a row would not be seen."""
    for number, (step, got) in enumerate(zip(row["steps"], result["steps"]), 1):
        alternatives = list(step["alternatives"].values())
        expected = [one for one in alternatives if all_rows.matches(one, got["got"])]
        if not expected:
            yield f"step {number} is not the same"
            continue
        # Of a switch, the value that was found: a server that is described is held to one.
        for what, answer in altered(got["got"], expected[0]):
            if all_rows.matches(expected[0], answer):
                yield f"step {number}: {what} is not seen"


def main():
    report = json.load(sys.stdin)
    all_rows = rows.Rows()
    by_id = {row["id"]: row for row in all_rows.rows}
    results = [result for result in report["rows"] if result["verdict"] != "not run"]
    failed = False
    print(f"1..{len(results)}")
    for number, result in enumerate(results, 1):
        found = list(faults(all_rows, by_id[result["id"]], result))
        failed = failed or bool(found)
        print(f"{'not ok' if found else 'ok'} {number} {result['id']}")
        for fault in found:
            print(f"# {fault}")
    return failed or not results


sys.exit(main())
