# SPDX-License-Identifier: MIT
"""The table, on a terminal and as Markdown."""

import textwrap
from itertools import groupby

from figures import BUILDS, GROUPS

WIDTH = 110
TITLE_WIDTH = 38
NOT_MEASURED = "not measured"
LEGEND = "median (least..most of the rounds); ~: the spreads overlap, so the change may be chance"


# --- cells ------------------------------------------------------------------------------------------------------------


def number(value, like=None):
    """A value with about three digits that count; with as many places as `like` would have."""
    size = abs(value if like is None else like)
    if abs(value) < 5e-4:
        return "0"
    return f"{value:,.{0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3}f}"


def cell(summary):
    """Median and spread."""
    if summary is None:
        return NOT_MEASURED
    low, middle, high = (number(v, summary.median) for v in (summary.low, summary.median, summary.high))
    return middle if low == high == middle else f"{middle} ({low}..{high})"


def change(percent, chance, after):
    """A change in percent (None: from 0); with ~ when the spreads overlap."""
    if percent is None:
        return f"from 0 to {number(after.median)}"
    if percent == 0:
        return "same"
    if abs(percent) < 0.05:
        text = "0.0 %"
    else:
        text = f"{percent:+.1f} %" if percent < 1000 else f"x {percent / 100 + 1:.0f}"
    return text + (" ~" if chance else "")


def title(figure):
    return figure.title + (f", {figure.unit}" if figure.unit else "")


def row_cells(row):
    """Title, unpooled, pooled, change."""
    both = all(row.summary.values())
    changed = change(row.change, row.chance, row.summary["pooled"]) if both else ""
    return (title(row.figure), *(cell(row.summary[b]) for b in BUILDS), changed)


def missing(row):
    """(build, or "" for both, why) of the values of a row that are missing, from some rounds or from all."""
    reasons = {b: row.reason[b] for b in BUILDS if row.reason[b]}
    if len(reasons) == 2 and len(set(reasons.values())) == 1:
        return [("", reasons["pooled"])]
    return list(reasons.items())


# --- terminal ---------------------------------------------------------------------------------------------------------


def line(cells, widths):
    first, *others = cells
    return "  ".join([first.ljust(widths[0])] + [c.rjust(w) for c, w in zip(others, widths[1:])]).rstrip()


def wrapped(text, indent=0, mark=""):
    """Lines of at most the table's width."""
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent + mark, subsequent_indent=" " * (indent + len(mark)))


def why_lines(row):
    """Why values are missing, under their row."""
    lines = []
    for build, why in missing(row):
        what = NOT_MEASURED if all(s is None for s in row.summary.values()) else "a round failed"
        who = f"{build} " if build else ""
        if build and row.summary[build] is None:
            what = NOT_MEASURED
        lines += wrapped(f"{who}{what} ({why})", 4)
    return lines


def terminal_rows(rows, widths):
    """The lines of one group's rows. A row without a value is one text."""
    lines = []
    for row in rows:
        if any(row.summary.values()):
            cells = row_cells(row)
            lines.append(line(("  " + cells[0], *cells[1:]), widths))
            lines += why_lines(row)
            continue
        whys = "; ".join(f"{b}: {why}" if b else why for b, why in missing(row))
        head = "  " + title(row.figure).ljust(widths[0] - 2) + "  "
        lines += textwrap.wrap(f"{NOT_MEASURED} ({whys})", WIDTH, initial_indent=head,
                               subsequent_indent=" " * len(head))
    return lines


def terminal(rows):
    """The before/after table, at most WIDTH columns wide."""
    heads = ("", *BUILDS, "change")
    cells = [row_cells(row) for row in rows] + [heads]
    widths = [TITLE_WIDTH] + [max(len(c[i]) for c in cells) for i in (1, 2, 3)]
    widths[0] = min(widths[0] + 2, WIDTH - sum(widths[1:]) - 6)
    lines = [line(heads, widths), "-" * WIDTH]
    for group, members in groupby(rows, lambda row: row.figure.group):
        lines += [GROUPS[group]] + terminal_rows(members, widths)
    return "\n".join(lines + ["-" * WIDTH, LEGEND])


def terminal_base(rows):
    """The comparison with an earlier report."""
    heads = ("", "earlier", "now", "change")
    cells = [("    " + r.build, cell(r.before), cell(r.after), change(r.change, r.chance, r.after)) for r in rows]
    widths = [TITLE_WIDTH] + [max(len(c[i]) for c in cells + [heads]) for i in (1, 2, 3)]
    lines = [line(heads, widths), "-" * WIDTH]
    for figure, members in groupby(zip(rows, cells), lambda pair: pair[0].figure):
        lines += [f"{GROUPS[figure.group].split(',')[0]}: {title(figure).strip()}"]
        lines += [line(values, widths) for _, values in members]
    return "\n".join(lines)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown_line(cells):
    return "| " + " | ".join(c.replace("|", "\\|").replace("~", "\\~") for c in cells) + " |"


def markdown_cell(row, build):
    """Median and spread, or why it is missing."""
    if row.summary[build] is None:
        return f"{NOT_MEASURED} ({row.reason[build]})"
    return cell(row.summary[build]) + (f" (a round failed: {row.reason[build]})" if row.reason[build] else "")


def markdown(rows):
    """The before/after table."""
    lines = [markdown_line(("", *BUILDS, "change")), "|---|---:|---:|---:|"]
    for group, members in groupby(rows, lambda row: row.figure.group):
        lines.append(markdown_line((f"**{GROUPS[group]}**", "", "", "")))
        for row in members:
            cells = row_cells(row)
            lines.append(markdown_line((cells[0].strip(), *(markdown_cell(row, b) for b in BUILDS), cells[3])))
    return "\n".join(lines + ["", LEGEND.replace("~", "\\~")])


def markdown_base(rows):
    """The comparison with an earlier report."""
    lines = [markdown_line(("", "build", "earlier", "now", "change")), "|---|---|---:|---:|---:|"]
    lines += [markdown_line((title(r.figure).strip(), r.build, cell(r.before), cell(r.after),
                             change(r.change, r.chance, r.after))) for r in rows]
    return "\n".join(lines)
