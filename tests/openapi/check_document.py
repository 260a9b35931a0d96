#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""check_document.py DOCUMENT FACTS ROUTES: whether the API description is a sound OpenAPI 3.1
document and says what the code says.

FACTS is what openapi_facts prints (reasons, words and limits of libescrow), ROUTES the C source with
the table of routes. Prints each fault; exit status 1 if there was one."""
import os
import re
import sys

import openapi_document
from jsonschema import Draft202012Validator, RefResolver

KEYWORDS = set(
    "$ref type enum const description examples format pattern minLength maxLength minimum maximum"
    " properties required additionalProperties unevaluatedProperties propertyNames minProperties"
    " items prefixItems minItems maxItems uniqueItems allOf anyOf oneOf if then default"
    " contentMediaType contentSchema x-status".split()
)
ONE_SCHEMA = ("items", "additionalProperties", "propertyNames", "contentSchema", "if", "then")
SCHEMA_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
# Not part of an operation: what a request gets that is not of one.
BESIDE_OPERATIONS = {
    f"#/components/responses/{name}" for name in ("NoSuchPath", "MethodNotAllowed", "NotHttp")
}


def schemas_of(value, place):
    """Every Schema Object below a place of the document that is none itself."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "schema":
                yield from subschemas(inner, f"{place}/{key}")
            elif key == "schemas":
                for name, schema in inner.items():
                    yield from subschemas(schema, f"{place}/schemas/{name}")
            else:
                yield from schemas_of(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from schemas_of(inner, f"{place}/{index}")


def subschemas(schema, place):
    if not isinstance(schema, dict):
        return
    yield schema, place
    for key in ONE_SCHEMA:
        if key in schema:
            yield from subschemas(schema[key], f"{place}/{key}")
    for key in SCHEMA_LISTS:
        for index, inner in enumerate(schema.get(key, [])):
            yield from subschemas(inner, f"{place}/{key}/{index}")
    for name, inner in schema.get("properties", {}).items():
        yield from subschemas(inner, f"{place}/properties/{name}")


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def form_faults(document):
    metaschema = openapi_document.load(
        os.path.join(os.path.dirname(__file__), "openapi-3.1.yaml")
    )
    validator = Draft202012Validator(metaschema, resolver=RefResolver("", metaschema))
    for error in validator.iter_errors(document.root):
        yield f"{'/'.join(str(step) for step in error.absolute_path)}: {error.message[:300]}"


def schema_faults(document):
    for schema, place in schemas_of(document.root, "#"):
        for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
            yield f"{place}: not a JSON Schema: {error.message[:300]}"
        for keyword in sorted(set(schema) - KEYWORDS):
            yield f"{place}: the keyword {keyword} is not used here"
        for name in sorted(set(schema.get("required", [])) - set(schema.get("properties", {}))):
            yield f"{place}: {name} is required and not described"
        if schema.get("type") == "object" and not (
            "additionalProperties" in schema or "unevaluatedProperties" in schema
        ):
            yield f"{place}: an object that is open to unknown members"
        if "pattern" in schema:
            re.compile(schema["pattern"])


def example_faults(document):
    for schema, place in schemas_of(document.root, "#"):
        for example in schema.get("examples", []):
            for error in document.errors(example, schema):
                yield f"{place}: the example is none: {error}"


def reference_faults(document):
    """Every reference leads somewhere, and every component is led to."""
    waiting = [document.root["paths"]]
    reached = set()
    for name in BESIDE_OPERATIONS:
        waiting.append({"$ref": name})
    while waiting:
        for name in references(waiting.pop()):
            if name in reached:
                continue
            reached.add(name)
            try:
                waiting.append(document.resolve({"$ref": name}))
            except Exception:
                yield f"{name} leads nowhere"
    for kind in ("schemas", "responses", "headers"):
        for name in document.root["components"][kind]:
            if f"#/components/{kind}/{name}" not in reached:
                yield f"#/components/{kind}/{name} is used nowhere"


def operation_faults(document):
    seen = set()
    tags = {tag["name"] for tag in document.root["tags"]}
    for method, path, operation in document.operations():
        place = f"{method} {path}"
        if operation["operationId"] in seen:
            yield f"{place}: its operationId stands there twice"
        seen.add(operation["operationId"])
        if not set(operation["tags"]) <= tags:
            yield f"{place}: a tag that is not described"
        for status, response in operation["responses"].items():
            response = document.resolve(response)
            if status == "503" and "Retry-After" not in response.get("headers", {}):
                yield f"{place}: {status} without Retry-After"
            if int(status) >= 400 and "application/problem+json" not in response["content"]:
                yield f"{place}: {status} without a problem"
    names = {name for item in document.root["security"] for name in item}
    if names != set(document.root["components"]["securitySchemes"]):
        yield "security does not name the security schemes"


def compare(what, ours, theirs):
    for item in sorted(set(ours) - set(theirs), key=str):
        yield f"{what}: {item} is in the document only"
    for item in sorted(set(theirs) - set(ours), key=str):
        yield f"{what}: {item} is not in the document"


def reason_faults(document, facts):
    """The sets of codes by status, with the sentence of each."""
    ours = set()
    schemas = document.root["components"]["schemas"]
    for name, schema in schemas.items():
        if "x-status" not in schema:
            continue
        text = " ".join(schema["description"].split())
        told = dict(re.findall(r"- `(\w+)`: (.*?)(?= - `|$)", text))
        yield from compare(f"{name}, description", told, schema["enum"])
        ours |= {(code, schema["x-status"], told.get(code)) for code in schema["enum"]}
        if {"$ref": f"#/components/schemas/{name}"} not in schemas["ReasonCode"]["anyOf"]:
            yield f"ReasonCode does not hold {name}"
    theirs = {(item["code"], item["status"], item["text"]) for item in facts["reasons"]}
    yield from compare("reason", ours, theirs)


def fact_faults(document, facts):
    """Words and limits that stand in the document and in a header of libescrow."""
    for kind in ("words", "limits"):
        for place, theirs in facts[kind].items():
            ours = document.root["components"]["schemas"]
            for step in place.split("/"):
                ours = ours[step]
            if kind == "words":
                yield from compare(place, [word for word in ours if word], theirs)
            elif ours != theirs:
                yield f"{place} is {ours}, in the code {theirs}"


def route_faults(document, source):
    """Methods, paths and parameters, from the table in front's source."""
    with open(source, encoding="utf-8") as file:
        text = file.read()
    theirs = re.findall(r'\{"([^"]+)", EVHTTP_REQ_(\w+), ROUTE_', text)
    ours = [(path, method) for method, path, _ in document.operations()]
    yield from compare("route", ours, theirs)
    theirs = re.findall(r'\{"(\w+)", \d+, \w+, \d+\}', text)
    ours = [item["name"] for _, _, op in document.operations() for item in op.get("parameters", [])]
    yield from compare("parameter", ours, theirs)


def main():
    document = openapi_document.Document(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as file:
        facts = openapi_document.parse_json(file.read())
    # Each kind of check relies on what the one before has seen.
    faults = list(form_faults(document))
    if not faults:
        faults += schema_faults(document)
        faults += reference_faults(document)
    if not faults:
        faults += example_faults(document)
        faults += operation_faults(document)
        faults += reason_faults(document, facts)
        faults += fact_faults(document, facts)
        faults += route_faults(document, sys.argv[3])
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
