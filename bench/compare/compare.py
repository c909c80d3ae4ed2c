#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts real HTTP/3 load on h3pool-unpooled and h3pool, and prints what differs.

    python3 bench/compare/compare.py [--rounds N] [--duration D] [--args 'ARGS'] [--client CLIENT] [--base REPORT]

The options' defaults come from ROUNDS, DURATION, ARGS, CLIENT and BASE in the environment. The report goes to
reports/memory/latest/ as compare.md and compare.json. Exit status: 0 all was measured, 1 something was not, 2 usage.
"""

import argparse
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import machine
import measure
import memory_clock
import report
from figures import BUILDS, Samples, complete, rows_of
from h2load import H2load
from loads import H3load
from processes import Children, Failure, Server

CHECKOUT = Path(__file__).resolve().parents[2]
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)?")
UNITS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, None: 1, "m": 60, "h": 3600}
OURS = re.compile(r"-[nD]|--(requests|duration|json|pid|churn|hold|output-file)\b")
EXIT_INCOMPLETE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
PROGRAMS = ("h3pool", "h3pool-unpooled", "h3load")
MEMORY_ROUNDS = 3  # of each build: they take longer than all else
ORDER = ("unpooled", "pooled", "pooled", "unpooled")


# --- options ----------------------------------------------------------------------------------------------------------


def duration(text):
    """Seconds of a DURATION such as 500ms."""
    match = DURATION.fullmatch(text)
    seconds = float(match[1]) * UNITS_S[match[2]] if match else 0
    if not 0.05 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration between 50ms and 1h")
    return seconds


def rounds(text):
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is no number between 1 and 1000")
    return int(text)


def load_args(text):
    """The words of ARGS, none of which may take from the comparison what it needs."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}': {error}") from None
    for word in words:
        if OURS.match(word):
            raise argparse.ArgumentTypeError(f"'{word}' is set by the comparison; ROUNDS and DURATION say how much")
    return tuple(words)


def base_report(path):
    """An earlier report."""
    try:
        base = json.loads(Path(path).read_text())
        if not isinstance(base.get("figures"), list):
            raise ValueError("no figures in it")
        return {**base, "path": path}
    except (OSError, ValueError, AttributeError) as error:
        raise argparse.ArgumentTypeError(f"'{path}' is no report of make compare: {error}") from None


def parse(argv, environment):
    """The options. What is empty in the environment counts as absent."""
    def preset(name, default):
        return environment.get(name) or default

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=rounds, default=preset("ROUNDS", "13"), help="rounds of each build (13)")
    parser.add_argument("--duration", type=duration, default=preset("DURATION", "250ms"),
                        help="of a measurement (250ms)")
    parser.add_argument("--args", type=load_args, default=preset("ARGS", ""), help="more options for the load")
    parser.add_argument("--client", choices=("h3load", "h2load"), default=preset("CLIENT", "h3load"))
    parser.add_argument("--base", type=base_report, default=preset("BASE", None), metavar="REPORT",
                        help="an earlier compare.json to compare with")
    parser.add_argument("--build", type=Path, default=CHECKOUT / "build", help="where the programs are")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "reports" / "memory" / "latest")
    options = parser.parse_args(argv)
    if options.client not in ("h3load", "h2load"):  # argparse does not check what came from the environment
        parser.error(f"CLIENT: '{options.client}' is neither h3load nor h2load")
    return options


# --- progress ---------------------------------------------------------------------------------------------------------


class Progress:
    """One line on a terminal that is written over; a line per step elsewhere."""

    def __init__(self, steps, to=sys.stderr):
        self.steps, self.done, self.to, self.began = steps, 0, to, time.monotonic()

    def step(self, text):
        self.done += 1
        line = f"[{self.done}/{self.steps}] {time.monotonic() - self.began:4.0f} s  {text}"
        self.to.write(f"\r\033[K{line}" if self.to.isatty() else line + "\n")
        self.to.flush()

    def end(self):
        if self.to.isatty():
            self.to.write("\r\033[K")
            self.to.flush()


# --- the run ----------------------------------------------------------------------------------------------------------


def round_order(count):
    """The builds in the order A B B A A B B A ..., `count` rounds of each."""
    return [ORDER[i % len(ORDER)] for i in range(2 * count)]


def missing_programs(build):
    return [name for name in PROGRAMS if not os.access(build / name, os.X_OK)]


def choose_client(options, children):
    """The client; an h2load has to show on a server that it has HTTP/3."""
    h3load = H3load(options.build / "h3load")
    if options.client == "h3load":
        return h3load, h3load
    client = H2load(children)
    with Server(children, options.build / "h3pool", CHECKOUT / "certs", None) as server:
        client.probe(children, server.url)
    return client, h3load


def memory_rounds(count):
    """Of `count` rounds of a build those in which memory, and the time for its management, are measured, too: at most
    MEMORY_ROUNDS, spread evenly, as a machine that others share is slower for some seconds and faster for others."""
    return range(0, count, -(-count // MEMORY_ROUNDS))


def measure_all(bench, count):
    """All rounds: counted ones first, then the timed ones, and the memory clock's among them."""
    for build in BUILDS:
        bench.progress.step(f"counting allocations, {build}")
        measure.count_round(bench, build)
    had = Counter()
    for i, build in enumerate(round_order(count)):
        name = f"round {i + 1} of {2 * count}"
        bench.progress.step(f"{name}, {build}")
        memory = had[build] in memory_rounds(count)
        measure.timed_round(bench, build, name, memory)
        if memory:
            memory_clock.clock_round(bench, build, f"the memory clock's round after {name}")
        had[build] += 1
    bench.progress.end()


def versions(options, client):
    """What each part says of itself."""
    found = {name: machine.output_of(options.build / name, "--version") for name in PROGRAMS}
    if client.name == "h2load":
        found["h2load"] = client.version
    return {name: text.replace("\n", ", ") if text else "unknown" for name, text in found.items()}


def run(options, children, scratch):
    """Measures, prints and writes; returns the exit status."""
    described, pinning = machine.describe(), machine.choose_pinning(os.sched_getaffinity(0))
    client, h3load = choose_client(options, children)
    began = time.monotonic()
    bench = measure.Bench(children=children, build_dir=options.build, certs=CHECKOUT / "certs", scratch=scratch,
                          client=client, h3load=h3load, pinning=pinning, duration_s=options.duration,
                          extra=options.args, samples=Samples(), progress=Progress(2 + 2 * options.rounds))
    if pinning.load:
        os.sched_setaffinity(0, pinning.load)  # so that this process does not disturb the server
    measure_all(bench, options.rounds)
    rows = rows_of(bench.samples)
    about = {
        "versions": versions(options, client),
        "machine": described,
        "commit": machine.git_commit(CHECKOUT) or "unknown",
        "options": {"rounds": options.rounds, "duration_s": options.duration, "args": list(options.args),
                    "client": client.name, "server_cpus": sorted(pinning.server or []),
                    "load_cpus": sorted(pinning.load or []), "load_threads": pinning.threads},
        "took_s": round(time.monotonic() - began, 1),
    }
    report.publish(options.out, about, rows, bench.rounds, options.base)
    return 0 if complete(rows) else EXIT_INCOMPLETE


def main():
    options = parse(sys.argv[1:], os.environ)
    missing = missing_programs(options.build)
    if missing:
        print(f"compare: not in {options.build}: {', '.join(missing)}; run: make compare", file=sys.stderr)
        return EXIT_USAGE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="h3pool-compare-") as scratch, Children() as children:
            return run(options, children, Path(scratch))
    except Failure as error:
        print(f"compare: {error}", file=sys.stderr)
        return EXIT_INCOMPLETE
    except KeyboardInterrupt:
        print("\ncompare: interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
