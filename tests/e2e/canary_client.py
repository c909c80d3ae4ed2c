#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two kinds of clients on aioquic: one whose every request carries canaries, one that provokes errors and reads.

Whatever the second gets, decrypted packets as a whole, is searched for the first one's canaries and for any 8 bytes of
them. A seed (printed) repeats the choice of canaries and of provocations. Run it through tests/support/foreign.sh.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import ssl
import string
import sys
from urllib.parse import urlsplit

from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.quic.connection import QuicConnection

import aioquic_client
from aioquic_client import Client, Failure, check, literal_field_section, within
from expected import parse_size, pattern_bytes

CANARY_BYTES, PART_BYTES = 16, 8
TOKEN = (string.ascii_letters + string.digits).encode()
CARRIERS, PROVOKERS = 3, 2  # at the same time
EDGE_SIZES = (0, 1, 65520, 65521, 65522, 131042, 131043)
MAX_BODY_BYTES = 64 << 10  # the case starts the server with it
CALM_SECONDS = 5
FIELDS = {  # all that a response may have
    b":status": rb"\d{3}", b"server": rb"h3pool", b"date": rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    b"content-length": rb"\d+", b"content-type": rb"[a-z/]+(; charset=utf-8)?|application/octet-stream",
    b"allow": rb"[A-Z, ]+", b"accept-ranges": rb"bytes", b"content-range": rb"bytes (\*|\d+-\d+)/\d+",
}


class Canaries:
    def __init__(self, rng):
        self.rng, self.parts = rng, set()

    def _keep(self, canary):
        self.parts.update(canary[i:i + PART_BYTES] for i in range(CANARY_BYTES - PART_BYTES + 1))
        return canary

    def token(self):
        return self._keep(bytes(self.rng.choices(TOKEN, k=CANARY_BYTES)))

    def raw(self):
        return self._keep(self.rng.randbytes(CANARY_BYTES))

    def find_in(self, data):
        for i in range(len(data) - PART_BYTES + 1):
            if data[i:i + PART_BYTES] in self.parts:
                return i
        return -1


async def open_client(args, seen=None, name=None, ticket=None, on_ticket=None):
    """A connection; all that comes on it is appended to `seen`, packets decrypted."""
    configuration = aioquic_client.configuration_of(args)
    configuration.session_ticket = ticket
    if name:
        configuration.server_name, configuration.verify_mode = name, ssl.CERT_NONE
    quic = QuicConnection(configuration=configuration, session_ticket_handler=on_ticket)
    if seen is not None:
        received = quic._payload_received
        datagram = quic.receive_datagram

        def payload_received(context, plain, *rest, **more):
            seen.append(bytes(plain))
            return received(context, plain, *rest, **more)

        def receive_datagram(data, *rest, **more):
            seen.append(bytes(data))
            return datagram(data, *rest, **more)

        quic._payload_received, quic.receive_datagram = payload_received, receive_datagram
    family, _, _, _, address = aioquic_client.address_of(args.url)
    local = ("127.0.0.1" if family.name == "AF_INET" else "::1", 0)
    _, client = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Client(quic), local_addr=local)
    client.connect(address)
    await client.wait_connected()
    return client


@contextlib.asynccontextmanager
async def connected(args, **how):
    client = await open_client(args, **how)
    try:
        yield client
    finally:
        client.close(ErrorCode.H3_NO_ERROR)
        await client.wait_closed()
        client.vanish()


# --- who has something to hide --------------------------------------------------------------------------------------


def carrying_requests(canaries):
    """(method, target, fields, body) of one connection."""
    fields = [(b"x-secret", canaries.token()), (b"cookie", b"session=" + canaries.token()),
              (b"authorization", b"Bearer " + canaries.token()), (b"x-" + canaries.token().lower(), b"1")]
    canaries._keep(fields[-1][0][2:])
    body = b"".join(canaries.raw() for _ in range(canaries.rng.choice((1, 40, 1000))))
    yield "GET", b"/" + canaries.token(), fields, None
    yield "GET", b"/data/" + canaries.token(), fields, None
    yield "GET", b"/data?items=%d&x=" % canaries.rng.choice((1, 150, 500)) + canaries.token(), fields, None
    yield "POST", b"/data?" + canaries.token(), fields, body
    yield "POST", b"/" + canaries.token(), fields, body
    yield "GET", b"/" + b"/".join(canaries.token() for _ in range(100)), fields, None
    yield "GET", b"/health", fields + [(b"x-many", canaries.token()) for _ in range(120)], None


async def carry(args, canaries, tickets):
    name = canaries.token().decode() + ".test"
    ticket = tickets.pop() if tickets and canaries.rng.random() < 0.5 else None
    client = await open_client(args, name=name, ticket=ticket, on_ticket=tickets.append)
    if canaries.rng.random() < 0.7:  # else texts come in Huffman's code
        client.http._encode_headers = literal_field_section
    waiting = []
    for method, target, fields, body in carrying_requests(canaries):
        url = argparse.Namespace(path=target.decode(), query="", netloc=args.url.netloc)
        stream_id, response = client.start(method, url, headers=fields, body=body, end=canaries.rng.random() < 0.9)
        if canaries.rng.random() < 0.1:
            client._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
        else:
            waiting += [response.started]
    await asyncio.wait(waiting, timeout=CALM_SECONDS)
    if canaries.rng.random() < 0.8:
        client._quic.close(error_code=ErrorCode.H3_NO_ERROR, reason_phrase=canaries.token().decode())
        client.transmit()
        await client.wait_closed()
    client.vanish()


# --- who looks ------------------------------------------------------------------------------------------------------


def check_response(response, method, what):
    """Nothing but the fields that are known, and a body of exactly the length that was said."""
    for name, value in response.headers.items():
        check(name in FIELDS and re.fullmatch(FIELDS[name], value), f"{what}: {name!r}: {value!r}")
    length = response.headers.get(b"content-length")
    if length is not None and method != "HEAD":
        check(response.received == int(length), f"{what}: {response.received} bytes of {int(length)}")
    if method == "HEAD":
        check(response.received == 0, f"{what}: HEAD with a body")
    elif response.status >= 400:
        check(re.fullmatch(rb'\{"error":"[a-z0-9A-Z ,.-]+"\}\n', response.body), f"{what}: {bytes(response.body)!r}")


def items_document(count):
    items = [{"id": i, "name": f"item-{i}", "value": i * 2654435761 % 1000000} for i in range(count)]
    return {"count": count, "items": items}


async def fetch(args, client, seen, expected, method, path, **kwargs):
    path, _, query = path.partition("?")
    response = await client.fetch(method, args.url._replace(path=path, query=query), **kwargs)
    what = f"{method} {path}"
    check(response.status == expected, f"{what}: status {response.status}, expected {expected}")
    check_response(response, method, what)
    seen.extend(value for field in response.headers.items() for value in field)
    return bytes(response.body)


async def look_at_errors(args, client, seen, rng):
    provoked = [(404, "GET", "/no/such/path", {}), (404, "HEAD", "/no/such/path", {}), (405, "DELETE", "/data", {}),
                (400, "GET", "/data?items=x", {}), (404, "GET", "/data/9x", {}), (405, "PUT", "/health", {}),
                (431, "GET", "/", {"headers": [(b"x-%d" % i, b"v") for i in range(150)]}),
                (413, "POST", "/data", {"body": b"x", "end": False, "headers": [(b"content-length", b"99999999")]}),
                (413, "POST", "/data", {"body": bytes(MAX_BODY_BYTES + 1)}),
                (200, "HEAD", "/health", {}), (200, "HEAD", "/data/1M", {}), (200, "HEAD", "/data?items=100", {}),
                (200, "GET", "/", {}), (200, "GET", "/health", {})]
    rng.shuffle(provoked)
    for expected, method, path, kwargs in provoked:
        await fetch(args, client, seen, expected, method, path, **kwargs)


async def look_at_edges(args, client, seen, rng):
    for size in EDGE_SIZES:
        whole = pattern_bytes(size)
        check(await fetch(args, client, seen, 200, "GET", f"/data/{size}") == whole, f"/data/{size}: wrong bytes")
        for text, first, end in (("0-0", 0, 1), (f"{size - 1}-", size - 1, size), ("-1", size - 1, size),
                                 ("65520-65521", 65520, 65522), (f"{size - 1}-{size + 9}", size - 1, size)):
            if 0 <= first < size:
                body = await fetch(args, client, seen, 206, "GET", f"/data/{size}",
                                   headers=[(b"range", b"bytes=" + text.encode())])
                check(body == whole[first:end], f"/data/{size}, range {text}: {len(body)} bytes, or wrong ones")
        await fetch(args, client, seen, 416, "GET", f"/data/{size}", headers=[(b"range", b"bytes=%d-" % size)])
    for count in (0, 1, 200, 201, rng.randrange(1000)):
        body = await fetch(args, client, seen, 200, "GET", f"/data?items={count}")
        check(json.loads(body) == items_document(count), f"{count} items: wrong ones")


async def look_at_cut_requests(args, client, seen, rng):
    """Requests that are reset or left half, downloads that are given up; the connection lives on."""
    for _ in range(5):
        url = args.url._replace(path=f"/data/{rng.choice(('64K', '16M'))}", query="")
        stream_id, response = client.start("GET", url)
        await response.started
        client._quic.stop_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
        stream_id, _ = client.start("POST", args.url._replace(path="/data"), body=bytes(rng.randrange(3000)), end=False)
        client._quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
        client.transmit()
    await fetch(args, client, seen, 200, "GET", "/health")


def frame(kind, payload):
    return encode_uint_var(kind) + encode_uint_var(len(payload)) + payload


def malformed(rng):
    """(unidirectional, bytes of a stream): some end the connection, some are ignored, none may be answered with more
    than a code."""
    return rng.choice((
        (True, encode_uint_var(0x21 + 31 * rng.randrange(1000)) + rng.randbytes(50)),
        (True, encode_uint_var(0) + frame(4, b"")),          # a second control stream
        (True, encode_uint_var(2) + b"\xff" * 30),           # a second stream of QPACK's encoder
        (True, encode_uint_var(1) + b"\0"),                  # a push, which clients can't
        (False, frame(0, b"data before headers")),
        (False, frame(1, b"\0\0\x7f\xff\xff\xff")),          # QPACK: an index out of the table
        (False, frame(1, b"\xff" * 20)),                     # QPACK: an insert count that can't be
        (False, frame(1, b"\0\0" + b"\x27\xff")),            # QPACK: a literal that is cut off
        (False, frame(4, b"\1\1")),                          # SETTINGS on a request
        (False, frame(1, literal_field_section(0, [(b":method", b"GET")]))),
        (False, frame(1, literal_field_section(0, [(b":method", b"CONNECT"), (b":authority", b"x")]))),
        (False, frame(0x21, rng.randbytes(20)) + frame(1, b"")),
        (False, encode_uint_var(1) + encode_uint_var(1000) + b"\0\0\xd1"),  # ends within its field section
    ))


async def look_at_malformed(args, seen, rng):
    client = await open_client(args, seen)
    unidirectional, data = malformed(rng)
    stream_id = client._quic.get_next_available_stream_id(is_unidirectional=unidirectional)
    client.responses[stream_id] = aioquic_client.Response()
    client._quic.send_stream_data(stream_id, data, end_stream=not unidirectional)
    with contextlib.suppress(Failure):  # the connection may be ended for it
        client.transmit()
        await client.fetch("GET", args.url._replace(path="/health", query=""))
    client.close(ErrorCode.H3_NO_ERROR)
    await client.wait_closed()
    client.vanish()


async def look(args, seen, rng):
    async with connected(args, seen=seen) as client:
        await look_at_errors(args, client, seen, rng)
        await look_at_edges(args, client, seen, rng)
        await look_at_cut_requests(args, client, seen, rng)
    for _ in range(15):
        await look_at_malformed(args, seen, rng)


def leave_lengths_to_us():
    """aioquic takes a response to HEAD with a content-length for malformed; check_response looks at all of them."""
    H3Connection._check_content_length = lambda _self, _stream: None


# --- the commands ---------------------------------------------------------------------------------------------------


async def run_canaries(args):
    rng = random.Random(args.seed)
    canaries, tickets, seen = Canaries(rng), [], []
    looked = asyncio.Event()
    carried = 0

    async def carrier():
        nonlocal carried
        while not looked.is_set():
            await carry(args, canaries, tickets)
            carried += 1

    async def provoker():
        for _ in range(args.rounds):
            await look(args, seen, rng)

    carriers = [asyncio.create_task(carrier()) for _ in range(CARRIERS)]
    try:
        await asyncio.gather(*(provoker() for _ in range(PROVOKERS)))
    finally:
        looked.set()
        await asyncio.gather(*carriers)
    check(carried >= args.rounds, f"only {carried} connections with canaries")
    for data in seen:
        at = canaries.find_in(data)
        check(at < 0, f"another client's bytes at {at} of {len(data)}: {data[max(at - 16, 0):at + 24]!r}")
    return (f"{carried} connections with {len(canaries.parts)} parts of canaries; none in "
            f"{sum(map(len, seen))} bytes of another's")


async def run_hold(args):
    """Opens three connections, the last of which resumes, and a request on each; prints the tickets' bytes as JSON, and
    ends when a line comes on standard input."""
    tickets, clients = [], []
    for _ in range(3):
        clients.append(await open_client(args, on_ticket=tickets.append, ticket=tickets[-1] if tickets else None))
        await aioquic_client.checked_get(clients[-1], args.url)
    print(json.dumps([ticket.ticket.hex() for ticket in tickets]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    for client in clients:
        client.close(ErrorCode.H3_NO_ERROR)
        await client.wait_closed()
    check(len(tickets) == 3, f"{len(tickets)} tickets")
    return "held"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("canaries", "hold"))
    parser.add_argument("--url", required=True, type=urlsplit)
    parser.add_argument("--cacert", required=True)
    parser.add_argument("--timeout", type=float, default=60, help="seconds for the whole run")
    parser.add_argument("--rounds", type=int, default=3, help="of every provoking client")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    name = f"{args.command} (seed {args.seed})"
    aioquic_client.tolerate_repeated_stop_sending()
    leave_lengths_to_us()
    try:
        run = {"canaries": run_canaries, "hold": run_hold}[args.command]
        print(f"{name}: ok: seed {args.seed},", within(args.timeout, run(args)))
    except (Failure, OSError, ValueError) as error:
        print(f"{name}: FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
