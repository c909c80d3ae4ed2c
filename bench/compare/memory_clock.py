# SPDX-License-Identifier: MIT
"""The memory clock's rounds: how long memory management takes at most in a turn of the server's loop, and in one get.

The servers are h3pool-clocked and h3pool-unpooled-clocked, into which memory_clock.c was linked; its header says what
is timed. Each interval has the same work in it, as what is most of many grows with how many they are.
"""

import json
from collections import namedtuple

from loads import Load
from measure import BENCH_S, CHURN_CLIENTS, CLIENTS, SMALL, STREAMS
from processes import Failure, pool_sum

KEYS = ("turn_memory_us", "longest_get_us")
REPEATS = 4  # in each of its rounds
REQUESTS, CONNECTIONS = 10000, 100

# Of an interval.
Clocked = namedtuple("Clocked", "turns pool_gets turn_ns get_ns")


def parse_clock(text):
    """The Clocked in the JSON of memory-clock-read."""
    try:
        values = json.loads(text)
        return Clocked(*(int(values[name]) for name in Clocked._fields))
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"the memory clock's JSON is not as expected: {type(error).__name__} {error}") from None


def read_clock(bench, file):
    """The interval that ends with this call. The next one begins."""
    ended = bench.children.run([bench.build_dir / "memory-clock-read", file, "new"], bench.pinning.load, BENCH_S)
    if ended.status != 0:
        raise Failure(f"memory-clock-read: exit status {ended.status}: {ended.err.strip()[:200]}")
    return parse_clock(ended.out)


def interval(bench, server, file):
    """(Clocked, pool gets) of an interval with small requests and new connections, ends of connections included."""
    threads = bench.pinning.threads
    gets = pool_sum(server.settle(), "gets")
    read_clock(bench, file)
    bench.run(Load(SMALL, CLIENTS, STREAMS, threads, requests=REQUESTS), server)
    bench.run(Load(SMALL, CHURN_CLIENTS, 1, threads, requests=CONNECTIONS, churn=True), server)
    gets = pool_sum(server.settle(), "gets") - gets
    clocked = read_clock(bench, file)
    if clocked.turns == 0:
        raise Failure("the clock saw no turn; it sees those of a libev that is a static library")
    return clocked, gets


def inlined_percent(intervals):
    """How many of the pools' gets did not leave the inlined path, which the clock does not see."""
    gets = sum(gets for _, gets in intervals)
    left = sum(clocked.pool_gets for clocked, _ in intervals)
    return (gets - left) / gets * 100 if gets else 0.0


def clock_round(bench, build, name="the memory clock's round"):
    """Both figures, once warm. The first interval is the warm-up."""
    program = bench.program("h3pool", build)
    program, file = program.with_name(program.name + "-clocked"), bench.scratch / f"{build}.clock"
    with bench.trying(build, KEYS), bench.watched(build, name) as noted:
        if not program.exists():
            raise Failure(f"there is no {program.name}")
        with bench.server(build, {"H3POOL_MEMORY_CLOCK": str(file)}, program) as server:
            if not file.exists():
                raise Failure("the server runs without the memory clock")
            intervals = [interval(bench, server, file) for _ in range(1 + REPEATS)][1:]
        for clocked, _ in intervals:
            bench.samples.add(build, turn_memory_us=clocked.turn_ns / 1e3, longest_get_us=clocked.get_ns / 1e3)
        if build == "pooled":  # the other one has no inlined path
            noted["inlined_gets_percent"] = inlined_percent(intervals)
