# SPDX-License-Identifier: MIT
"""What end-to-end cases are written with: a server of their own, the clients, the registry of cases."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SUPPORT = CHECKOUT / "tests" / "support"
AIOQUIC = CHECKOUT / "tests" / "e2e" / "aioquic_client.py"
CANARY = CHECKOUT / "tests" / "e2e" / "canary_client.py"
READY = "listening on https://"


class Seconds:
    """How long things may take; --slow multiplies it."""

    start, stop, client = 10, 15, 120

UNAVAILABLE = 77
RSS_GROWTH_MAX = 16 << 20


class Failure(Exception):
    """A case failed; the text says why."""


def check(condition, text):
    if not condition:
        raise Failure(text)


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

    def __init__(self, setup, scratch, options=(), environment=None):
        self.setup = setup
        self.port = free_port()
        self.log_length_at_term = None
        self.cacert = setup.certs / "ca.pem"
        self.log_path = scratch / "server.log"
        command = [setup.server, "--listen", f"127.0.0.1:{self.port}", "--admin", "off",
                   "--cert", setup.certs / "localhost.pem", "--key", setup.certs / "localhost-key.pem",
                   "--workers", str(setup.workers), *options]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **(environment or {})})
        try:
            poll(Seconds.start, lambda: READY in self.log() or self.process.poll() is not None, "server not ready")
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
            status = self.process.wait(Seconds.stop)
        except subprocess.TimeoutExpired:
            raise Failure(f"server still runs {Seconds.stop} s after SIGTERM") from None
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
def running(setup, scratch, options, environment=None):
    """A server for one case; a case that fails stops it the hard way, so that its own failure is the one reported."""
    server = Server(setup, scratch, options, environment)
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
    kwargs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **kwargs}
    return subprocess.Popen(["sh", str(SUPPORT / "foreign.sh"), *map(str, command)], **kwargs)


@contextlib.contextmanager
def curl_process(server, path, *options):
    process = foreign("curl", "-q", "--http3-only", "--silent", "--show-error", "--max-time", Seconds.client,
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


def aioquic(server, command, *options, path="/health", program=AIOQUIC):
    process = foreign("python3", program, *command.split(), "--url", server.url(path), "--cacert", server.cacert,
                      "--timeout", Seconds.client, *options)
    try:
        output = process.communicate(timeout=Seconds.client + 10)[0].decode()
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
