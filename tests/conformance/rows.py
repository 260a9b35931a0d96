# SPDX-License-Identifier: Apache-2.0
"""The rows: what they must look like, and whether an answer is the expected one.

README.md says what each key means. A row that is written wrongly is refused when it is read, so
that no mistake in it can pass for a server that differs.
"""
import glob
import hashlib
import os
import re

import yaml

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rows")
LOGINS = ("sysadmin", "agent", "prober", "nobody", "disabled", "must_change", "locked", "expired",
          "unknown", "contained_user")
ROW_KEYS = {"id", "title", "login", "in", "at", "needs", "since", "until", "source", "steps",
            "finally"}
STEP_KEYS = {"send", "by", "done", "columns", "rows", "errors", "closed", "switch", "end_session",
             "eventually", "guard", "keep"}
EXPECTED_KEYS = ("done", "columns", "errors", "closed")
REPLICAS = ("unreadable", "read_intent", "readable", "resolving", "no_quorum", "orphan")
PLACES = ("server", "refuses_intent", "listener", "contained_unreadable",
          "distributed_secondary") + REPLICAS
NEEDS = {"group", "wsfc", "login_database", "group_password", "catalog", "intent", "contained",
         "contained_user", "distributed"}
OLDEST = 13  # the oldest version that the rows are about: 2016
ANOTHER = "*"  # of a switch: whatever else; the report says what it was


class Malformed(Exception):
    """A file of rows is written wrongly."""


def check_keys(where, value, allowed):
    unknown = set(value) - set(allowed)
    if unknown:
        raise Malformed(f"{where}: unknown key {sorted(unknown)[0]}")


def expected_of(where, step):
    """One expectation: {"done": true}, {"columns": ...}, {"errors": [...]} or {"closed": true}."""
    given = [key for key in EXPECTED_KEYS if key in step]
    if len(given) > 1:
        raise Malformed(f"{where}: {given[0]} and {given[1]} exclude each other")
    if not given:
        return {"done": True}
    if "columns" in step:
        return {key: step[key] for key in ("columns", "rows") if key in step}
    if "errors" in step:
        errors = step["errors"] if isinstance(step["errors"], list) else [step["errors"]]
        return {"errors": errors}
    return {given[0]: True}


def step_of(where, step, login):
    step = {"send": step} if isinstance(step, str) else dict(step)
    check_keys(where, step, STEP_KEYS)
    step.setdefault("by", login)
    if step["by"].split()[0] not in LOGINS:
        raise Malformed(f"{where}: no login {step['by']}")
    if "guard" in step and "switch" in step:
        raise Malformed(f"{where}: a guard has one answer")
    if "switch" not in step:
        step["alternatives"] = {None: expected_of(where, step)}
        return step
    switch = step["switch"]
    check_keys(where, switch, ("name", "values"))
    step["alternatives"] = {str(value): expected_of(where, expected)
                            for value, expected in switch["values"].items()}
    return step


def row_of(where, row):
    where = f"{where}: {row.get('id', '(no id)')}"
    check_keys(where, row, ROW_KEYS)
    for key in ("id", "title", "source", "steps"):
        if not row.get(key):
            raise Malformed(f"{where}: {key} is missing")
    row = dict(row)
    row.setdefault("login", "agent")
    row.setdefault("in", "database")
    row.setdefault("at", "server")
    needs = row.get("needs", [])
    row["needs"] = needs if isinstance(needs, list) else [needs]
    check_keys(where, row["needs"], NEEDS)
    if row["at"] not in PLACES:
        raise Malformed(f"{where}: no place {row['at']}")
    row["steps"] = [step_of(where, step, row["login"]) for step in row["steps"]]
    row.setdefault("finally", [])
    return row


def message_row(number, message):
    return {"id": f"message-{number}", "title": f"Error {number} has its severity and text",
            "in": "master", "login": "sysadmin", "source": "2; sys.messages",
            "steps": [{"send": "SELECT severity, text FROM sys.messages"
                               f" WHERE message_id = {number} AND language_id = 1033",
                       "columns": ["severity tinyint", "text nvarchar"],
                       "rows": [[message["severity"], "template " + message["text"]]]}]}


def column_row(view, name, column):
    column = {"type": column} if isinstance(column, str) else column
    row = {"id": f"column-{view}-{name}", "title": f"sys.{view} has the column {name}",
           "in": "master", "login": "sysadmin", "source": "4.1; sys." + view,
           "steps": [{"send": "SELECT name, TYPE_NAME(system_type_id) AS type_name"
                              f" FROM sys.all_columns WHERE object_id = OBJECT_ID(N'sys.{view}')"
                              f" AND name = N'{name}'",
                      "columns": ["name nvarchar", "type_name nvarchar"],
                      "rows": [[name, column["type"]]]}]}
    row.update({key: column[key] for key in ("since", "until") if key in column})
    return row


def absence_row(view, name, since):
    """Before that version the view has no such column."""
    row = column_row(view, name, "none")
    row.update(id=f"column-absent-{view}-{name}", title=f"sys.{view} has no column {name} yet",
               until=since - 1)
    row["steps"][0]["rows"] = []
    return row


def read_yaml(name):
    try:
        with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
            return yaml.safe_load(file)
    except yaml.YAMLError as error:
        raise Malformed(f"{name}: {error}") from error


class Rows:
    """All rows in the order of their files, and the messages that they expect."""

    def __init__(self):
        self.compares_texts = True
        self.messages = read_yaml("messages.yaml")
        self.rows = []
        for path in sorted(glob.glob(os.path.join(FOLDER, "[0-9]*.yaml"))):
            name = os.path.basename(path)
            self.rows += [row_of(name, row) for row in read_yaml(name)]
        for view, columns in read_yaml("columns.yaml").items():
            self.rows += [row_of("columns.yaml", column_row(view, name, column))
                          for name, column in columns.items()]
            self.rows += [row_of("columns.yaml", absence_row(view, name, column["since"]))
                          for name, column in columns.items()
                          if isinstance(column, dict) and column.get("since", 0) > OLDEST]
        self.rows += [row_of("messages.yaml", message_row(number, message))
                      for number, message in self.messages.items()]
        self.check()

    @staticmethod
    def digest():
        """Names these very rows, so that a report can be told from one of other rows."""
        digest = hashlib.sha256()
        for path in sorted(glob.glob(os.path.join(FOLDER, "*.yaml"))):
            with open(path, "rb") as file:
                digest.update(file.read())
        return digest.hexdigest()[:16]

    def check(self):
        seen = set()
        for row in self.rows:
            if row["id"] in seen:
                raise Malformed(f"two rows are named {row['id']}")
            seen.add(row["id"])
            for step in row["steps"]:
                for expected in step["alternatives"].values():
                    for error in expected.get("errors", []):
                        if number_of(error) not in self.messages:
                            raise Malformed(f"{row['id']}: messages.yaml has no"
                                            f" {number_of(error)}")

    def matches(self, expected, got):
        """Whether an answer is the expected one."""
        if "errors" in expected:
            return "errors" in got and self.errors_match(expected["errors"], got["errors"])
        if "done" in expected:
            return got == {"done": True}
        if "closed" in expected:
            return "unreachable" in got
        return ("columns" in got and columns_match(expected["columns"], got["columns"])
                and rows_match(expected, got["rows"]))

    def errors_match(self, expected, got):
        """Numbers, classes and texts. Of a refused login only the last number is known. Texts
        only of a server that speaks English: escrowd itself depends on none."""
        texts = [self.text_of(error) for error in expected]
        last, answer = expected[-1], got[-1]
        if number_of(last) != answer["number"] or self.class_of(last) != answer["class"]:
            return False
        if isinstance(last, dict) and last.get("state", answer["state"]) != answer["state"]:
            return False
        if len(got) > 1 and [error["number"] for error in got] != [
                number_of(error) for error in expected]:
            return False
        return not self.compares_texts or template(" ".join(texts)).fullmatch(
            " ".join(error["text"] for error in got)) is not None

    def class_of(self, error):
        message = self.messages[number_of(error)]
        return message.get("raised_class", message["severity"])

    def text_of(self, error):
        text = self.messages[number_of(error)]["text"]
        return error.get("text", text) if isinstance(error, dict) else text

    def expected_error(self, error):
        """An expected error in the form of an answer, for the report."""
        result = {"number": number_of(error), "class": self.class_of(error),
                  "text": self.text_of(error)}
        if isinstance(error, dict) and "state" in error:
            result["state"] = error["state"]
        return result


def number_of(error):
    return error["number"] if isinstance(error, dict) else error


# %.*ls, %S_MSG, %d, ... of sys.messages; %1 of a model that keeps its texts filled in.
PLACEHOLDER = re.compile(r"%(?:\.?\*?l?s|S_MSG|\.\*S_MSG|[diu]|ld|x|[0-9])")


def template(text):
    """A text of sys.messages as an expression: each placeholder stands for any text, or none."""
    return re.compile("(?:.*?)".join(re.escape(part) for part in PLACEHOLDER.split(text)),
                      re.DOTALL)


def columns_match(expected, got):
    """"name type" each; several types that are all right are separated by |."""
    return len(expected) == len(got) and all(
        wanted.split()[0] == column.split()[0]
        and column.split()[1] in wanted.split()[1].split("|")
        for wanted, column in zip(expected, got))


def value_matches(expected, got):
    if expected == "any or null":
        return True
    if got is None or not isinstance(expected, str):
        return type(expected) is type(got) and expected == got
    if expected == "any":
        return True
    if expected == "> 0":
        return isinstance(got, int) and got > 0
    if expected.startswith("template "):
        return template(expected[len("template "):]).fullmatch(got) is not None
    if expected.startswith("~ "):
        return re.fullmatch(expected[2:], str(got)) is not None
    return expected == got


def rows_match(expected, got):
    if "rows" not in expected:
        return True
    return len(got) == len(expected["rows"]) and all(
        len(wanted) == len(row) and all(map(value_matches, wanted, row))
        for wanted, row in zip(expected["rows"], got))
