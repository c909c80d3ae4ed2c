# SPDX-License-Identifier: MIT
"""Go's benchmark format, read and written."""

import unittest

from goformat import Figures, format_line, grouped, parse, parse_line, split_name, with_figures


class Lines(unittest.TestCase):
    def test_what_is_read_is_written(self):
        line = parse_line("BenchmarkOneBlock/size=runtime/alloc=glibc\t   100\t  8.610 ns/op\t 1024 B/op\t 1 allocs/op")
        self.assertEqual(line.figures, {"ns/op": "8.610", "B/op": "1024", "allocs/op": "1"})
        self.assertEqual(parse_line(format_line(line)), line)

    def test_other_lines(self):
        for text in ("", "PASS", "Benchmark", "BenchmarkX 1", "BenchmarkX 1 2", "BenchmarkX 1 2 ns/op 3",
                     "BenchmarkX one 2 ns/op", "BenchmarkX 1 two ns/op", "  16  4062  48377  64992  25.56"):
            self.assertIsNone(parse_line(text), text)

    def test_header(self):
        header, lines = parse("goos: linux\nBenchmarkX 1 2 ns/op\nVerdict\nMET: 3\nsome words: here\n")
        self.assertEqual((header, len(lines)), (["goos: linux"], 1))

    def test_figures_are_added(self):
        line = with_figures(parse_line("BenchmarkX 1 2 ns/op"), {"B/op": "3"})
        self.assertEqual(line.figures, {"ns/op": "2", "B/op": "3"})
        self.assertIsNot(line, with_figures(line, {}))

    def test_names(self):
        self.assertEqual(split_name("BenchmarkOneBlock/size=runtime/alloc=glibc"), ("OneBlock/size=runtime", "glibc"))
        self.assertEqual(split_name("HandleHealth/pool=pooled"), ("HandleHealth/pool=pooled", ""))

    def test_lines_of_a_name_come_together(self):
        lines = parse("BenchmarkA 1 2 x\nBenchmarkB 1 2 x\nBenchmarkA 1 3 x\n")[1]
        self.assertEqual([line.name[-1] for line in grouped(lines)], ["A", "A", "B"])


class Rounds(unittest.TestCase):
    def test_least_and_middle(self):
        lines = parse("BenchmarkA 1 4 x\nBenchmarkA 1 2 x 9 y\nBenchmarkA 1 3 x\nBenchmarkB 1 7 y\n")[1]
        figures = Figures(lines, "x")
        self.assertEqual((figures.least("A"), figures.middle("A")), (2, 3))
        self.assertEqual((figures.least("B"), figures.middle("B")), (None, None))
        self.assertEqual(Figures(lines, "y").least("A"), 9)
