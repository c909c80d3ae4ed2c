# SPDX-License-Identifier: MIT
"""The load generator against a real server: what it counts, what it names, and how it ends."""

import json
import os
import subprocess
import time

from harness import CHECKOUT, Failure, Seconds, Server, case, check, poll

H3LOAD = CHECKOUT / "build" / "h3load"


def h3load(server, *options, path="/health", expect=0, cacert=True):
    """Runs h3load with --json; returns its result. expect=None: whatever its exit status."""
    if not H3LOAD.exists():
        raise Failure(f"{H3LOAD} is missing: make build")
    trust = ["--cacert", str(server.cacert)] if cacert else []
    result = subprocess.run([str(H3LOAD), "--json", "-", *trust, *options, server.url(path)], capture_output=True,
                            text=True, timeout=Seconds.client, cwd="/")
    check(expect in (None, result.returncode), f"exit status {result.returncode}, not {expect}: {result.stderr}")
    return json.loads(result.stdout)


@case("h3load-many-requests", foreign_clients=False)
def many_requests(server):
    found = h3load(server, "-n", "100000", "-c", "10", "-m", "32", "-t", "2", "--pid", str(server.process.pid))
    check(found["requests"]["ok"] == 100000 and found["requests"]["failed"] == 0, str(found["requests"]))
    check(found["latency_us"]["count"] == 100000, "not every request has a latency")
    check(found["server"]["cpu_us_per_request"] > 0, "no CPU time of the server")
    check(found["connections"]["opened"] == 10, str(found["connections"]))


@case("h3load-verify", foreign_clients=False)
def verify(server):
    found = h3load(server, "-n", "200", "-c", "4", "-m", "4", "--verify", path="/data/1M")
    check(found["requests"]["ok"] == 200 and found["bytes"]["data"] == 200 << 20, str(found))


@case("h3load-verify-finds-other-content", foreign_clients=False)
def verify_fails(server):
    """What --verify is for: a body of the right status that is not the pattern (here: a range that was asked for)."""
    found = h3load(server, "-n", "5", "--verify", "-H", "range: bytes=1-", path="/data/1000", expect=1)
    check(found["requests"]["errors"]["content"] == 5, str(found["requests"]))


@case("h3load-churn", foreign_clients=False)
def churn(server):
    found = h3load(server, "-n", "200", "-c", "5", "--churn")
    check(found["requests"]["ok"] == 200 and found["connections"]["opened"] >= 200, str(found))
    check(found["connect_us"]["count"] >= 200, "a connection has no connect time")


@case("h3load-upload", foreign_clients=False)
def upload(server):
    found = h3load(server, "-n", "20", "-c", "2", "-m", "2", "-d", str(H3LOAD), path="/data")
    check(found["requests"]["status_2xx"] == 20 and found["config"]["body_bytes"] == os.path.getsize(H3LOAD),
          str(found["requests"]))


@case("h3load-names-errors", foreign_clients=False)
def names_errors(server):
    found = h3load(server, "-n", "10", path="/nowhere", expect=1)
    check(found["requests"]["errors"]["status"] == 10 and found["requests"]["status_4xx"] == 10, str(found))
    found = h3load(server, "-n", "2", "-c", "2", expect=1, cacert=False)
    check(found["connections"]["ends"]["TLS error"] == 2, f"an unknown authority: {found['connections']}")
    check(h3load(server, "-n", "2", "--insecure", cacert=False)["requests"]["ok"] == 2, "--insecure")


@case("h3load-duration", foreign_clients=False)
def duration(server):
    found = h3load(server, "-D", "500ms", "-c", "2", "-m", "4")
    check(0.4 < found["duration_s"] < 5 * Seconds.start and found["requests"]["failed"] == 0, str(found))


@case("h3load-ends-when-the-server-is-gone", options=None, foreign_clients=False)
def server_gone(setup, scratch):
    """A server that is killed in the middle: h3load ends within 5 s of its idle limit and names what happened."""
    server = Server(setup, scratch)
    report = scratch / "report.json"
    load = subprocess.Popen([str(H3LOAD), "-D", "1h", "-c", "4", "-m", "8", "--idle-timeout", "2s", "--json",
                             str(report), "--cacert", str(server.cacert), server.url("/health")],
                            stdout=subprocess.DEVNULL)
    try:
        poll(Seconds.start, lambda: cpu_ticks(load.pid) >= 10, "h3load does nothing")
        server.process.kill()
        killed = time.monotonic()
        status = load.wait(timeout=2 + 5 * (Seconds.start / 10))
    finally:
        load.kill()
        server.kill()
    found = json.loads(report.read_text())
    check(status == 1, f"exit status {status}")
    check(found["connections"]["ends"]["idle timeout"] == 4, str(found["connections"]))
    check(found["requests"]["errors"]["connection"] == 32, str(found["requests"]))
    return f"after {time.monotonic() - killed:.1f} s"


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))


@case("h3load-usage", foreign_clients=False)
def usage(server):
    for options in (["--nope"], ["-n", "0"], ["-n", "x"], ["-n", "1", "-c", "2"], ["--verify"], ["-D", "1s", "-n", "1"],
                    ["--cacert", "/nonexistent"], ["--pid", "1073741823"]):
        result = subprocess.run([str(H3LOAD), *options, server.url("/health")], capture_output=True, text=True,
                                timeout=Seconds.start)
        check(result.returncode == 2 and result.stderr.count("\n") == 1,
              f"{options}: exit status {result.returncode}, {result.stderr!r}")
    result = subprocess.run([str(H3LOAD)], capture_output=True, text=True, timeout=Seconds.start)
    check(result.returncode == 2 and "no URL" in result.stderr, f"without a URL: {result.stderr!r}")
