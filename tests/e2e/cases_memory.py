# SPDX-License-Identifier: MIT
"""Memory as a contract: the limit and what gives way, the plan, what goes back, the checks of the pools."""

import argparse
import json
import os
import re
import subprocess
from pathlib import Path

from cases_h3load import h3load
from cases_process import expect_usage_error, usual_options
from harness import CHECKOUT, Seconds, case, check, curl, curl_expect, free_port, poll, running

LIMIT = 32 << 20
RSS_MAX = 100_000_000  # of 1,000 connections with 32 requests each at a time, with one worker
GIVEN_BACK_WITHIN_S = 10


def rss_is_told(setup):
    """Whether RSS says what the pools hold: not with a malloc that keeps what was freed, nor with a sanitizer's."""
    return setup.server == CHECKOUT / "build" / "h3pool"


def with_workers(setup, workers):
    return argparse.Namespace(**{**vars(setup), "workers": workers})


# --- the plan and the options -----------------------------------------------------------------------------------------


def plan(setup, *options, environment=None):
    """The lines of --print-memory-plan as {text: bytes}."""
    result = subprocess.run([str(setup.server), *options, "--print-memory-plan"], stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, timeout=Seconds.start,
                            env={**os.environ, **(environment or {})})
    check(result.returncode == 0, f"exit status {result.returncode}: {result.stderr}")
    check(not result.stderr, f"stderr: {result.stderr!r}")
    found = [re.fullmatch(r" *(\S.*?) +(\d+)", line) for line in result.stdout.splitlines()]
    check(found and all(found), f"not a table: {result.stdout}")
    return {match[1]: int(match[2]) for match in found}


@case("memory-plan", options=None, foreign_clients=False)
def memory_plan(setup, _scratch):
    lines = plan(setup, "--memory-limit", "64M", "--workers", "3")
    check(lines["all pools together, --memory-limit"] == 64 << 20, str(lines))
    spans = lines["headers of spans beside the limit"]
    check(lines["at most, code and stacks aside"] == (64 << 20) + spans, f"the sum is none: {lines}")
    each = lines["an idle connection"]
    check(0 < lines["idle connections until new ones are refused"] * each < 64 << 20, str(lines))
    check("socket buffers,   3 workers" in lines, str(lines))


@case("error-memory-limit", options=None, foreign_clients=False)
def error_memory_limit(setup, _scratch):
    usual = usual_options(setup, free_port())
    for value in ("1K", "rubbish", "", "-1", "99999999999999999999"):
        expect_usage_error(setup, *usual, "--memory-limit", value, names="--memory-limit")
    expect_usage_error(setup, *usual, "--connection-memory-limit", "1K", names="--connection-memory-limit")


@case("memory-limit-of-the-cgroup", options=None, foreign_clients=False)
def cgroup_limit(setup, scratch):
    """A made-up tree of groups for the group that this process is in: a lower limit is taken, a higher one is not."""
    line = Path("/proc/self/cgroup").read_text().splitlines()[-1]
    controllers, group = line.split(":", 2)[1:]
    root, name = scratch, "memory.max"
    if controllers:
        if "memory" not in controllers:
            return "not tried: the last group of this process is not one of memory"
        root, name = scratch / "memory", "memory.limit_in_bytes"
    own = root / group.lstrip("/")
    own.mkdir(parents=True, exist_ok=True)
    environment = {"H3POOL_CGROUP_ROOT": str(scratch)}
    for text, expected in (("max", 64 << 20), (str(1 << 40), 64 << 20), (str(48 << 20), 48 << 20)):
        (own / name).write_text(text + "\n")
        lines = plan(setup, "--memory-limit", "64M", environment=environment)
        of_group = "all pools together, --memory-limit (of the cgroup)" in lines
        check(of_group == (expected != 64 << 20), f"{text}: {lines}")
        check(next(iter(lines.values())) == expected, f"{text}: {lines}")
    return None


# --- the limit --------------------------------------------------------------------------------------------------------


@case("memory-limit-refuses-the-excess", options=None, foreign_clients=False)
def refuses(setup, scratch):
    """More clients than the limit has room for: some are refused, no answer is missing, and the server lives on."""
    with running(setup, scratch, ("--memory-limit", "32M")) as server:
        found = h3load(server, "-n", "1600", "-c", "800", "--hold", "300ms", expect=1)
        requests, connections = found["requests"], found["connections"]
        check(connections["failed"] > 0, f"nobody was refused: {connections}")
        check(0 < connections["opened"] < 800, str(connections))
        check(requests["status_2xx"] > 0, str(requests))
        check(requests["status_2xx"] + requests["status_5xx"] == requests["done"], f"answers are missing: {requests}")
        check(connections["ends"]["refused"] > 0, f"not by name: {connections}")
        check("stage refuse entered" in server.log(), "the stage was not told")
        if rss_is_told(setup):
            peak = server.memory("VmHWM")
            check(peak < LIMIT + (8 << 20), f"{peak >> 20} MiB of RSS")
        poll(Seconds.start, lambda: h3load(server, expect=None)["requests"]["ok"] == 1, "nobody is served any more")
    return f"{connections['opened']} opened, {connections['failed']} refused, {requests['status_5xx']} answered 503"


@case("memory-limit-serves-whom-it-accepts", options=None, foreign_clients=False)
def serves(setup, scratch):
    """Far more connections are asked for than fit, and stay: each is refused by name, or its request answered."""
    with running(setup, scratch, ("--memory-limit", "48M")) as server:
        found = h3load(server, "-n", "2500", "-c", "2500", "--hold", "300ms", expect=1)
        requests, connections = found["requests"], found["connections"]
        refused = connections["ends"]["refused"]
        check(refused > 0 and "stage refuse entered" in server.log(), f"nobody was refused: {connections}")
        check(0 < connections["opened"] == 2500 - refused, f"some got no answer: {connections}")
        check(requests["status_2xx"] == connections["opened"], f"accepted, not served: {requests} {connections}")
        if rss_is_told(setup):
            peak = server.memory("VmHWM")
            check(peak < (48 << 20) + (8 << 20), f"{peak >> 20} MiB of RSS")
    return f"{connections['opened']} served, {refused} refused"


@case("stats-tell-memory", options=("--memory-limit", "48M"))
def stats(server):
    memory = json.loads(curl_expect(server, 200, "/stats")[1])["memory"]
    check(memory["limit_bytes"] == 48 << 20 and 0 < memory["held_bytes"] < 48 << 20, str(memory))
    check(memory["stage"] == "free", str(memory))
    check(memory["entered"] == dict.fromkeys(("trim", "credit", "goaway", "refuse", "shed"), 0), str(memory))


@case("memtrace-tells-accounts", options=("--memtrace",), foreign_clients=False)
def memtrace(server):
    """While connections are idle, their accounts are told; each worker has tables and waits for nobody."""
    h3load(server, "-n", "40", "-c", "20", "--hold", "1500ms")
    line = re.compile(r"memtrace: worker (\d+), trimmed \d+, held (\d+) of \d+, stage free; "
                      r"accounts: connections (\d+), tls (\d+), waiting (\d+), tables (\d+)")
    told = [[int(number) for number in match] for match in line.findall(server.log())]
    most = {}
    for worker, held, connections, tls, waiting, tables in told:
        check(tables > 0 and waiting == 0, f"tables {tables}, waiting {waiting}")
        most[worker] = max(most.get(worker, 0), connections + tls)
    each = sum(most.values()) / 20
    check(24 << 10 < each < 256 << 10, f"{each} bytes for each of 20 connections: {told}")
    return f"{each / 1024:.1f} KiB a connection"


# --- RSS --------------------------------------------------------------------------------------------------------------


@case("memory-goes-back", options=None, foreign_clients=False)
def goes_back(setup, scratch):
    """After 1,000 connections have come and gone nine tenths of what they took are the system's again."""
    if not rss_is_told(setup):
        return "not tried: for the pooled build without a sanitizer"
    with running(setup, scratch, ()) as server:
        h3load(server, "-n", "20", "-c", "2")
        before = server.memory("VmRSS")
        h3load(server, "-n", "1000", "-c", "1000", path="/data")
        above = server.memory("VmHWM") - before
        check(above > 16 << 20, f"1,000 connections took no more than {above >> 10} KiB")
        poll(GIVEN_BACK_WITHIN_S, lambda: server.memory("VmRSS") - before <= above / 10,
             f"{above >> 10} KiB above {before >> 10} KiB were taken, and not given back")
        return f"{above >> 10} KiB above {before >> 10}, then {(server.memory('VmRSS') - before) >> 10}"


@case("memory-of-1000-connections", options=None, foreign_clients=False)
def thousand(setup, scratch):
    """The reference load: every request is answered within the default limit."""
    with running(with_workers(setup, 1), scratch, ()) as server:
        found = h3load(server, "-n", "32000", "-c", "1000", "-m", "32", path="/data")
        check(found["requests"]["ok"] == 32000 and found["connections"]["failed"] == 0, str(found))
        if not rss_is_told(setup):
            return "all answered"
        peak = server.memory("VmHWM")
        check(peak < RSS_MAX, f"{peak} bytes of RSS")
        return f"{peak / 1e6:.1f} MB"


# --- checks of the pools ----------------------------------------------------------------------------------------------


@case("pool-checks-all", options=None)
def pool_checks(setup, scratch):
    with running(setup, scratch, (), {"H3POOL_POOL_CHECKS": "all"}) as server:
        curl_expect(server, 200, "/health")
        check(len(curl(server, "/data/1M")[2]) == 1 << 20, "/data/1M")
        curl_expect(server, 200, "/data", "--data-binary", "x" * 1000)
        curl_expect(server, 404, "/nowhere")


@case("error-pool-checks", options=None, foreign_clients=False)
def error_pool_checks(setup, _scratch):
    for value in ("rubbish", "all,rubbish", "quarantine=x"):
        expect_usage_error(setup, *usual_options(setup, free_port()), names="H3POOL_POOL_CHECKS",
                           environment={"H3POOL_POOL_CHECKS": value})
