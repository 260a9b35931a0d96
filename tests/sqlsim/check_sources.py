#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Every tag that tests/sqlsim and tests/conformance cite is in tests/sqlsim/SOURCES.md.

    check_sources.py [PAGE]

Run in the source tree. Prints TAP: a line for each tag that is cited, and one for each source that
a tag of the page names.
"""
import pathlib
import re
import sys

TAG = r"\d{1,2}(?:\.\d{1,2})?"
TAGS = rf"{TAG}(?:, {TAG})*"
ROW = re.compile(rf"^\| ({TAG}) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
SOURCE = re.compile(r"^\| ([A-Z][A-Za-z0-9]+) \| .+ \|$", re.MULTILINE)
NAME = re.compile(r"\b[A-Z][A-Z0-9]{2,}\b")
# In a comment, which may go on in the next line of it.
COMMENT = re.compile(rf"(?:sqlserver-facts|[Ss]ection)[ *\n]+(?:section )?({TAG})\b")
CELL = re.compile(rf'"({TAGS})"')
# The tables whose last column is a source.
TABLES = re.compile(r"(?:statements(?:_\w+)?|switches)\.c$")
YAML = re.compile(r"\bsource: *\"?([^;\n}\"]*)")


def cited_in_c(path, text):
    yield from COMMENT.findall(text)
    if TABLES.search(path.name):
        for cell in CELL.findall(text):
            yield from cell.split(", ")


def cited_in_rows(text):
    """Before the first semicolon; what stands in brackets explains a tag."""
    for source in YAML.findall(text):
        for part in re.sub(r"\([^)]*\)?", "", source).split(","):
            if re.fullmatch(TAG, part.strip()):
                yield part.strip()


def citations():
    """{tag: the first file that cites it}"""
    found = {}
    for path in sorted(pathlib.Path("tests/sqlsim").glob("*.[ch]")):
        for tag in cited_in_c(path, path.read_text(encoding="utf-8")):
            found.setdefault(tag, path)
    for path in sorted(pathlib.Path("tests/conformance/rows").glob("*.yaml")):
        for tag in cited_in_rows(path.read_text(encoding="utf-8")):
            found.setdefault(tag, path)
    return found


def results(page):
    rows = {tag: source for tag, _, source, _ in ROW.findall(page)}
    for tag, path in sorted(citations().items()):
        # A whole section: one of its tags, or its heading.
        yield tag in rows or f"\n## {tag}. " in page, f"{tag}, cited by {path}"
    sources = SOURCE.findall(page)
    for tag, text in rows.items():
        for name in NAME.findall(re.sub(r"`[^`]*`", "", text)):
            known = name in sources or re.fullmatch(r"ERR\d+", name)
            yield bool(known), f"source {name} of {tag}"


def main():
    page = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/sqlsim/SOURCES.md")
    bad = False
    for number, (good, text) in enumerate(results(page.read_text(encoding="utf-8")), 1):
        print(f"{'ok' if good else 'not ok'} {number} - {text}")
        bad |= not good
    return bad


if __name__ == "__main__":
    sys.exit(main())
