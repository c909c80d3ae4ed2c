# SPDX-License-Identifier: MIT
"""Processes: every one that is started here is ended here, whatever happens."""

import ctypes
import os
import re
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections import namedtuple
from pathlib import Path

from machine import memory_bytes, usage

START_S, STOP_S, SETTLE_S = 10, 15, 5
POLL_S = 0.003
READY = re.compile(r"listening on (https://\S+)")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

# The end of a command: exit status, what it printed, its CPU seconds and how long it took.
Ended = namedtuple("Ended", "status out err cpu_s wall_s")


class Failure(Exception):
    """A measurement failed; the text says why."""


class Children:
    """The processes that run now; leaving the context ends them all."""

    def __init__(self):
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in list(self.running):
            self.kill(process)

    def start(self, command, cpus, **options):
        """Starts a command on `cpus` (None: any). Ctrl-C does not reach it, and it ends when this process dies."""
        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if cpus:
                os.sched_setaffinity(0, cpus)

        try:
            process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, preexec_fn=prepare,
                                       start_new_session=True, **options)
        except OSError as error:
            raise Failure(f"{os.path.basename(command[0])} can't be started: {error.strerror}") from None
        self.running.append(process)
        return process

    def kill(self, process):
        """Ends a process at once, if it still runs."""
        if process in self.running:
            process.kill()
            process.wait()
            self.running.remove(process)

    def wait(self, process, timeout_s):
        """Waits for the end of a process and returns its exit status; kills it after `timeout_s`."""
        in_time = process.poll() is not None or ends_within(process.pid, timeout_s)
        if not in_time:
            process.kill()
        process.wait()
        self.running.remove(process)
        if not in_time:
            raise Failure(f"{os.path.basename(process.args[0])} still ran after {timeout_s:.0f} s")
        return process.returncode

    def run(self, command, cpus, timeout_s, meanwhile=None):
        """Runs a command to its end; `meanwhile` is called with its process once it has been started."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            before, began = children_cpu_s(), time.monotonic()
            process = self.start(command, cpus, stdout=out, stderr=err)
            try:
                if meanwhile:
                    meanwhile(process)
                status = self.wait(process, timeout_s)
            finally:
                self.kill(process)
            wall_s, cpu_s = time.monotonic() - began, children_cpu_s() - before
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return Ended(status, *texts, cpu_s, wall_s)


def ends_within(pid, seconds):
    """Waits for the end of a child at most so long, without polling; tells whether it has ended."""
    ended = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(ended)


def children_cpu_s():
    """CPU seconds of the children that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def last_line(text):
    """The last line that says something, for messages."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"


# --- the pool table ---------------------------------------------------------------------------------------------------


def pool_tables(text):
    """The pool tables in a server's log, each as {pool: {column: number}}, in order."""
    tables, header = [], None
    for line in text.splitlines():
        cells = line.split()
        if cells[:2] == ["name", "gets"]:
            header = cells
            tables.append({})
        elif header and len(cells) == len(header) and all(c.isdigit() for c in cells[1:]):
            tables[-1][cells[0]] = dict(zip(header[1:], map(int, cells[1:])))
        else:
            header = None
    return tables


def pool_sum(table, column):
    return sum(row[column] for row in table.values())


class Server:
    """A server process on a free port of the loopback interface, for a `with` block; it must end with status 0."""

    def __init__(self, children, program, certs, cpus, environment=None):
        self.children, self.name = children, os.path.basename(program)
        self.log = tempfile.NamedTemporaryFile(prefix="h3pool-compare-", suffix=".log")
        command = [program, "--listen", "127.0.0.1:0", "--admin", "off", "--workers", "1",
                   "--cert", Path(certs) / "localhost.pem", "--key", Path(certs) / "localhost-key.pem"]
        self.process = children.start(command, cpus, stdout=self.log, stderr=self.log,
                                      env={**os.environ, **(environment or {})})
        self.pid = self.process.pid
        try:
            self.url = self.poll(START_S, lambda: READY.search(self.text()), "was not ready")[1]
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self.stop()
        finally:
            self.kill()

    def text(self):
        return Path(self.log.name).read_text(errors="replace")

    def poll(self, seconds, condition, text):
        """Waits for `condition` to give something true, and returns that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            result = condition()
            if result:
                return result
            self.check()
            time.sleep(POLL_S)
        raise Failure(f"{self.name} {text} after {seconds} s")

    def check(self):
        """Raises Failure if it has ended."""
        status = self.process.poll()
        if status is not None:
            why = f": {last_line(self.text())}" if status > 0 else ""
            raise Failure(f"{self.name} ended, exit status {status}{why}")

    def usage(self):
        """CPU time, waiting time and faults so far."""
        self.check()
        return usage(self.pid)

    def memory(self, field):
        """VmRSS or VmHWM in bytes."""
        self.check()
        return memory_bytes(self.pid, field)

    def pools(self):
        """The server's own counters: the table that SIGUSR2 makes it print."""
        count, size = len(pool_tables(self.text())), [0]

        def complete():
            """The table is there, and nothing has been added since the last look."""
            text, before = self.text(), size[0]
            tables, size[0] = pool_tables(text), len(text)
            return tables[count] if len(tables) > count and tables[count] and size[0] == before else None

        self.check()
        self.process.send_signal(signal.SIGUSR2)
        return self.poll(START_S, complete, "printed no pool table")

    def settle(self):
        """Waits until no connection is left, closing ones included; returns the pool table of then."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            table = self.pools()
            if "conn" not in table:
                raise Failure(f"{self.name}'s pool table has no row 'conn'")
            if table["conn"]["live"] == 0:
                return table
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} still has {table['conn']['live']} connections after {SETTLE_S} s")
            time.sleep(10 * POLL_S)

    def stop(self):
        """Ends it as its users would."""
        self.process.terminate()
        status = self.children.wait(self.process, STOP_S)
        if status != 0:
            raise Failure(f"{self.name}'s exit status is {status}: {last_line(self.text())}")

    def kill(self):
        self.children.kill(self.process)
        self.log.close()
