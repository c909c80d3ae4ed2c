# SPDX-License-Identifier: MIT
"""The report: the tables, and what a reader must know of how the figures came about; terminal, Markdown and JSON."""

import json
import os
import time

import ratios
from report import disturbance_notes, pace_notes, limit_notes, pinning_note
from table import wrapped

FORMAT = 1
DISTURBED_MAX = 6  # rounds told one by one


def absent_notes(absent):
    """Which peers were left out."""
    return [f"{name} was left out: {reason}." for name, reason in absent.items()]


def failure_notes(rows, names):
    """Why values are missing, from some rounds or from all."""
    found = {}
    for row in rows:
        for name in names:
            if row.reason[name]:
                found.setdefault((name, row.reason[name]), []).append(row.figure.title)
    return [f"{name}: {', '.join(dict.fromkeys(titles))}: {reason}." for (name, reason), titles in found.items()]


def short(notes):
    """The notes on disturbed rounds; where they are many, the first, which says how many."""
    return notes if len(notes) <= 1 + DISTURBED_MAX else [notes[0].rstrip(":") + " (by round: peers.json)."]


def notes_of(about, rows, names, absent, rounds):
    notes = [pinning_note(about["options"])] + absent_notes(absent) + failure_notes(rows, names)
    notes += short(disturbance_notes(rounds)) + pace_notes(rounds) + limit_notes(rounds)
    return notes + [
        "The measure is the best of " + ", ".join(ratios.BARRED) + "; the others are for information. CPU is the "
        "kernel's count for all the server's processes.",
        "CPU per request and per KiB is without new connections, which the same round has measured, with one small "
        "request each. Requests/s includes them.",
        "All over a loopback with an MTU of 1500, with the same certificate (ECDSA P-256), cipher and group; "
        "congestion control, pacing and, but for nginx-gso, segmentation offload as each has them by default.",
    ]


def heads(about):
    m, o = about["machine"], about["options"]
    return [
        f"commit {about['commit']}",
        f"{m['cpu']}, {m['cpus_allowed']} of {m['cpus']} CPUs, {m['memory_mib']} MiB, {m['kernel']} "
        f"{m['architecture']}",
        f"{o['rounds']} rounds of each server, {o['duration_s']:g} s a load; took {about['took_s']:.0f} s",
    ]


def as_json(about, rows, names, absent, rounds, notes):
    """The report for programs."""
    def side(row, name):
        s, reason = row.summary[name], row.reason[name]
        found = {"median": s.median, "min": s.low, "max": s.high, "values": s.values} if s else {}
        found.update({"ratio": row.ratios[name]} if name in row.ratios else {})
        found.update({"failed" if s else "not_measured": reason} if reason else {})
        return found

    def bar(row):
        found = ratios.verdict(row)
        return {"bar": found[0], "met": found[1]} if found else {}

    figures = [{"key": r.figure.key, "group": r.figure.group, "title": r.figure.title, "unit": r.figure.unit,
                "best_peer": r.best, **bar(r), "servers": {name: side(r, name) for name in names}} for r in rows]
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"format": FORMAT, "made": made, **about, "left_out": absent, "figures": figures, "rounds": rounds,
            "notes": notes}


def as_markdown(about, rows, names, notes):
    versions = [f"{name}: {text}" for name, text in about["versions"].items()]
    return "\n\n".join(["# h3pool beside other HTTP/3 servers", "\n".join(f"- {h}" for h in heads(about) + versions),
                        ratios.markdown(rows, names), "## Notes", "\n".join(f"- {note}" for note in notes)]) + "\n"


def publish(folder, about, rows, names, absent, rounds):
    """Prints the tables, and writes peers.md and peers.json to a folder."""
    notes = notes_of(about, rows, names, absent, rounds)
    print("\n".join(heads(about)) + "\n\n" + ratios.terminal(rows, names) + "\n")
    print("\n".join(text for note in notes for text in wrapped(note, mark="* ")))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.md").write_text(as_markdown(about, rows, names, notes))
    (folder / "peers.json").write_text(json.dumps(as_json(about, rows, names, absent, rounds, notes), indent=1) + "\n")
    print(f"\nreport: {os.path.relpath(folder / 'peers.md')} and peers.json")
