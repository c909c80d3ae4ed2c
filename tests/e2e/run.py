#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""End-to-end tests: a server of its own for every case, driven by clients that share no build with it.

    python3 tests/e2e/run.py --server build/h3pool [--workers N] [--only NAME]... [--list]

Each server's lifetime must end with exit status 0 in time and with nothing live in any pool. The clients (curl and
aioquic) live in the root that tests/support/foreign-root.sh prepares; where it can't be had their cases are skipped.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SUPPORT = CHECKOUT / "tests" / "support"
AIOQUIC = CHECKOUT / "tests" / "e2e" / "aioquic_client.py"
READY = "listening on https://"
START_SECONDS, STOP_SECONDS, CLIENT_SECONDS = 10, 15, 120
UNAVAILABLE = 77
RSS_GROWTH_MAX = 16 << 20
BLOCK = 65521


class Failure(Exception):
    """A case failed; the text says why."""


def check(condition, text):
    if not condition:
        raise Failure(text)


# --- what the server computes, computed again -----------------------------------------------------------------------


def parse_size(text):
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    if not match:
        raise ValueError(f"not a size: {text}")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


PATTERN = bytes((i * 2654435761 >> 24) & 255 for i in range(BLOCK))  # the body of /data/SIZE repeats this block


def pattern_bytes(size):
    return (PATTERN * (size // BLOCK + 1))[:size]


class PatternChecker:
    """Compares a body of /data/SIZE as it comes in pieces, from `offset` on."""

    window = PATTERN * 18  # more than a piece of 1 MiB from any offset within the block

    def __init__(self, offset=0):
        self.offset = offset

    def feed(self, piece):
        start = self.offset % BLOCK
        self.offset += len(piece)
        return self.window[start:start + len(piece)] == piece


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c(data):
    table, crc = crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# --- the server -----------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def poll(seconds, condition, text):
    """Waits for `condition` to give something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise Failure(f"{text} (waited {seconds} s)")


def live_counts(text):
    """{pool: live} of every table in `text` whose header line has the word `live`."""
    counts, header = {}, None
    for line in text.splitlines():
        cells = line.split()
        if "live" in cells:
            header = cells
        elif header and len(cells) == len(header) and not set(line) <= set(" -+|="):
            name = cells[header.index("name")] if "name" in header else cells[0]
            counts[f"{name}#{len(counts)}"] = cells[header.index("live")]
        elif header and not cells:
            header = None
    return counts


class Server:
    """A server process on a free loopback port, and what it writes."""

    def __init__(self, setup, scratch, options=()):
        self.setup = setup
        self.port = free_port()
        self.log_length_at_term = None
        self.cacert = setup.certs / "ca.pem"
        self.log_path = scratch / "server.log"
        command = [setup.server, "--listen", f"127.0.0.1:{self.port}", "--admin", "off",
                   "--cert", setup.certs / "localhost.pem", "--key", setup.certs / "localhost-key.pem",
                   "--workers", str(setup.workers), *options]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            poll(START_SECONDS, lambda: READY in self.log() or self.process.poll() is not None, "server not ready")
            check(self.process.poll() is None, f"server ended at start, exit status {self.process.poll()}")
        except Failure:
            self.kill()
            raise

    def log(self):
        return self.log_path.read_text(errors="replace")

    def url(self, path):
        return f"https://127.0.0.1:{self.port}{path}"

    def memory(self, field):
        """VmRSS or VmHWM (the peak of VmRSS) in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) << 10

    def terminate(self):
        self.log_length_at_term = len(self.log())
        self.process.send_signal(signal.SIGTERM)

    def finish(self):
        """After SIGTERM: what every lifetime must end with."""
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"server still runs {STOP_SECONDS} s after SIGTERM") from None
        counts = live_counts(self.log()[self.log_length_at_term:])
        check(counts, "no pool table at exit")
        leaks = {pool: live for pool, live in counts.items() if live != "0"}
        check(not leaks, f"pools not empty at exit: {leaks}")
        check(status == 0, f"server's exit status is {status}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(setup, scratch, options):
    """A server for one case; a case that fails stops it the hard way, so that its own failure is the one reported."""
    server = Server(setup, scratch, options)
    try:
        yield server
        if server.log_length_at_term is None:
            server.terminate()
        server.finish()
    finally:
        server.kill()


# --- the clients ----------------------------------------------------------------------------------------------------


def foreign(*command, **kwargs):
    """Starts a command of the foreign root; the process ID is the command's own."""
    return subprocess.Popen(["sh", str(SUPPORT / "foreign.sh"), *map(str, command)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, **kwargs)


@contextlib.contextmanager
def curl_process(server, path, *options):
    process = foreign("curl", "-q", "--http3-only", "--silent", "--show-error", "--max-time", CLIENT_SECONDS,
                      "--cacert", server.cacert, *options, server.url(path))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def curl(server, path, *options):
    """Returns (status, headers, body); header names in lower case."""
    with curl_process(server, path, "--include", *options) as process:
        output = process.communicate()[0]
    check(process.returncode == 0, f"curl {path}: exit status {process.returncode}")
    head, _, body = output.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


def curl_expect(server, expected, path, *options):
    status, headers, body = curl(server, path, *options)
    check(status == expected, f"{path}: status {status}, expected {expected}")
    return headers, body


def aioquic(server, command, *options, path="/health"):
    process = foreign("python3", AIOQUIC, *command.split(), "--url", server.url(path), "--cacert", server.cacert,
                      "--timeout", CLIENT_SECONDS, *options)
    try:
        output = process.communicate(timeout=CLIENT_SECONDS + 10)[0].decode()
    except subprocess.TimeoutExpired:
        raise Failure(f"{command}: no end") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    check(process.returncode == 0, output.strip() or f"{command}: exit status {process.returncode}")
    return output.strip().partition("ok: ")[2]


# --- the cases ------------------------------------------------------------------------------------------------------

CASES = {}  # name: (function, needs foreign clients, server options or None for a case that starts its own)


def case(name, options=(), foreign_clients=True):
    """Registers a case. Its function gets a running server, or with options=None the setup and a scratch directory."""
    def register(function):
        CASES[name] = (function, foreign_clients, options)
        return function
    return register


@case("curl-health")
def curl_health(server):
    headers, body = curl_expect(server, 200, "/health")
    document = json.loads(body)
    check(headers.get("content-type") == "application/json", f"content-type: {headers.get('content-type')}")
    check(document["status"] == "healthy" and document["protocol"] == "h3", f"body {document}")


@case("curl-data")
def curl_data(server):
    for query, count in (("", 10), ("?items=0", 0), ("?items=1000", 1000)):
        document = json.loads(curl_expect(server, 200, f"/data{query}")[1])
        lists = [document] if isinstance(document, list) else [v for v in document.values() if isinstance(v, list)]
        check(any(len(items) == count for items in lists), f"/data{query}: no list of {count} records")


@case("curl-download-1M")
def curl_download(server):
    headers, body = curl_expect(server, 200, "/data/1M")
    check(headers.get("content-length") == str(1 << 20), f"content-length: {headers.get('content-length')}")
    check(body == pattern_bytes(1 << 20), f"{len(body)} bytes, or wrong ones")


@case("curl-head")
def curl_head(server):
    headers, body = curl_expect(server, 200, "/data/1M", "--head")
    check(headers.get("content-length") == str(1 << 20), f"content-length: {headers.get('content-length')}")
    check(not body, f"HEAD brought {len(body)} bytes of body")


@case("curl-range")
def curl_range(server):
    whole = pattern_bytes(1 << 20)
    for text, first, end in (("0-0", 0, 1), ("65000-132000", 65000, 132001), ("1048000-", 1048000, 1 << 20),
                             ("-100", (1 << 20) - 100, 1 << 20), ("1048575-9999999", (1 << 20) - 1, 1 << 20)):
        headers, body = curl_expect(server, 206, "/data/1M", "--range", text)
        expected = f"bytes {first}-{end - 1}/{1 << 20}"
        check(headers.get("content-range") == expected, f"content-range: {headers.get('content-range')}")
        check(body == whole[first:end], f"range {text}: {len(body)} bytes, or wrong ones")
    curl_expect(server, 416, "/data/1M", "--range", "2000000-")


@case("curl-404")
def curl_404(server):
    check("error" in json.loads(curl_expect(server, 404, "/no/such/path")[1]), "no error in the body")


@case("curl-405")
def curl_405(server):
    headers, _ = curl_expect(server, 405, "/health", "--request", "DELETE")
    check("GET" in headers.get("allow", ""), f"allow: {headers.get('allow')}")


@case("curl-upload-10M")
def curl_upload(server):
    body = pattern_bytes(10 << 20)
    expected = {"bytes": len(body), "crc32c": f"{crc32c(body):08x}"}
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        for option in (("--data-binary", f"@{file.name}"), ("--upload-file", file.name)):
            answer = json.loads(curl_expect(server, 200, "/data", *option)[1])
            check(answer == expected, f"{option[0]}: {answer}, expected {expected}")


@case("curl-download-1G-constant-memory")
def curl_gigabyte(server):
    size, settled = 1 << 30, 100 << 20
    checker, base = PatternChecker(), 0
    with curl_process(server, "/data/1G") as process:
        while piece := process.stdout.read(1 << 20):
            check(checker.feed(piece), f"wrong byte in the MiB that ends at {checker.offset}")
            if not base and checker.offset >= settled:
                base = server.memory("VmHWM")
    check(process.returncode == 0, f"curl: exit status {process.returncode}")
    check(checker.offset == size, f"{checker.offset} bytes, expected {size}")
    growth = server.memory("VmHWM") - base
    check(growth < RSS_GROWTH_MAX, f"server grew by {growth} bytes")
    return f"peak memory {base >> 10} KiB after 100 MiB, {growth >> 10} KiB more at the end"


@case("sigterm-during-download")
def sigterm_during_download(server):
    """The pipe is not read while SIGTERM comes, so the download can't have ended before."""
    checker = PatternChecker()
    with curl_process(server, "/data/64M") as process:
        check(checker.feed(process.stdout.read(1 << 20)), "wrong byte in the first MiB")
        server.terminate()
        while piece := process.stdout.read(1 << 20):
            check(checker.feed(piece), f"wrong byte in the MiB that ends at {checker.offset}")
    check(process.returncode == 0, f"curl: exit status {process.returncode}")
    check(checker.offset == 64 << 20, f"{checker.offset} bytes, expected {64 << 20}")


@case("aioquic-requests")
def aioquic_requests(server):
    return aioquic(server, "requests", "-n", 1000, "-m", 10)


@case("aioquic-requests-64K")
def aioquic_requests_64k(server):
    return aioquic(server, "requests", "-n", 100, "-m", 10, path="/data/64K")


@case("aioquic-connections")
def aioquic_connections(server):
    return aioquic(server, "connections", "-n", 100)


@case("aioquic-burst", options=("--handshake-timeout", "60s", "--idle-timeout", "60s"))
def aioquic_burst(server):
    """The longer timeouts are for the clients, which need seconds to compute their side of 1000 handshakes."""
    return aioquic(server, "burst", "-n", 1000)


@case("aioquic-post")
def aioquic_post(server):
    return ", ".join(aioquic(server, "post", "--size", size) for size in ("0", "1", "65521", "10M"))


@case("aioquic-slow-reader")
def aioquic_slow_reader(server):
    aioquic(server, "requests", "-n", 1, path="/data/1M")
    base = server.memory("VmHWM")
    result = aioquic(server, "slow-reader", "--size", "64M", "--pause", 10)
    growth = server.memory("VmHWM") - base
    check(growth < RSS_GROWTH_MAX, f"server grew by {growth} bytes")
    return f"{result}, server grew by {growth >> 10} KiB"


def register_hostile(name, *client_options, options=()):
    case(f"hostile-{name}", options=options)(lambda server: aioquic(server, f"hostile {name}", *client_options))


for hostile_name in ("oversized-header", "too-many-fields", "bad-method", "unknown-path", "reset-midway",
                     "truncated-initial", "random-datagrams"):
    register_hostile(hostile_name)
register_hostile("oversized-body", "--size", "2M", options=("--max-body", "1M"))
# The short idle timeout bounds how long the drain waits for clients that are gone.
register_hostile("abandon", options=("--idle-timeout", "3s"))


# --- command line errors --------------------------------------------------------------------------------------------


def expect_usage_error(setup, *options, names):
    """One line on stderr that names the culprit, exit status 2, in time."""
    result = subprocess.run([str(setup.server), *map(str, options)], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, timeout=START_SECONDS)
    check(result.returncode == 2, f"exit status {result.returncode}, expected 2; stderr: {result.stderr!r}")
    check(result.stderr.count("\n") == 1 and result.stderr.endswith("\n"), f"not one line: {result.stderr!r}")
    check(names in result.stderr, f"does not name {names}: {result.stderr!r}")
    check(READY not in result.stdout, "claimed to listen")


def usual_options(setup, port, cert=None, key=None):
    return ("--listen", f"127.0.0.1:{port}", "--admin", "off",
            "--cert", cert or setup.certs / "localhost.pem", "--key", key or setup.certs / "localhost-key.pem")


@case("error-unknown-option", options=None, foreign_clients=False)
def error_unknown_option(setup, _scratch):
    expect_usage_error(setup, *usual_options(setup, free_port()), "--no-such-option", names="--no-such-option")


@case("error-bad-value", options=None, foreign_clients=False)
def error_bad_value(setup, _scratch):
    expect_usage_error(setup, *usual_options(setup, free_port()), "--memory-limit", "12Q", names="--memory-limit")


@case("error-missing-certificate", options=None, foreign_clients=False)
def error_missing_certificate(setup, scratch):
    expect_usage_error(setup, *usual_options(setup, free_port(), cert=scratch / "none.pem"), names="none.pem")


@case("error-unreadable-certificate", options=None, foreign_clients=False)
def error_unreadable_certificate(setup, scratch):
    """A file that is no PEM, and a directory: root can read what no permission allows."""
    (scratch / "garbage.pem").write_text("this is no certificate\n")
    (scratch / "directory.pem").mkdir()
    for name in ("garbage.pem", "directory.pem"):
        expect_usage_error(setup, *usual_options(setup, free_port(), cert=scratch / name), names=name)
        expect_usage_error(setup, *usual_options(setup, free_port(), key=scratch / name), names=name)


@case("error-busy-port", options=None, foreign_clients=False)
def error_busy_port(setup, _scratch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        expect_usage_error(setup, *usual_options(setup, port), names=str(port))


@case("error-second-server-on-port", foreign_clients=False)
def error_second_server(server):
    """SO_REUSEPORT would let a second server join in and take a share of the first one's packets."""
    expect_usage_error(server.setup, *usual_options(server.setup, server.port), names=str(server.port))


# --- running them ---------------------------------------------------------------------------------------------------


def run_case(setup, name):
    """Runs one case; returns what the case has to tell; raises Failure with the end of the server's log attached."""
    function, _, options = CASES[name]
    with tempfile.TemporaryDirectory(prefix="h3pool-e2e-") as directory:
        scratch = Path(directory)
        try:
            if options is None:
                return function(setup, scratch)
            with running(setup, scratch, options) as server:
                return function(server)
        except (Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            log = scratch / "server.log"
            tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
            lines = [f"{type(error).__name__}: {error}"] + [f"    server: {line}" for line in tail]
            raise Failure("\n".join(lines)) from error


def foreign_available():
    status = subprocess.run(["sh", str(SUPPORT / "foreign-root.sh")], stdin=subprocess.DEVNULL).returncode
    if status not in (0, UNAVAILABLE):
        raise SystemExit(f"foreign-root.sh: exit status {status}")
    return status == 0


def run_all(setup, names):
    passed = failed = skipped = 0
    available = any(CASES[name][1] for name in names) and foreign_available()
    for name in names:
        if CASES[name][1] and not available:
            print(f"SKIP {name}: no foreign HTTP/3 clients here", flush=True)
            skipped += 1
            continue
        started = time.monotonic()
        try:
            note = run_case(setup, name)
            passed += 1
            print(f"PASS {name} ({time.monotonic() - started:.1f} s){': ' + note if note else ''}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAIL {name} ({time.monotonic() - started:.1f} s): {failure}", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", type=Path, default=CHECKOUT / "build" / "h3pool")
    parser.add_argument("--certs", type=Path, default=CHECKOUT / "certs", help="directory made by certs/make-certs.sh")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", action="append", choices=CASES, metavar="NAME", help="repeatable")
    parser.add_argument("--skip", action="append", choices=CASES, metavar="NAME", default=[], help="repeatable")
    parser.add_argument("--slow", type=int, default=1, metavar="N", help="the server is N times slower: wait longer")
    parser.add_argument("--list", action="store_true", help="print the cases' names")
    setup = parser.parse_args()
    if setup.list:
        print("\n".join(CASES))
        return 0
    setup.server, setup.certs = setup.server.resolve(), setup.certs.resolve()
    for path in (setup.server, setup.certs / "ca.pem"):
        if not os.path.exists(path):
            parser.error(f"{path} is missing")
    global START_SECONDS, STOP_SECONDS, CLIENT_SECONDS
    START_SECONDS, STOP_SECONDS, CLIENT_SECONDS = (
        seconds * setup.slow for seconds in (START_SECONDS, STOP_SECONDS, CLIENT_SECONDS))
    return run_all(setup, [name for name in setup.only or CASES if name not in setup.skip])


if __name__ == "__main__":
    sys.exit(main())
