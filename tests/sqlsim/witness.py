#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client that nobody here wrote (python3-tds) against sqlsim.

witness.py PORT LOGIN PASSWORD [--ca FILE] [--login-only] [--database NAME] STATEMENT...
Prints one JSON line per statement: {"columns": [...], "rows": [[...]]} or {"error": N, "text": ...}.
Without statements it reads them from standard input, one a line, and first prints {"ready": true}.
"""
import argparse
import json
import sys

import pytds


def run(cursor, statement):
    try:
        cursor.execute(statement)
        if cursor.description is None:
            return {"columns": [], "rows": []}
        names = [column[0] for column in cursor.description]
        return {"columns": names, "rows": [list(row) for row in cursor.fetchall()]}
    except (pytds.Error, OSError) as error:
        return {"error": getattr(error, "number", None), "text": str(error)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("login")
    parser.add_argument("password")
    parser.add_argument("--ca")
    parser.add_argument("--login-only", action="store_true")
    parser.add_argument("--database")
    parser.add_argument("--parameter", help="of the one statement, which then goes as an RPC")
    parser.add_argument("statements", nargs="*")
    options = parser.parse_intermixed_args()
    try:
        connection = pytds.connect(
            dsn="localhost", port=options.port, user=options.login, password=options.password,
            database=options.database, autocommit=True, cafile=options.ca, timeout=10,
            login_timeout=10, enc_login_only=options.login_only, disable_connect_retry=True)
    except Exception as error:  # every refusal is an answer here
        print(json.dumps({"error": getattr(error, "number", None), "text": str(error)}))
        sys.exit(1)
    cursor = connection.cursor()
    if options.parameter:
        try:
            cursor.execute(options.statements.pop(), (options.parameter,))
        except pytds.Error as error:
            print(json.dumps({"error": error.number, "text": str(error)}))
    elif not options.statements:
        print(json.dumps({"ready": True}), flush=True)
        options.statements = map(str.strip, iter(sys.stdin.readline, ""))
    for statement in options.statements:
        print(json.dumps(run(cursor, statement), default=str), flush=True)


main()
