# SPDX-License-Identifier: MIT
"""h2load's output, as recorded from a build with HTTP/3, and the choice of its options."""

import json
import unittest
from pathlib import Path

import h2load
from processes import Ended, Failure

DATA = Path(__file__).resolve().parent / "data"
OK_TEXT, OK_JSON = (DATA / "h2load-ok.txt").read_text(), (DATA / "h2load-ok.json").read_text()
BAD_TEXT, BAD_JSON = (DATA / "h2load-404.txt").read_text(), (DATA / "h2load-404.json").read_text()

# As releases before 1.69 print it.
OLD_TEXT = """starting benchmark...
Application protocol: h3

finished in 1.02s, 1960.78 req/s, 163.10KB/s
requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx
                     min         max         mean         sd        +/- sd
time for request:      722us      6.23ms      3.33ms       712us    87.20%
time for connect:     3.95ms     10.62ms      6.93ms      2.03ms    70.00%
time to 1st byte:     8.95ms     13.59ms     11.41ms      1.25ms    80.00%
req/s           :    6576.79     7107.65     6814.18      157.27    70.00%
"""


class Output(unittest.TestCase):
    def test_durations(self):
        for text, value in (("722us", 722e-6), ("6.23ms", 6.23e-3), ("1.00s", 1), ("2m", 120)):
            self.assertAlmostEqual(h2load.seconds(text), value)
        self.assertRaises(ValueError, h2load.seconds, "7 days")

    def test_text(self):
        result = h2load.parse(OK_TEXT)
        self.assertEqual((result.done, result.rps), (2000, 63957.02))
        self.assertAlmostEqual(result.duration_s, 0.03127)
        self.assertAlmostEqual(result.latency_us["p50"], 3170)
        self.assertAlmostEqual(result.latency_us["p99"], 6200)
        self.assertNotIn("p999", result.latency_us)

    def test_json(self):
        result = h2load.parse(OK_TEXT, OK_JSON)
        self.assertAlmostEqual(result.duration_s, 0.031271)
        self.assertAlmostEqual(result.latency_us["p50"], 3174.8485)
        self.assertAlmostEqual(result.latency_us["p99"], 6204.171)
        samples = json.loads(OK_JSON)["measurements"]["performance"]["request"]["samples"]
        self.assertAlmostEqual(result.latency_us["p999"], sorted(samples)[1997] * 1e6)

    def test_few_samples_give_no_p999(self):
        self.assertNotIn("p999", h2load.parse_json(BAD_JSON)[3])

    def test_answers_of_404_are_failures(self):
        for json_text in (None, BAD_JSON):
            with self.assertRaisesRegex(Failure, "2000 of 2000 requests failed: failed 2000"):
                h2load.parse(BAD_TEXT, json_text)

    def test_old_release(self):
        result = h2load.parse(OLD_TEXT)
        self.assertEqual((result.done, result.latency_us), (2000, {}))
        self.assertAlmostEqual(h2load.parse_text(OLD_TEXT)[3]["mean"], 3330)

    def test_other_protocols_are_refused(self):
        for text in (OK_TEXT.replace("protocol: h3", "protocol: h2"), OK_TEXT.replace("Application protocol", "X")):
            with self.assertRaisesRegex(Failure, "instead of h3"):
                h2load.parse(text)

    def test_garbage(self):
        for text, json_text in (("Application protocol: h3\n", None), (OK_TEXT, "{}"), (OK_TEXT, "no JSON"),
                                (OK_TEXT.replace("31.27ms", "31.27x"), None)):
            self.assertRaises(Failure, h2load.parse, text, json_text)

    def test_timeouts_and_errors(self):
        for was, now in (("0 errored", "3 errored"), ("0 timeout", "3 timeout")):
            self.assertRaises(Failure, h2load.parse, OK_TEXT.replace(was, now))


class Client(unittest.TestCase):
    class FakeChildren:
        """Answers --version and --help as a program would."""

        def __init__(self, help_text, run_out=""):
            self.help_text, self.run_out = help_text, run_out

        def run(self, command, cpus, timeout_s):
            out = {"--version": "h2load nghttp2/1.70.90\n", "--help": self.help_text}.get(command[1], self.run_out)
            return Ended(0, out, "", 0.0, 0.0)

    def client(self, help_text, run_out=""):
        children = self.FakeChildren(help_text, run_out)
        return h2load.H2load(children, "sh"), children  # some program that is there

    def test_options(self):
        self.assertEqual(h2load.options_of("  --h3  Use HTTP/3\n --output-file=<PATH>"), ("--h3", True))
        self.assertEqual(h2load.options_of("  --alpn-list=<LIST>"), ("--alpn-list=h3", False))
        self.assertIsNone(h2load.options_of("  -n, --requests=<N>"))

    def test_absent(self):
        with self.assertRaisesRegex(Failure, "no h2load in PATH.*--h3"):
            h2load.H2load(None, "no-such-h2load")

    def test_without_http3(self):
        client, children = self.client("--alpn-list=<LIST>", "Application protocol: h2\n")
        with self.assertRaisesRegex(Failure, "has no HTTP/3: an h2load has HTTP/3 when"):
            client.probe(children, "https://127.0.0.1:1")

    def test_with_http3(self):
        client, children = self.client("--h3 --output-file", OK_TEXT)
        client.probe(children, "https://127.0.0.1:1")

    def test_commands(self):
        from loads import Load
        client, _ = self.client("--h3 --output-file")
        url, ca, report = "https://127.0.0.1:1", "ca.pem", "r.json"
        command = client.command(Load("/data", 10, 32, 2, duration_s=0.5, extra=("-v",)), url, ca, report)
        self.assertEqual(command[1:], ["--h3", "-c", 10, "-m", 32, "-t", 2, "-D", "500ms", "--output-file=r.json", "-v",
                                       "https://127.0.0.1:1/data"])
        churn = client.command(Load("/", 4, 1, 2, requests=160, churn=True), url, ca, report)
        self.assertEqual(churn[1:9], ["--h3", "-c", 160, "-m", 1, "-t", 2, "-n"])
        self.assertRaises(Failure, client.command, Load("/", 4, 1, 1, requests=4, hold_s=1.0), url, ca, report)
