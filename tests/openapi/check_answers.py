#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""check_answers.py DOCUMENT <LINES: holds what an escrowd answered to its API description.

A line is {"method", "path" (with its query), "status", "content_type", "body": text, "headers":
{lower-case name: value}, "request": text}; headers and request may be missing. A request is held to
the document only where the answer says that it was taken (2xx). Prints each fault; ends with the
number of answers for each path and status. Exit status 1 if there was a fault, or no line."""
import collections
import sys
from urllib.parse import urlsplit

import openapi_document

PROBLEM = "application/problem+json"


def body_errors(document, content, content_type, body):
    if content_type not in content:
        yield f"content type {content_type!r} is not one of {sorted(content)}"
        return
    value = body
    if content_type.endswith("json") and content_type != "application/x-ndjson":
        try:
            value = openapi_document.parse_json(body)
        except ValueError as error:
            yield f"the body is not JSON: {error}"
            return
    yield from document.errors(value, content[content_type]["schema"])
    if content_type == PROBLEM and isinstance(value, dict):
        if value.get("type") != f"urn:escrowd:problem:{value.get('code')}":
            yield "type does not belong to code"


def header_errors(document, response, answer):
    if "headers" not in answer:
        return
    for name, header in response.get("headers", {}).items():
        header = document.resolve(header)
        value = answer["headers"].get(name.lower())
        if value is None:
            if header.get("required"):
                yield f"the header {name} is missing"
            continue
        if header["schema"]["type"] == "integer" and value.isdecimal():
            value = int(value)
        for error in document.errors(value, header["schema"]):
            yield f"header {name}: {error}"


def request_errors(document, operation, request):
    for error in body_errors(
        document, operation["requestBody"]["content"], "application/json", request
    ):
        yield f"request: {error}"


def answer_errors(document, answer):
    method, path, status = answer["method"], urlsplit(answer["path"]).path, answer["status"]
    response = document.response(method, path, status)
    if response is None:
        yield f"status {status} with {answer['content_type']} is not in the document"
        return
    yield from header_errors(document, response, answer)
    yield from body_errors(document, response["content"], answer["content_type"], answer["body"])
    operation = document.operation(method, path)
    if status < 300 and answer.get("request") and operation:
        yield from request_errors(document, operation, answer["request"])


def main():
    document = openapi_document.Document(sys.argv[1])
    seen = collections.Counter()
    faults = 0
    for number, line in enumerate(sys.stdin, 1):
        answer = openapi_document.parse_json(line)
        place = f"{answer['method']} {answer['path']} {answer['status']}"
        seen[f"{answer['method']} {urlsplit(answer['path']).path} {answer['status']}"] += 1
        for error in answer_errors(document, answer):
            faults += 1
            print(f"line {number}: {place}: {error}")
    for place, count in sorted(seen.items()):
        print(f"{count:4} {place}")
    return 1 if faults or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
