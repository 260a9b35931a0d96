#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads metrics as Prometheus' own client library does and holds them to its conventions: prints
what is wrong; with names of samples as arguments ('name' or 'name{label="value"}') their values."""

import re
import sys

from prometheus_client.parser import text_string_to_metric_families

UNITS = ("_total", "_seconds", "_bytes", "_info", "_timestamp_seconds")
# Gauges that count things: no unit.
PLAIN = {
    "ready", "check_status", "keeper_up", "prober_up", "connections_open", "front_open_fds",
    "keeper_open_fds", "audit_last_sequence", "secret_versions", "secret_versions_unimported",
    "grants_unsettled", "approvals_pending", "group_epoch", "alerts_waiting",
    "releases_waiting", "releases_under_way", "tpm_warm_up_left",
}  # fmt: skip


def faults(text, families):
    names = [family.name for family in families]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name} comes twice"
    for family in families:
        full = family.name + ("_total" if family.type == "counter" else "")
        if not full.startswith("escrowd_") or not family.documentation.strip():
            yield f"{full} has no prefix or no help"
        if not full.endswith(UNITS) and full.removeprefix("escrowd_") not in PLAIN:
            yield f"{full} has no unit"
        if family.type == "unknown" or f"# TYPE {full} " not in text:
            yield f"{full} has no type"
        seen = set()
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in seen:
                yield f"{key} comes twice"
            seen.add(key)
            for value in sample.labels.values():
                if not re.fullmatch(r"[a-zA-Z0-9_.+]+", value):
                    yield f"{sample.name} has the label {value!r}"
            if sample.value < 0:
                yield f"{sample.name} is negative"
        if family.type == "histogram":
            yield from histogram_faults(family)


def histogram_faults(family):
    last = {}
    for sample in family.samples:
        key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        if sample.name.endswith("_bucket"):
            if sample.value < last.get(key, 0):
                yield f"{family.name}: buckets are not cumulative"
            last[key] = sample.value
        elif sample.name.endswith("_count") and sample.value != last[key]:
            yield f"{family.name}: the count is not that of the last bucket"


def main():
    text = sys.stdin.read()
    families = list(text_string_to_metric_families(text))
    wrong = list(faults(text, families)) or ([] if families else ["nothing"])
    print("\n".join(wrong), end="\n" if wrong else "")
    values = {}
    for family in families:
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            name = sample.name.removeprefix("escrowd_")
            values[name + (f"{{{labels}}}" if labels else "")] = sample.value
    for name in sys.argv[1:]:
        value = values.get(name)
        print("none" if value is None else f"{value:g}")
    return 1 if wrong else 0


sys.exit(main())
