#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""End-to-end tests: a server of its own for every case, driven by clients that share no build with it.

    python3 tests/e2e/run.py --server build/h3pool [--workers N] [--only NAME]... [--list]

Each server's lifetime must end with exit status 0 in time and with nothing live in any pool. The clients (curl and
aioquic) live in the root that tests/support/foreign-root.sh prepares; where it can't be had their cases are skipped.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cases_disclosure  # noqa: F401
import cases_h3load  # noqa: F401
import cases_http  # noqa: F401  (registers its cases)
import cases_memory  # noqa: F401
import cases_process  # noqa: F401
from harness import CASES, CHECKOUT, SUPPORT, UNAVAILABLE, Failure, Seconds, running


def run_case(setup, name):
    """Runs one case; returns what the case has to tell; raises Failure with the end of the server's log attached."""
    function, _, options = CASES[name]
    with tempfile.TemporaryDirectory(prefix="h3pool-e2e-") as directory:
        scratch = Path(directory)
        try:
            if options is None:
                return function(setup, scratch)
            with running(setup, scratch, options) as server:
                return function(server)
        except (Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            log = scratch / "server.log"
            tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
            lines = [f"{type(error).__name__}: {error}"] + [f"    server: {line}" for line in tail]
            raise Failure("\n".join(lines)) from error


def foreign_available():
    status = subprocess.run(["sh", str(SUPPORT / "foreign-root.sh")], stdin=subprocess.DEVNULL).returncode
    if status not in (0, UNAVAILABLE):
        raise SystemExit(f"foreign-root.sh: exit status {status}")
    return status == 0


def run_all(setup, names):
    passed = failed = skipped = 0
    available = any(CASES[name][1] for name in names) and foreign_available()
    for name in names:
        if CASES[name][1] and not available:
            print(f"SKIP {name}: no foreign HTTP/3 clients here", flush=True)
            skipped += 1
            continue
        started = time.monotonic()
        try:
            note = run_case(setup, name)
            passed += 1
            print(f"PASS {name} ({time.monotonic() - started:.1f} s){': ' + note if note else ''}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAIL {name} ({time.monotonic() - started:.1f} s): {failure}", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", type=Path, default=CHECKOUT / "build" / "h3pool")
    parser.add_argument("--certs", type=Path, default=CHECKOUT / "certs", help="directory made by certs/make-certs.sh")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", action="append", choices=CASES, metavar="NAME", help="repeatable")
    parser.add_argument("--skip", action="append", choices=CASES, metavar="NAME", default=[], help="repeatable")
    parser.add_argument("--slow", type=int, default=1, metavar="N", help="the server is N times slower: wait longer")
    parser.add_argument("--list", action="store_true", help="print the cases' names")
    setup = parser.parse_args()
    if setup.list:
        print("\n".join(CASES))
        return 0
    setup.server, setup.certs = setup.server.resolve(), setup.certs.resolve()
    for path in (setup.server, setup.certs / "ca.pem"):
        if not os.path.exists(path):
            parser.error(f"{path} is missing")
    for name in ("start", "stop", "client"):
        setattr(Seconds, name, getattr(Seconds, name) * setup.slow)
    return run_all(setup, [name for name in setup.only or CASES if name not in setup.skip])


if __name__ == "__main__":
    sys.exit(main())
