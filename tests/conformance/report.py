# SPDX-License-Identifier: Apache-2.0
"""The report: what a user reads, and sends.

It names no host, no login and no password: rows are printed with their placeholders, and what a
server answered has real names put back into placeholders.
"""
import json
import re
import textwrap

FORMAT = 1
SAME, DIFFERENT, NOT_RUN = "same", "different", "not run"


class Mask:
    """Puts placeholders in the place of names and passwords that stand alone, the longest first:
    of a login sa the word same keeps its letters. Names of SQL Server know no case."""

    def __init__(self, values):
        self.values = [(re.compile(rf"(?<!\w){re.escape(value)}(?!\w)", re.IGNORECASE), f"<{name}>")
                       for name, value in sorted(values.items(), key=lambda pair: -len(pair[1]))
                       if value]

    def __call__(self, value):
        if isinstance(value, dict):
            return {key: self(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self(inner) for inner in value]
        if isinstance(value, str):
            for real, name in self.values:
                value = real.sub(name, value)
        return value


def one_line(answer):
    """An expectation or an answer in a line."""
    if answer is None:
        return "(nothing was sent)"
    if "unreachable" in answer:
        return f"no answer: {answer['unreachable']}"
    if "errors" in answer:
        return "; ".join(error_line(error) for error in answer["errors"])
    if "closed" in answer:
        return "the server closes the connection"
    if "columns" in answer:
        rows = json.dumps(answer["rows"], ensure_ascii=False) if "rows" in answer else "any rows"
        return f"[{', '.join(answer['columns'])}] {rows}"
    return "done, no rows"


def error_line(error):
    state = f", state {error['state']}" if "state" in error else ""
    return f"error {error['number']}, class {error['class']}{state}: {error['text']}"


def counts(results):
    return {verdict: sum(result["verdict"] == verdict for result in results)
            for verdict in (SAME, DIFFERENT, NOT_RUN)}


def switches(results):
    """What the server does where its documentation is silent: name -> the values seen."""
    found = {}
    for result in results:
        for name, value in result.get("switches", {}).items():
            found.setdefault(name, [])
            if value not in found[name]:
                found[name].append(value)
    return found


def as_json(server, results):
    """An object with one line for each row, so that two reports can be compared by diff."""
    head = {"format": FORMAT, "server": server, "count": counts(results),
            "switches": switches(results)}
    lines = ",\n".join(json.dumps(result, ensure_ascii=False) for result in results)
    return f"{json.dumps(head, ensure_ascii=False)[:-1]}, \"rows\": [\n{lines}\n]}}"


def row_text(result):
    lines = [f"{result['verdict'].upper():9}  {result['id']}: {result['title']}",
             f"           source: {result['source']}"]
    if "reason" in result:
        lines.append(f"           {result['reason']}")
    for number, step in enumerate(result.get("steps", []), 1):
        if step["same"]:
            lines.append(f"    {number}. {step['by']}: {step['send']}")
            lines.append(f"         same:     {one_line(step['got'])}")
            continue
        lines.append(f"  > {number}. {step['by']}: {step['send']}")
        for expected in step["expected"]:
            when = f"({expected['value']}) " if expected["value"] else ""
            lines.append(f"         expected: {when}{one_line(expected['answer'])}")
        lines.append(f"         got:      {one_line(step['got'])}")
    return "\n".join(lines)


def as_text(server, results, verbose):
    """Rows that differ with all their steps; the others as a list of names."""
    lines = ["Conformance of a SQL Server with what escrowd takes for granted", ""]
    lines += [f"  {name:18} {value}" for name, value in server.items()]
    lines.append("")
    for result in results:
        if verbose or result["verdict"] == DIFFERENT:
            lines += [row_text(result), ""]
    not_run = {}
    for result in results:
        if result["verdict"] == NOT_RUN:
            not_run.setdefault(result["reason"], []).append(result["id"])
    for reason, names in not_run.items():
        listed = textwrap.fill(", ".join(names), 96, initial_indent="  ", subsequent_indent="  ",
                               break_on_hyphens=False)
        lines += [f"Not run, {reason}:", listed, ""]
    found = switches(results)
    if found:
        lines.append("Found where the documentation is silent:")
        lines += [f"  {name}: {', '.join(values)}" for name, values in found.items()]
        lines.append("")
    count = counts(results)
    lines.append(f"{len(results)} rows: {count[SAME]} the same, {count[DIFFERENT]} different,"
                 f" {count[NOT_RUN]} not run")
    return "\n".join(lines)
