# SPDX-License-Identifier: MIT
"""A client beside hostile ones: the real programs, with few clients."""

import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import beside
import runner
from compare import CHECKOUT, Progress
from goformat import Figures
from loads import Load
from processes import Children, Failure

FEW = beside.Attack("few", Load("/data/10M", clients=8, streams=8, threads=1, requests=6400))
GONE = beside.Attack("gone", FEW.load._replace(extra=("--no-such-option",)))
BUILD = CHECKOUT / "build"


@mock.patch.multiple(beside, ROUNDS=1, WATCHED=beside.WATCHED._replace(duration_s=0.2), REST_S=0.2)
class Beside(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        children = Children()
        self.addCleanup(folder.cleanup)
        self.addCleanup(children.__exit__)
        self.children, self.folder = children, Path(folder.name)

    def bench(self, build):
        options = runner.parse_options(["--build", str(build)], {})
        return runner.Bench(options, self.children, self.folder, Progress(1, io.StringIO()))

    @unittest.skipIf(beside.programs(BUILD) or not (CHECKOUT / "certs" / "localhost.pem").exists(), "not built")
    def test_both_runs_are_measured(self):
        lines = beside.run(self.bench(BUILD), FEW)
        for unit in ("p99-us", "rss-peak-B"):
            values = Figures(lines, unit).values
            self.assertEqual(list(values), ["Beside/attack=few/clients=0", "Beside/attack=few/clients=8"])
            self.assertGreater(min(map(min, values.values())), 0)
        self.assertEqual(self.children.running, [])

    @unittest.skipIf(beside.programs(BUILD) or not (CHECKOUT / "certs" / "localhost.pem").exists(), "not built")
    def test_an_attack_that_ends_too_early_is_none(self):
        with self.assertRaisesRegex(Failure, "gone: 8 clients were never there at the same time"):
            beside.run(self.bench(BUILD), GONE)
        self.assertEqual(self.children.running, [])

    def test_missing_programs_are_named(self):
        with self.assertRaisesRegex(Failure, "few: not built: h3load, h3pool"):
            beside.run(self.bench(self.folder), FEW)


if __name__ == "__main__":
    unittest.main()
