# SPDX-License-Identifier: MIT
"""The report: what is known of how the figures came about, and the table, on the terminal, as Markdown and as JSON."""

import json
import os
import statistics
import time
from collections import Counter

import table
from figures import BUILDS, agreement, base_rows

FORMAT = 1
SLOWER_MAX = 0.1  # of the time at its best: a CPU that takes more is slower


# --- notes ------------------------------------------------------------------------------------------------------------


def values_of(rows, key, build):
    summary = next(row.summary[build] for row in rows if row.figure.key == key)
    return summary.values if summary else []


def counter_notes(rows):
    """What the two counters of the unpooled build say of each other."""
    notes = []
    for what in ("request", "connection"):
        calls, gets = (values_of(rows, f"{kind}_per_{what}", "unpooled") for kind in ("calls", "gets"))
        if calls and gets:
            notes.append("Counter from outside against the server's own, unpooled, per "
                         f"{what}: {agreement(calls, gets)}.")
    return notes


def disturbance_notes(rounds):
    """Which rounds were disturbed by other load."""
    disturbed = [r for r in rounds if r["disturbed"]]
    if not disturbed:
        return [f"No other load was seen in the {len(rounds)} timed rounds."]
    notes = [f"{len(disturbed)} of {len(rounds)} timed rounds were DISTURBED by other load; they are in the figures, "
             "so trust times and rates less than counts:"]
    return notes + [f"{r['name']} ({r['build']}): {'; '.join(r['disturbed'])}." for r in disturbed]


def pace_notes(rounds):
    """Whether the CPU itself was slower in some rounds than in others."""
    paces = [statistics.fmean(r["paces_us"]) for r in rounds if r.get("paces_us")]
    best = min((pace for r in rounds for pace in r.get("paces_us", [])), default=0)
    slower = [(pace / best - 1) * 100 for pace in paces if pace > best * (1 + SLOWER_MAX)]
    if not slower:
        return []
    return [f"In {len(slower)} of {len(paces)} timed rounds the server's CPU took {min(slower):.0f} to "
            f"{max(slower):.0f} % more time for a fixed piece of work than at its best: a neighbour on the same core "
            "of the host, or the clock rate. CPU times and rates vary with that, in every column."]


def limit_notes(rounds):
    """Whether the load side was the limit, in rounds where that matters."""
    rounds = [r for r in rounds if "load_was_limit" in r]
    limits = Counter(what for r in rounds for what in r["load_was_limit"])
    if not limits:
        return ["The load side was not the limit in any round."]
    named = ", ".join(f"{what} ({count} of {len(rounds)} rounds)" for what, count in limits.items())
    return [f"The load side was the limit (a load thread at 90 % or more): {named}. There, requests/s and latency say "
            "what the load could do, not what the server can."]


def clock_notes(rounds):
    """What the memory clock does not know."""
    inlined = {b: [r["inlined_gets_percent"] for r in rounds if r["build"] == b and "inlined_gets_percent" in r]
               for b in BUILDS}
    shares = ", ".join(f"{statistics.median(found):.1f} % of the {build} build's gets"
                       for build, found in inlined.items() if found)
    if not shares:
        return []
    return ["Memory management in a turn is that of servers with a clock between callers and the memory functions. "
            f"What the pools do inside the caller's own code is not timed: {shares} went that way. Interrupts count "
            "where they fall, and the clock makes small calls seem some nanoseconds longer, in both builds."]


def pinning_note(options):
    if not options["server_cpus"]:
        return "Server and load shared one CPU and waited for each other: trust CPU time, not rates and latency."
    return (f"Server on CPU {options['server_cpus'][0]} with one worker, load on "
            f"{', '.join(map(str, options['load_cpus']))} with {options['load_threads']} thread(s), a closed loop.")


def notes_of(about, rows, rounds):
    """All that a reader must know to read the figures rightly."""
    notes = [pinning_note(about["options"])]
    notes += disturbance_notes(rounds) + pace_notes(rounds) + limit_notes(rounds)
    notes += counter_notes(rows) + clock_notes(rounds)
    notes += [
        "Both builds are the same objects. The free lists that ngtcp2 and nghttp3 keep inside are at work in both, so "
        "what they save is in neither column's favour, and is not known.",
        "The unpooled build links the blocks of a connection's heap: 16 bytes each that plain malloc would not need "
        "are in its bytes and its RSS.",
        "CPU per request includes a run's connection set-up, spread over all its requests: the shorter the "
        "measurement, the more of it.",
    ]
    if about["options"]["client"] == "h2load":
        notes.append("h2load verifies no certificate and opens all new connections at once. The idle connections were "
                     "held by h3load.")
    return notes


def base_notes(about, base):
    """What differs between this run and the earlier one besides the code."""
    notes = [f"Earlier report: {base['path']}, made {base.get('made', '?')}, commit {base.get('commit', '?')}."]
    for part in ("machine", "options"):
        was, now = base.get(part, {}), about[part]
        changed = [f"{k}: {was.get(k)} then, {now[k]} now" for k in now if was.get(k) != now[k]]
        if changed:
            notes.append(f"Not the same {part}: {'; '.join(changed)}.")
    return notes


# --- output -----------------------------------------------------------------------------------------------------------


def heads(about):
    """The lines that say what was measured, where and how."""
    m, o = about["machine"], about["options"]
    return [
        f"commit {about['commit']}; {about['versions']['h3pool']}",
        f"{m['cpu']}, {m['cpus_allowed']} of {m['cpus']} CPUs, {m['memory_mib']} MiB, {m['kernel']} "
        f"{m['architecture']}",
        f"{o['rounds']} rounds of each build, {o['duration_s']:g} s a measurement, client {o['client']}"
        + (f" {' '.join(o['args'])}" if o["args"] else "") + f"; took {about['took_s']:.0f} s",
    ]


def as_json(about, rows, rounds, notes, compared):
    """The report for programs; the format of a later BASE."""
    def side(row, build):
        summary = row.summary[build]
        if summary is None:
            return {"not_measured": row.reason[build]}
        found = {"median": summary.median, "min": summary.low, "max": summary.high, "values": summary.values}
        return {**found, "failed": row.reason[build]} if row.reason[build] else found

    figures = [{"key": r.figure.key, "group": r.figure.group, "title": r.figure.title.strip(), "unit": r.figure.unit,
                **{b: side(r, b) for b in BUILDS}, "change_percent": r.change, "spreads_overlap": r.chance}
               for r in rows]
    base = [{"key": r.figure.key, "build": r.build, "earlier": r.before.median, "now": r.after.median,
             "change_percent": r.change, "spreads_overlap": r.chance} for r in compared]
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"format": FORMAT, "made": made, **about, "figures": figures, "rounds": rounds, "notes": notes,
            "base": base}


def as_terminal(about, rows, notes, compared, compared_notes):
    parts = ["\n".join(heads(about)), table.terminal(rows)]
    parts.append("\n".join(line for note in notes for line in table.wrapped(note, mark="* ")))
    if compared_notes:
        lines = [line for note in compared_notes for line in table.wrapped(note)]
        parts.append("\n".join(lines + [table.terminal_base(compared)]))
    return "\n\n".join(parts)


def as_markdown(about, rows, notes, compared, compared_notes):
    versions = [f"{name}: {text}" for name, text in about["versions"].items()]
    parts = ["# Unpooled and pooled under the same HTTP/3 load", "\n".join(f"- {h}" for h in heads(about) + versions),
             table.markdown(rows), "## Notes", "\n".join(f"- {note}" for note in notes)]
    if compared_notes:
        parts += ["## Against an earlier report", "\n".join(f"- {note}" for note in compared_notes),
                  table.markdown_base(compared)]
    return "\n\n".join(parts) + "\n"


def publish(folder, about, rows, rounds, base):
    """Prints the table, and writes compare.md and compare.json to a folder."""
    notes = notes_of(about, rows, rounds)
    compared = base_rows(rows, base) if base else []
    compared_notes = base_notes(about, base) if base else []
    print(as_terminal(about, rows, notes, compared, compared_notes))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.md").write_text(as_markdown(about, rows, notes, compared, compared_notes))
    (folder / "compare.json").write_text(json.dumps(as_json(about, rows, rounds, notes, compared), indent=1) + "\n")
    print(f"\nreport: {os.path.relpath(folder / 'compare.md')} and compare.json")
