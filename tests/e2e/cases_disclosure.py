# SPDX-License-Identifier: MIT
"""What nobody else may see: one client's bytes at another, and keys where they no longer belong.

The process's memory is read as a debugger does, which takes root or the same user without a ptrace restriction.
"""

import contextlib
import hashlib
import hmac
import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

from harness import CANARY, Seconds, aioquic, case, check, curl_expect, foreign, live_counts, poll, running

WINDOW = 1 << 20
NEEDLE_BYTES = 16
SANITIZER_BYTES = 1 << 40  # of address space: a sanitizer's shadow, which can't be searched
TICKET_KEY_NAME_BYTES = 16  # a ticket begins with it; it is the server's, and the same in all tickets


# The short idle timeout bounds how long the drain waits for clients that are gone.
@case("canaries-stay-with-their-client", options=("--max-body", "64K", "--idle-timeout", "3s"))
def canaries(server):
    return aioquic(server, "canaries", program=CANARY)


# --- searching a process --------------------------------------------------------------------------------------------


class Memory:
    """The private writable memory of a process at one moment."""

    def __init__(self, pid):
        self.regions = []  # (address, bytes, name)
        self.dumped = {}   # address of the mapping: whether it is part of a core dump
        with open(f"/proc/{pid}/smaps", encoding="utf-8") as smaps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in smaps:
                head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
                if head:
                    start, end, access, name = int(head[1], 16), int(head[2], 16), head[3], head[4]
                    if access == "rw-p":
                        self._read(memory, start, end, name or "anonymous")
                elif line.startswith("VmFlags:"):
                    self.dumped[start] = " dd" not in line

    def _read(self, memory, start, end, name):
        content = bytearray()
        for at in range(start, end, WINDOW):
            try:
                memory.seek(at)
                content += memory.read(min(WINDOW, end - at))
            except OSError:  # unmapped meanwhile
                break
        self.regions.append((start, bytes(content), name))

    def find(self, needles):
        """[(name of the needle, where it lies, whether a core dump would have it)]"""
        hits = []
        for start, content, region in self.regions:
            for name, needle in needles.items():
                at = content.find(needle)
                if at >= 0:
                    hits.append((name, f"{region} {start + at:#x}", self.dumped[start]))
        return hits


def expand_label(secret, label, length):
    """RFC 8446, section 7.1, for at most one block."""
    digest = hashlib.sha384 if len(secret) == 48 else hashlib.sha256
    info = length.to_bytes(2, "big") + bytes([len(label) + 6]) + b"tls13 " + label + b"\0"
    return hmac.new(secret, info + b"\1", digest).digest()[:length]


def secrets_of(keylog):
    """{name: first bytes} of every secret in a key log, and of the packet keys and the next generation's secret."""
    needles = {}
    for i, line in enumerate(keylog.read_text().splitlines()):
        label, _, value = line.split()
        secret = bytes.fromhex(value)
        needles[f"{label} {i}"] = secret[:NEEDLE_BYTES]
        if "TRAFFIC" in label:
            for derived in (b"quic key", b"quic hp"):
                needles[f"{derived.decode()} of {label} {i}"] = expand_label(secret, derived, NEEDLE_BYTES)
            needles[f"next of {label} {i}"] = expand_label(secret, b"quic ku", len(secret))[:NEEDLE_BYTES]
    return needles


@contextlib.contextmanager
def held_connections(server):
    """Connections that stand until the block ends; gives the tickets that they got."""
    process = foreign("python3", CANARY, "hold", "--url", server.url("/data/64K"), "--cacert", server.cacert,
                      "--timeout", Seconds.client, stdin=subprocess.PIPE)
    try:
        answer = process.stdout.readline().decode()
        check(answer.startswith("["), f"hold: {answer}")
        yield [bytes.fromhex(ticket) for ticket in json.loads(answer)]
        process.communicate(b"\n", timeout=Seconds.client)
        check(process.returncode == 0, f"hold: exit status {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def check_core_dump(server, scratch, needles):
    """A core of the live server, by a debugger that leaves out what the kernel would leave out."""
    if shutil.which("gdb") is None:
        return "no core: gdb is missing"
    core = scratch / "core"
    command = ["gdb", "-nx", "-batch", "-p", str(server.process.pid), "-ex", f"generate-core-file {core}"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=Seconds.client)
    check(core.exists(), f"no core: {result.stderr[-300:]}")
    content = core.read_bytes()
    found = [name for name, needle in needles.items() if needle in content]
    check(not found, f"in a core dump: {found}")
    return f"a core of {len(content) >> 20} MiB has none of them"


def private_key_lines(setup):
    lines = (setup.certs / "localhost-key.pem").read_bytes().splitlines()
    return {f"line {i} of the private key": line for i, line in enumerate(lines) if len(line) > 40}


def connections_live(server):
    """Connections that have memory yet, by the pool table; asking the server itself would open one."""
    length = len(server.log())
    server.process.send_signal(signal.SIGUSR2)
    complete = re.compile(r"^ *name .*^conn .*?\n", re.M | re.S)
    table = poll(Seconds.start, lambda: complete.search(server.log()[length:]), "no pool table")
    return sum(int(live) for pool, live in live_counts(table[0]).items() if pool.startswith("conn#"))


def searchable(server):
    """Why the case can't be tried, or None."""
    if json.loads(curl_expect(server, 200, "/health")[1])["build"] != "pooled":
        return "not tried: in the pass-through build blocks are malloc's"
    if server.memory("VmSize") > SANITIZER_BYTES:
        return "not tried under a sanitizer"
    try:
        Memory(server.process.pid)
    except PermissionError:
        return "not tried: the process's memory can't be read"
    return None


@case("keys-are-wiped-and-not-dumped", options=None)
def keys(setup, scratch):
    """Keys of live connections lie in secret pools only; those of ended ones lie nowhere any more."""
    keylog = scratch / "keys"
    with running(setup, scratch, ("--keylog", keylog)) as server:
        reason = searchable(server)
        if reason:
            return reason
        pid, key_lines = server.process.pid, private_key_lines(setup)
        with held_connections(server) as tickets:
            needles = {**secrets_of(keylog), **key_lines}
            hits = Memory(pid).find(needles)
            check(any("CLIENT_TRAFFIC" in hit[0] for hit in hits), "the search finds no secret of a live connection")
            outside = [hit for hit in hits if hit[2]]
            check(not outside, f"outside of secret pools: {outside}")
            note = check_core_dump(server, scratch, needles)
        for i, ticket in enumerate(tickets):
            for at in (TICKET_KEY_NAME_BYTES, TICKET_KEY_NAME_BYTES + NEEDLE_BYTES):
                needles[f"byte {at} of ticket {i}"] = ticket[at:at + NEEDLE_BYTES]
        poll(Seconds.stop, lambda: connections_live(server) == 0, "connections do not end")
        found = Memory(pid).find(needles)  # at once: idle memory soon goes back to the system
        check(not found, f"still in memory after their connections have ended: {found}")
    return f"{len(needles)} keys and parts of tickets; {note}"
