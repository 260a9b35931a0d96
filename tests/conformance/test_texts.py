#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What escrowd sends is what the rows are about.

    test_texts.py TEXTS SWITCHES <REPORT

TEXTS is what tests/tools/tsql_texts prints, SWITCHES what `sqlsim switches` prints; the report (JSON)
is of a run in which all was the same. Prints TAP: for each text, whether a row sent it; for each
column that a text reads, whether a row asks for it; for each switch of the rows, whether the model
has it, with these values.
"""
import json
import re
import sys

import rows

SAMPLE = "SSISDB"
NONCE = re.compile(r"0x0027ff0*")
# What no row sends: it is printed for a DBA, and the fixture runs it whole.
PRINTED = {"tsql_grants"}
ALIAS = re.compile(r"(?:FROM|JOIN|\()\s*sys\.(\w+)(?:\s+AS (\w+))?")
COLUMN = re.compile(r"\b(\w+)\.(\w+)\b")
# Columns without an alias, of the one view that is read: names that are no function or keyword.
BARE = re.compile(r"(?<![.@'\w])([a-z][a-z_]*_[a-z_]+)(?![\w.(])")


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def pattern_of(text):
    """The text with anything in the place of its parameters."""
    text = NONCE.sub("0x...", text)
    parts = re.split(r"(SSISDB|0x\.\.\.)", text)
    return re.compile("".join({SAMPLE: ".+?", "0x...": "0x[0-9a-f]{64}"}.get(part, re.escape(part))
                              for part in parts), re.DOTALL)


def text_results(texts, sent):
    for text in texts:
        if text["function"] in PRINTED or text["sample"] not in ("", SAMPLE):
            continue
        pattern = pattern_of(text["text"])
        found = [row for row, send in sent if pattern.fullmatch(send)]
        yield bool(found), f"{text['function']}: {', '.join(found[:3])}"


def columns_of(text):
    """(view, column) of a text; names of literals are taken out first."""
    text = re.sub(r"N'[^']*'", "''", text)
    views = ALIAS.findall(text)
    aliases = {alias: view for view, alias in views if alias}
    for alias, column in COLUMN.findall(text):
        if alias in aliases:
            yield aliases[alias], column
    if len(views) == 1 and not aliases:
        for column in BARE.findall(text.partition(" AS ")[0].split("sys.")[0]
                                   + text.partition(" WHERE ")[2]):
            yield views[0][0], column


def column_results(texts, asked):
    read = {pair for text in texts if text["function"] not in PRINTED
            for pair in columns_of(text["text"])}
    for view, column in sorted(read):
        yield f"column-{view}-{column}" in asked, f"sys.{view}.{column}"


def switch_results(switches, all_rows):
    values = {switch["name"]: switch for switch in switches}
    for row in all_rows:
        for step in row["steps"]:
            if "switch" not in step:
                continue
            name = step["switch"]["name"]
            known = values.get(name)
            unknown = [value for value in step["alternatives"]
                       if known and not known["number"] and value not in known["values"]]
            yield known is not None and not unknown, f"{row['id']}: {name} {unknown or ''}"


def main():
    texts, switches = read_lines(sys.argv[1]), read_lines(sys.argv[2])
    report = json.load(sys.stdin)
    ran = [row for row in report["rows"] if row["verdict"] == "same"]
    sent = [(row["id"], step["send"]) for row in ran for step in row["steps"]]
    results = list(text_results(texts, sent))
    results += column_results(texts, {row["id"] for row in ran})
    results += switch_results(switches, rows.Rows().rows)
    print(f"1..{len(results)}")
    for number, (is_good, what) in enumerate(results, 1):
        print(f"{'ok' if is_good else 'not ok'} {number} {what}")
    return not results or not all(is_good for is_good, _ in results)


if __name__ == "__main__":
    sys.exit(main())
