# SPDX-License-Identifier: MIT
"""The figures: which there are, their samples from the rounds, their medians and spreads, what changed."""

import statistics
from collections import defaultdict, namedtuple

AGREE_WITHIN = 0.05  # calls; batching makes the runs differ by a little
BUILDS = ("unpooled", "pooled")

# A figure of the table.
Figure = namedtuple("Figure", "key group title unit")

GROUPS = {
    "handlers": "Handlers, in process (from a complete request to header array and body bytes)",
    "libc": "Calls to libc, counted from outside the server, once warm",
    "cpu": "Server CPU",
    "load": "Under load",
    "memory": "Memory",
}

FIGURES = (
    Figure("handle_health_ns", "handlers", "HandleHealth", "ns/op"),
    Figure("handle_data_ns", "handlers", "HandleData", "ns/op"),
    Figure("calls_per_request", "libc", "allocations per request", ""),
    Figure("bytes_per_request", "libc", "bytes per request", ""),
    Figure("gets_per_request", "libc", " the server's own count: pool gets", ""),
    Figure("calls_per_connection", "libc", "allocations per new connection", ""),
    Figure("kib_per_connection", "libc", "KiB per new connection", ""),
    Figure("gets_per_connection", "libc", " the server's own count: pool gets", ""),
    Figure("system_calls_per_1000", "libc", "mmap, munmap, brk per 1,000 requests", ""),
    Figure("cpu_us_health", "cpu", "per GET /health", "us"),
    Figure("cpu_us_data", "cpu", "per GET /data", "us"),
    Figure("cpu_us_64k", "cpu", "per GET of 64 KiB", "us"),
    Figure("cpu_us_handshake", "cpu", "per new connection and handshake", "us"),
    Figure("rps", "load", "GET /data, requests/s", ""),
    Figure("p50_us", "load", "GET /data, latency p50", "us"),
    Figure("p99_us", "load", "GET /data, latency p99", "us"),
    Figure("p999_us", "load", "GET /data, latency p99.9", "us"),
    Figure("server_busy", "load", "server meanwhile", "% of its CPU"),
    Figure("load_busy", "load", "busiest load thread", "% of its CPU"),
    Figure("load_cpu_us", "load", "load side's CPU per GET /data", "us"),
    Figure("turn_memory_us", "load", "most memory management in a turn", "us"),
    Figure("longest_get_us", "load", "longest single get of memory", "us"),
    Figure("rss_peak_mib", "memory", "peak RSS under these loads", "MiB"),
    Figure("rss_reference_mib", "memory", "peak RSS, 1000 x 32 streams", "MiB"),
    Figure("kib_per_idle", "memory", "RSS per idle connection", "KiB"),
    Figure("live_kib_per_idle", "memory", " the server's own count: live", "KiB"),
    Figure("faults_per_1000", "memory", "minor page faults per 1,000 requests", ""),
)

Summary = namedtuple("Summary", "median low high values")


class Samples:
    """What the rounds have measured: {key: {build: [value]}}, and why other values are missing."""

    def __init__(self):
        self.values = defaultdict(lambda: defaultdict(list))
        self.reasons = defaultdict(lambda: defaultdict(list))

    def add(self, build, **values):
        for key, value in values.items():
            self.values[key][build].append(value)

    def fail(self, build, keys, reason):
        for key in keys:
            self.reasons[key][build].append(str(reason))

    def summary(self, key, build):
        """The Summary of a figure's values, or None."""
        return summarize(self.values[key][build]) if self.values[key][build] else None

    def reason(self, key, build):
        """Why a value of the figure is missing, or None."""
        reasons = self.reasons[key][build]
        return reasons[0] if reasons else None


def summarize(values):
    """Median, least and most."""
    return Summary(statistics.median(values), min(values), max(values), list(values))


def change_percent(before, after):
    """The change of a median in percent; None when there is nothing to divide by."""
    if before == after:
        return 0.0
    return (after - before) / before * 100 if before else None


def overlap(a, b):
    """Whether two spreads share a value, so that the change may be chance."""
    return a.low <= b.high and b.low <= a.high


# --- rows -------------------------------------------------------------------------------------------------------------

# A row: Summaries by build (None: not measured), reasons by build, the change in percent and whether it may be chance.
Row = namedtuple("Row", "figure summary reason change chance")


def row_of(figure, samples):
    summary = {b: samples.summary(figure.key, b) for b in BUILDS}
    reason = {b: samples.reason(figure.key, b) for b in BUILDS}
    for build in BUILDS:
        if summary[build] is None and reason[build] is None:
            reason[build] = "no round got that far"
    before, after = summary["unpooled"], summary["pooled"]
    if before is None or after is None:
        return Row(figure, summary, reason, None, False)
    return Row(figure, summary, reason, change_percent(before.median, after.median), overlap(before, after))


def rows_of(samples):
    return [row_of(figure, samples) for figure in FIGURES]


def complete(rows):
    """Whether everything was measured in each round."""
    return not any(any(row.reason.values()) for row in rows)


# --- what is derived from readings ------------------------------------------------------------------------------------


def per_new(total, requests, per_request, connections):
    """What each of `connections` costs beyond its share of the requests."""
    return (total - requests * per_request) / connections if connections else 0.0


def agreement(calls, gets):
    """What the unpooled build's two counters say, from the values of the same runs: libc's calls from outside and the
    pools' own gets. Each get is a call there, so calls that are over never went through a pool."""
    over = statistics.median(c - g for c, g in zip(calls, gets))
    middle = statistics.median(calls)
    if abs(over) <= AGREE_WITHIN:
        return f"they agree: {middle:.2f} calls, difference {over:+.2f}"
    if over > 0:
        return f"{over:.2f} of {middle:.2f} calls do not go through the pools"
    return f"THEY DISAGREE: {middle:.2f} calls, but {-over:.2f} pool gets more"


# --- an earlier report ------------------------------------------------------------------------------------------------

BaseRow = namedtuple("BaseRow", "figure build before after change chance")


def base_rows(rows, base):
    """A BaseRow for each figure and build that both this run and the earlier report have."""
    earlier = {f["key"]: f for f in base.get("figures", [])}
    found = []
    for row in rows:
        for build in BUILDS:
            was, now = earlier.get(row.figure.key, {}).get(build, {}), row.summary[build]
            if now is None or "median" not in was:
                continue
            before = Summary(was["median"], was["min"], was["max"], was.get("values", []))
            found.append(BaseRow(row.figure, build, before, now, change_percent(before.median, now.median),
                                 overlap(before, now)))
    return found
