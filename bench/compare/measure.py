# SPDX-License-Identifier: MIT
"""The measurements. Each takes a Bench and a build, and adds to its samples; what fails is told there, too.

A timed round has a server of its own, so that chance in how its memory lies falls differently each time: the handlers'
benchmark, then load of four kinds; then another server for what connections take. Allocations are counted in rounds of
their own, because the counter, which stands between server and libc, takes time.
"""

import contextlib
import json
import os
import re
import time
from collections import namedtuple
from pathlib import Path

from figures import per_new
from loads import LIMIT_BUSY, Load
from machine import Watch
from processes import Failure, Server, pool_sum

CLIENTS, STREAMS = 10, 32
BIG_STREAMS = 4  # of 64 KiB: few, as those under way at the end are not counted
CHURN_CLIENTS = 4
CHURN_AT_ONCE = 200  # for a client that can only open all connections at once
IDLE = 500
HOLD_S = 20.0  # idle connections are held for at most so long
IDLE_S, POLL_S = 2.5, 0.06  # after which they are idle: workers give memory back when it was free for a while
REFERENCE = 1000  # connections of the reference load
SMALL, TINY, BIG = "/data", "/health", "/data/65536"
WARM_UP_REQUESTS = 3000
RUN_EXTRA_S = 45  # what a run may take beyond its duration
BENCH_TIME, BENCH_S = "30ms", 60

# Of a run with 13 values each the median lies outside another's spread in one of 200 cases, by chance alone; with 4
# values in one of 4.
COUNT_REPEATS = 13
REQUESTS_1, REQUESTS_2 = 1000, 16000
CONNECTIONS_1, CONNECTIONS_2 = 20, 100

LIBC = ("calls_per_request", "bytes_per_request", "gets_per_request", "system_calls_per_1000")
LIBC_CONNECTION = ("calls_per_connection", "kib_per_connection", "gets_per_connection")
TIMED = ("rps", "p50_us", "p99_us", "p999_us", "server_busy", "load_busy", "load_cpu_us", "cpu_us_data",
         "faults_per_1000")
IDLE_KEYS = ("kib_per_idle", "live_kib_per_idle")

# A load that has run: its Result and what the server used meanwhile.
Measured = namedtuple("Measured", "result cpu_s faults")


class Bench:
    """What all measurements share: where things are, the client, the samples, what was observed."""

    def __init__(self, **given):
        self.children = given["children"]
        self.build_dir, self.certs, self.scratch = given["build_dir"], given["certs"], given["scratch"]
        self.client, self.h3load = given["client"], given["h3load"]
        self.pinning, self.duration_s, self.extra = given["pinning"], given["duration_s"], given["extra"]
        self.samples, self.progress = given["samples"], given["progress"]
        self.rounds = []  # {"name", "build", "disturbed": [text], and what else is noted of it}
        self.watch = None

    def program(self, name, build):
        return self.build_dir / (name if build == "pooled" else f"{name}-unpooled")

    def server(self, build, environment=None, program=None):
        program = program or self.program("h3pool", build)
        return Server(self.children, program, self.certs, self.pinning.server, environment)

    @contextlib.contextmanager
    def trying(self, build, keys):
        """A measurement whose failure is noted for its figures, and ends it alone."""
        try:
            yield
        except (Failure, OSError) as error:
            self.samples.fail(build, keys, error)

    @contextlib.contextmanager
    def watched(self, build, name, **noted):
        """A round that is watched for other load; what is noted of it."""
        noted = {"name": name, "build": build, "disturbed": [], **noted}
        self.rounds.append(noted)
        self.watch = Watch(self.pinning)
        try:
            yield noted
        finally:
            noted["disturbed"], noted["paces_us"] = self.watch.stop(), self.watch.paces_us
            self.watch = None

    def run(self, load, server, client=None, meanwhile=None):
        """Runs a load and measures the server; raises Failure if an answer was missing."""
        client = client or self.client
        report = self.scratch / "load.json"
        report.unlink(missing_ok=True)
        command = client.command(load, server.url, self.certs / "ca.pem", report)
        if self.watch:
            self.watch.probe()
        before = server.usage()
        ended = self.children.run(command, self.pinning.load, RUN_EXTRA_S + (load.duration_s or 0), meanwhile)
        after = server.usage()
        if self.watch:
            self.watch.wait_s += after.wait_s - before.wait_s
        return Measured(client.result(load, ended, report), after.cpu_s - before.cpu_s,
                        after.minor_faults - before.minor_faults)

    def load(self, path, clients, streams, **options):
        return Load(path, clients, streams, self.pinning.threads, **options)

    def warm_up(self, server):
        """Everything is touched once: handlers, packet buffers, both sizes of answers."""
        for path, requests in ((SMALL, WARM_UP_REQUESTS), (TINY, WARM_UP_REQUESTS), (BIG, 100)):
            self.run(self.load(path, CLIENTS, STREAMS, requests=requests), server)


# --- handlers ---------------------------------------------------------------------------------------------------------


def parse_bench(text):
    """{benchmark: ns per operation} of a benchmark program's JSON, or of its lines in Go's format."""
    try:
        if text.lstrip().startswith("{"):
            return {b["name"]: float(b["ns_per_op"]) for b in json.loads(text)["benchmarks"]}
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"the benchmarks' JSON is not as expected: {type(error).__name__} {error}") from None
    found = {}
    for name, ns in re.findall(r"^Benchmark(\S+)\s+\d+\s+([\d.]+) ns/op", text, re.M):
        found[re.sub(r"(/pool=\w+)?(-\d+)?$", "", name)] = float(ns)
    return found


def handlers(bench, build):
    """ns per operation of both handlers, in a process of their own on the server's CPU."""
    names = {"HandleHealth": "handle_health_ns", "HandleData": "handle_data_ns"}
    with bench.trying(build, names.values()):
        program = bench.program("bench-handlers", build)
        ended = bench.children.run([program, "-json", "-time", BENCH_TIME, "-bench", f"^({'|'.join(names)})$"],
                                   bench.pinning.server, BENCH_S)
        if ended.status != 0:
            raise Failure(f"{program.name}: exit status {ended.status}")
        measured = parse_bench(ended.out)
        for name, key in names.items():
            if name in measured:
                bench.samples.add(build, **{key: measured[name]})
            else:
                bench.samples.fail(build, [key], f"{program.name} has no {name}")


# --- timed load -------------------------------------------------------------------------------------------------------


def note_limit(bench, what, measured):
    """Remembers whether the load side was the limit."""
    if measured.result.busiest is not None and measured.result.busiest >= LIMIT_BUSY:
        bench.rounds[-1]["load_was_limit"].append(what)


def timed_data(bench, build, server):
    """Rate, latency and what a request costs, on the load that the table is mostly about."""
    with bench.trying(build, TIMED):
        load = bench.load(SMALL, CLIENTS, STREAMS, duration_s=bench.duration_s, extra=bench.extra)
        measured = bench.run(load, server)
        note_limit(bench, "GET " + SMALL, measured)
        result = measured.result
        bench.samples.add(build, rps=result.rps, cpu_us_data=measured.cpu_s * 1e6 / result.done,
                          faults_per_1000=measured.faults * 1e3 / result.done,
                          server_busy=measured.cpu_s / result.duration_s * 100)
        known = {"p50_us": result.latency_us.get("p50"), "p99_us": result.latency_us.get("p99"),
                 "p999_us": result.latency_us.get("p999"),
                 "load_busy": result.busiest * 100 if result.busiest is not None else None,
                 "load_cpu_us": result.load_cpu_s * 1e6 / result.done if result.load_cpu_s is not None else None}
        for key, value in known.items():
            if value is None:
                bench.samples.fail(build, [key], f"{bench.client.name} does not tell")
            else:
                bench.samples.add(build, **{key: value})


def timed_cpu(bench, build, server, key, load):
    """Server CPU per request in microseconds, or None if it could not be measured."""
    with bench.trying(build, [key]):
        measured = bench.run(load, server)
        note_limit(bench, "GET " + load.path, measured)
        return measured.cpu_s * 1e6 / measured.result.done
    return None


def timed_handshakes(bench, build, server, request_us):
    """Server CPU per new connection: of connections with one GET /health each, less that of the requests."""
    key, at_once = "cpu_us_handshake", bench.client.name != "h3load"
    if request_us is None:
        bench.samples.fail(build, [key], "the cost of a request, to be taken off, was not measured")
        return
    amount = {"requests": CHURN_AT_ONCE} if at_once else {"duration_s": bench.duration_s}
    load = bench.load(TINY, CHURN_CLIENTS, 1, churn=True, **amount)
    with bench.trying(build, [key]):
        before = server.pools()["conn"]["gets"]
        measured = bench.run(load, server)
        opened = server.pools()["conn"]["gets"] - before
        note_limit(bench, "GET " + load.path + ", new connections", measured)
        bench.samples.add(build, **{key: per_new(measured.cpu_s * 1e6, measured.result.done, request_us, opened)})


def timed(bench, build):
    """A timed server: four kinds of load, and the most memory that it has had."""
    keys = TIMED + ("cpu_us_health", "cpu_us_64k", "cpu_us_handshake", "rss_peak_mib")
    amount = {"duration_s": bench.duration_s, "extra": bench.extra}
    with bench.trying(build, keys), bench.server(build) as server:
        bench.warm_up(server)
        timed_data(bench, build, server)
        request_us = timed_cpu(bench, build, server, "cpu_us_health", bench.load(TINY, CLIENTS, STREAMS, **amount))
        if request_us is not None:
            bench.samples.add(build, cpu_us_health=request_us)
        big_us = timed_cpu(bench, build, server, "cpu_us_64k", bench.load(BIG, CLIENTS, BIG_STREAMS, **amount))
        if big_us is not None:
            bench.samples.add(build, cpu_us_64k=big_us)
        timed_handshakes(bench, build, server, request_us)
        bench.samples.add(build, rss_peak_mib=server.memory("VmHWM") / (1 << 20))


# --- what connections take --------------------------------------------------------------------------------------------


def idle_reading(server, client, before):
    """RSS and the pools' live bytes when all connections are open and all their requests done (since the pool table
    `before`), or None if the load, the process `client`, ended before that. Ends the load then."""
    deadline = time.monotonic() + RUN_EXTRA_S
    while client.poll() is None and time.monotonic() < deadline:
        table = server.pools()
        requests = table["request"]["gets"] - before["request"]["gets"]
        if table["conn"]["live"] >= IDLE and requests >= IDLE and table["request"]["live"] == 0:
            time.sleep(IDLE_S)
            table, rss = server.pools(), server.memory("VmRSS")
            if table["conn"]["live"] >= IDLE and client.poll() is None:
                client.terminate()  # it has held them for long enough
                return rss, pool_sum(table, "live-bytes")
        time.sleep(POLL_S)
    return None


def idle(bench, build, server):
    """What an idle connection takes: the growth of a server by 500 of them, each after one request, IDLE_S later.

    Only h3load can hold connections open, so it does this whichever client is chosen.
    """
    with bench.trying(build, IDLE_KEYS):
        bench.run(bench.load(TINY, CLIENTS, 1, requests=20 * CLIENTS), server, bench.h3load)
        table = server.settle()
        rss, live = server.memory("VmRSS"), pool_sum(table, "live-bytes")
        readings = []
        load = bench.load(TINY, IDLE, 1, requests=IDLE, hold_s=HOLD_S)
        bench.run(load, server, bench.h3load, lambda client: readings.append(idle_reading(server, client, table)))
        if readings[0] is None:
            raise Failure(f"{IDLE} idle connections were never there at the same time")
        bench.samples.add(build, kib_per_idle=(readings[0][0] - rss) / IDLE / 1024,
                          live_kib_per_idle=(readings[0][1] - live) / IDLE / 1024)


def connections(bench, build):
    """A server for what connections take: idle ones, then the reference load of many."""
    with bench.trying(build, IDLE_KEYS + ("rss_reference_mib",)), bench.server(build) as server:
        idle(bench, build, server)
        with bench.trying(build, ["rss_reference_mib"]):
            bench.run(bench.load(SMALL, REFERENCE, STREAMS, requests=REFERENCE * STREAMS), server)
            bench.samples.add(build, rss_reference_mib=server.memory("VmHWM") / (1 << 20))


def timed_round(bench, build, name="round", memory=True):
    """Everything that is measured in alternating rounds, watched for other load; what connections take only where
    `memory` is asked for, as it takes longer than all else."""
    with bench.watched(build, name, load_was_limit=[]):
        handlers(bench, build)
        timed(bench, build)
        if memory:
            connections(bench, build)


# --- counting ---------------------------------------------------------------------------------------------------------

# Sums at one moment: calls that allocate, bytes asked for, gets of all pools, calls to the kernel for memory; and the
# connections that the server has had.
Reading = namedtuple("Reading", "calls bytes gets system connections")


def parse_counter(text):
    """(calls that allocate, bytes, calls to the kernel) in the JSON of alloc-counter-read."""
    try:
        counts = json.loads(text)
        calls = sum(counts[name] for name in ("malloc", "calloc", "realloc", "aligned"))
        return calls, counts["bytes"], counts["mmap"] + counts["munmap"] + counts["brk"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"the allocation counter's JSON is not as expected: {type(error).__name__} {error}") from None


def read_counters(bench, server, counter):
    """A Reading, once no connection is left. The server's table comes first: printing it may allocate."""
    table = server.settle()
    ended = bench.children.run([bench.build_dir / "alloc-counter-read", counter], bench.pinning.load, BENCH_S)
    if ended.status != 0:
        raise Failure(f"alloc-counter-read: exit status {ended.status}: {ended.err.strip()[:200]}")
    calls, size, system = parse_counter(ended.out)
    return Reading(calls, size, pool_sum(table, "gets"), system, table["conn"]["gets"])


def count_pairs(bench, server, counter, loads):
    """COUNT_REPEATS times what the second of two loads took more than the first, which differs in its number of
    requests alone; so what they have in common drops out."""
    pairs, reading = [], read_counters(bench, server, counter)
    for _ in range(COUNT_REPEATS):
        took = []
        for load in loads:
            bench.run(load, server)
            before, reading = reading, read_counters(bench, server, counter)
            took.append(difference(before, reading))
        pairs.append(difference(*took))
    return pairs


def difference(before, after):
    """A Reading of what came between two."""
    return Reading(*(b - a for a, b in zip(before, after)))


def count_requests(bench, build, server, counter):
    """What a request costs on a warm connection: two runs over as many connections, so that these drop out of the
    difference, with different numbers of requests. Returns the Readings."""
    loads = [bench.load(SMALL, CLIENTS, STREAMS, requests=n) for n in (REQUESTS_1, REQUESTS_2)]
    for _ in range(2):
        bench.run(loads[1], server)
    pairs = count_pairs(bench, server, counter, loads)
    costs = [Reading(*(value / (REQUESTS_2 - REQUESTS_1) for value in pair)) for pair in pairs]
    for cost in costs:
        bench.samples.add(build, calls_per_request=cost.calls, bytes_per_request=cost.bytes, gets_per_request=cost.gets,
                          system_calls_per_1000=cost.system * 1e3)
    return costs


def count_connections(bench, build, server, counter, requests):
    """What a new connection costs: two runs that open a connection for each request, less what the requests cost.

    Connections are counted by the server, for at the end a client may open some that find no request left. The server
    has had as many connections at once before, so this too is after warm-up.
    """
    loads = [bench.load(SMALL, CHURN_CLIENTS, 1, requests=n, churn=True) for n in (CONNECTIONS_1, CONNECTIONS_2)]
    bench.run(loads[1], server)
    for request, pair in zip(requests, count_pairs(bench, server, counter, loads)):
        calls, size, gets = (per_new(total, CONNECTIONS_2 - CONNECTIONS_1, each, pair.connections)
                             for total, each in zip(pair[:3], request))
        bench.samples.add(build, calls_per_connection=calls, kib_per_connection=size / 1024, gets_per_connection=gets)


def count_round(bench, build):
    """Allocations, counted by a library that stands between the server and libc."""
    library, counter = bench.build_dir / "liballoc_counter.so", bench.scratch / f"{build}.count"
    environment = {"LD_PRELOAD": str(library), "H3POOL_ALLOC_COUNTER": str(counter)}
    with bench.trying(build, LIBC + LIBC_CONNECTION):
        if not os.path.exists(library):
            raise Failure(f"there is no {library.name}")
        with bench.server(build, environment) as server:
            if not Path(counter).exists():
                raise Failure("the server runs without the allocation counter")
            count_server(bench, build, server, counter)


def count_server(bench, build, server, counter):
    """Both kinds of counts of one server."""
    requests = None
    with bench.trying(build, LIBC):
        requests = count_requests(bench, build, server, counter)
    with bench.trying(build, LIBC_CONNECTION):
        if requests is None:
            raise Failure("the cost of a request, to be taken off, was not counted")
        count_connections(bench, build, server, counter, requests)
