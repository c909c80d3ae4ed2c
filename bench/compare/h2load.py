# SPDX-License-Identifier: MIT
"""h2load as the client: finding one that has HTTP/3, its command line, its output as text and as JSON.

Releases before 1.69 name HTTP/3 by --alpn-list=h3, older ones by --npn-list=h3; they print no percentiles and have no
JSON. Built without HTTP/3 they take that option all the same, so only a run that prints `Application protocol: h3`
proves it.
"""

import json
import math
import re
import shutil
from pathlib import Path

from loads import Result, check_answers
from processes import Failure, last_line

HOW_TO_TELL = ("an h2load has HTTP/3 when a run with --h3 (before release 1.69: --alpn-list=h3 or --npn-list=h3) "
               "prints 'Application protocol: h3'; from 1.69 on its --help lists --h3")
PROBE_S = 15
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
COUNTS = re.compile(r"^requests:\s+(.*)$", re.M)
TABLE_ROW = re.compile(r"^(?:time for )?(request|connect)\s*:\s+(.*)$", re.M)
COLUMNS = ("min", "max", "median", "p95", "p99", "mean", "sd")


# --- its output -------------------------------------------------------------------------------------------------------


def seconds(text):
    """A duration as h2load prints it: 722us, 6.23ms, 1.00s, 1m."""
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text)
    if not match:
        raise ValueError(f"'{text}' is no duration")
    return float(match[1]) * UNITS_S[match[2]]


def latency_columns(text):
    """The names of the columns of the latency table, from its header line."""
    for line in text.splitlines():
        names = line.replace("+/- sd", "").split()
        if names[:2] == ["min", "max"]:
            return [n for n in names if n in COLUMNS]
    return []


def parse_text(text):
    """(requests by outcome, duration in s, rps, {column: latency in us}) of h2load's text."""
    protocol = re.search(r"^Application protocol: (\S+)", text, re.M)
    if not protocol or protocol[1] != "h3":
        raise Failure(f"h2load spoke {protocol[1] if protocol else 'no protocol'} instead of h3: {HOW_TO_TELL}")
    finished = re.search(r"^finished in ([\d.]+\w+), ([\d.]+) req/s", text, re.M)
    counts = COUNTS.search(text)
    if not finished or not counts:
        raise Failure("h2load's output has no totals")
    requests = {name: int(n) for n, name in re.findall(r"(\d+) (\w+)", counts[1])}
    rows = {name: values.split() for name, values in TABLE_ROW.findall(text)}
    columns = latency_columns(text)
    latency = {c: seconds(v) * 1e6 for c, v in zip(columns, rows.get("request", []))}
    return requests, seconds(finished[1]), float(finished[2]), latency


def quantile(ordered, q):
    """The smallest value that at least the share `q` of an ordered list does not exceed."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def parse_json(text):
    """The same of h2load's JSON. It has a sample per request, from which p99.9 is taken."""
    measured = json.loads(text)["measurements"]
    request = measured["performance"]["request"]
    samples = sorted(request.get("samples", []))
    latency = {c: request[c] * 1e6 for c in COLUMNS if c in request}
    if len(samples) >= 1000:  # with fewer it would be the maximum
        latency["p999"] = quantile(samples, 0.999) * 1e6
    return measured["requests"], measured["duration"], measured["request_per_second"], latency


def parse(text, json_text=None):
    """The Result of a run without its CPU time; raises Failure if an answer was missing or not a success."""
    try:
        requests, duration_s, rps, latency = parse_text(text)
        if json_text:
            requests, duration_s, rps, latency = parse_json(json_text)
        errors = {name: requests.get(name, 0) for name in ("failed", "errored", "timeout")}
        check_answers(requests["done"], requests["succeeded"], errors)
        if requests["errored"] or requests["timeout"]:
            raise Failure(f"{requests['errored']} requests errored, {requests['timeout']} timed out")
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"h2load's output is not as expected: {type(error).__name__} {error}") from None
    names = {"p50": "median", "p99": "p99", "p999": "p999"}
    known = {ours: latency[theirs] for ours, theirs in names.items() if theirs in latency}
    return Result(requests["done"], duration_s, rps, known, None, None)


# --- the client -------------------------------------------------------------------------------------------------------


def options_of(help_text):
    """How this h2load is told to speak HTTP/3, and whether it writes JSON; None if it can't be told."""
    if re.search(r"--h3\b(?!-)", help_text):
        protocol = "--h3"
    elif "--alpn-list" in help_text:
        protocol = "--alpn-list=h3"
    elif "--npn-list" in help_text:
        protocol = "--npn-list=h3"
    else:
        return None
    return protocol, "--output-file" in help_text


class H2load:
    """An h2load that has HTTP/3."""

    name = "h2load"

    def __init__(self, children, program="h2load"):
        self.program = shutil.which(program)
        if not self.program:
            raise Failure(f"CLIENT=h2load: there is no h2load in PATH; {HOW_TO_TELL}")
        self.version = last_line(children.run([self.program, "--version"], None, PROBE_S).out)
        options = options_of(children.run([self.program, "--help"], None, PROBE_S).out)
        if options is None:
            raise Failure(f"CLIENT=h2load: {self.program} ({self.version}) has no option for HTTP/3: {HOW_TO_TELL}")
        self.protocol, self.has_json = options

    def probe(self, children, url):
        """One request, which shows whether it really has HTTP/3."""
        command = [self.program, self.protocol, "-n", 1, "-c", 1, url]
        try:
            ended = children.run(command, None, PROBE_S)
        except Failure:
            ended = None
        if ended is None or "Application protocol: h3" not in ended.out:
            raise Failure(f"CLIENT=h2load: {self.program} ({self.version}) has no HTTP/3: {HOW_TO_TELL}")

    def command(self, load, url, ca, report):
        """The command line. h2load verifies no certificate, and has no churn: as many connections as requests, all at
        once."""
        if load.hold_s:
            raise Failure("h2load has no way to hold connections open idle")
        clients = load.requests if load.churn else load.clients
        command = [self.program, self.protocol, "-c", clients, "-m", 1 if load.churn else load.streams,
                   "-t", min(load.threads, clients)]
        command += ["-n", load.requests] if load.requests else ["-D", f"{round(load.duration_s * 1000)}ms"]
        command += [f"--output-file={report}"] if self.has_json else []
        return command + list(load.extra) + [url + load.path]

    def result(self, load, ended, report):
        """The Result of a run that has ended; its CPU time is that of the process."""
        if ended.status != 0:
            raise Failure(f"h2load: exit status {ended.status}: {last_line(ended.err or ended.out)}")
        json_text = Path(report).read_text() if self.has_json and Path(report).exists() else None
        result = parse(ended.out, json_text)
        busiest = ended.cpu_s / result.duration_s / min(load.threads, load.clients) if result.duration_s else None
        return result._replace(load_cpu_s=ended.cpu_s, busiest=min(busiest, 1.0) if busiest is not None else None)
