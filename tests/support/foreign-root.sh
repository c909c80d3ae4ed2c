#!/bin/sh
# SPDX-License-Identifier: MIT
#
# foreign-root.sh: prepares .deps/foreign-SUITE, a root file system of a newer Debian suite that holds HTTP/3 clients
# which share no build with us: curl with HTTP/3, and aioquic (Python). foreign.sh runs commands in it. A second run
# does nothing. Exit status 77 and one line when it can't be had here.
#
# FOREIGN_SUITE in the environment chooses the suite: trixie-backports (default; trixie with its backports), trixie
# (its curl drives OpenSSL's own QUIC instead of ngtcp2), or forky.
set -eu

suite=${FOREIGN_SUITE:-trixie-backports}
checkout=$(cd "$(dirname "$0")/../.." && pwd)
root=$checkout/.deps/foreign-$suite
stamp=$root.stamp
who='foreign clients'
. "$checkout/tests/support/debian-root.sh"

# Its content is the checksum of the scripts, so that a change of them makes a new root.
recipe=$(cat "$0" "$checkout/tests/support/debian-root.sh" | cksum)
[ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$recipe" ] || exit 0

need_mmdebstrap
# curl and python3 need none of their maintainer scripts.
say "preparing curl and aioquic of $suite (about 30 s, once)"
rm -f "$stamp"
unpack_root "$root" "$suite" curl,python3-aioquic

unset PYTHONDONTWRITEBYTECODE
# The check also makes Python write its byte code, which no maintainer script did.
foreign() { FOREIGN_SUITE=$suite FOREIGN_UNCHECKED=1 sh "$checkout/tests/support/foreign.sh" "$@" 2>>"$root.log"; }
foreign curl -V | grep -qw HTTP3 || skip "curl of $suite does not run, or has no HTTP/3 (log: $root.log)"
foreign curl --http3-only -V >/dev/null || skip "curl of $suite does not know --http3-only"
foreign python3 -c 'import asyncio, argparse, aioquic.h3.connection, aioquic.asyncio' ||
    skip "aioquic of $suite does not load (log: $root.log)"
rm -f "$root.log"
echo "$recipe" >"$stamp"
say "ready: $root"
