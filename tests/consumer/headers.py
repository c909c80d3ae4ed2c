#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""headers.py exported|documented FOLDER: what the public headers in a folder declare, a name a line.

exported: functions and data that a program links with, whether or not they are marked for export.
documented: functions and function-like macros for callers, inlined ones too: all that is not marked as internal.
"""
import os
import re
import sys

NAME = re.compile(r"\b(hp_\w+)\s*(?=[(;\[])")


def declarations(text):
    """Each declaration outside of braces, with the comment before it; bodies and members are left out. An empty line
    and the heading of a section come as comments without a declaration."""
    depth, start, comment = 0, 0, ""
    for match in re.finditer(r"/\*.*?\*/|\n\n|[{};]", text, re.S):
        token = match.group(0)
        if token.startswith("/* ---"):
            start = match.end()
            yield "", token
        elif token[0] == "/" and depth == 0 and not text[start:match.start()].strip():
            comment, start = token, match.end()
        elif token == "\n\n" and depth == 0:
            yield "", token
        elif token == "{":
            if depth == 0:
                yield text[start:match.start()].strip(), comment
            depth += 1
        elif token == "}":
            depth -= 1
            start, comment = match.end(), ""
        elif token == ";" and depth == 0:
            yield text[start:match.start()].strip() + ";", comment
            start, comment = match.end(), ""


def names(path, wanted):
    """The names of one header. Internal is what a section or a comment says so of, up to the next empty line."""
    text = re.sub(r"\\\n", " ", open(path, encoding="utf-8").read())
    macros = re.findall(r"(?m)^#define (HP_\w+)\(", text)
    text = re.sub(r"(?m)^ *#.*$|^#.*$", "", text)
    section = internal = False
    for declaration, comment in declarations(text):
        if not declaration:
            internal = False
            section = "internal" in comment if comment.startswith("/*") else section
            continue
        internal = internal or bool(re.match(r"/\* ?internal", comment))
        match = NAME.search(declaration)
        if not match or re.match(r"(struct|enum|union) \w+;?$", declaration):
            continue
        inlined = declaration.startswith("static")
        if wanted == "exported" and not inlined or wanted == "documented" and not (section or internal):
            yield match.group(1)
    if wanted == "documented":
        yield from (m for m in macros if m in ("HP_OBJECT_POOL", "HP_COUNTERS"))


def main(wanted, folder):
    found = set()
    for name in sorted(os.listdir(folder)):
        found.update(names(os.path.join(folder, name), wanted))
    print("\n".join(sorted(found)))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("exported", "documented"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
