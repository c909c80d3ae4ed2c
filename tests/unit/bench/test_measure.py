# SPDX-License-Identifier: MIT
"""Parsing of what the project's own programs print, options, order of rounds, ends of processes."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest
from argparse import ArgumentTypeError
from pathlib import Path

import compare
import loads
import measure
import memory_clock
import processes
from processes import Children, Failure, pool_sum, pool_tables

TABLE = """name                 gets         puts         live   live-bytes   held-bytes
tls                 13399         5271         8128       585440      3801088
conn                   10            3            7         1024        65536
"""


class Pools(unittest.TestCase):
    def test_tables(self):
        tables = pool_tables("listening on https://127.0.0.1:1\n" + TABLE + "2026 info draining: x\n" + TABLE)
        self.assertEqual(len(tables), 2)
        self.assertEqual(tables[0]["conn"], {"gets": 10, "puts": 3, "live": 7, "live-bytes": 1024, "held-bytes": 65536})
        self.assertEqual(pool_sum(tables[1], "gets"), 13409)

    def test_half_a_table(self):
        self.assertEqual(pool_tables(TABLE[:TABLE.index("conn") + 20])[0].keys(), {"tls"})
        self.assertEqual(pool_tables("no table\n"), [])


class Parsing(unittest.TestCase):
    def h3load(self, **changes):
        requests = {"total": 10, "done": 10, "ok": 10, "failed": 0, "errors": {"status": 0, "connection": 0}}
        report = {"requests": {**requests, **changes}, "duration_s": 0.5, "rps": 20.0,
                  "latency_us": {"count": 10, "p50": 1.0, "p99": 2.0, "p999": 3.0, "max": 4.0},
                  "load": {"cpu_us_per_request": 5.0, "busiest_thread": 0.25}}
        return loads.parse_h3load(json.dumps(report))

    def test_h3load(self):
        result = self.h3load()
        self.assertEqual(result[:4], (10, 0.5, 20.0, {"p50": 1.0, "p99": 2.0, "p999": 3.0}))
        self.assertAlmostEqual(result.load_cpu_s, 50e-6)

    def test_h3load_failures(self):
        with self.assertRaisesRegex(Failure, "2 of 10 requests failed: status 2"):
            self.h3load(ok=8, failed=2, errors={"status": 2, "connection": 0})
        with self.assertRaisesRegex(Failure, "no request was answered"):
            self.h3load(total=0, ok=0)
        for text in ("", "{}", "[]", '{"requests": {}}'):
            self.assertRaises(Failure, loads.parse_h3load, text)

    def test_h3load_command(self):
        client = loads.H3load("build/h3load")
        load = loads.Load("/data", 4, 1, 9, requests=100, churn=True)
        self.assertEqual(client.command(load, "https://h", "ca.pem", "r")[1:],
                         ["-c", 4, "-m", 1, "-t", 4, "--cacert", "ca.pem", "--json", "r", "-n", 100, "--churn",
                          "https://h/data"])

    def test_bench_json(self):
        text = '{"goos":"linux","benchmarks":[\n{"name":"HandleData","iterations":5,"ns_per_op":99.5}]}'
        self.assertEqual(measure.parse_bench(text), {"HandleData": 99.5})
        self.assertRaises(Failure, measure.parse_bench, "{}")

    def test_bench_lines(self):
        text = ("goos: linux\nBenchmarkHandleHealth/pool=unpooled\t  5000\t  98.7 ns/op\t 0 B/op\t 0 allocs/op\n"
                "BenchmarkHandleData-2   5000   150 ns/op\nBenchmarkHandleData/part=respond-2   5000   50 ns/op\n")
        self.assertEqual(measure.parse_bench(text),
                         {"HandleHealth": 98.7, "HandleData": 150.0, "HandleData/part=respond": 50.0})

    def test_counter(self):
        counts = {"malloc": 5, "calloc": 2, "realloc": 1, "aligned": 1, "free": 9, "calls": 18, "bytes": 640, "mmap": 1,
                  "munmap": 2, "brk": 3, "threads": 2}
        self.assertEqual(measure.parse_counter(json.dumps(counts)), (9, 640, 6))
        self.assertRaises(Failure, measure.parse_counter, "{}")

    def test_clock(self):
        text = ('{"pid":10766,"threads":1,"cost_ns":23.328,"turns":256,"cpu_ns":145474074,"memory_ns":22781164,'
                '"calls":443922,"pool_gets":211894,"turn_ns":1700250,"get_ns":53313}\n')
        self.assertEqual(memory_clock.parse_clock(text), (256, 211894, 1700250, 53313))
        for text in ("", "{}", "[]", '{"turns":null}'):
            self.assertRaises(Failure, memory_clock.parse_clock, text)

    def test_inlined_gets(self):
        clocked = memory_clock.Clocked(turns=1, pool_gets=5, turn_ns=2, get_ns=1)
        self.assertAlmostEqual(memory_clock.inlined_percent([(clocked, 100), (clocked, 100)]), 95)
        self.assertEqual(memory_clock.inlined_percent([(clocked._replace(pool_gets=0), 0)]), 0)


class Options(unittest.TestCase):
    def parse(self, *words, **environment):
        return compare.parse(list(words), environment)

    def refused(self, *words, **environment):
        with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as end:
            self.parse(*words, **environment)
        self.assertEqual(end.exception.code, 2)
        return err.getvalue()

    def test_defaults(self):
        options = self.parse()
        self.assertEqual((options.rounds, options.duration, options.args, options.client, options.base),
                         (13, 0.25, (), "h3load", None))

    def test_environment(self):
        options = self.parse(ROUNDS="7", DURATION="250ms", ARGS="-c 100 -H 'a: b'", CLIENT="h2load", BASE="")
        self.assertEqual((options.rounds, options.duration, options.args, options.client),
                         (7, 0.25, ("-c", "100", "-H", "a: b"), "h2load"))
        self.assertEqual(self.parse("--rounds", "2", ROUNDS="7").rounds, 2)

    def test_durations(self):
        for text, value in (("2", 2), ("2s", 2), ("1.5s", 1.5), ("500ms", 0.5), ("1m", 60)):
            self.assertAlmostEqual(compare.duration(text), value)
        for text in ("", "0", "1ms", "-1s", "1x", "2h"):
            self.assertRaises(ArgumentTypeError, compare.duration, text)

    def test_wrong_ones_are_named(self):
        self.assertIn("--rounds", self.refused(ROUNDS="0"))
        self.assertIn("--duration", self.refused(DURATION="soon"))
        self.assertIn("CLIENT", self.refused(CLIENT="wrk"))
        self.assertIn("'-n' is set by the comparison", self.refused(ARGS="-n 5"))
        self.assertIn("'--json=x'", self.refused(ARGS="--json=x"))
        self.assertIn("no report", self.refused(BASE="/nonexistent/compare.json"))
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("[]")
            file.flush()
            self.assertIn("no report", self.refused(BASE=file.name))

    def test_order_of_rounds(self):
        self.assertEqual([b[0] for b in compare.round_order(4)], list("uppuuppu"))
        self.assertEqual([b[0] for b in compare.round_order(1)], list("up"))

    def test_memory_is_measured_in_some_rounds(self):
        for count, expected in ((1, [0]), (3, [0, 1, 2]), (4, [0, 2]), (13, [0, 5, 10]), (15, [0, 5, 10])):
            self.assertEqual(list(compare.memory_rounds(count)), expected)


class Processes(unittest.TestCase):
    def test_run(self):
        with Children() as children:
            code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
            ended = children.run([sys.executable, "-c", code], os.sched_getaffinity(0), 30)
            self.assertEqual(ended[:3], (3, "out\n", "err\n"))
            self.assertEqual(children.running, [])

    def test_timeout_kills(self):
        with Children() as children:
            with self.assertRaisesRegex(Failure, "cat still ran after 0 s"):
                process = children.start(["cat", "/dev/zero"], None, stdout=-3)
                children.wait(process, 0.05)
            self.assertIsNotNone(process.returncode)

    def test_absent_program(self):
        with Children() as children, self.assertRaisesRegex(Failure, "no-such-program can't be started"):
            children.run(["/no-such-program"], None, 1)

    def test_everything_ends_with_an_error(self):
        with self.assertRaises(KeyboardInterrupt), Children() as children:
            process = children.start(["cat", "/dev/zero"], None, stdout=-3)
            raise KeyboardInterrupt
        self.assertEqual(process.returncode, -9)

    def test_error_meanwhile_ends_the_run(self):
        def meanwhile(process):
            raise Failure("why")

        with Children() as children:
            with self.assertRaisesRegex(Failure, "why"):
                children.run(["cat", "/dev/zero"], None, 30, meanwhile)
            self.assertEqual(children.running, [])
