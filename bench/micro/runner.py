#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures the pools against four allocators on the same loops, the handlers, and a client beside hostile ones, and
says whether the bars are met.

    python3 bench/micro/runner.py [--rounds N] [--duration D] [--trace FILE]

Defaults come from ROUNDS and DURATION in the environment. One round runs the pools and each allocator, a process each;
every other round in reverse order, so that what gets slower or faster with time does so for all. All lines, in Go's
format, go to the terminal and to reports/bench/latest.txt, and behind them a table and the verdict. Exit status: 0 all
was measured, whatever the verdict; 1 something was not; 2 usage.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "compare")]

import beside  # noqa: E402 (its folder is not a package)
import machine  # noqa: E402
from allocators import ALLOCATORS, library, version  # noqa: E402
from compare import DURATION, UNITS_S, Progress, rounds  # noqa: E402
from goformat import Figures, format_line, grouped, parse, split_name, with_figures  # noqa: E402
from processes import Children, Failure, last_line  # noqa: E402
from verdict import Measured, complete, format_verdicts, verdicts  # noqa: E402

EXIT_INCOMPLETE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
PROGRAMS = ("bench-pools", "bench-handlers", "liballoc_counter.so")
POOLS = "pools"
MEMORY_RUNS = 3
RUN_S, STRATEGIES_S = 60, 90
COUNT_TIME = "2ms"

# Lines by program, and what could not be measured, a text each.
Results = namedtuple("Results", "headers lines missing notes")


class Bench:
    """What the parts of a run share."""

    def __init__(self, options, children, scratch, progress):
        self.options, self.children, self.scratch, self.progress = options, children, scratch, progress
        self.results = Results({}, {}, [], [])
        self.libraries = {a.name: library(a) for a in ALLOCATORS}
        self.trace = ["-trace", options.trace]

    def run(self, program, arguments, environment=(), timeout_s=RUN_S):
        """What a program prints."""
        command = ["env", *environment, self.options.build / program, *arguments]
        ended = self.children.run(command, None, timeout_s)
        if ended.status != 0:
            raise Failure(f"{program}: exit status {ended.status}: {last_line(ended.err)}")
        return ended.out

    def keep(self, program, text):
        header, lines = parse(text)
        if not lines:
            raise Failure(f"{program} has printed no benchmark")
        self.results.headers.setdefault(program, header)
        self.results.lines.setdefault(program, []).extend(lines)
        return lines

    def attempt(self, what, *arguments):
        """Calls `what`; a failure is kept as a text, once, and the rest goes on."""
        try:
            what(*arguments)
        except Failure as error:
            if str(error) not in self.results.missing:
                self.results.missing.append(str(error))


def preload(path):
    return [f"LD_PRELOAD={path}"] if path else []


def check_allocator(name, lines):
    """The program says which malloc it has: the loader only warns when it can't preload one."""
    wrong = {split_name(line.name)[1] for line in lines} - {name}
    if wrong:
        raise Failure(f"{name} was preloaded, but malloc was that of {', '.join(sorted(wrong))}")


# --- the parts of a run -----------------------------------------------------------------------------------------------


def time_one(bench, name):
    """One round of the pools, or of an allocator."""
    settings = ["-time", f"{bench.options.duration * 1e9:.0f}ns", *bench.trace]
    if name == POOLS:
        bench.keep("bench-pools", bench.run("bench-pools", [*settings, "-bench", "/alloc=pool-"]))
        return
    text = bench.run("bench-pools", [*settings, "-bench", "/alloc=([^p]|p[^o])"], preload(bench.libraries[name]))
    check_allocator(name, parse(text)[1])
    bench.keep("bench-pools", text)


def time_handlers(bench):
    bench.keep("bench-handlers", bench.run("bench-handlers", ["-time", f"{bench.options.duration * 1e9:.0f}ns"]))


def count_allocations(bench):
    """B/op and allocs/op of glibc and of the pools, from a run under the counter, are put into the timed lines. What
    another library's malloc is asked for would be the same, but is not counted, and so not told."""
    counter = bench.options.build / "liballoc_counter.so"
    text = bench.run("bench-pools", ["-time", COUNT_TIME, *bench.trace],
                     [f"LD_PRELOAD={counter}", f"H3POOL_ALLOC_COUNTER={bench.scratch / 'counter'}"])
    counted = {line.name: {unit: line.figures[unit] for unit in ("B/op", "allocs/op") if unit in line.figures}
               for line in parse(text)[1]}
    lines = bench.results.lines.get("bench-pools", [])
    lines[:] = [with_figures(line, counted.get(line.name, {})) for line in lines]


def measure_memory(bench, name):
    way = "pool-bytes" if name == POOLS else name
    for _ in range(MEMORY_RUNS):
        bench.keep("bench-pools", bench.run("bench-pools", [*bench.trace, "-memory", way],
                                            preload(bench.libraries.get(name))))


def measure_waste(bench):
    text = bench.run("bench-pools", ["-waste", bench.options.trace])
    bench.keep("bench-pools", text)
    table = [line for line in text.splitlines() if not line.startswith("Benchmark")]
    bench.results.notes.extend(["Size classes of the byte pool that the trace uses: bytes asked for, bytes of blocks",
                                *table, ""])


def run_strategies(bench):
    bench.keep("bench-strategies", bench.run("bench-strategies", ["-time", "10ms", "-count", "3"],
                                             timeout_s=STRATEGIES_S))


def run_beside(bench, attack):
    """The server's answers to a client that has hostile ones beside it."""
    bench.results.headers["beside"] = ["pkg: h3pool/beside"]
    bench.results.lines.setdefault("beside", []).extend(beside.run(bench, attack))


def measure_all(bench):
    ways = [POOLS]
    for name, path in bench.libraries.items():
        if path is None:
            bench.results.missing.append(f"{name} is not installed")
        else:
            ways.append(name)
    for i in range(bench.options.rounds):
        bench.progress.step(f"round {i + 1} of {bench.options.rounds}")
        for name in ways if i % 2 == 0 else reversed(ways):
            bench.attempt(time_one, bench, name)
        bench.attempt(time_handlers, bench)
    bench.progress.step("allocations and memory")
    bench.attempt(count_allocations, bench)
    for name in ways:
        bench.attempt(measure_memory, bench, name)
    bench.attempt(measure_waste, bench)
    bench.progress.step("a client beside hostile ones")
    for attack in beside.ATTACKS:
        bench.attempt(run_beside, bench, attack)
    bench.progress.step("strategies")
    if os.access(bench.options.build / "bench-strategies", os.X_OK):
        bench.attempt(run_strategies, bench)
    bench.progress.end()


# --- the report -------------------------------------------------------------------------------------------------------


def time_table(lines):
    """Least times: a row for each case, a column for each way that appears."""
    figures, rows, ways = Figures(lines), {}, []
    for name in figures.values:
        case, way = split_name(name)
        if way:
            rows.setdefault(case, {})[way] = figures.least(name)
            ways += [way] if way not in ways else []
    ways.sort(key=lambda way: not way.startswith("pool-"))  # ours first
    width = max(map(len, rows), default=0)
    cells = [max(len(way), 9) for way in ways]
    table = [" " * width + "".join(f"  {way:>{n}}" for way, n in zip(ways, cells))]
    for case, row in rows.items():
        texts = [f"{row[way]:,.{2 if row[way] < 1000 else 0}f}" if way in row else "" for way in ways]
        table.append(f"{case:<{width}}" + "".join(f"  {text:>{n}}" for text, n in zip(texts, cells)))
    return [line.rstrip() for line in table]


def measured_of(lines):
    return Measured(Figures(lines), Figures(lines, "rss-peak-B"), Figures(lines, "waste-%"), Figures(lines, "p99-us"))


def report(bench, about):
    """The text of the report, and whether everything is in it."""
    results, text = bench.results, []
    for program, lines in results.lines.items():
        text += [*results.headers[program], *map(format_line, grouped(lines)), ""]
    lines = [line for some in results.lines.values() for line in some]
    found = verdicts(measured_of(lines))
    text += results.notes
    text += [f"CPU time in ns, the least of {bench.options.rounds} rounds", *time_table(lines), ""]
    text += [f"# {line}" for line in about]
    text += [f"# not measured: {line}" for line in results.missing] + [""]
    text += ["Verdict", *format_verdicts(found)]
    return "\n".join(text) + "\n", complete(found) and not results.missing


def describe(bench, disturbed):
    here = machine.describe()
    versions = [f"{a.name} {version(a)}" for a in ALLOCATORS if bench.libraries[a.name] is not None]
    return [f"commit {machine.git_commit(CHECKOUT) or 'unknown'}; {here['cpu']}, {here['cpus']} CPUs; {here['kernel']}",
            ", ".join(versions), *(f"disturbed: {text}" for text in disturbed)]


# --- the program ------------------------------------------------------------------------------------------------------


def duration(text):
    """Seconds of a DURATION such as 20ms."""
    match = DURATION.fullmatch(text)
    seconds = float(match[1]) * UNITS_S[match[2]] if match else 0
    if not 0.001 <= seconds <= 10:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration between 1ms and 10s")
    return seconds


def parse_options(argv, environment):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=rounds, default=environment.get("ROUNDS") or "15", help="(15)")
    parser.add_argument("--duration", type=duration, default=environment.get("DURATION") or "20ms",
                        help="CPU time of a measurement (20ms)")
    parser.add_argument("--trace", type=Path, default=HERE / "server.trace")
    parser.add_argument("--build", type=Path, default=CHECKOUT / "build", help="where the programs are")
    parser.add_argument("--certs", type=Path, default=CHECKOUT / "certs", help="where the server's certificate is")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "reports" / "bench" / "latest.txt")
    return parser.parse_args(argv)


def run(options, children, scratch):
    bench = Bench(options, children, scratch, Progress(options.rounds + 3))
    watch = machine.Watch(machine.Pinning(None, None, 1))
    measure_all(bench)
    text, good = report(bench, describe(bench, watch.stop()))
    print(text, end="")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    return 0 if good else EXIT_INCOMPLETE


def main():
    options = parse_options(sys.argv[1:], os.environ)
    missing = [name for name in PROGRAMS if not os.access(options.build / name, os.R_OK)]
    if missing:
        print(f"bench: not in {options.build}: {', '.join(missing)}; run: make bench", file=sys.stderr)
        return EXIT_USAGE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="h3pool-bench-") as scratch, Children() as children:
            return run(options, children, Path(scratch))
    except KeyboardInterrupt:
        print("\nbench: interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
