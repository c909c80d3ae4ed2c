# SPDX-License-Identifier: MIT
"""What puts the load on: the interface of a client, and h3load. The other client is in h2load.py.

A client has a name, `command(load, url, ca, report)`, which gives the command line of a Load, and
`result(load, ended, report)`, which gives the Result or raises Failure.
"""

import json
from collections import namedtuple
from pathlib import Path

from processes import Failure, last_line

# A load: `requests` in all, or for `duration_s`; `churn`: a new connection for each request.
Load = namedtuple("Load", "path clients streams threads requests duration_s churn hold_s extra",
                  defaults=(1, 1, 1, None, None, False, None, ()))

# What came of it. Latencies in microseconds by name; those the client does not know are absent.
Result = namedtuple("Result", "done duration_s rps latency_us load_cpu_s busiest")
LATENCIES = ("p50", "p99", "p999")

LIMIT_BUSY = 0.9  # a load thread this busy was the limit


def check_answers(total, ok, errors):
    """Every request must have been answered with success."""
    if total == 0:
        raise Failure("no request was answered")
    if ok != total:
        named = ", ".join(f"{name} {count}" for name, count in errors.items() if count)
        raise Failure(f"{total - ok} of {total} requests failed" + (f": {named}" if named else ""))


def parse_h3load(text):
    """The Result in the JSON of h3load."""
    try:
        report = json.loads(text)
        requests, load = report["requests"], report.get("load", {})
        check_answers(requests["total"], requests["ok"], requests.get("errors", {}))
        latency = {name: report["latency_us"][name] for name in LATENCIES if name in report["latency_us"]}
        done = requests.get("done", requests["total"])
        cpu_us = load.get("cpu_us_per_request")
        return Result(done, report["duration_s"], report["rps"], latency,
                      cpu_us * done / 1e6 if cpu_us is not None else None, load.get("busiest_thread"))
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"h3load's JSON is not as expected: {type(error).__name__} {error}") from None


class H3load:
    """The project's own load generator."""

    name = "h3load"

    def __init__(self, program):
        self.program = str(program)

    def command(self, load, url, ca, report):
        """The command line; `report` is the file for the JSON."""
        command = [self.program, "-c", load.clients, "-m", load.streams, "-t", min(load.threads, load.clients),
                   "--cacert", ca, "--json", report]
        command += ["-n", load.requests] if load.requests else ["-D", f"{round(load.duration_s * 1000)}ms"]
        command += ["--churn"] if load.churn else []
        command += ["--hold", f"{round(load.hold_s * 1000)}ms"] if load.hold_s else []
        return command + list(load.extra) + [url + load.path]

    def result(self, load, ended, report):
        """The Result of a run that has ended."""
        text = Path(report).read_text() if Path(report).exists() else ""
        if not text:
            raise Failure(f"h3load: exit status {ended.status}: {last_line(ended.err)}")
        result = parse_h3load(text)
        if ended.status != 0:
            raise Failure(f"h3load: exit status {ended.status}: {last_line(ended.err)}")
        return result
