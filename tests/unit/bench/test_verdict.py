# SPDX-License-Identifier: MIT
"""The bars, on a recorded output and on ones with something planted in it."""

import re
import unittest
from pathlib import Path

from goformat import parse
from runner import measured_of, time_table
from verdict import complete, format_verdicts, verdicts, word

TEXT = (Path(__file__).parent / "data" / "pools.txt").read_text()


def found_in(text):
    return {v.title: v for v in verdicts(measured_of(parse(text)[1]))}


def slower(name, value):
    """The recorded output with another value in all lines of a name."""
    changed, count = re.subn(rf"(?m)^(Benchmark{re.escape(name)}\t *\d+\t) *[\d.]+ ", rf"\g<1>{value} ", TEXT)
    assert count, name
    return changed


def without(way):
    return "".join(line for line in TEXT.splitlines(True) if f"/alloc={way}\t" not in line)


class Recorded(unittest.TestCase):
    def test_all_is_met(self):
        found = found_in(TEXT)
        self.assertEqual({v.met for v in found.values()}, {True})
        self.assertTrue(complete(found.values()))

    def test_lines_tell_value_bar_and_who_was_best(self):
        lines = format_verdicts(list(found_in(TEXT).values()))
        line = next(line for line in lines if "size at run time" in line)
        self.assertTrue(line.startswith("MET "), line)
        self.assertIn("2.50 ns (put with its size 2.20 ns): 2.40 x as fast as tcmalloc (6.00 ns)", line)
        self.assertIn("bar: 2 x the best of the four (aim 3 x)", line)
        self.assertTrue(any("1.90 ns (with a reset function 2.60 ns); bar: 2 ns" in line for line in lines))
        self.assertTrue(any("-3.9 % of glibc" in line for line in lines))
        self.assertEqual(len({line.index(";") > 0 for line in lines}), 1)

    def test_table(self):
        table = time_table(parse(TEXT)[1])
        self.assertEqual(table[0].split()[:2], ["pool-bytes", "pool-sized"])
        self.assertEqual(table[1].split(), ["OneBlock/size=runtime", "2.50", "2.20", "3.90", "8.61", "7.07",
                                             "10.89", "6.00"])
        self.assertNotIn("TraceMemory", "\n".join(table))


class Planted(unittest.TestCase):
    def check(self, title, text):
        found = found_in(text)
        self.assertEqual(word(found.pop(title).met), "NOT MET")
        self.assertEqual({v.met for v in found.values()}, {True})

    def test_slow_pools(self):
        self.check("byte pool, size at run time", slower("OneBlock/size=runtime/alloc=pool-bytes", 3.01))
        self.check("byte pool, fixed class", slower("OneBlock/size=fixed/alloc=pool-bin", 1.41))
        self.check("object pool", slower("OneBlock/size=fixed/alloc=pool-object", 2.01))
        self.check("through the manager, size at run time", slower("OneBlock/size=runtime/alloc=pool-manager", 4.01))
        self.check("replay of the trace, time", slower("Trace/alloc=pool-bytes", 200001))

    def test_one_fast_allocator_is_enough(self):
        self.check("byte pool, size at run time", slower("OneBlock/size=runtime/alloc=mimalloc", 4.9))

    def test_memory(self):
        self.check("replay of the trace, peak resident memory", slower("TraceMemory/alloc=pool-bytes", 4681729))
        self.check("replay of the trace, waste of the size classes",
                   slower("TraceWaste/of=all/alloc=pool-bytes", 12.6))

    def test_handlers(self):
        self.check("HandleHealth, pooled, from request_ready to body",
                   slower("HandleHealth/part=respond/pool=pooled", 100.1))

    def test_beside_hostile_clients(self):
        name = "Beside/attack=never-reading/clients=500"
        self.check("p99 of a client beside 500 that never read", slower(name, 836.7))
        self.check("resident memory under 500 clients that never read",
                   TEXT + f"Benchmark{name} 1 400 p99-us 104857601 rss-peak-B\n")


class Missing(unittest.TestCase):
    def test_an_allocator(self):
        found = found_in(without("jemalloc"))
        for title in ("byte pool, size at run time", "byte pool, fixed class", "replay of the trace, time",
                      "replay of the trace, peak resident memory"):
            self.assertIsNone(found[title].met)
            self.assertEqual(found[title].measured, "no figure of jemalloc")
        self.assertTrue(found["object pool"].met)
        self.assertFalse(complete(found.values()))
        self.assertTrue(any(line.startswith("NOT MEASURED") for line in format_verdicts(list(found.values()))))

    def test_a_pool(self):
        found = found_in(without("pool-bytes"))
        self.assertEqual(found["replay of the trace, time"].measured, "no figure of pool-bytes")
        self.assertIsNone(found_in(without("pool-object"))["object pool"].met)

    def test_everything(self):
        found = found_in("")
        self.assertEqual({v.met for v in found.values()}, {None})
        self.assertEqual(len(format_verdicts(list(found.values()))), len(found))
