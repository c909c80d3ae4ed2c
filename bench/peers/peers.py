#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts the same HTTP/3 load on nginx, HAProxy, Caddy and both builds of h3pool, and prints what each costs.

    python3 bench/peers/peers.py [--rounds N] [--duration D] [--only NAMES]

The options' defaults come from ROUNDS, DURATION and PEERS in the environment. The report goes to reports/peers/latest/
as peers.md and peers.json. A peer that can't be had is named and left out. Exit status: 0 all of h3pool was measured,
1 something was not, 2 usage, 77 it can't run here. Needs root, for namespaces.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
sys.path[:0] = [str(CHECKOUT / "bench" / "compare")]

import machine
import measure
import namespace
import peers_report
import ratios
import servers
import workloads
from compare import (EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_USAGE, PROGRAMS, Progress, duration, memory_rounds,
                     missing_programs, rounds)
from figures import Samples
from loads import H3load
from processes import Children, Failure, Server

EXIT_UNAVAILABLE = 77


def peer_names(text):
    """Names of peers, separated by commas or blanks; none: all."""
    known = [peer.name for peer in servers.PEERS]
    names = text.replace(",", " ").split()
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
    return [name for name in known if name in names or not names]


def parse(argv, environment):
    """The options. What is empty in the environment counts as absent."""
    def preset(name, default):
        return environment.get(name) or default

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=rounds, default=preset("ROUNDS", "7"), help="rounds of each server (7)")
    parser.add_argument("--duration", type=duration, default=preset("DURATION", "300ms"), help="of a load (300ms)")
    parser.add_argument("--only", type=peer_names, default=preset("PEERS", ""), metavar="NAMES",
                        help="these peers beside our builds (all)")
    parser.add_argument("--build", type=Path, default=CHECKOUT / "build", help="where the programs are")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "reports" / "peers" / "latest")
    return parser.parse_args(argv)


# --- the servers ------------------------------------------------------------------------------------------------------


def prepare(names):
    """({peer: (root, version)}, {name: why it was left out})."""
    found, absent = {}, {}
    for peer in (p for p in servers.PEERS if p.name in names):
        try:
            root = servers.prepare_root(peer)
            found[peer] = root, servers.version_of(peer, root)
        except (Failure, OSError) as error:
            absent[peer.name] = str(error)
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
    return found, absent


def starters(bench, found):
    """{name: function that starts the server}: a context that gives what measure.Bench.run takes."""
    def ours(program):
        return lambda: Server(bench.children, bench.build_dir / program, bench.certs, bench.pinning.server)

    def theirs(peer, root):
        return lambda: servers.PeerServer(bench.children, peer, root, bench.pinning.server)

    return {**{program: ours(program) for program in ratios.OURS},
            **{peer.name: theirs(peer, root) for peer, (root, _) in found.items()}}


def try_out(bench, start, absent):
    """Starts each peer once; those that do not answer rightly are left out."""
    for name in [name for name in start if name not in ratios.OURS]:
        try:
            with start[name]() as server:
                workloads.warm_up(bench, server)
        except (Failure, OSError) as error:
            absent[name] = f"it does not serve: {error}"
            print(f"{name} is left out: {absent[name]}", file=sys.stderr)
            del start[name]


# --- the run ----------------------------------------------------------------------------------------------------------


def round_order(names, count):
    """The servers forwards, then backwards, and so on, `count` rounds of each."""
    return [name for i in range(count) for name in (list(names) if i % 2 == 0 else list(names)[::-1])]


def measure_all(bench, start, count):
    had, memory = Counter(), memory_rounds(count)
    for i, name in enumerate(round_order(start, count)):
        title = f"round {had[name] + 1} of {count}"
        bench.progress.step(f"{title}, {name}")
        workloads.server_round(bench, name, start[name], title, had[name] in memory)
        had[name] += 1
    bench.progress.end()


def versions_of(options, found, start):
    ours = {name: machine.output_of(options.build / name, "--version") for name in PROGRAMS}
    return {**{name: (text or "unknown").replace("\n", ", ") for name, text in ours.items()},
            **{peer.name: f"{version}, Debian {root.parent.name.removeprefix('peers-')}"
               for peer, (root, version) in found.items() if peer.name in start}}


def run(options, children, scratch):
    """Measures, prints and writes; returns the exit status."""
    found, absent = prepare(options.only)
    described, pinning = machine.describe(), machine.choose_pinning(os.sched_getaffinity(0))
    namespace.enter()
    servers.write_files(scratch, CHECKOUT / "certs")
    for root in {root for root, _ in found.values()}:
        servers.mount_root(root, scratch)
    children.start(servers.files_command(scratch), pinning.load, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    h3load, began = H3load(options.build / "h3load"), time.monotonic()
    bench = measure.Bench(children=children, build_dir=options.build, certs=CHECKOUT / "certs", scratch=scratch,
                          client=h3load, h3load=h3load, pinning=pinning, duration_s=options.duration, extra=(),
                          samples=Samples(), progress=None)
    if pinning.load:
        os.sched_setaffinity(0, pinning.load)  # so that this process does not disturb the server
    start = starters(bench, found)
    try_out(bench, start, absent)
    bench.progress = Progress(options.rounds * len(start))
    measure_all(bench, start, options.rounds)
    rows = ratios.rows_of(bench.samples, start)
    about = {
        "versions": versions_of(options, found, start),
        "machine": described,
        "commit": machine.git_commit(CHECKOUT) or "unknown",
        "options": {"rounds": options.rounds, "duration_s": options.duration, "mtu": namespace.MTU,
                    "cipher": workloads.CIPHER, "group": workloads.GROUP, "server_cpus": sorted(pinning.server or []),
                    "load_cpus": sorted(pinning.load or []), "load_threads": pinning.threads},
        "took_s": round(time.monotonic() - began, 1),
    }
    peers_report.publish(options.out, about, rows, list(start), absent, bench.rounds)
    return 0 if ratios.complete(rows) else EXIT_INCOMPLETE


def main():
    options = parse(sys.argv[1:], os.environ)
    missing = missing_programs(options.build)
    if missing:
        print(f"peers: not in {options.build}: {', '.join(missing)}; run: make peers", file=sys.stderr)
        return EXIT_USAGE
    if os.geteuid() != 0:
        print("peers: needs root, for network and mount namespaces; run: sudo make peers", file=sys.stderr)
        return EXIT_UNAVAILABLE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="h3pool-peers-") as scratch, Children() as children:
            return run(options, children, Path(scratch))
    except Failure as error:
        print(f"peers: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE if isinstance(error, namespace.Forbidden) else EXIT_INCOMPLETE
    except KeyboardInterrupt:
        print("\npeers: interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
