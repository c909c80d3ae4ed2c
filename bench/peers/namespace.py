# SPDX-License-Identifier: MIT
"""Network and mount namespaces of this process's own, which every process that it starts is in.

The loopback of the new network has an MTU of 1500, so that no server's path MTU discovery makes packets that no network
carries. Nothing is left of either when the processes are gone.
"""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

from processes import Failure

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFMTU = 0x8913, 0x8914, 0x8922
IFF_UP = 1
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MTU = 1500
LIBC = ctypes.CDLL(None, use_errno=True)


class Forbidden(Failure):
    """There are no namespaces for this process."""


def call(what, result, kind=Failure):
    """Raises Failure, or a kind of it, for a C call that has failed; `what` it was to do."""
    if result != 0:
        raise kind(f"{what}: {os.strerror(ctypes.get_errno())}")


def bind(source, target):
    """Makes a folder visible at another, existing path too, in this mount namespace."""
    call(f"mounting {target}", LIBC.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND | MS_REC, None))


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFMTU, struct.pack("16si12x", b"lo", MTU))
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0)))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def enter():
    """Leaves the system's network and mounts for new ones; raises Forbidden where there are none to be had."""
    call("no namespaces here (they need root, and are forbidden in most containers)",
         LIBC.unshare(CLONE_NEWNS | CLONE_NEWNET), Forbidden)
    call("keeping mounts private", LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    loopback_up()


# --- what the kernel drops --------------------------------------------------------------------------------------------


def parse_sockets(text):
    """(port, datagrams dropped) of each socket in the text of /proc/net/udp and its like."""
    rows = [line.split() for line in text.splitlines()]
    return [(int(cells[1].rpartition(":")[2], 16), int(cells[-1])) for cells in rows if cells[0].rstrip(":").isdigit()]


def drops_of(sockets, port):
    """What the sockets bound to a port have dropped."""
    return sum(drops for its_port, drops in sockets if its_port == port)


def udp_sockets():
    """parse_sockets of this network."""
    return [socket for name in ("udp", "udp6") for socket in parse_sockets(Path(f"/proc/net/{name}").read_text())]
