# SPDX-License-Identifier: MIT
"""The process: what is wrong on the command line, and signals."""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess

from harness import CHECKOUT, READY, Seconds, case, check, curl, curl_expect, curl_process, free_port, poll, running


def expect_usage_error(setup, *options, names, environment=None):
    """One line on stderr that names the culprit, exit status 2, in time."""
    result = subprocess.run([str(setup.server), *map(str, options)], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, timeout=Seconds.start, env={**os.environ, **(environment or {})})
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


# --- addresses and bursts ---------------------------------------------------------------------------------------------


@case("ipv6", options=("--listen", "[::1]:0"))
def ipv6(server):
    """The second address of the same server; port 0 means any."""
    address = re.search(r"listening on https://(\[::1\]:\d+)", server.log())
    check(address is not None, "not listening on [::1]")
    with curl_process(server, "/health", "--connect-to", f"::{address[1]}", "--output", os.devnull,
                      "--write-out", "%{remote_ip}") as process:
        output = process.communicate()[0]
    check(process.returncode == 0 and output == b"::1", f"exit status {process.returncode}, over {output}")


@case("burst-of-1000-loses-nothing", foreign_clients=False)
def burst(server):
    """A thousand clients that connect in the same moment: every one is served, and the socket drops no datagram."""
    h3load = CHECKOUT / "build" / "h3load"
    if not h3load.exists():
        return "not tried: h3load is not built"
    result = subprocess.run([str(h3load), "-n", "1000", "-c", "1000", "--cacert", str(server.cacert),
                             server.url("/health")], capture_output=True, text=True, timeout=Seconds.client)
    check(result.returncode == 0, result.stdout + result.stderr)
    port = f":{server.port:04X}"
    with open("/proc/net/udp", encoding="ascii") as table:
        drops = [int(line.split()[-1]) for line in table if line.split()[1].endswith(port)]
    check(drops and not any(drops), f"datagrams dropped at the sockets: {drops}")
    return f"{len(drops)} sockets, no drops"


# --- signals ----------------------------------------------------------------------------------------------------------


def make_certs(setup, directory):
    """A CA and a leaf that no other test has."""
    directory.mkdir(exist_ok=True)
    shutil.copy(setup.certs / "make-certs.sh", directory)
    subprocess.run(["sh", str(directory / "make-certs.sh"), "-f"], check=True, capture_output=True)


@case("sighup-reloads-certificates", options=None)
def sighup(setup, scratch):
    """New certificates are served after SIGHUP; a bad pair keeps the old one, and says so."""
    certs = scratch / "certs"
    make_certs(setup, certs)
    own = argparse.Namespace(**{**vars(setup), "certs": certs})
    with running(own, scratch, ()) as server:
        curl_expect(server, 200, "/health")
        make_certs(setup, certs)
        with curl_process(server, "/health") as old:
            old.communicate()
        check(old.returncode == 60, f"curl's exit status with the new authority before the reload: {old.returncode}")
        server.process.send_signal(signal.SIGHUP)
        poll(Seconds.start, lambda: "certificates reloaded" in server.log(), "no reload")
        poll(Seconds.start, lambda: curl_status(server) == 0, "the new certificate is not served")
        (certs / "localhost.pem").write_text("broken\n")
        server.process.send_signal(signal.SIGHUP)
        poll(Seconds.start, lambda: "certificates not reloaded" in server.log(), "a bad pair went unnoticed")
        curl_expect(server, 200, "/health")


def curl_status(server):
    with curl_process(server, "/health", "--output", os.devnull) as process:
        process.communicate()
    return process.returncode


@case("sigusr2-prints-pools", foreign_clients=False)
def sigusr2(server):
    server.process.send_signal(signal.SIGUSR2)
    poll(Seconds.start, lambda: "held-bytes" in server.log(), "no pool table")


@case("second-sigterm-stops-at-once")
def second_sigterm(server):
    """A client that takes an hour for its download holds the drain up; the second signal does not wait for it."""
    with curl_process(server, "/data/1G", "--limit-rate", "100K", "--output", os.devnull):
        poll(Seconds.start, lambda: requests_active(server) >= 2, "no download")
        server.terminate()
        poll(Seconds.start, lambda: "draining" in server.log(), "no word of draining")
        check(server.process.poll() is None, "the server did not wait for what is in flight")
        server.process.send_signal(signal.SIGTERM)
        server.finish()


@case("drain-timeout-ends-the-wait", options=("--drain-timeout", "1s"))
def drain_timeout(server):
    with curl_process(server, "/data/1G", "--limit-rate", "100K", "--output", os.devnull):
        poll(Seconds.start, lambda: requests_active(server) >= 2, "no download")
        server.terminate()
        server.finish()


def requests_active(server):
    """Requests in flight, that of /stats included."""
    body = curl(server, "/stats")[2]
    return json.loads(body)["requests_active"]
