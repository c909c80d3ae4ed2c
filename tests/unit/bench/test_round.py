# SPDX-License-Identifier: MIT
"""Whole measurements with stand-ins for the project's programs, so that what goes wrong can be made to."""

import os
import sys
import tempfile
import unittest
from pathlib import Path

import loads
import measure
import memory_clock
from figures import Samples
from machine import Pinning
from processes import Children, Failure, Server

SERVER = """#!{python} -S
import os, signal, sys
def table(*_):
    print("name gets puts live live-bytes")
    print("conn 4 4 0 0")
    print("request 9 9 0 0", flush=True)
signal.signal(signal.SIGUSR2, table)
signal.signal(signal.SIGTERM, lambda *_: os._exit({status}))
if "H3POOL_MEMORY_CLOCK" in os.environ:
    open(os.environ["H3POOL_MEMORY_CLOCK"], "w").close()
print("listening on https://127.0.0.1:1", flush=True)
while True:
    signal.pause()
"""

LOAD = """#!{python} -S
import json, sys
words = sys.argv[1:]
failed = {failed}
json.dump({{"requests": {{"total": 100, "done": 100, "ok": 100 - failed, "errors": {{"status": failed}}}},
           "duration_s": 0.5, "rps": 200, "latency_us": {{"p50": 1, "p99": 2, "p999": 3}},
           "load": {{"cpu_us_per_request": 4, "busiest_thread": 0.95}}}}, open(words[words.index("--json") + 1], "w"))
sys.exit(failed != 0)
"""

BENCH = """#!{python} -S
print('{{"benchmarks":[{{"name":"HandleHealth","ns_per_op":50}}]}}')
"""


CLOCK = """#!{python} -S
import sys
assert sys.argv[2:] == ["new"]
print('{{"turns":{turns},"pool_gets":3,"turn_ns":2500,"get_ns":1500}}')
"""


class Quiet:
    def step(self, text):
        pass


class Round(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.build = Path(self.folder.name)
        self.children = Children()
        self.addCleanup(self.children.__exit__)

    def program(self, name, text, **values):
        path = self.build / name
        path.write_text(text.format(python=sys.executable, **values))
        path.chmod(0o755)
        return path

    def bench(self, failed=0, status=0):
        """A Bench whose programs are the stand-ins."""
        self.program("h3pool", SERVER, status=status)
        self.program("bench-handlers", BENCH)
        client = loads.H3load(self.program("h3load", LOAD, failed=failed))
        return measure.Bench(children=self.children, build_dir=self.build, certs=self.build, scratch=self.build,
                             client=client, h3load=client, pinning=Pinning(None, None, 1), duration_s=0.1, extra=(),
                             samples=Samples(), progress=Quiet())

    def measured(self, bench, key):
        summary = bench.samples.summary(key, "pooled")
        return summary.values if summary else None

    def test_round(self):
        bench = self.bench()
        measure.timed_round(bench, "pooled")
        self.assertEqual(self.measured(bench, "handle_health_ns"), [50])
        self.assertEqual(self.measured(bench, "rps"), [200])
        self.assertEqual(self.measured(bench, "load_cpu_us"), [4])
        for key in ("cpu_us_data", "cpu_us_health", "cpu_us_64k", "cpu_us_handshake", "rss_peak_mib",
                    "faults_per_1000"):
            self.assertEqual(len(self.measured(bench, key)), 1, key)
        self.assertIn("GET /data", bench.rounds[0]["load_was_limit"])
        self.assertGreater(len(bench.rounds[0]["paces_us"]), 4)
        self.assertEqual(self.children.running, [])

    def test_what_fails_is_not_measured_and_says_why(self):
        bench = self.bench()
        measure.timed_round(bench, "pooled")
        measure.count_round(bench, "pooled")
        for key, why in (("handle_data_ns", "has no HandleData"), ("kib_per_idle", "never there at the same time"),
                         ("calls_per_request", "no liballoc_counter.so")):
            self.assertIsNone(self.measured(bench, key))
            self.assertIn(why, bench.samples.reason(key, "pooled"))

    def test_failed_requests(self):
        bench = self.bench(failed=3)
        measure.timed_round(bench, "pooled")
        self.assertIsNone(self.measured(bench, "rps"))
        self.assertIn("3 of 100 requests failed: status 3", bench.samples.reason("rps", "pooled"))
        self.assertEqual(self.children.running, [])

    def test_exit_status_of_the_server_counts(self):
        bench = self.bench(status=1)
        measure.timed_round(bench, "pooled")
        self.assertIn("exit status is 1", bench.samples.reason("rps", "pooled"))

    def test_preloaded_counter_that_is_not_there(self):
        bench = self.bench()
        (self.build / "liballoc_counter.so").write_text("")
        measure.count_round(bench, "pooled")
        self.assertIn("without the allocation counter", bench.samples.reason("calls_per_connection", "pooled"))

    def test_memory_clock(self):
        bench = self.bench()
        self.program("h3pool-clocked", SERVER, status=0)
        self.program("memory-clock-read", CLOCK, turns=9)
        memory_clock.clock_round(bench, "pooled")
        self.assertEqual(self.measured(bench, "turn_memory_us"), [2.5] * memory_clock.REPEATS)
        self.assertEqual(self.measured(bench, "longest_get_us"), [1.5] * memory_clock.REPEATS)
        self.assertEqual(bench.rounds[0]["build"], "pooled")
        self.assertIn("inlined_gets_percent", bench.rounds[0])
        self.assertEqual(self.children.running, [])

    def test_memory_clock_that_does_not_run(self):
        for why in ("no h3pool-clocked", "without the memory clock", "memory-clock-read can't be started",
                    "saw no turn"):
            bench = self.bench()
            memory_clock.clock_round(bench, "pooled")
            self.assertIsNone(self.measured(bench, "turn_memory_us"))
            self.assertIn(why, bench.samples.reason("longest_get_us", "pooled"))
            self.assertIsNone(bench.watch)
            if why.startswith("no "):
                self.program("h3pool-clocked", SERVER.replace("H3POOL_MEMORY_CLOCK", "NONE"), status=0)
            elif why.startswith("without"):
                self.program("h3pool-clocked", SERVER, status=0)
            else:
                self.program("memory-clock-read", CLOCK, turns=0)

    def test_round_without_memory(self):
        bench = self.bench()
        measure.timed_round(bench, "pooled", "round 2 of 4", memory=False)
        self.assertEqual(len(self.measured(bench, "rps")), 1)
        self.assertIsNone(bench.samples.reason("kib_per_idle", "pooled"))
        self.assertEqual(bench.rounds[0]["name"], "round 2 of 4")

    def test_server_that_ends_at_start(self):
        program = self.program("h3pool", "#!/bin/sh\necho 'no certificate'\nexit 2\n")
        with self.assertRaisesRegex(Failure, "h3pool ended, exit status 2: no certificate"):
            Server(self.children, program, self.build, None)
        self.assertEqual(self.children.running, [])

    def test_server_that_ends_meanwhile(self):
        bench = self.bench()
        with self.assertRaisesRegex(Failure, "h3pool ended, exit status -9"):
            with bench.server("pooled") as server:
                server.process.kill()
                server.process.wait()
                bench.run(bench.load("/data", 1, 1, requests=1), server)
        self.assertEqual(self.children.running, [])

    def test_pools(self):
        self.program("h3pool", SERVER, status=0)
        with Server(self.children, self.build / "h3pool", self.build, None) as server:
            for _ in range(2):
                self.assertEqual(server.pools()["conn"], {"gets": 4, "puts": 4, "live": 0, "live-bytes": 0})
            self.assertGreater(server.memory("VmRSS"), 0)
            pid = server.pid
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
