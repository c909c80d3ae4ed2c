# SPDX-License-Identifier: MIT
"""Statistics: medians, spreads, changes, what is missing, comparison with an earlier report."""

import unittest

from figures import (FIGURES, BUILDS, Samples, agreement, base_rows, change_percent, complete, overlap, per_new,
                     row_of, rows_of, summarize)


def figure(key):
    return next(f for f in FIGURES if f.key == key)


def full_samples(unpooled=(2.0, 3.0), pooled=(1.0, 1.0)):
    """Samples in which every figure has values."""
    samples = Samples()
    for f in FIGURES:
        for build, values in zip(BUILDS, (unpooled, pooled)):
            for value in values:
                samples.add(build, **{f.key: value})
    return samples


class Statistics(unittest.TestCase):
    def test_median_and_spread(self):
        self.assertEqual(summarize([5, 1, 3])[:3], (3, 1, 5))
        self.assertEqual(summarize([4, 1, 3, 2])[:3], (2.5, 1, 4))

    def test_change(self):
        self.assertEqual(change_percent(10, 5), -50)
        self.assertEqual(change_percent(10, 0), -100)
        self.assertEqual(change_percent(0, 0), 0)
        self.assertIsNone(change_percent(0, 5))

    def test_overlap(self):
        self.assertTrue(overlap(summarize([1, 3]), summarize([3, 4])))
        self.assertFalse(overlap(summarize([1, 2]), summarize([3, 4])))

    def test_cost_of_new_connections(self):
        self.assertEqual(per_new(120 * 10 + 122 * 1147, 120, 10, 122), 1147)
        self.assertEqual(per_new(0, 120, 0, 0), 0)

    def test_agreement(self):
        self.assertIn("agree", agreement([10.0, 10.01], [10.0, 10.0]))
        self.assertIn("3.00 of 1150.00 calls do not go", agreement([1150, 1160, 1140], [1147, 1157, 1137]))
        self.assertIn("DISAGREE", agreement([10], [12]))


class Rows(unittest.TestCase):
    def test_row(self):
        samples = Samples()
        samples.add("unpooled", rps=100)
        samples.add("unpooled", rps=200)
        samples.add("pooled", rps=300)
        row = row_of(figure("rps"), samples)
        self.assertEqual((row.summary["unpooled"].median, row.change, row.chance), (150, 100, False))
        self.assertEqual(row.reason, {"unpooled": None, "pooled": None})

    def test_all_measured(self):
        self.assertTrue(complete(rows_of(full_samples())))

    def test_one_failed_round_makes_it_incomplete(self):
        samples = full_samples()
        samples.fail("pooled", ["rps"], "3 of 9 requests failed")
        rows = rows_of(samples)
        self.assertFalse(complete(rows))
        row = next(row for row in rows if row.figure.key == "rps")
        self.assertEqual(row.summary["pooled"].median, 1.0)
        self.assertEqual(row.reason["pooled"], "3 of 9 requests failed")

    def test_nothing_measured(self):
        rows = rows_of(Samples())
        self.assertFalse(complete(rows))
        self.assertTrue(all(row.reason[b] for row in rows for b in BUILDS))

    def test_keys_are_unique(self):
        self.assertEqual(len({f.key for f in FIGURES}), len(FIGURES))


class Base(unittest.TestCase):
    def test_only_what_both_have(self):
        base = {"figures": [
            {"key": "rps", "unpooled": {"median": 4.0, "min": 4.0, "max": 4.0}, "pooled": {"not_measured": "why"}},
            {"key": "gone", "unpooled": {"median": 1.0, "min": 1.0, "max": 1.0}},
        ]}
        rows = base_rows(rows_of(full_samples()), base)
        self.assertEqual([(r.figure.key, r.build, r.change) for r in rows], [("rps", "unpooled", -37.5)])
        self.assertFalse(rows[0].chance)
