# SPDX-License-Identifier: MIT
"""Requests by curl and aioquic, well-behaved and hostile."""

import json
import tempfile

from expected import PatternChecker, crc32c, pattern_bytes
from harness import RSS_GROWTH_MAX, aioquic, case, check, curl, curl_expect, curl_process


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
