# SPDX-License-Identifier: Apache-2.0
"""The API description as data: loads it strictly, finds what it says about a request, and validates
values by its schemas. A schema with contentMediaType also holds what the text decodes to: a compact
JWS ([header, payload]) or lines of JSON."""
import base64
import json
import re

import jsonschema
import yaml


# Where libyaml is there, in a tenth of the time.
class StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML without duplicate keys; what looks like a date stays text."""


def _mapping(loader, node, deep=False):
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.YAMLError(f"{key_node.start_mark}: '{key}' stands there twice")
        seen.add(key)
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


def load(path):
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, StrictLoader)


def _no_duplicates(pairs):
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a member stands there twice")
    return value


def parse_json(text):
    return json.loads(text, object_pairs_hook=_no_duplicates)


def base64url(text):
    """Strict: no padding, no other characters, one text for each byte string."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not strict base64url")
    return raw


def decode(media_type, text):
    if media_type == "application/jose":
        header, payload, _ = text.split(".")
        return [parse_json(base64url(part).decode()) for part in (header, payload)]
    if media_type == "application/x-ndjson":
        if text and not text.endswith("\n"):
            raise ValueError("the last line does not end")
        return [parse_json(line) for line in text.split("\n")[:-1]]
    raise ValueError(f"nobody knows how to decode {media_type}")


def _content(validator, schema, instance, parent):
    if not isinstance(instance, str):
        return
    try:
        value = decode(parent.get("contentMediaType"), instance)
    except ValueError as error:
        yield jsonschema.ValidationError(f"does not decode: {error}")
        return
    yield from validator.descend(value, schema)


def _pattern(validator, pattern, instance, schema):
    """JSON Schema's $ is the end; Python's is also before a last line feed."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern}")


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"contentSchema": _content, "pattern": _pattern}
)


class Document:
    def __init__(self, path):
        self.root = load(path)
        self._resolver = jsonschema.RefResolver("", self.root)

    def resolve(self, value):
        """Follows a reference, if it is one."""
        while "$ref" in value:
            value = self._resolver.resolve(value["$ref"])[1]
        return value

    def errors(self, value, schema):
        """What is wrong with a value, a line for each fault; the deepest cause where there is a
        choice of forms."""
        for error in Validator(schema, resolver=self._resolver).iter_errors(value):
            cause = jsonschema.exceptions.best_match([error])
            place = "/".join(str(step) for step in cause.absolute_path)
            yield f"{place or '(whole)'}: {cause.message[:300]}"

    def operations(self):
        for path, item in self.root["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def operation(self, method, path):
        return self.root["paths"].get(path, {}).get(method.lower())

    def response(self, method, path, status):
        """What the document says about this answer; None if it does not know it here."""
        named = self.root["components"]["responses"]
        operation = self.operation(method, path)
        if operation is not None and str(status) in operation["responses"]:
            return self.resolve(operation["responses"][str(status)])
        if status in (400, 413):
            return named["NotHttp"]
        if path not in self.root["paths"]:
            return named["NoSuchPath"] if status == 404 else None
        return named["MethodNotAllowed"] if operation is None and status == 405 else None
