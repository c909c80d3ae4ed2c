# SPDX-License-Identifier: MIT
"""The runner, with programs that print what was recorded."""

import io
import tempfile
import unittest
from argparse import ArgumentTypeError
from pathlib import Path
from unittest import mock

import runner
from allocators import ALLOCATORS, Allocator, library
from compare import Progress
from goformat import parse
from processes import Children, Failure

DATA = Path(__file__).parent / "data" / "pools.txt"
# Prints the recorded lines of the malloc that was preloaded, or else of the pools, as the real one does.
POOLS = f"""#!/bin/sh
case $*$LD_PRELOAD in
*counter*) grep OneBlock {DATA} ;;
*-memory*) for way; do :; done; grep "TraceMemory/alloc=$way" {DATA} ;;
*-waste*) grep -A 2 'block bytes' {DATA} ;;
*pool-) grep -v Memory {DATA} | grep alloc=pool ;;
*libjemalloc*) echo "BenchmarkOneBlock/size=runtime/alloc=${{FAKE:-jemalloc}} 5 7.0 ns/op" ;;
*) printf 'goos: linux\\nBenchmarkOneBlock/size=runtime/alloc=glibc 5 8.0 ns/op\\n' ;;
esac
"""
HANDLERS = f"#!/bin/sh\ngrep Handle {DATA}\n"
BROKEN = "#!/bin/sh\necho out of luck >&2\nexit 3\n"


class Runner(unittest.TestCase):
    def run_with(self, libraries, strategies=None):
        """Runs it all; returns the report, whether it is complete, and what was missing."""
        with tempfile.TemporaryDirectory() as folder, Children() as children:
            build = Path(folder)
            for name, text in (("bench-pools", POOLS), ("bench-handlers", HANDLERS), ("bench-strategies", strategies)):
                if text:
                    (build / name).write_text(text)
                    (build / name).chmod(0o755)
            options = runner.parse_options(["--rounds", "2", "--build", folder], {})
            bench = runner.Bench(options, children, build, Progress(4, io.StringIO()))
            bench.libraries = libraries
            with mock.patch("beside.ATTACKS", ()):
                runner.measure_all(bench)
            return *runner.report(bench, ["about"]), bench.results.missing

    def test_report(self):
        text, good, missing = self.run_with({"glibc": "", "jemalloc": "/x/libjemalloc.so.2"}, HANDLERS)
        self.assertEqual(missing, [])
        self.assertFalse(good)  # two allocators are not four
        lines = [line for line in parse(text)[1] if line.name == "BenchmarkOneBlock/size=runtime/alloc=glibc"]
        self.assertEqual([line.figures for line in lines],
                         [{"ns/op": "8.0", "B/op": "1024", "allocs/op": "1"}] * 2)  # of two rounds, counted once
        jemalloc = [line for line in parse(text)[1] if line.name.endswith("runtime/alloc=jemalloc")]
        self.assertNotIn("B/op", jemalloc[0].figures)
        self.assertIn("# about", text)
        self.assertIn("NOT MEASURED  byte pool, size at run time", text)
        self.assertIn("no figure of mimalloc, tcmalloc", text)

    def test_missing_allocator_is_said(self):
        text, good, missing = self.run_with({"glibc": "", "jemalloc": None})
        self.assertEqual(missing, ["jemalloc is not installed"])
        self.assertFalse(good)
        self.assertIn("# not measured: jemalloc is not installed", text)

    def test_failure_of_a_program_is_said_once(self):
        text, good, missing = self.run_with({"glibc": ""}, BROKEN)
        self.assertEqual(missing, ["bench-strategies: exit status 3: out of luck"])
        self.assertFalse(good)

    def test_wrong_malloc_is_noticed(self):
        lines = parse("BenchmarkX/alloc=glibc 1 2 ns/op")[1]
        runner.check_allocator("glibc", lines)
        with self.assertRaisesRegex(Failure, "jemalloc was preloaded, but malloc was that of glibc"):
            runner.check_allocator("jemalloc", lines)


class Parts(unittest.TestCase):
    def test_options(self):
        self.assertEqual(runner.parse_options([], {"ROUNDS": "3", "DURATION": "5ms"}).rounds, 3)
        self.assertAlmostEqual(runner.duration("5ms"), 0.005)
        for text in ("", "x", "0", "1h"):
            self.assertRaises(ArgumentTypeError, runner.duration, text)

    def test_libraries(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIsNone(library(ALLOCATORS[1], [folder]))
            (Path(folder) / "libx.so.2").touch()
            self.assertEqual(library(Allocator("x", "libx.so.[0-9]*", "^libx$"), [folder]), f"{folder}/libx.so.2")
        self.assertEqual(library(ALLOCATORS[0]), "")
