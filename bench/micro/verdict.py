# SPDX-License-Identifier: MIT
"""The bars: what the pools and the server must reach, and whether they have.

A bar's `check` gets a Measured and returns (measured, bar, met): two texts, and True, False, or None if what it needs
was not measured. Then `measured` says what is missing.
"""

from collections import namedtuple

from allocators import NAMES

Bar = namedtuple("Bar", "title check")
# Least times by name in ns/op; medians of memory by name in bytes; waste in percent by name; latencies in us.
Measured = namedtuple("Measured", "times rss waste p99")
Verdict = namedtuple("Verdict", "title measured bar met")

MEMORY_LIMIT = 100 << 20  # the server's default

MET, NOT_MET, MISSING = "MET", "NOT MET", "NOT MEASURED"


def least_of_four(figure, case):
    """(least value, its allocator, names of those that were not measured)."""
    found = {name: figure(f"{case}/alloc={name}") for name in NAMES}
    missing = [name for name, value in found.items() if value is None]
    best = min((n for n in NAMES if n not in missing), key=found.get, default=None)
    return found.get(best), best, missing


def time_text(ns):
    return f"{ns:.2f} ns" if ns < 1000 else f"{ns / 1000:.0f} us"


def aside(measured, beside):
    """What is told beside a figure: `beside` is a text and a name whose time follows it."""
    other = measured.times.least(beside[1]) if beside else None
    return f" ({beside[0]} {time_text(other)})" if other is not None else ""


def times_as_fast(case, way, bar, aim=None, beside=None):
    """At least `bar` times as fast as the best of the four on the same loop."""
    def check(measured):
        wanted = f"{bar:g} x the best of the four" + (f" (aim {aim})" if aim else "")
        ours = measured.times.least(f"{case}/alloc={way}")
        best, name, missing = least_of_four(measured.times.least, case)
        if ours is None or missing:
            return "no figure of " + ", ".join(([way] if ours is None else []) + missing), wanted, None
        text = f"{time_text(ours)}{aside(measured, beside)}: {best / ours:.2f} x as fast as {name} ({time_text(best)})"
        return text, wanted, best / ours >= bar
    return check


def at_most(name, bar, beside=None):
    """At most `bar` ns."""
    def check(measured):
        ours, wanted = measured.times.least(name), f"{bar:g} ns"
        if ours is None:
            return f"no figure of {name}", wanted, None
        return time_text(ours) + aside(measured, beside), wanted, ours <= bar
    return check


def memory(measured):
    """No more resident memory in the replay than the leanest of the four."""
    case, wanted = "TraceMemory", "that of the leanest of the four"
    ours = measured.rss.middle(f"{case}/alloc=pool-bytes")
    best, name, missing = least_of_four(measured.rss.middle, case)
    if ours is None or missing:
        return "no figure of " + ", ".join((["pool-bytes"] if ours is None else []) + missing), wanted, None
    text = f"{ours / 1024:,.0f} KiB: {(ours / best - 1) * 100:+.1f} % of {name} ({best / 1024:,.0f} KiB)"
    return text, wanted, ours <= best


def waste(measured):
    ours, wanted = measured.waste.middle("TraceWaste/of=all/alloc=pool-bytes"), "12.5 %"
    return (f"{ours:.1f} %", wanted, ours <= 12.5) if ours is not None else ("no figure", wanted, None)


def undisturbed(attack, clients):
    """The p99 of a client beside an attack is at most twice what it is without."""
    def check(measured):
        wanted = "2 x undisturbed"
        alone = measured.p99.middle(f"Beside/attack={attack}/clients=0")
        beside = measured.p99.middle(f"Beside/attack={attack}/clients={clients}")
        if alone is None or beside is None:
            return f"no figure of {attack}", wanted, None
        return f"{beside:.0f} us: {beside / alone:.2f} x {alone:.0f} us", wanted, beside <= 2 * alone
    return check


def within_limit(attack, clients):
    """The server's most resident memory is within its default limit."""
    def check(measured):
        wanted = f"{MEMORY_LIMIT >> 20} MiB"
        peak = measured.rss.most(f"Beside/attack={attack}/clients={clients}")
        if peak is None:
            return f"no figure of {attack}", wanted, None
        return f"{peak / (1 << 20):.1f} MiB", wanted, peak <= MEMORY_LIMIT
    return check


BARS = (
    Bar("byte pool, size at run time", times_as_fast("OneBlock/size=runtime", "pool-bytes", 2, "3 x",
                                                     ("put with its size", "OneBlock/size=runtime/alloc=pool-sized"))),
    Bar("byte pool, fixed class", times_as_fast("OneBlock/size=fixed", "pool-bin", 4, "0.9 ns")),
    Bar("object pool", at_most("OneBlock/size=fixed/alloc=pool-object", 2,
                               ("with a reset function", "OneBlock/size=fixed/alloc=pool-object-reset"))),
    Bar("through the manager, size at run time", at_most("OneBlock/size=runtime/alloc=pool-manager", 4)),
    Bar("replay of the trace, time", times_as_fast("Trace", "pool-bytes", 1.5, None,
                                                   ("put with their sizes", "Trace/alloc=pool-sized"))),
    Bar("replay of the trace, peak resident memory", memory),
    Bar("replay of the trace, waste of the size classes", waste),
    Bar("HandleHealth, pooled, from request_ready to body", at_most("HandleHealth/part=respond/pool=pooled", 100)),
    Bar("HandleData, pooled, from request_ready to body", at_most("HandleData/part=respond/pool=pooled", 150)),
    Bar("p99 of a client beside 500 that never read", undisturbed("never-reading", 500)),
    Bar("resident memory under 500 clients that never read", within_limit("never-reading", 500)),
)


def verdicts(measured, bars=BARS):
    return [Verdict(bar.title, *bar.check(measured)) for bar in bars]


def word(met):
    return MISSING if met is None else MET if met else NOT_MET


def format_verdicts(found):
    """A line each."""
    title = max(len(v.title) for v in found)
    return [f"{word(v.met):<12}  {v.title:<{title}}  {v.measured}; bar: {v.bar}" for v in found]


def complete(found):
    return all(v.met is not None for v in found)
