#!/bin/sh
# SPDX-License-Identifier: MIT
#
# record-trace.sh [FILE]: records what the server asks of malloc under load, for the benchmark's replay, and writes it
# to FILE (bench/micro/server.trace). The server is h3pool-unpooled, in which each block of a pool is a malloc of its
# own, with one worker. CONNECTIONS connections (30) are held open together, each has made REQUESTS requests (4) of the
# URLs in turn, and then they are closed. The part before the server listens is left out.
set -eu

cd "$(dirname "$0")/../.."
to=${1:-bench/micro/server.trace}
connections=${CONNECTIONS:-30} requests=${REQUESTS:-4}
for program in build/h3pool-unpooled build/h3load build/liballoc_trace.so; do
    [ -e $program ] || { echo "record-trace: $program is missing; run: make bench" >&2; exit 2; }
done
sh certs/make-certs.sh >/dev/null

scratch=$(mktemp -d "${TMPDIR:-/tmp}/h3pool-trace-XXXXXX")
server=
finish() {
    [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

LD_PRELOAD=$PWD/build/liballoc_trace.so H3POOL_ALLOC_TRACE=$scratch/trace H3POOL_ALLOC_TRACE_FROM=$scratch/begin \
    build/h3pool-unpooled --workers 1 --listen 127.0.0.1:0 --admin off >"$scratch/log" 2>&1 &
server=$!
tries=0
until url=$(sed -n 's/^listening on \(https:.*\)/\1/p' "$scratch/log") && [ -n "$url" ]; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
        echo "record-trace: the server does not listen:" >&2
        cat "$scratch/log" >&2
        exit 1
    fi
    sleep 0.1
done
: >"$scratch/begin"
build/h3load --cacert certs/ca.pem -c "$connections" -n $((connections * requests)) -m 2 --hold 500ms \
    "$url/health" "$url/data?items=25" "$url/data/4096" "$url/" >"$scratch/load" 2>&1 || {
    cat "$scratch/load" >&2
    exit 1
}
kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
[ $status = 0 ] || { cat "$scratch/log" >&2; exit 1; }

{
    echo "# Allocations of h3pool-unpooled --workers 1, from when it listened to its end; bench/micro/record-trace.sh."
    echo "# $connections connections of h3load held open at a time, $requests requests each (/health," \
        "/data?items=25, /data/4096, /), then closed."
    build/h3pool-unpooled --version | tr '\n' ' ' | sed 's/^/# /; s/ $//'
    echo
    echo "# bench/micro/alloc_trace.c says what the letters are."
    cat "$scratch/trace"
} >"$to"
echo "$to: $(wc -c <"$to") bytes, $(grep -v '^#' "$to" | tr -cd 'mcr' | wc -c) allocations"
