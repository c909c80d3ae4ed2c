# SPDX-License-Identifier: MIT
"""The table on terminals and as Markdown, and the report around it."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import report
import table
from compare import base_report
from figures import FIGURES, Samples, base_rows, rows_of, summarize
from test_figures import full_samples

ABOUT = {
    "versions": {"h3pool": "h3pool 0.1.0 (pooled)", "h3load": "h3load 0.1.0"},
    "machine": {"cpu": "X", "cpus": 2, "cpus_allowed": 2, "architecture": "x86_64", "kernel": "Linux 6",
                "memory_mib": 9},
    "commit": "abc", "took_s": 61.0,
    "options": {"rounds": 2, "duration_s": 1.0, "args": [], "client": "h3load", "server_cpus": [1], "load_cpus": [0],
                "load_threads": 1},
}
QUIET = [{"name": "round 1 of 2", "build": "unpooled", "disturbed": [], "load_was_limit": []}]


class Cells(unittest.TestCase):
    def test_numbers(self):
        for value, text in ((0, "0"), (0.0001, "0"), (0.25, "0.250"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"),
                            (34567.8, "34,568"), (-2.5, "-2.50")):
            self.assertEqual(table.number(value), text)

    def test_cell(self):
        self.assertEqual(table.cell(None), "not measured")
        self.assertEqual(table.cell(summarize([10.0, 10.0])), "10.0")
        self.assertEqual(table.cell(summarize([1.0, 2.0, 4.0])), "2.00 (1.00..4.00)")

    def test_change(self):
        self.assertEqual(table.change(-50.0, False, None), "-50.0 %")
        self.assertEqual(table.change(3.21, True, None), "+3.2 % ~")
        self.assertEqual(table.change(0.0, True, None), "same")
        self.assertEqual(table.change(-0.01, True, None), "0.0 % ~")
        self.assertEqual(table.change(None, False, summarize([5.0])), "from 0 to 5.00")
        self.assertEqual(table.change(1900.0, False, None), "x 20")


class Terminal(unittest.TestCase):
    def check_width(self, text):
        for line in text.splitlines():
            self.assertLessEqual(len(line), 110, line)

    def test_fits_with_large_numbers(self):
        self.check_width(table.terminal(rows_of(full_samples((123456.0, 234567.0, 999999.0), (100000.0, 345678.0)))))

    def test_titles_fit_their_column(self):
        for figure in FIGURES:
            self.assertLessEqual(len(table.title(figure)), table.TITLE_WIDTH, figure.title)

    def test_every_figure_has_a_row(self):
        text = table.terminal(rows_of(full_samples()))
        for figure in FIGURES:
            self.assertIn(figure.title.strip(), text)

    def test_not_measured_rows_say_why(self):
        samples = Samples()
        samples.fail("unpooled", ["rps"], "3 of 9 requests failed: status 3")
        samples.add("pooled", rps=7.0)
        text = table.terminal(rows_of(samples))
        self.assertIn("not measured (no round got that far)", text)
        self.assertIn("unpooled not measured (3 of 9 requests failed: status 3)", text)
        self.assertNotIn("from 0", text)
        self.check_width(text)

    def test_long_reasons_are_wrapped(self):
        samples = Samples()
        samples.fail("unpooled", [f.key for f in FIGURES], "word " * 60)
        self.check_width(table.terminal(rows_of(samples)))

    def test_failed_round_is_told_under_its_row(self):
        samples = full_samples()
        samples.fail("pooled", ["rps"], "h3load still ran after 46 s")
        self.assertIn("pooled a round failed (h3load still ran after 46 s)", table.terminal(rows_of(samples)))

    def test_base_fits(self):
        rows = rows_of(full_samples((123456.0, 234567.0, 999999.0), (100000.0, 345678.0)))
        base = report.as_json(ABOUT, rows, QUIET, [], [])
        self.check_width(table.terminal_base(base_rows(rows, base)))


class Markdown(unittest.TestCase):
    def test_all_lines_have_as_many_cells(self):
        lines = [l for l in table.markdown(rows_of(full_samples())).splitlines() if l.startswith("|")]
        self.assertEqual({line.count("|") for line in lines}, {5})

    def test_not_measured(self):
        self.assertIn("| not measured (no round got that far) |", table.markdown(rows_of(Samples())))


class Report(unittest.TestCase):
    def publish(self, samples, rounds, base=None):
        """(terminal, Markdown, JSON, path of the JSON) of a report; the folder lives as long as the test."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "latest"
        with contextlib.redirect_stdout(io.StringIO()) as out:
            report.publish(folder, ABOUT, rows_of(samples), rounds, base)
        path = folder / "compare.json"
        return out.getvalue(), (folder / "compare.md").read_text(), json.loads(path.read_text()), path

    def enterContext(self, context):  # Python 3.10 has none
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def test_json(self):
        samples = full_samples()
        samples.values["turn_memory_us"].clear()
        samples.fail("pooled", ["rps"], "why")
        _, _, found, _ = self.publish(samples, QUIET)
        figures = {f["key"]: f for f in found["figures"]}
        self.assertEqual(figures["rps"]["unpooled"], {"median": 2.5, "min": 2.0, "max": 3.0, "values": [2.0, 3.0]})
        self.assertEqual(figures["rps"]["pooled"]["failed"], "why")
        self.assertIn("not_measured", figures["turn_memory_us"]["pooled"])
        self.assertEqual(found["commit"], "abc")

    def test_own_report_as_base(self):
        path = self.publish(full_samples(), QUIET)[3]
        text, markdown, found, _ = self.publish(full_samples(), QUIET, base_report(str(path)))
        self.assertIn("Earlier report:", text)
        self.assertIn("## Against an earlier report", markdown)
        self.assertEqual({row["change_percent"] for row in found["base"]}, {0.0})

    def test_disturbed_rounds_are_named(self):
        disturbed = ["other processes used 50 % of a CPU"]
        rounds = QUIET + [{"name": "round 2 of 2", "build": "pooled", "disturbed": disturbed, "load_was_limit": []}]
        text, markdown, _, _ = self.publish(full_samples(), rounds)
        self.assertIn("1 of 2 timed rounds were DISTURBED", text)
        self.assertIn("round 2 of 2 (pooled): other processes used 50 % of a CPU", markdown)

    def test_slower_cpu_is_told(self):
        rounds = [{"name": f"round {i}", "build": "pooled", "disturbed": [], "paces_us": paces}
                  for i, paces in enumerate(([550, 552], [551, 1100], [1000, 1000], []))]
        text = " ".join(self.publish(full_samples(), rounds)[1].split())
        self.assertIn("In 2 of 3 timed rounds the server's CPU took 50 to 82 % more time", text)
        self.assertNotIn("fixed piece of work", self.publish(full_samples(), rounds[:1])[1])
        self.assertNotIn("fixed piece of work", self.publish(full_samples(), QUIET)[1])

    def test_quiet_rounds(self):
        text = self.publish(full_samples(), QUIET)[0]
        self.assertIn("No other load was seen", text)
        self.assertIn("load side was not the limit", text)

    def test_load_side_as_limit(self):
        rounds = [{"name": "round 1 of 2", "build": "pooled", "disturbed": [], "load_was_limit": ["GET /data"]}]
        self.assertIn("The load side was the limit", self.publish(full_samples(), rounds)[0])

    def test_what_the_clock_does_not_time(self):
        rounds = [{"name": "the memory clock's round", "build": "pooled", "disturbed": [],
                   "inlined_gets_percent": 98.76}]
        text, markdown, found, _ = self.publish(full_samples(), QUIET + rounds)
        self.assertIn("is not timed: 98.8 % of the pooled build's gets", markdown)
        self.assertIn("No other load was seen in the 2 timed rounds", text)
        self.assertEqual(found["rounds"][1]["inlined_gets_percent"], 98.76)
        self.assertNotIn("is not timed", self.publish(full_samples(), QUIET)[1])

    def test_what_is_not_known_is_said(self):
        text = " ".join(self.publish(full_samples(), QUIET)[1].split())
        self.assertIn("free lists that ngtcp2 and nghttp3 keep inside", text)
        self.assertIn("16 bytes", text)
