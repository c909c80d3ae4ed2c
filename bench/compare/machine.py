# SPDX-License-Identifier: MIT
"""The machine: which CPUs to use, what a process has used, whether something else was running meanwhile.

Everything comes from /proc and /sys. CPU time is taken from schedstat, which counts nanoseconds; where a kernel has
none, from stat, which counts ticks.
"""

import os
import platform
import resource
import subprocess
import time
from collections import namedtuple
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
KERNEL_THREAD = 0x00200000  # PF_KTHREAD among the flags of /proc/PID/stat

# Shares from which a round counts as disturbed: of one CPU for what runs, of wall time for what waits.
STEAL_MAX, OTHERS_MAX, WAIT_MAX = 0.01, 0.05, 0.02

# The CPUs of the server and of the load (None: not pinned), and as many load threads as CPUs.
Pinning = namedtuple("Pinning", "server load threads")
LOAD_THREADS_MAX = 4

# What a process has used since it began.
Usage = namedtuple("Usage", "cpu_s wait_s minor_faults")


# --- CPUs -------------------------------------------------------------------------------------------------------------


def cpu_list(text):
    """The numbers of a kernel CPU list such as "0-3,8"."""
    cpus = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def siblings_of(cpu):
    """The CPUs that share a core with `cpu`, itself included."""
    try:
        return cpu_list(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
    except (OSError, ValueError):
        return {cpu}


def choose_pinning(allowed, siblings=siblings_of):
    """The server gets the last CPU for itself, the load up to four others, of other cores if there are any."""
    cpus = sorted(allowed)
    if len(cpus) < 2:
        return Pinning(None, None, 1)
    server = cpus[-1]
    others = cpus[:-1]
    apart = [c for c in others if c not in siblings(server)]
    load = (apart or others)[:LOAD_THREADS_MAX]
    return Pinning({server}, set(load), len(load))


# --- what a process has used ------------------------------------------------------------------------------------------


def stat_fields(pid):
    """The fields of /proc/PID/stat from the third on, and the process's name, which may hold anything."""
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    begin, end = text.index("("), text.rindex(")")
    return text[end + 2:].split(), text[begin + 1:end]


def usage(pid):
    """CPU time, time spent runnable but waiting for a CPU, and minor faults of a process, its threads added up."""
    fields, _ = stat_fields(pid)
    cpu_ns = wait_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            values = (task / "schedstat").read_text().split()
            cpu_ns, wait_ns = cpu_ns + int(values[0]), wait_ns + int(values[1])
        except (OSError, IndexError, ValueError):
            continue  # the thread has ended, or the kernel keeps none
    cpu_s = cpu_ns / 1e9 or (int(fields[11]) + int(fields[12])) * TICK_S
    return Usage(cpu_s, wait_ns / 1e9, int(fields[7]))


def memory_bytes(pid, field):
    """VmRSS, or VmHWM, the peak of VmRSS."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise OSError(f"no {field} in /proc/{pid}/status")


# --- whether something else was running -------------------------------------------------------------------------------


def cpu_times(text, cpus):
    """Seconds of work (interrupts aside, which nobody owns) and of steal on `cpus`, from the text of /proc/stat."""
    busy = steal = 0
    for line in text.splitlines():
        name, *values = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cpus:
            ticks = [int(v) for v in values] + [0] * 8
            busy += ticks[0] + ticks[1] + ticks[2]
            steal += ticks[7]
    return busy * TICK_S, steal * TICK_S


def scan_processes(excluded):
    """{pid: (seconds of its own, of its reaped children, name)} of all processes but kernel threads and `excluded`."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in excluded:
            continue
        try:
            fields, name = stat_fields(entry)
        except (OSError, ValueError):
            continue  # it has ended
        if not int(fields[6]) & KERNEL_THREAD:
            own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
            found[int(entry)] = (own * TICK_S, children * TICK_S, name)
    return found


def others_used(before, after):
    """Seconds that other processes used between two scans, and the name of the one that used most.

    What a process had used when it ended appears in its parent's sum of children, so what it had used before the first
    scan is taken off; that way compilers that come and go count, too.
    """
    own, gains, most = 0.0, 0.0, (0.0, "")
    for pid, (cpu, children, name) in after.items():
        was = before.get(pid, (0.0, 0.0, ""))
        gain = max(0.0, cpu + children - was[0] - was[1])
        own += max(0.0, cpu - was[0])
        gains += gain
        most = max(most, (gain, name))
    ended = sum(cpu + children for pid, (cpu, children, _) in before.items() if pid not in after)
    return max(own, gains - ended), most[1]


def disturbances(wall_s, steal_s, others_s, culprit, hidden_s, wait_s):
    """What disturbed a round, a text each; none when it was quiet."""
    found = []
    if wall_s <= 0:
        return found
    if others_s > OTHERS_MAX * wall_s:
        found.append(f"other processes used {others_s / wall_s * 100:.0f} % of a CPU"
                     + (f", most of it '{culprit}'" if culprit else ""))
    if hidden_s > OTHERS_MAX * wall_s:
        found.append(f"load that is not visible from here used {hidden_s / wall_s * 100:.0f} % of a CPU")
    if steal_s > STEAL_MAX * wall_s:
        found.append(f"the host took {steal_s / wall_s * 100:.0f} % of a CPU away")
    if wait_s > WAIT_MAX * wall_s:
        found.append(f"the server waited for its CPU for {wait_s / wall_s * 100:.0f} % of the time")
    return found


def pace_us(cpus, loop=20000, tries=3):
    """CPU time of a fixed piece of work on `cpus` (None: any), the least of a few tries. The work keeps many of a
    core's units busy, so it takes longer when another machine of the same host works on the core's other thread, which
    nothing in this machine shows; and when the clock rate is lower."""
    allowed, least = os.sched_getaffinity(0), None
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        for _ in range(tries):
            began, total = time.thread_time(), 0
            for i in range(loop):
                total += i & 3
            took = (time.thread_time() - began) * 1e6
            least = took if least is None else min(least, took)
    finally:
        os.sched_setaffinity(0, allowed)
    return least


def own_cpu_s():
    """CPU seconds of this process and of its children that have been waited for."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


class Watch:
    """Looks for other load between its birth and stop(). Children of ours must have ended at both moments."""

    def __init__(self, pinning):
        self.pinned = pinning.server is not None
        self.cpus = os.sched_getaffinity(0) | (pinning.server or set()) | (pinning.load or set())
        self.wait_s = 0.0  # of the server; measurements add to it
        self.server_cpus, self.paces_us = pinning.server, []
        self.before = self.read()

    def read(self):
        stat = Path("/proc/stat").read_text()
        return time.monotonic(), cpu_times(stat, self.cpus), scan_processes({os.getpid()}), own_cpu_s()

    def probe(self):
        """Notes the pace of the server's CPU, at a moment when the server has nothing to do."""
        self.paces_us.append(pace_us(self.server_cpus))

    def stop(self):
        """Returns what disturbed, a text each."""
        (t0, (busy0, steal0), scan0, own0), (t1, (busy1, steal1), scan1, own1) = self.before, self.read()
        others_s, culprit = others_used(scan0, scan1)
        hidden_s = max(0.0, busy1 - busy0 - (own1 - own0) - others_s)
        wait_s = self.wait_s if self.pinned else 0.0  # on one CPU, server and load wait for each other
        return disturbances(t1 - t0, steal1 - steal0, others_s, culprit, hidden_s, wait_s)


# --- what the report says of it ---------------------------------------------------------------------------------------


def first_value(path, name):
    """The value of the first line `name : value` of a /proc file, or None."""
    try:
        for line in Path(path).read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return None


def describe():
    """CPU model, cores, kernel and memory."""
    memory = first_value("/proc/meminfo", "MemTotal")
    part = first_value("/proc/cpuinfo", "CPU part")
    return {
        "cpu": first_value("/proc/cpuinfo", "model name") or (f"part {part}" if part else "unknown"),
        "cpus": os.cpu_count(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "memory_mib": int(memory.split()[0]) >> 10 if memory else None,
    }


def output_of(*command):
    """What a command prints, stripped; None if it can't run or fails."""
    try:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_commit(checkout):
    """The commit, with "+changes" if the work tree differs; None outside a checkout."""
    commit = output_of("git", "-C", checkout, "rev-parse", "HEAD")
    if commit and output_of("git", "-C", checkout, "status", "--porcelain"):
        commit += "+changes"
    return commit
