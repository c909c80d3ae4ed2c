# SPDX-License-Identifier: MIT
"""A well-behaved client beside hostile ones: its latency with and without them, and what they make the server hold.

An attack is a row of ATTACKS. For each round it gets a server of its own with the default memory limit. The client runs
alone first, and again while the attack holds, on the CPU that the server does not have where there are two. Lines are
in Go's format: the client's requests, its p99, and the server's most resident memory so far.
"""

import os
import signal
import time
from collections import namedtuple
from pathlib import Path

import machine
from goformat import Line
from loads import H3load, Load
from processes import Failure, Server

ROUNDS = 3
WATCHED = Load("/data", clients=10, streams=1, threads=1, duration_s=1.0)
RUN_S, BEGIN_S, REST_S, SIGNALS_APART_S = 30, 30, 1.0, 0.1

# A load that is stopped, as by SIGSTOP, once all its clients have requests: from then on nobody reads what they asked
# for, and nobody acknowledges it.
Attack = namedtuple("Attack", "name load")
ATTACKS = (Attack("never-reading", Load("/data/10M", clients=500, streams=100, threads=1, requests=50000)),)


def watched(bench, client, server, cpus, what):
    """One run of the well-behaved client, as a Line."""
    report = bench.scratch / "beside.json"
    ended = bench.children.run(client.command(WATCHED, server.url, bench.options.certs / "ca.pem", report), cpus, RUN_S)
    result = client.result(WATCHED, ended, report)
    figures = {"p99-us": f"{result.latency_us['p99']:.1f}", "rss-peak-B": str(server.memory("VmHWM"))}
    return Line(f"BenchmarkBeside/attack={what}", str(result.done), figures)


def all_asked(server, load):
    """Every client has a connection, and there are as many requests."""
    table = server.pools()
    return table["conn"]["live"] >= load.clients and table["request"]["live"] >= load.clients


def begin(bench, attack, client, server, cpus):
    """Starts an attack and stops its process when all of it is under way."""
    command = client.command(attack.load, server.url, bench.options.certs / "ca.pem", bench.scratch / "attack.json")
    with open(os.devnull, "wb") as null:
        process = bench.children.start(command, cpus, stdout=null, stderr=null)
    deadline = time.monotonic() + BEGIN_S
    while not all_asked(server, attack.load):
        if process.poll() is not None or time.monotonic() > deadline:
            bench.children.kill(process)
            raise Failure(f"{attack.name}: {attack.load.clients} clients were never there at the same time")
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    time.sleep(REST_S)
    return process


def one_round(bench, attack):
    """Lines of the client alone and beside the attack."""
    client, pinning = H3load(bench.options.build / "h3load"), machine.choose_pinning(os.sched_getaffinity(0))
    with Server(bench.children, bench.options.build / "h3pool", bench.options.certs, pinning.server) as server:
        alone = watched(bench, client, server, pinning.load, f"{attack.name}/clients=0")
        process = begin(bench, attack, client, server, pinning.load)
        try:
            beside = watched(bench, client, server, pinning.load, f"{attack.name}/clients={attack.load.clients}")
            held = server.pools()["conn"]["live"]
        finally:
            bench.children.kill(process)
        server.process.terminate()  # it would wait for those that are gone; the second signal, at the end, is a stop
        time.sleep(SIGNALS_APART_S)
        if held < attack.load.clients:
            raise Failure(f"{attack.name}: only {held} of {attack.load.clients} clients were there to the end")
    return [alone, beside]


def programs(build):
    """Those that are missing."""
    return [name for name in ("h3load", "h3pool") if not os.access(Path(build) / name, os.X_OK)]


def run(bench, attack):
    """Lines of all rounds of an attack."""
    missing = programs(bench.options.build)
    if missing:
        raise Failure(f"{attack.name}: not built: {', '.join(missing)}")
    return [line for _ in range(ROUNDS) for line in one_round(bench, attack)]
