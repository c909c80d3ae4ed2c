# SPDX-License-Identifier: MIT
"""Measures the pooled build from outside and compares it with bench/limits.json: memory that may not be taken again.

Allocations are counted by the library that stands between server and libc; RSS is read of a server with idle
connections, each after one request. Neither depends on how fast the machine is.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import setup

PROGRAMS = ("h3load", "h3pool", "h3pool-unpooled", "liballoc_counter.so", "alloc-counter-read", "libmalloc_sites.so")
COUNT_REPEATS = 3  # the figures are 0: there is no spread to average away
# Workers have given back what is idle by then: before the load, and with its connections.
REST_S, SETTLE_S = 2.5, 6.0
ALL_OPEN_S = 45
EXIT_SKIPPED = 77


def per_idle(bench):
    """Bytes of RSS that each of 500 idle connections adds to a server."""
    measure = setup.measure
    with bench.server("pooled") as server:
        bench.run(bench.load(measure.TINY, measure.CLIENTS, 1, requests=20 * measure.CLIENTS), server)
        before = server.settle()
        time.sleep(REST_S)
        rss, readings = server.memory("VmRSS"), []
        load = bench.load(measure.TINY, measure.IDLE, 1, requests=measure.IDLE, hold_s=measure.HOLD_S)
        bench.run(load, server, meanwhile=lambda client: readings.append(rss_of_idle(server, client, before)))
        if readings[0] is None:
            raise measure.Failure(f"{measure.IDLE} idle connections were never there at the same time")
        return (readings[0] - rss) / measure.IDLE


def least_rss(server, seconds):
    """The least RSS within a time: workers give back what is idle, the sooner the faster the machine is."""
    least, deadline = server.memory("VmRSS"), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
        least = min(least, server.memory("VmRSS"))
    return least


def rss_of_idle(server, client, before):
    """RSS once all connections have been idle for a while; ends the load `client`. None if it ended before."""
    idle, deadline = setup.measure.IDLE, time.monotonic() + ALL_OPEN_S
    while client.poll() is None and time.monotonic() < deadline:
        table = server.pools()
        requests = table["request"]["gets"] - before["request"]["gets"]
        if table["conn"]["live"] >= idle and requests >= idle and table["request"]["live"] == 0:
            rss = least_rss(server, SETTLE_S)
            if client.poll() is not None:
                return None
            client.terminate()
            return rss
        time.sleep(0.05)
    return None


def counted(bench):
    """{figure: median} of the allocations."""
    measure = setup.measure
    measure.COUNT_REPEATS = COUNT_REPEATS
    measure.count_round(bench, "pooled")
    found = {}
    for key in ("calls_per_request", "calls_per_connection"):
        reason = bench.samples.reason(key, "pooled")
        if reason:
            raise measure.Failure(f"{key}: {reason}")
        found[key] = statistics.median(bench.samples.values[key]["pooled"])
    return found


def judge(limits, found):
    """Prints a line for each figure; returns those above theirs."""
    above = []
    for name, limit in limits.items():
        if name not in found:
            raise setup.measure.Failure(f"limits.json has {name}, which is not measured")
        fine = found[name] <= limit
        print(f"{'ok' if fine else 'FAIL'} {name}: {found[name]:.10g}, at most {limit}")
        if not fine:
            above.append(name)
    return above


def main():
    absent = setup.missing(*PROGRAMS)
    if absent:
        print(f"not built: {', '.join(absent)}")
        return EXIT_SKIPPED
    limits = json.loads((setup.CHECKOUT / "bench" / "limits.json").read_text())
    try:
        with setup.bench() as bench:
            found = {**counted(bench), "rss_bytes_per_idle_connection": per_idle(bench)}
        above = judge(limits, found)
    except (setup.measure.Failure, OSError) as error:
        print(f"FAIL gate: {error}")
        return 1
    sys.stdout.flush()
    if any(name.startswith("calls_") for name in above):
        subprocess.run([Path(__file__).with_name("malloc-sites")], check=False)
    print(f"{len(limits) - len(above)} passed, {len(above)} failed")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
