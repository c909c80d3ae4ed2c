#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""HTTP/3 client on aioquic, a QUIC stack that shares no code with ours; run it through tests/support/foreign.sh.

Each subcommand prints one line and exits 0 when the server did what it must, else 1. Everything has a deadline
(--timeout for the whole). run.py drives it and lists every case.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import multiprocessing
import os
import random
import re
import socket
import sys
import time
from urllib.parse import urlsplit

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, StreamReset
from aioquic.quic.stream import QuicStreamSender

from expected import PatternChecker, crc32c, parse_size, pattern_bytes

SOCKET_BUFFER_BYTES = 4 << 20
CLIENT_CREDIT_BYTES = 1 << 20
VANISHED = "connection ended by the server"


class Failure(Exception):
    """The server did not do what it must; the text says what."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def within(seconds, coroutine):
    """Runs `coroutine` in a loop of its own; not to end in time is a failure."""
    try:
        return asyncio.run(asyncio.wait_for(coroutine, seconds))
    except asyncio.TimeoutError:
        raise Failure(f"not finished within {seconds:.0f} s") from None


def tolerate_repeated_stop_sending():
    """aioquic throws when STOP_SENDING comes for a stream that it has reset already, which is perfectly legal."""
    reset = QuicStreamSender.reset

    def reset_once(sender, error_code):
        if sender._reset_error_code is None:
            reset(sender, error_code)

    QuicStreamSender.reset = reset_once


class Response:
    """What has come back on one stream; `done` resolves at its end, `started` at its header."""

    def __init__(self, checker=None):
        loop = asyncio.get_running_loop()
        self.started, self.done, self.reset = loop.create_future(), loop.create_future(), loop.create_future()
        self.headers = {}
        self.received = 0
        self.checker = checker
        self.body = bytearray()

    @property
    def status(self):
        return int(self.headers.get(b":status", b"0"))

    def on_headers(self, headers):
        self.headers.update(headers)
        if not self.started.done():
            self.started.set_result(None)

    def on_data(self, data):
        self.received += len(data)
        if self.checker and not self.checker.feed(data):
            self.fail(Failure(f"wrong byte near offset {self.received - len(data)}"))
        elif not self.checker:
            self.body += data

    def end(self):
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error):
        for future in (self.started, self.done, self.reset):
            if not future.done():
                future.set_exception(error)
                future.exception()  # marks it as seen: nobody need wait for all three


class Client(QuicConnectionProtocol):
    """One connection. `paused` withholds all flow-control credit, which aioquic otherwise gives by itself."""

    def __init__(self, quic):
        super().__init__(quic)
        self.http = None
        self.responses = {}
        self.ended = False
        self.paused = False
        for name in ("_write_connection_limits", "_write_stream_limits"):
            setattr(quic, name, functools.partial(self._write_limits, getattr(quic, name)))

    def _write_limits(self, write, *args, **kwargs):
        if not self.paused:
            write(*args, **kwargs)

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        elif isinstance(event, StreamReset) and event.stream_id in self.responses:
            response = self.responses[event.stream_id]
            if not response.reset.done():
                response.reset.set_result(event.error_code)
            response.fail(Failure(f"stream reset by the server, error {event.error_code:#x}"))
        elif isinstance(event, ConnectionTerminated):
            self.ended = True
            for response in self.responses.values():
                response.fail(Failure(f"{VANISHED}: error {event.error_code:#x} {event.reason_phrase}"))
        if self.http:
            for http_event in self.http.handle_event(event):
                self.http_event_received(http_event)

    def http_event_received(self, event):
        response = self.responses.get(event.stream_id)
        if response is None:
            return
        if isinstance(event, HeadersReceived):
            response.on_headers(event.headers)
        elif isinstance(event, DataReceived):
            response.on_data(event.data)
        if event.stream_ended:
            response.end()

    def start(self, method, url, headers=(), body=None, checker=None, end=True):
        """Sends a request, its body too if there is one; returns the stream ID and the response to wait on."""
        if self.ended:
            raise Failure(VANISHED)
        stream_id = self._quic.get_next_available_stream_id()
        response = self.responses[stream_id] = Response(checker)
        target = url.path + (f"?{url.query}" if url.query else "")
        head = [(b":method", method.encode()), (b":scheme", b"https"), (b":authority", url.netloc.encode()),
                (b":path", target.encode()), (b"user-agent", b"aioquic")]
        self.http.send_headers(stream_id, head + list(headers), end_stream=end and body is None)
        if body is not None:
            self.http.send_data(stream_id, body, end_stream=end)
        self.transmit()
        return stream_id, response

    async def fetch(self, method, url, **kwargs):
        """A whole exchange; returns the finished response."""
        stream_id, response = self.start(method, url, **kwargs)
        await response.done
        del self.responses[stream_id]
        return response

    def vanish(self):
        """Stops without a word to the server: no CONNECTION_CLOSE, no reply to anything."""
        if self._timer:
            self._timer.cancel()
        self._transport.abort()


def address_of(url):
    return socket.getaddrinfo(url.hostname, url.port, type=socket.SOCK_DGRAM)[0]


def configuration_of(args):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name=args.url.hostname,
                                      max_data=CLIENT_CREDIT_BYTES, max_stream_data=CLIENT_CREDIT_BYTES)
    configuration.load_verify_locations(cafile=args.cacert)
    return configuration


async def open_client(args):
    family, _, _, _, address = address_of(args.url)
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    sock.setblocking(False)
    quic = QuicConnection(configuration=configuration_of(args))
    _, client = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Client(quic), sock=sock)
    client.connect(address)
    try:
        await client.wait_connected()
    except ConnectionError:
        client.vanish()
        raise Failure("handshake failed") from None
    return client


@contextlib.asynccontextmanager
async def connected(args):
    client = await open_client(args)
    try:
        yield client
    finally:
        client.close(ErrorCode.H3_NO_ERROR)
        await client.wait_closed()
        client.vanish()


def with_path(args, path):
    return args.url._replace(path=path, query="")


def pattern_size(url):
    """The SIZE of a /data/SIZE URL, or None."""
    match = re.fullmatch(r"/data/(\d+[KMG]?)", url.path)
    return parse_size(match[1]) if match else None


async def checked_get(client, url):
    """GET that must give 200 and the right body; returns the number of body bytes."""
    size = pattern_size(url)
    response = await client.fetch("GET", url, checker=PatternChecker() if size is not None else None)
    check(response.status == 200, f"{url.path}: status {response.status}, expected 200")
    if size is not None:
        check(response.received == size, f"{url.path}: {response.received} bytes, expected {size}")
    elif url.path == "/health":
        check(json.loads(response.body).get("status") == "healthy", f"/health: {bytes(response.body)!r}")
    else:
        check(response.received > 0, f"{url.path}: empty body")
    return response.received


async def check_health(args, client=None):
    """The server still answers, on this connection or on a fresh one."""
    if client:
        await checked_get(client, with_path(args, "/health"))
        return
    async with connected(args) as fresh:
        await checked_get(fresh, with_path(args, "/health"))


# --- plain traffic --------------------------------------------------------------------------------------------------


async def run_requests(args):
    """Many requests on one connection, --max-concurrent of them at a time."""
    remaining = iter(range(args.requests))

    async def sender(client):
        return sum([await checked_get(client, args.url) for _ in remaining])

    async with connected(args) as client:
        total = sum(await asyncio.gather(*(sender(client) for _ in range(args.max_concurrent))))
    return f"{args.requests} requests, {total} body bytes"


async def open_all(args, count):
    """Opens `count` connections, and only when all stand sends a request on each."""
    handshakes = asyncio.Semaphore(args.handshakes)

    async def open_one():
        async with handshakes:
            return await open_client(args)

    clients = await asyncio.gather(*(open_one() for _ in range(count)), return_exceptions=True)
    opened = [client for client in clients if not isinstance(client, BaseException)]
    try:
        failed = [str(client) for client in clients if isinstance(client, BaseException)]
        check(not failed, f"{len(failed)} of {count} connections failed, the first: {failed[:1]}")
        await asyncio.gather(*(checked_get(client, args.url) for client in opened))
    finally:
        for client in opened:
            client.close(ErrorCode.H3_NO_ERROR)
        await asyncio.gather(*(client.wait_closed() for client in opened))


def connections_process(args, count):
    """One process of run_connections; returns an error text, empty when all went well."""
    try:
        within(args.timeout, open_all(args, count))
    except (Failure, OSError, ValueError) as error:
        return str(error)
    return ""


def run_connections(args):
    """Many connections at once, spread over processes because one Python can't keep up with the handshakes."""
    shares = [(args, len(range(i, args.connections, args.processes))) for i in range(args.processes)]
    with multiprocessing.get_context("fork").Pool(args.processes) as pool:
        errors = pool.starmap(connections_process, shares)
    check(not any(errors), "; ".join(filter(None, errors)))
    return f"{args.connections} connections at once, a request on each"


async def run_post(args):
    """Uploads the pattern; the server must count and sum what was sent."""
    body = pattern_bytes(args.size)
    async with connected(args) as client:
        response = await client.fetch("POST", with_path(args, "/data"), body=body,
                                      headers=[(b"content-length", str(len(body)).encode())])
    check(response.status == 200, f"status {response.status}, expected 200")
    expected = {"bytes": len(body), "crc32c": f"{crc32c(body):08x}"}
    check(json.loads(response.body) == expected, f"{bytes(response.body)!r}, expected {expected}")
    return f"{args.size} bytes, crc32c {expected['crc32c']}"


async def run_slow_reader(args):
    """Withholds all credit for a while: the server must wait, and then go on where it stopped."""
    url = with_path(args, f"/data/{args.size}")
    async with connected(args) as client:
        client.paused = True
        _, response = client.start("GET", url, checker=PatternChecker())
        await response.started
        check(response.status == 200, f"{url.path}: status {response.status}, expected 200")
        await asyncio.sleep(args.pause)  # this is the stimulus, not a way to wait for something
        stalled_at = response.received
        check(stalled_at <= CLIENT_CREDIT_BYTES, f"{stalled_at} bytes came against a credit of {CLIENT_CREDIT_BYTES}")
        check(stalled_at > CLIENT_CREDIT_BYTES // 2, f"only {stalled_at} bytes of the credit were used")
        client.paused = False
        client.transmit()
        await response.done
        check(response.received == args.size, f"{response.received} bytes, expected {args.size}")
    return f"{args.size} bytes exact after a pause of {args.pause:.0f} s at {stalled_at}"


# --- hostile clients ------------------------------------------------------------------------------------------------


async def expect_status(args, client, expected, method, path, **kwargs):
    response = await client.fetch(method, with_path(args, path), **kwargs)
    check(response.status == expected, f"{method} {path}: status {response.status}, expected {expected}")
    return response


def prefixed_integer(flags, bits, value):
    """RFC 7541, section 5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([flags | value])
    encoded, value = bytearray([flags | limit]), value - limit
    while value >= 128:
        encoded.append(128 | value & 127)
        value >>= 7
    return bytes(encoded) + bytes([value])


def literal_field_section(_stream_id, headers):
    """Fields as plain literals (RFC 9204, section 4.5.6): aioquic's own encoder fails beyond 4 KB."""
    section = bytearray(2)
    for name, value in headers:
        section += prefixed_integer(0x20, 3, len(name)) + name + prefixed_integer(0, 7, len(value)) + value
    return bytes(section)


async def hostile_oversized_header(args):
    async with connected(args) as client:
        client.http._encode_headers = literal_field_section
        await expect_status(args, client, 431, "GET", "/health", headers=[(b"x-big", b"x" * args.size)])
        await check_health(args, client)
    return f"a field of {args.size} bytes got 431"


async def hostile_too_many_fields(args):
    async with connected(args) as client:
        fields = [(b"x-%d" % i, b"v") for i in range(args.count)]
        await expect_status(args, client, 431, "GET", "/health", headers=fields)
        await check_health(args, client)
    return f"{args.count} fields got 431"


async def hostile_oversized_body(args):
    """Both with an announced length, which is refused at once, and without, which is refused on the way."""
    body = bytes(args.size)
    length = [(b"content-length", str(args.size).encode())]
    async with connected(args) as client:
        await expect_status(args, client, 413, "POST", "/data", headers=length, body=body)
        await expect_status(args, client, 413, "POST", "/data", body=body)
        await check_health(args, client)
    return f"a body of {args.size} bytes got 413, with and without content-length"


async def hostile_bad_method(args):
    async with connected(args) as client:
        response = await expect_status(args, client, 405, "DELETE", "/data")
        await check_health(args, client)
    allow = response.headers.get(b"allow", b"").decode()
    check("GET" in allow and "POST" in allow, f"allow: {allow!r}")
    return f"405, allow: {allow}"


async def hostile_unknown_path(args):
    async with connected(args) as client:
        response = await expect_status(args, client, 404, "GET", "/no/such/path")
        await check_health(args, client)
    check("error" in json.loads(response.body), f"body {bytes(response.body)!r}")
    return "404 with a JSON error"


async def hostile_reset_midway(args):
    """Gives up a download (STOP_SENDING) and an upload (RESET_STREAM); the connection must live on."""
    async with connected(args) as client:
        stream_id, download = client.start("GET", with_path(args, f"/data/{args.size}"), checker=PatternChecker())
        await download.started
        client._quic.stop_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
        client.transmit()
        await download.reset
        stream_id, _ = client.start("POST", with_path(args, "/data"), body=pattern_bytes(100000), end=False)
        client._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
        client.transmit()
        await check_health(args, client)
    return "download stopped and upload reset; the connection answers /health"


async def hostile_abandon(args):
    """Clients that vanish in mid-download, without closing."""
    clients = await asyncio.gather(*(open_client(args) for _ in range(args.count)))
    started = [client.start("GET", with_path(args, f"/data/{args.size}"), checker=PatternChecker())[1].started
               for client in clients]
    await asyncio.gather(*started)
    for client in clients:
        client.vanish()
    await check_health(args)
    return f"{args.count} downloads abandoned; a fresh connection is served"


def initial_datagram(args):
    """A genuine first datagram of a client."""
    quic = QuicConnection(configuration=configuration_of(args))
    quic.connect(address_of(args.url)[4], now=time.monotonic())
    return quic.datagrams_to_send(now=time.monotonic())[0][0]


def truncated_initials(args, rng):
    """Initials cut short, some with bits flipped, some filled up again; a few stay valid and open half a handshake."""
    whole = None
    for i in range(args.count):
        if i % 50 == 0:
            whole = initial_datagram(args)
        datagram = bytearray(whole[:rng.randrange(1, len(whole))])
        for _ in range(rng.choice((0, 0, 1, 8))):
            datagram[rng.randrange(len(datagram))] ^= 1 << rng.randrange(8)
        yield bytes(datagram.ljust(len(whole), b"\0") if rng.random() < 0.5 else datagram)


def random_datagrams(args, rng):
    """Noise; half of it starts like a long header packet of a known or unknown version, an eighth is empty."""
    for _ in range(args.count):
        datagram = bytearray(rng.randbytes(rng.choice((0, 1, 20, 100, 1199, 1200, 1452, rng.randrange(1452)))))
        if len(datagram) > 7 and rng.random() < 0.5:
            datagram[0] = 0xC0 | rng.randrange(64)
            datagram[1:5] = rng.choice((1, 0, 0x6B3343CF, 0x1A2A3A4A, rng.randrange(1 << 32))).to_bytes(4, "big")
            datagram[5] = rng.choice((0, 1, 8, 20, 21, 255))
        yield bytes(datagram)


async def hostile_datagrams(args, generate):
    """Raw datagrams from a few sockets, so that they come from several addresses; then a real client."""
    family, _, _, _, address = address_of(args.url)
    sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(8)]
    rng = random.Random(args.seed)
    for datagram in generate(args, rng):
        with contextlib.suppress(ConnectionRefusedError):  # the ICMP answer to an earlier one: check_health will tell
            rng.choice(sockets).sendto(datagram, address)
    for sock in sockets:
        sock.close()
    await check_health(args)
    return f"{args.count} datagrams; a fresh connection is served"


HOSTILE = {  # name: (function, default of --count, default of --size)
    "oversized-header": (hostile_oversized_header, 0, "20000"),
    "too-many-fields": (hostile_too_many_fields, 150, "0"),
    "oversized-body": (hostile_oversized_body, 0, "17M"),
    "bad-method": (hostile_bad_method, 0, "0"),
    "unknown-path": (hostile_unknown_path, 0, "0"),
    "reset-midway": (hostile_reset_midway, 0, "64M"),
    "abandon": (hostile_abandon, 20, "64M"),
    "truncated-initial": (functools.partial(hostile_datagrams, generate=truncated_initials), 2000, "0"),
    "random-datagrams": (functools.partial(hostile_datagrams, generate=random_datagrams), 5000, "0"),
}


async def run_hostile(args):
    run, count, size = HOSTILE[args.case]
    args.count = count if args.count is None else args.count
    args.size = parse_size(size) if args.size is None else args.size
    return await run(args)


# --- command line ---------------------------------------------------------------------------------------------------


def parse_arguments():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", required=True, type=urlsplit, help="https://HOST:PORT/PATH")
    common.add_argument("--cacert", required=True, help="PEM file of the authority to trust")
    common.add_argument("--timeout", type=float, default=60, help="seconds for the whole run (default 60)")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    requests = commands.add_parser("requests", parents=[common], help=run_requests.__doc__)
    requests.add_argument("-n", dest="requests", type=int, default=1000)
    requests.add_argument("-m", dest="max_concurrent", type=int, default=10)
    for name, count, processes, handshakes in (("connections", 100, 1, 100), ("burst", 1000, os.cpu_count(), 25)):
        connections = commands.add_parser(name, parents=[common], help=run_connections.__doc__)
        connections.add_argument("-n", dest="connections", type=int, default=count)
        connections.add_argument("--processes", type=int, default=processes)
        connections.add_argument("--handshakes", type=int, default=handshakes, help="under way at once in a process")
    post = commands.add_parser("post", parents=[common], help=run_post.__doc__)
    post.add_argument("--size", type=parse_size, default=parse_size("10M"))
    slow = commands.add_parser("slow-reader", parents=[common], help=run_slow_reader.__doc__)
    slow.add_argument("--size", type=parse_size, default=parse_size("64M"))
    slow.add_argument("--pause", type=float, default=10, help="seconds")
    hostile = commands.add_parser("hostile", parents=[common], help="misbehaves, and checks how the server takes it")
    hostile.add_argument("case", choices=HOSTILE)
    hostile.add_argument("--count", type=int, help="fields, connections or datagrams")
    hostile.add_argument("--size", type=parse_size, help="bytes of the field, body or download")
    hostile.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    return parser.parse_args()


RUN = {"requests": run_requests, "connections": run_connections, "burst": run_connections, "post": run_post,
       "slow-reader": run_slow_reader, "hostile": run_hostile}


def main():
    args = parse_arguments()
    tolerate_repeated_stop_sending()
    name = " ".join(filter(None, (args.command, getattr(args, "case", ""))))
    if "datagrams" in name or "initial" in name:
        name += f" (seed {args.seed})"
    try:
        run = RUN[args.command]
        print(f"{name}: ok:", run(args) if run is run_connections else within(args.timeout, run(args)))
    except (Failure, OSError, ValueError) as error:
        print(f"{name}: FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
