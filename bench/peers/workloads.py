# SPDX-License-Identifier: MIT
"""The measurements of one server in one round, whichever it is; they are added to the samples under its name.

A round has two servers: one that is fresh, for the burst and what idle connections take, and one for all else. CPU per
request and per KiB is without that of the run's new connections, which the same round has measured.
"""

import json
import time
from collections import namedtuple

from figures import per_new
from loads import LIMIT_BUSY
from namespace import drops_of, udp_sockets
from processes import Failure

CIPHER, GROUP, HYBRID = "TLS_AES_128_GCM_SHA256", "X25519", "X25519MLKEM768"
BURST = 1000
HOLD_S, CLOSING_S, SAMPLE_S = 3.0, 0.3, 0.05
WARM_UP_REQUESTS = 3000

# A load: clients, streams; `size` of the answers' bodies; `per_s`: how many requests for each second of DURATION (None:
# as many as there can be in `times` DURATION). Large answers are counted in requests, as those under way at the end
# would weigh; where many connections make few requests the load is longer, so that the connections weigh little.
Workload = namedtuple("Workload", "key path size clients streams per_s times", defaults=(None, 1))
WORKLOADS = (
    Workload("a", "/data/20", 20, 10, 32),
    Workload("a64", "/data/20", 20, 10, 64),
    Workload("a1", "/data/20", 20, 64, 1, times=2),
    Workload("b", "/data/64K", 64 << 10, 10, 32, 8000),
    Workload("c", "/data/10M", 10 << 20, 1, 1, 50),
)

# New connections: so many at a time, with a group. The more there are, the less each costs, in some servers more than
# in others.
Handshakes = namedtuple("Handshakes", "key group clients")
HANDSHAKES = (Handshakes("d", GROUP, 4), Handshakes("d16", GROUP, 16), Handshakes("dm", HYBRID, 4))

# A run: what was measured, connections that it opened, bytes of bodies.
Run = namedtuple("Run", "measured opened body_bytes")


def tls_options(group):
    return ("--groups", group, "--ciphers", CIPHER)


def keys_of(key):
    return (f"{key}_cpu", f"{key}_rps", f"{key}_load")


def all_keys():
    """Everything that the loads of a round measure."""
    return tuple(k for w in WORKLOADS for k in keys_of(w.key)) + tuple(k for h in HANDSHAKES for k in keys_of(h.key))


def parse_connections(text):
    """(connections opened, bytes of bodies) in the JSON of h3load."""
    try:
        found = json.loads(text)
        return found["connections"]["opened"], found["bytes"]["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"h3load's JSON is not as expected: {type(error).__name__} {error}") from None


def run(bench, server, path, clients, streams, group=GROUP, meanwhile=None, **options):
    """Runs a load; raises Failure if an answer was missing."""
    load = bench.load(path, clients, streams, extra=tls_options(group), **options)
    measured = bench.run(load, server, meanwhile=meanwhile)
    return Run(measured, *parse_connections((bench.scratch / "load.json").read_text()))


def add(bench, name, key, done, cpu_ns):
    """The figures that all loads have in common."""
    result = done.measured.result
    bench.samples.add(name, **{f"{key}_cpu": cpu_ns, f"{key}_rps": result.rps})
    if result.busiest is not None:
        bench.samples.add(name, **{f"{key}_load": result.busiest * 100})
        if result.busiest >= LIMIT_BUSY:
            bench.rounds[-1]["load_was_limit"].append(f"({key})")


def warm_up(bench, server):
    """Everything is touched once, caches are filled, and each path is seen to have the right length."""
    for workload in {w.path: w for w in WORKLOADS}.values():
        check_length(bench, server, workload)
    run(bench, server, "/data/20", 10, 32, requests=WARM_UP_REQUESTS)


def check_length(bench, server, workload):
    done = run(bench, server, workload.path, 1, 1, requests=1)
    if done.body_bytes != workload.size:
        raise Failure(f"GET {workload.path} gave {done.body_bytes} bytes")


def handshakes(bench, name, server, workload):
    """New connections with one small request each; returns CPU microseconds of one, or None."""
    with bench.trying(name, keys_of(workload.key)):
        done = run(bench, server, "/data/20", workload.clients, 1, workload.group, duration_s=bench.duration_s,
                   churn=True)
        cpu_us = done.measured.cpu_s * 1e6 / done.opened
        add(bench, name, workload.key, done, cpu_us)
        return cpu_us
    return None


def requests(bench, name, server, workload, connection_us):
    """A workload: CPU microseconds per request, of bodies that are more than a packet nanoseconds per KiB."""
    with bench.trying(name, keys_of(workload.key)):
        if connection_us is None:
            raise Failure("the cost of a connection, to be taken off, was not measured")
        per_s = workload.per_s
        amount = {"requests": max(workload.clients, round(per_s * bench.duration_s))} if per_s else \
            {"duration_s": workload.times * bench.duration_s}
        done = run(bench, server, workload.path, workload.clients, workload.streams, **amount)
        cpu_us = cpu_per_request(done.measured.cpu_s * 1e6, done.measured.result.done, done.opened, connection_us)
        add(bench, name, workload.key, done, cpu_us if workload.size <= 1024 else cpu_us * 1e3 / (workload.size >> 10))


def cpu_per_request(cpu_us, done, opened, connection_us):
    """What a request costs beside those that are in the cost of new connections, which have one each."""
    return per_new(cpu_us, opened, connection_us, done - opened) if done > opened else cpu_us / done


def loads(bench, name, start):
    """The server for all that is not about many connections."""
    with bench.trying(name, all_keys()), start() as server:
        warm_up(bench, server)
        connection_us = {workload.key: handshakes(bench, name, server, workload) for workload in HANDSHAKES}
        for workload in WORKLOADS:
            requests(bench, name, server, workload, connection_us["d"])


# --- many connections -------------------------------------------------------------------------------------------------


def rss_before(samples, end):
    """The last RSS of [(time, bytes, drops)] before connections began to close for the end; raises Failure if there is
    none."""
    found = [rss for when, rss, _ in samples if when <= end - CLOSING_S]
    if not found:
        raise Failure("no reading while connections were idle")
    return found[-1]


def sample(server):
    """(time, RSS, datagrams that its sockets have dropped) of now."""
    return time.monotonic(), server.memory("VmRSS"), drops_of(udp_sockets(), int(server.url.rpartition(":")[2]))


def burst(bench, name, start):
    """BURST connections at once, then idle: the time until each has its answer, what the kernel dropped, KiB each."""
    samples = []

    def meanwhile(client):
        while client.poll() is None:
            samples.append(sample(server))
            time.sleep(SAMPLE_S)

    with bench.trying(name, ("burst_s", "burst_drops", "idle_kib")), start() as server:
        run(bench, server, "/data/20", 10, 1, requests=200)
        _, rss, drops = sample(server)
        done = run(bench, server, "/data/20", BURST, 1, requests=BURST, hold_s=HOLD_S, meanwhile=meanwhile)
        end = time.monotonic()
        # A socket of a connection takes its count along when it closes.
        bench.samples.add(name, burst_s=done.measured.result.duration_s,
                          burst_drops=max(dropped for _, _, dropped in samples) - drops,
                          idle_kib=(rss_before(samples, end) - rss) / BURST / 1024)


def server_round(bench, name, start, title, memory):
    """Everything of one server, watched for other load; many connections only where `memory` is asked for."""
    with bench.watched(name, title, load_was_limit=[]):
        loads(bench, name, start)
        if memory:
            burst(bench, name, start)
