# SPDX-License-Identifier: MIT
"""Choice of CPUs, and detection of rounds that other load disturbed."""

import os
import subprocess
import sys
import unittest

import machine
from machine import choose_pinning, cpu_list, cpu_times, disturbances, others_used


def alone(cpu):
    return {cpu}


class Cpus(unittest.TestCase):
    def test_list(self):
        self.assertEqual(cpu_list("0-2,8\n"), {0, 1, 2, 8})
        self.assertEqual(cpu_list("\n"), set())

    def test_one_cpu_is_not_pinned(self):
        self.assertEqual(choose_pinning({3}, alone), (None, None, 1))

    def test_two(self):
        self.assertEqual(choose_pinning({0, 1}, alone), ({1}, {0}, 1))

    def test_load_keeps_off_the_servers_core(self):
        cores = {0: {0, 2}, 2: {0, 2}, 1: {1, 3}, 3: {1, 3}}
        self.assertEqual(choose_pinning({0, 1, 2, 3}, cores.get), ({3}, {0, 2}, 2))

    def test_siblings_are_taken_when_there_is_nothing_else(self):
        self.assertEqual(choose_pinning({0, 1}, lambda cpu: {0, 1}), ({1}, {0}, 1))


class Disturbed(unittest.TestCase):
    def check(self, expected, **given):
        quiet = {"wall_s": 10, "steal_s": 0, "others_s": 0, "culprit": "", "hidden_s": 0, "wait_s": 0}
        found = disturbances(**{**quiet, **given})
        self.assertEqual(len(found), 1 if expected else 0, found)
        if expected:
            self.assertIn(expected, found[0])

    def test_quiet(self):
        self.check(None)
        self.check(None, others_s=0.4, steal_s=0.09, hidden_s=0.4, wait_s=0.1)

    def test_each_reason(self):
        self.check("other processes used 50 % of a CPU, most of it 'cc1'", others_s=5, culprit="cc1")
        self.check("not visible from here used 20 %", hidden_s=2)
        self.check("took 3 % of a CPU away", steal_s=0.3)
        self.check("waited for its CPU for 10 %", wait_s=1)

    def test_no_time(self):
        self.check(None, wall_s=0, others_s=1)


class Others(unittest.TestCase):
    def test_gains_are_added_up(self):
        before = {1: (5.0, 0.0, "init"), 2: (1.0, 0.0, "make")}
        after = {1: (5.0, 0.0, "init"), 2: (1.5, 2.0, "make"), 9: (1.0, 0.0, "cc1")}
        used, most = others_used(before, after)
        self.assertAlmostEqual(used, 3.5)
        self.assertEqual(most, "make")

    def test_what_a_child_used_before_is_not_counted_when_it_ends(self):
        before = {2: (1.0, 0.0, "make"), 3: (100.0, 0.0, "cc1")}
        after = {2: (1.0, 100.25, "make")}
        self.assertAlmostEqual(others_used(before, after)[0], 0.25)

    def test_quiet(self):
        same = {1: (5.0, 3.0, "init")}
        self.assertEqual(others_used(same, same)[0], 0)


class Readings(unittest.TestCase):
    def test_cpu_times(self):
        text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 10 50 1 1 7 8 3 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n"
        busy, steal = cpu_times(text, {0})
        self.assertAlmostEqual(busy, 160 * machine.TICK_S)
        self.assertAlmostEqual(steal, 3 * machine.TICK_S)

    def test_usage_of_this_process(self):
        before = machine.usage(os.getpid())
        sum(i * i for i in range(300000))
        self.assertGreater(machine.usage(os.getpid()).cpu_s, before.cpu_s)
        for field in ("VmRSS", "VmHWM"):
            self.assertGreater(machine.memory_bytes(os.getpid(), field), 1 << 20)
        self.assertRaises(OSError, machine.memory_bytes, os.getpid(), "VmNone")

    def test_pace_leaves_the_affinity_as_it_was(self):
        allowed = os.sched_getaffinity(0)
        self.assertGreater(machine.pace_us({min(allowed)}, loop=1000), 0)
        self.assertEqual(os.sched_getaffinity(0), allowed)

    def test_scan_sees_another_process(self):
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            found = machine.scan_processes({os.getpid()})
        finally:
            other.communicate(b"\n")
        self.assertIn(other.pid, found)
        self.assertNotIn(os.getpid(), found)

    def test_describe(self):
        found = machine.describe()
        self.assertGreaterEqual(found["cpus"], found["cpus_allowed"])
        self.assertGreater(found["memory_mib"], 0)
