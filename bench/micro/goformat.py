# SPDX-License-Identifier: MIT
"""Go's benchmark format: a line is "BenchmarkNAME  ITERATIONS  VALUE UNIT  VALUE UNIT ...".

benchstat reads these lines, and lines "key: value" as what holds for those below them; all others it passes over.
"""

import re
from collections import namedtuple

# A line; `figures` is {unit: text of the value}, so that what is printed is what was read.
Line = namedtuple("Line", "name iterations figures")

HEADER = re.compile(r"[a-z][^\s:]*:\s")
WIDTH = 14


def parse_line(text):
    """The Line, or None if it is none."""
    cells = text.split()
    if len(cells) < 4 or len(cells) % 2 or not cells[0].startswith("Benchmark") or not cells[1].isdigit():
        return None
    try:
        for value in cells[2::2]:
            float(value)
    except ValueError:
        return None
    return Line(cells[0], cells[1], dict(zip(cells[3::2], cells[2::2])))


def parse(text):
    """The header lines and the Lines of an output."""
    header, lines = [], []
    for line in text.splitlines():
        found = parse_line(line)
        if found:
            lines.append(found)
        elif HEADER.match(line):
            header.append(line)
    return header, lines


def format_line(line):
    cells = [f"{value:>{WIDTH}} {unit}" for unit, value in line.figures.items()]
    return "\t".join([line.name, f"{line.iterations:>10}", *cells])


def with_figures(line, extra):
    """The line with the figures of {unit: text} behind its own."""
    return line._replace(figures={**line.figures, **extra})


def split_name(name):
    """("OneBlock/size=runtime", "glibc") of "BenchmarkOneBlock/size=runtime/alloc=glibc"."""
    case, _, way = name.removeprefix("Benchmark").partition("/alloc=")
    return case, way


def grouped(lines):
    """The lines, those of one name together, in order of first appearance."""
    names = {}
    for line in lines:
        names.setdefault(line.name, []).append(line)
    return [line for group in names.values() for line in group]


class Figures:
    """The values of a unit by name, from lines of several rounds."""

    def __init__(self, lines, unit="ns/op"):
        self.values = {}
        for line in lines:
            if unit in line.figures:
                self.values.setdefault(line.name.removeprefix("Benchmark"), []).append(float(line.figures[unit]))

    def least(self, name):
        """The least of all rounds, or None. Other work on the machine only ever adds to a time, so the least is the
        one that it has touched least; a median would measure the neighbours, too."""
        return min(self.values[name]) if name in self.values else None

    def middle(self, name):
        """The median, or None: for what is not a time and may err both ways."""
        ordered = sorted(self.values.get(name, []))
        return ordered[len(ordered) // 2] if ordered else None

    def most(self, name):
        """The most of all rounds, or None: for what must never be exceeded."""
        return max(self.values[name]) if name in self.values else None
