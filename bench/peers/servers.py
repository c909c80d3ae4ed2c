# SPDX-License-Identifier: MIT
"""The peers: which there are, how each is configured, and a running one.

Each is as a competent administrator would have it: one worker, no access log, limits that the workloads do not reach,
files kept open or cached, small answers literal where the server can. What concerns packets, congestion control and
TLS is left as the server has it; the client asks for the same cipher and group of all.

A peer runs in a chroot of its root, in which /peers is the run's scratch folder, and in a PID namespace of its own, so
that all its processes end with the first.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

from machine import Usage, memory_bytes, stat_fields, usage
from namespace import bind, udp_sockets
from processes import POLL_S, START_S, Failure, last_line

HERE = Path(__file__).resolve().parent
PORT, FILES_PORT = 4433, 8080
ROOT_S, END_S = 300, 10
FILES = {"/data/20": 20, "/data/64K": 64 << 10, "/data/10M": 10 << 20}

NGINX = f"""\
daemon off;
user root root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid /peers/nginx.pid;
error_log stderr error;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path /peers/t1; proxy_temp_path /peers/t2; fastcgi_temp_path /peers/t3;
    uwsgi_temp_path /peers/t4; scgi_temp_path /peers/t5;
    default_type application/octet-stream;
    open_file_cache max=100 inactive=1h;
    open_file_cache_valid 1h;
    keepalive_requests 1000000000;
    ssl_protocols TLSv1.3;
    ssl_certificate /peers/cert.pem;
    ssl_certificate_key /peers/key.pem;
    server {{
        listen 127.0.0.1:{PORT} quic reuseport;
        root /peers/www;
        location = /data/20 {{ return 200 "{"x" * 20}"; }}
    }}
}}
"""

# Its answers from files are limited to a buffer, so the large ones are in its cache, which the first request fills from
# a server that is not measured.
HAPROXY = f"""\
global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
cache files
    total-max-size 64
    max-object-size {12 << 20}
    max-age 3600
frontend h3
    bind quic4@127.0.0.1:{PORT} ssl crt /peers/both.pem alpn h3
    http-request return status 200 content-type application/octet-stream string "{"x" * 20}" if {{ path /data/20 }}
    http-request cache-use files
    http-response cache-store files
    default_backend files
backend files
    server files 127.0.0.1:{FILES_PORT}
"""

CADDY = f"""\
{{
    admin off
    auto_https off
    persist_config off
    servers {{
        protocols h1 h2 h3
    }}
}}
https://127.0.0.1:{PORT} {{
    tls /peers/cert.pem /peers/key.pem
    respond /data/20 "{"x" * 20}"
    root * /peers/www
    file_server
}}
"""

# A peer: package and program of a Debian suite (None: the newest asked for), its configuration, its command, what makes
# it say its version (None: nothing does), its environment beside the usual.
Peer = namedtuple("Peer", "name package program suite config command version environment", defaults=((),))

CADDY_ARGUMENTS = ("run", "--adapter", "caddyfile", "--config", "/peers/caddy.conf")
NGTCP2_ARGUMENTS = ("--quiet", "--no-quic-dump", "--no-http-dump", "--htdocs=/peers/www", "127.0.0.1", PORT,
                    "/peers/key.pem", "/peers/cert.pem")

# nginx sends packets singly by default. Debian builds Caddy so that Go leaves out X25519MLKEM768 unless told. forky has
# no ngtcp2-server any more.
PEERS = (
    Peer("nginx", "nginx", "/usr/sbin/nginx", None, NGINX, ("-c", "/peers/nginx.conf"), ("-v",)),
    Peer("nginx-gso", "nginx", "/usr/sbin/nginx", None, NGINX.replace("    server {", "    quic_gso on;\n    server {"),
         ("-c", "/peers/nginx-gso.conf"), ("-v",)),
    Peer("haproxy", "haproxy", "/usr/sbin/haproxy", None, HAPROXY, ("-db", "-f", "/peers/haproxy.conf"), ("-v",)),
    Peer("caddy", "caddy", "/usr/bin/caddy", None, CADDY, CADDY_ARGUMENTS, ("version",),
         (("GODEBUG", "tlsmlkem=1"),)),
    Peer("ngtcp2-server", "ngtcp2-server", "/usr/sbin/gtlsserver", "trixie", "", NGTCP2_ARGUMENTS, None),
)


# --- preparation ------------------------------------------------------------------------------------------------------


def prepare_root(peer):
    """The peer's root; raises Failure with the reason when it can't be had."""
    command = ["sh", HERE / "root.sh", peer.package, peer.program] + ([peer.suite] if peer.suite else [])
    try:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              timeout=ROOT_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure(f"its root can't be prepared: {error}") from None
    if done.returncode != 0:
        raise Failure(last_line(done.stdout).removeprefix(f"{peer.package}: "))
    return Path(last_line(done.stdout))


def write_files(scratch, certs):
    """What the peers serve and are configured with, in the scratch folder."""
    for path, size in FILES.items():
        file = scratch / "www" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    cert, key = ((Path(certs) / name).read_bytes() for name in ("localhost.pem", "localhost-key.pem"))
    for name, content in (("cert.pem", cert), ("key.pem", key), ("both.pem", cert + key)):
        (scratch / name).write_bytes(content)
    for peer in PEERS:
        (scratch / f"{peer.name}.conf").write_text(peer.config)


def mount_root(root, scratch):
    """Makes /dev and /proc, which are empty in a root, and the scratch folder visible in it."""
    bind("/dev", root / "dev")
    bind("/proc", root / "proc")
    bind(scratch, root / "peers")


def version_of(peer, root):
    """What the peer says of its version: the first number with dots."""
    if peer.version is None:
        return "version not told"
    done = subprocess.run(["chroot", str(root), peer.program, *peer.version], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    found = re.search(r"\d+\.\d+[\w.~+-]*", done.stdout)
    if not found:
        raise Failure(f"{peer.program} does not run: {last_line(done.stdout)}")
    return found[0].rstrip(".")


# --- a running one ----------------------------------------------------------------------------------------------------


def descendants(parents, root):
    """`root` and all processes below it, from {pid: parent}."""
    found, more = set(), {root}
    while more:
        found |= more
        more = {pid for pid, parent in parents.items() if parent in more} - found
    return found


def parents_now():
    """{pid: parent} of all processes."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = int(stat_fields(entry)[0][1])
            except (OSError, ValueError):
                continue  # it has ended
    return found


class PeerServer:
    """A peer that runs, for a `with` block: what measure.Bench needs of a server, summed over its processes."""

    def __init__(self, children, peer, root, cpus):
        self.children, self.name = children, peer.name
        self.url = f"https://127.0.0.1:{PORT}"
        self.log = tempfile.NamedTemporaryFile(prefix="h3pool-peers-", suffix=".log")
        command = ["unshare", "--pid", "--fork", "--kill-child", "chroot", root, peer.program, *peer.command]
        environment = {"PATH": "/usr/sbin:/usr/bin", "HOME": "/peers", "XDG_DATA_HOME": "/peers",
                       "XDG_CONFIG_HOME": "/peers", **dict(peer.environment)}
        self.process = children.start(command, cpus, stdout=self.log, stderr=self.log, env=environment)
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()

    def wait_ready(self):
        """Waits until the port is bound."""
        deadline = time.monotonic() + START_S
        while PORT not in dict(udp_sockets()):
            self.check()
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} did not bind its port within {START_S} s: {last_line(self.text())}")
            time.sleep(POLL_S)

    def text(self):
        return Path(self.log.name).read_text(errors="replace")

    def check(self):
        """Raises Failure if it has ended."""
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended, exit status {self.process.returncode}: {last_line(self.text())}")

    def pids(self):
        return descendants(parents_now(), self.process.pid)

    def usage(self):
        """CPU time, waiting time and faults so far."""
        self.check()
        total = Usage(0.0, 0.0, 0)
        for pid in self.pids():
            total = Usage(*(a + b for a, b in zip(total, usage(pid))))
        return total

    def memory(self, field):
        """VmRSS or VmHWM in bytes."""
        self.check()
        return sum(memory_bytes(pid, field) for pid in self.pids())

    def kill(self):
        """Ends it: with its first process all others do, and then unshare, which has waited for them."""
        if self.process.poll() is None:
            for pid in (pid for pid, parent in parents_now().items() if parent == self.process.pid):
                os.kill(pid, signal.SIGKILL)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                pass
        self.children.kill(self.process)
        self.log.close()


def files_command(scratch):
    """The server that a cache is filled from."""
    return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", scratch / "www", FILES_PORT]
