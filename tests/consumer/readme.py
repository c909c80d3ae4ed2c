#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""readme.py README BUILD_FOLDER: what the pool's README shows is so. A C block is the example that is named before it;
what a command prints is what a console block has, addresses and the callers of main aside; each check has a row."""
import os
import re
import subprocess
import sys

SHOWN_FOLDER = "build/pool-only"


def normal(text):
    """Without what differs from run to run, and from machine to machine."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"by (\(mistakes\+0x\) < )*main.*", "by main", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def differs(shown, runs):
    """Prints both if they are not the same."""
    if shown != runs:
        print(f"shown:\n{shown}\nis:\n{runs}")
    return shown != runs


def check_example(readme):
    """C block"""
    path, shown = re.search(r"\(([^)]+\.c)\):\n\n```c\n(.*?)```", readme, re.S).groups()
    with open(os.path.join(os.path.dirname(sys.argv[1]), path), encoding="utf-8") as f:
        text = f.read()
    return differs(shown, text) or len(text.splitlines()) >= 60


def check_commands(readme):
    """console blocks"""
    wrong, count = False, 0
    for block in re.findall(r"```console\n(.*?)```", readme, re.S):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            command = command.replace(SHOWN_FOLDER, sys.argv[2])
            run = subprocess.run(["sh", "-c", f"{command} 2>&1"], stdout=subprocess.PIPE, text=True)
            wrong |= differs(normal(shown), normal(re.sub(r"(?m)^.*Aborted.*\n?", "", run.stdout)))
            count += 1
    return wrong or count < 3


def check_checks(readme):
    """rows of checks"""
    with open(os.path.join(os.path.dirname(sys.argv[1]), "include/h3pool/checks.h"), encoding="utf-8") as f:
        text = f.read()
    names = re.findall(r"(?m)^ \*   ([a-z-]+(?:=N)?)  +\S", text)
    return differs(re.findall(r"(?m)^\| `([a-z-]+(?:=N)?)` \|", readme), [n for n in names if n != "name"])


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        readme = f.read()
    failed = 0
    for check in (check_example, check_commands, check_checks):
        wrong = check(readme)
        failed += wrong
        print(f"{'not ok' if wrong else 'ok'} README: {check.__doc__}")
    return failed != 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main())
