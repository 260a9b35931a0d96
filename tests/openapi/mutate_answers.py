#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""mutate_answers.py DOCUMENT <LINES: whether check_answers would see a fault, in lines that have none.

Alters each line in every place: a member less, a member more, a value of another kind; also within
what a JWS decodes to, in every line of the log, in requests and headers. Prints what was taken
although it should not have been; exit status 1 if there was one, or no line."""
import base64
import copy
import json
import re
import sys

import check_answers
import openapi_document

JWS = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{86}")
# Members that may be missing (of a problem).
OPTIONAL = {"detail"}
# Members that records of before do not have.
NEWER = {"settles"}


class Jws:
    """A compact JWS, unfolded."""

    def __init__(self, text):
        self.signature = text.rsplit(".", 1)[1]
        self.parts = openapi_document.decode("application/jose", text)

    def fold(self):
        parts = [json.dumps(part).encode() for part in self.parts]
        texts = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts]
        return ".".join(texts + [self.signature])


def unfold(value):
    if isinstance(value, dict):
        return {name: unfold(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [unfold(inner) for inner in value]
    if isinstance(value, str) and JWS.fullmatch(value):
        unfolded = Jws(value)
        unfolded.parts = unfold(unfolded.parts)
        return unfolded
    return value


def fold(value):
    if isinstance(value, dict):
        return {name: fold(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [fold(inner) for inner in value]
    if isinstance(value, Jws):
        value.parts = fold(value.parts)
        return value.fold()
    return value


def mutations(value, place, put):
    """Yields (place, what) with value altered there; puts back what it altered."""
    if isinstance(value, Jws):
        yield from mutations(value.parts[0], f"{place}/header", None)
        yield from mutations(value.parts[1], f"{place}/payload", None)
    elif isinstance(value, dict):
        for name in list(value):
            inner = value.pop(name)
            may_miss = name in NEWER or name in OPTIONAL and "code" in value
            if not (may_miss or place.endswith("/detail/hints")):
                yield f"{place}/{name}", "is missing"
            value[name] = inner
            # A publish act may carry what is no roster: it is refused for that only later.
            if name != "roster" or "approvals" not in value or inner is None:
                yield from mutations(
                    inner, f"{place}/{name}", lambda new, name=name: value.update({name: new})
                )
        value["surplus"] = 1
        yield f"{place}/surplus", "is there"
        del value["surplus"]
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from mutations(
                inner, f"{place}/{index}", lambda new, i=index: value.__setitem__(i, new)
            )
    if put:
        for other in ([[]], "\n"):
            put(other)
            yield place, f"is {other!r}"
            put(value)


def altered_bodies(answer):
    """A line of the log at a time."""
    lines = answer["content_type"] == "application/x-ndjson"
    for text in answer["body"].splitlines(keepends=True) if lines else [answer["body"]]:
        body = unfold(openapi_document.parse_json(text))
        for place, what in mutations(body, "", None):
            # fold() writes into what it is given.
            other = json.dumps(fold(copy.deepcopy(body))) + ("\n" if lines else "")
            yield f"body{place} {what}", dict(answer, body=other)


def altered(answer):
    """Every altered form of a line of check_answers."""
    yield from altered_bodies(answer)
    yield "body is not JSON", dict(answer, body="{")
    if answer.get("request"):
        request = unfold(openapi_document.parse_json(answer["request"]))
        for place, what in mutations(request, "", None):
            text = json.dumps(fold(copy.deepcopy(request)))
            yield f"request{place} {what}", dict(answer, request=text)
    for name in set(answer.get("headers", {})) & {"retry-after", "allow", "connection"}:
        headers = {key: value for key, value in answer["headers"].items() if key != name}
        yield f"header {name} is missing", dict(answer, headers=headers)
        yield f"header {name} is 'x'", dict(answer, headers=dict(headers, **{name: "x"}))
    yield "status is 299", dict(answer, status=299)
    yield "content type is text/plain", dict(answer, content_type="text/plain")


def main():
    document = openapi_document.Document(sys.argv[1])
    tried = taken = 0
    for number, line in enumerate(sys.stdin, 1):
        answer = openapi_document.parse_json(line)
        for what, other in altered(answer):
            tried += 1
            if not any(check_answers.answer_errors(document, other)):
                taken += 1
                place = f"{answer['method']} {answer['path']} {answer['status']}"
                print(f"line {number}: {place}: taken although {what}")
    print(f"{tried} mutations, {taken} taken")
    return 1 if taken or not tried else 0


if __name__ == "__main__":
    sys.exit(main())
