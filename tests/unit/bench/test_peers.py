# SPDX-License-Identifier: MIT
"""The comparison with other servers: what it reads, ratios and bars, tables and report, options and order."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from argparse import ArgumentTypeError
from pathlib import Path
from unittest import mock

import namespace
import peers
import peers_report
import ratios
import servers
import workloads
from figures import Samples
from processes import Failure

NAMES = ("h3pool", "h3pool-unpooled", "nginx", "haproxy", "ngtcp2-server")
ABOUT = {
    "versions": {"h3pool": "h3pool 0.1.0 (pooled)", "nginx": "1.30.6, Debian forky"},
    "machine": {"cpu": "X", "cpus": 2, "cpus_allowed": 2, "architecture": "x86_64", "kernel": "Linux 6",
                "memory_mib": 9},
    "commit": "abc", "took_s": 61.0,
    "options": {"rounds": 2, "duration_s": 0.4, "server_cpus": [1], "load_cpus": [0], "load_threads": 1},
}
ROUNDS = [{"name": "round 1 of 2", "build": "nginx", "disturbed": [], "load_was_limit": ["(a)"]}]


def samples_of(**values):
    """Samples of {figure: {server: [values]}}."""
    samples = Samples()
    for key, by_server in values.items():
        for name, found in by_server.items():
            for value in found:
                samples.add(name, **{key: value})
    return samples


def row(key, **found):
    return next(r for r in ratios.rows_of(samples_of(**{key: found}), list(found)) if r.figure.key == key)


def full_samples(names=NAMES):
    every = {name: [1000.0 + i, 2000.0, 3000.0] for i, name in enumerate(names)}
    return samples_of(**{figure.key: every for figure in ratios.FIGURES})


class Kernel(unittest.TestCase):
    TABLE = ("   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref "
             "pointer drops\n"
             "  100: 0100007F:1151 00000000:0000 07 00000000:00000000 00:00000000 00000000     0    0 5 2 0000 2530\n"
             "  101: 0100007F:1151 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0    0 6 2 0000 5\n"
             "  102: 0100007F:9999 0100007F:1151 01 00000000:00000000 00:00000000 00000000     0    0 7 2 0000 7\n")

    def test_sockets(self):
        found = namespace.parse_sockets(self.TABLE + self.TABLE)
        self.assertEqual(found[:3], [(4433, 2530), (4433, 5), (0x9999, 7)])
        self.assertEqual(len(found), 6)
        self.assertEqual(namespace.drops_of(found, 4433), 5070)
        self.assertEqual(namespace.drops_of(found, 1), 0)

    def test_own_sockets_can_be_read(self):
        self.assertIsInstance(namespace.udp_sockets(), list)

    def test_process_tree(self):
        parents = {1: 0, 10: 1, 11: 10, 12: 11, 13: 10, 20: 1, 21: 20}
        self.assertEqual(servers.descendants(parents, 10), {10, 11, 12, 13})
        self.assertEqual(servers.descendants(parents, 99), {99})
        self.assertEqual(servers.descendants({5: 6, 6: 5}, 5), {5, 6})


# A peer of two processes, in namespaces of a process of its own: what it uses is added up, and both end.
TWO_PROCESSES = """
import os, sys, time
import namespace, servers
from processes import Children
program = "import os, socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', {port}));" \\
          "os.fork(); time.sleep(60)".format(port=servers.PORT)
namespace.enter()
peer = servers.Peer("two", "", sys.executable, None, "", ("-c", program), None)
with Children() as children:
    with servers.PeerServer(children, peer, "/", None) as server:
        deadline = time.monotonic() + 10
        while len(server.pids()) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        pids = server.pids()
        assert len(pids) == 3, pids
        assert server.usage().cpu_s > 0 and server.memory("VmRSS") > 1 << 20
    assert not any(os.path.exists("/proc/%d" % pid) for pid in pids), "something still runs"
    assert not children.running
"""


class Ends(unittest.TestCase):
    def test_all_processes_end(self):
        done = subprocess.run([sys.executable, "-c", TWO_PROCESSES], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        if "Forbidden" in done.stderr:
            self.skipTest("no namespaces here")
        self.assertEqual(done.returncode, 0, done.stderr)


class Readings(unittest.TestCase):
    def test_connections(self):
        text = '{"connections": {"opened": 12, "failed": 0}, "bytes": {"headers": 9, "data": 240}}'
        self.assertEqual(workloads.parse_connections(text), (12, 240))
        for text in ("", "{}", "[]", '{"connections": null}'):
            self.assertRaises(Failure, workloads.parse_connections, text)

    def test_cpu_per_request_leaves_connections_out(self):
        self.assertAlmostEqual(workloads.cpu_per_request(64 * 500 + 936 * 10, 1000, 64, 500), 10)
        self.assertAlmostEqual(workloads.cpu_per_request(90, 3, 3, 30), 30)

    def test_memory_is_read_before_the_end(self):
        samples = [(10.0, 100, 0), (12.9, 900, 0), (13.0, 950, 0), (13.1, 200, 0)]
        self.assertEqual(workloads.rss_before(samples, 13.25), 900)
        self.assertRaises(Failure, workloads.rss_before, samples, 10.1)
        self.assertRaises(Failure, workloads.rss_before, [], 10.1)

    def test_each_server_has_all_paths(self):
        self.assertEqual({w.path: w.size for w in workloads.WORKLOADS}, servers.FILES)

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            certs = Path(folder) / "certs"
            certs.mkdir()
            for name in ("localhost.pem", "localhost-key.pem"):
                (certs / name).write_bytes(name.encode())
            servers.write_files(Path(folder), certs)
            self.assertEqual((Path(folder) / "www/data/64K").stat().st_size, 65536)
            self.assertEqual((Path(folder) / "both.pem").read_text(), "localhost.pemlocalhost-key.pem")
            self.assertIn("quic_gso on", (Path(folder) / "nginx-gso.conf").read_text())
            self.assertNotIn("quic_gso", (Path(folder) / "nginx.conf").read_text())


class Ratios(unittest.TestCase):
    def test_to_the_best_barred_peer(self):
        found = row("a_cpu", **{"h3pool": [2.0, 3.0, 2.2], "nginx": [4.0], "haproxy": [5.0], "ngtcp2-server": [1.0]})
        self.assertEqual(found.best, "nginx")
        self.assertAlmostEqual(found.ratios["h3pool"], 0.55)
        self.assertAlmostEqual(found.ratios["ngtcp2-server"], 0.25)
        self.assertEqual(ratios.verdict(found), ("<= 0.75", True))

    def test_more_is_better_for_rates(self):
        self.assertEqual(row("a_rps", h3pool=[9.0], nginx=[4.0], haproxy=[5.0]).best, "haproxy")

    def test_bar_not_met(self):
        self.assertEqual(ratios.verdict(row("d_cpu", h3pool=[0.86], nginx=[1.0])), ("<= 0.85", False))
        self.assertEqual(ratios.verdict(row("burst_s", h3pool=[1.5], nginx=[1.0])), ("< 1 s", False))
        self.assertEqual(ratios.verdict(row("burst_drops", h3pool=[0], nginx=[7])), ("none", True))

    def test_nothing_to_tell(self):
        alone = row("a_cpu", h3pool=[2.0])
        self.assertEqual((alone.best, alone.ratios, ratios.verdict(alone)), (None, {}, None))
        self.assertEqual(row("burst_drops", nginx=[0]).ratios, {})
        self.assertIsNone(row("a_load", h3pool=[50.0], nginx=[60.0]).best)

    def test_bars_are_of_figures(self):
        self.assertLessEqual(set(ratios.BARS), {figure.key for figure in ratios.FIGURES})

    def test_complete(self):
        samples = full_samples()
        self.assertTrue(ratios.complete(ratios.rows_of(samples, NAMES)))
        samples.fail("nginx", ["a_cpu"], "no answer")
        self.assertTrue(ratios.complete(ratios.rows_of(samples, NAMES)))
        samples.fail("h3pool", ["a_cpu"], "no answer")
        self.assertFalse(ratios.complete(ratios.rows_of(samples, NAMES)))


class Tables(unittest.TestCase):
    def test_cells(self):
        found = row("a_cpu", h3pool=[1.0, 2.0, 4.0], nginx=[4.0, 4.0])
        self.assertEqual(ratios.cell(found.summary["h3pool"]), "2.00 ±75%")
        self.assertEqual(ratios.cell(found.summary["nginx"]), "4.00")
        self.assertEqual(ratios.cell(None), "-")
        self.assertEqual(ratios.markdown_cell(found, "h3pool"), "2.00 (1.00..4.00)")
        self.assertEqual(ratios.ratio_cells(found, ["h3pool", "nginx"]), ["0.50", "1.00", "nginx", "<= 0.75: met"])

    def test_lines_are_of_one_width(self):
        text = ratios.terminal(ratios.rows_of(full_samples(), NAMES), NAMES)
        for part in text.split("\n\n"):
            rule = next(line for line in part.splitlines() if line.startswith("---"))
            self.assertLessEqual(max(map(len, part.splitlines())), len(rule))

    def test_markdown_has_all_cells(self):
        text = ratios.markdown(ratios.rows_of(full_samples(), NAMES), NAMES)
        for part in text.split("## ")[1:]:
            lines = [line for line in part.splitlines() if line.startswith("|")]
            self.assertEqual(len({line.count("|") for line in lines}), 1)

    def test_missing_values_are_explained(self):
        samples = full_samples(NAMES[:3])
        samples.fail("haproxy", ["dm_cpu"], "no such group")
        text = ratios.markdown(ratios.rows_of(samples, NAMES), NAMES)
        self.assertIn("not measured (no such group)", text)
        self.assertIn("not measured (no round got that far)", text)


class Report(unittest.TestCase):
    def published(self, samples, absent):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as out:
            peers_report.publish(Path(folder), ABOUT, ratios.rows_of(samples, NAMES), NAMES, absent, ROUNDS)
            return (out.getvalue(), (Path(folder) / "peers.md").read_text(),
                    json.loads((Path(folder) / "peers.json").read_text()))

    def test_all_forms(self):
        samples = full_samples()
        samples.fail("nginx", ["dm_cpu", "dm_rps"], "no such group")
        out, markdown, found = self.published(samples, {"caddy": "no such package"})
        for text in (" ".join(out.split()), markdown):
            self.assertIn("caddy was left out: no such package.", text)
            self.assertIn("nginx: (dm) X25519MLKEM768, 4: no such group.", text)
            self.assertIn("The load side was the limit (a load thread at 90 % or more): (a) (1 of 1 rounds)", text)
        self.assertEqual(found["left_out"], {"caddy": "no such package"})
        figure = next(f for f in found["figures"] if f["key"] == "a_cpu")
        self.assertEqual((figure["best_peer"], figure["bar"], figure["met"]), ("nginx", "<= 0.75", False))
        self.assertEqual(figure["servers"]["h3pool"],
                         {"median": 2000.0, "min": 1000.0, "max": 3000.0, "values": [1000.0, 2000.0, 3000.0],
                          "ratio": 1.0})
        figure = next(f for f in found["figures"] if f["key"] == "dm_cpu")
        self.assertEqual(figure["servers"]["nginx"]["failed"], "no such group")


    def test_many_disturbed_rounds_are_told_at_once(self):
        rounds = [{**ROUNDS[0], "disturbed": ["other processes used 50 % of a CPU"]}] * 7
        self.assertEqual(len(peers_report.short(peers_report.disturbance_notes(rounds))), 1)
        self.assertEqual(len(peers_report.short(peers_report.disturbance_notes(rounds[:6]))), 7)


class Options(unittest.TestCase):
    def test_defaults(self):
        options = peers.parse([], {"ROUNDS": "", "DURATION": ""})
        self.assertEqual((options.rounds, options.duration), (7, 0.3))
        self.assertEqual(options.only, [peer.name for peer in servers.PEERS])

    def test_environment(self):
        options = peers.parse([], {"ROUNDS": "7", "DURATION": "1s", "PEERS": "caddy, nginx"})
        self.assertEqual((options.rounds, options.duration, options.only), (7, 1.0, ["nginx", "caddy"]))
        self.assertRaises(ArgumentTypeError, peers.peer_names, "apache")

    def test_order_of_rounds(self):
        self.assertEqual("".join(peers.round_order("abc", 3)), "abccbaabc")

    def test_says_that_it_needs_root(self):
        with contextlib.redirect_stderr(io.StringIO()) as err, mock.patch("os.geteuid", return_value=1000), \
                mock.patch("peers.missing_programs", return_value=[]), mock.patch("sys.argv", ["peers.py"]):
            self.assertEqual(peers.main(), peers.EXIT_UNAVAILABLE)
        self.assertIn("needs root", err.getvalue())


if __name__ == "__main__":
    unittest.main()
