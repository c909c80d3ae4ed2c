# SPDX-License-Identifier: MIT
"""The figures of the comparison with peers, what each is as a ratio to the best peer, and both tables."""

from collections import namedtuple

from figures import Figure
from table import NOT_MEASURED, line, markdown_line, number, title
from workloads import HANDSHAKES, HYBRID, WORKLOADS

OURS = ("h3pool", "h3pool-unpooled")
BARRED = ("nginx", "nginx-gso", "haproxy", "caddy")  # whose best is the measure; the others are for information
BARS = {"a_cpu": 0.75, "a64_cpu": 0.75, "a1_cpu": 0.8, "b_cpu": 0.75, "c_cpu": 0.75, "d_cpu": 0.85}
MORE_IS_BETTER = "rps"  # the group of which that holds
MEASURED = ("cpu", "rps", "memory")  # groups of which ratios are told

GROUPS = {
    "cpu": "Server CPU",
    "rps": "Requests or new connections a second (more is better)",
    "memory": "1,000 connections at once",
    "load": "The load's thread meanwhile, % of its CPU (from 90 on it was the limit)",
}
TITLES = {
    "a": "(a) 20 bytes, 10 x 32",
    "a64": "(a64) 20 bytes, 10 x 64",
    "a1": "(a1) 20 bytes, 64 x 1",
    "b": "(b) 64 KiB, 10 x 32",
    "c": "(c) 10 MiB, 1 x 1",
    "d": "(d) new connection, 4 at a time",
    "d16": "(d16) 16 at a time",
    "dm": f"(dm) {HYBRID}, 4",
}
UNITS = {"b": "ns/KiB", "c": "ns/KiB"}
KEYS = tuple(w.key for w in WORKLOADS) + tuple(h.key for h in HANDSHAKES)

FIGURES = (
    *(Figure(f"{key}_cpu", "cpu", TITLES[key], UNITS.get(key, "us")) for key in KEYS),
    *(Figure(f"{key}_rps", "rps", TITLES[key], "") for key in KEYS),
    Figure("burst_s", "memory", "burst, until all are answered", "s"),
    Figure("burst_drops", "memory", "burst, datagrams dropped", ""),
    Figure("idle_kib", "memory", "(e) RSS per idle connection", "KiB"),
    *(Figure(f"{key}_load", "load", TITLES[key], "") for key in KEYS),
)

# A row: Summaries and reasons by server (None: none), the best barred peer's name, ratios to its median by server.
Row = namedtuple("Row", "figure summary reason best ratios")


# --- ratios -----------------------------------------------------------------------------------------------------------


def best_of(figure, medians):
    """The barred peer with the best of {server: median}, or None."""
    found = {name: value for name, value in medians.items() if name in BARRED}
    if not found:
        return None
    return (max if figure.group == MORE_IS_BETTER else min)(found, key=found.get)


def row_of(figure, samples, names):
    summary = {name: samples.summary(figure.key, name) for name in names}
    reason = {name: samples.reason(figure.key, name) for name in names}
    medians = {name: s.median for name, s in summary.items() if s is not None}
    best = best_of(figure, medians) if figure.group in MEASURED else None
    ratios = {name: median / medians[best] for name, median in medians.items()} if best and medians[best] else {}
    return Row(figure, summary, reason, best, ratios)


def rows_of(samples, names):
    return [row_of(figure, samples, names) for figure in FIGURES]


def verdict(row):
    """(the bar as text, whether ours meets it) of a row; None where there is none or nothing to tell."""
    ours = row.summary.get(OURS[0])
    if ours is None:
        return None
    if row.figure.key == "burst_s":
        return "< 1 s", ours.median < 1
    if row.figure.key == "burst_drops":
        return "none", ours.median == 0
    bar, ratio = BARS.get(row.figure.key), row.ratios.get(OURS[0])
    return (f"<= {bar:.2f}", ratio <= bar) if bar is not None and ratio is not None else None


def complete(rows):
    """Whether all of ours was measured in each round, and something of each."""
    return not any(row.reason.get(name) or row.summary.get(name) is None for row in rows for name in OURS)


# --- cells ------------------------------------------------------------------------------------------------------------


def spread_percent(summary):
    """Half of the way from least to most, in percent of the median."""
    return (summary.high - summary.low) / 2 / summary.median * 100 if summary.median else 0.0


def cell(summary):
    """Median and spread, short."""
    if summary is None:
        return "-"
    return number(summary.median) + (f" ±{spread_percent(summary):.0f}%" if summary.low != summary.high else "")


def markdown_cell(row, name):
    """Median, least and most; or why there is none."""
    summary = row.summary[name]
    if summary is None:
        return f"{NOT_MEASURED} ({row.reason[name] or 'no round got that far'})"
    low, middle, high = (number(v, summary.median) for v in (summary.low, summary.median, summary.high))
    return middle if low == high else f"{middle} ({low}..{high})"


def ratio_cells(row, names):
    """Ratios, the best peer, the bar."""
    found = verdict(row)
    ratios = [f"{row.ratios[name]:.2f}" if name in row.ratios else "-" for name in names]
    return ratios + [row.best or "-", f"{found[0]}: {'met' if found[1] else 'NO'}" if found else ""]


def told(row):
    """Whether a row has a place among the ratios."""
    return bool(row.ratios) or verdict(row) is not None


# --- tables -----------------------------------------------------------------------------------------------------------


def grouped(rows):
    """(group's title, its rows)."""
    return [(text, [row for row in rows if row.figure.group == group]) for group, text in GROUPS.items()]


def terminal_table(heads, groups):
    """Lines of a table: `groups` of (title, [cells])."""
    every = [heads] + [cells for _, members in groups for cells in members]
    widths = [max(len(cells[i]) for cells in every) + (2 if i == 0 else 0) for i in range(len(heads))]
    lines = [line(heads, widths), "-" * (sum(widths) + 2 * len(widths) - 2)]
    for text, members in groups:
        if members:
            lines += [text] + [line(("  " + cells[0], *cells[1:]), widths) for cells in members]
    return "\n".join(lines)


def terminal(rows, names):
    """Both tables for a terminal; medians, and half of the spread."""
    medians = [(text, [(title(r.figure), *(cell(r.summary[n]) for n in names)) for r in members])
               for text, members in grouped(rows)]
    ratios = [(text, [(r.figure.title, *ratio_cells(r, names)) for r in members if told(r)])
              for text, members in grouped(rows)]
    return (terminal_table(("median, half of the spread", *names), medians) + "\n\n" +
            terminal_table(("ratio to the best peer", *names, "best peer", "h3pool's bar"), ratios))


def markdown_table(heads, groups):
    lines = [markdown_line(heads), "|---" + "|---:" * (len(heads) - 1) + "|"]
    for text, members in groups:
        if members:
            lines.append(markdown_line((f"**{text}**", *("" for _ in heads[1:]))))
            lines += [markdown_line(cells) for cells in members]
    return "\n".join(lines)


def markdown(rows, names):
    """Both tables as Markdown; medians with least and most."""
    medians = [(text, [(title(r.figure), *(markdown_cell(r, n) for n in names)) for r in members])
               for text, members in grouped(rows)]
    ratios = [(text, [(r.figure.title, *ratio_cells(r, names)) for r in members if told(r)])
              for text, members in grouped(rows)]
    return ("## Ratios to the best peer\n\n" + markdown_table(("", *names, "best peer", "h3pool's bar"), ratios) +
            "\n\n## Medians (least..most of the rounds)\n\n" + markdown_table(("", *names), medians))
