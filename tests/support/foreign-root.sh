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
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'foreign clients: %s\n' "$*"; }
skip() { say "not available: $*"; exit 77; }

# Its content is this script's checksum, so that a change of the script makes a new root.
recipe=$(cksum <"$0")
[ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$recipe" ] || exit 0

command -v apt-get >/dev/null || skip "needs apt-get"
if ! command -v mmdebstrap >/dev/null; then
    [ "$(id -u)" = 0 ] || skip "needs mmdebstrap (as root: apt-get install mmdebstrap)"
    say "installing mmdebstrap"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends mmdebstrap; } \
        >/dev/null 2>&1 || skip "apt-get could not install mmdebstrap"
fi
[ -r $keyring ] || skip "$keyring is missing (package debian-archive-keyring)"
mirror=$(sh "$checkout/cmake/apt-mirror.sh") || skip "no Debian mirror in the system's apt configuration"

base=${suite%-backports}
set -- "deb $mirror $base main"
# The Release file of a rolling suite may have expired on a mirror; its signature is still checked.
[ "$suite" != forky ] || set -- "deb [check-valid-until=no] $mirror $base main"
[ "$suite" = "$base" ] || set -- "$@" "deb $mirror $suite main"

# The root is built beside its final place and moved there, so that an interrupted run leaves no half of one. The
# packages are only unpacked: curl and python3 need none of their maintainer scripts, nor mounts, nor root.
say "preparing curl and aioquic of $suite (about 30 s, once)"
mkdir -p "$checkout/.deps"
rm -rf "$root" "$root.new" "$stamp"
mode=auto
[ "$(id -u)" = 0 ] || mode=chrootless
mmdebstrap --quiet --mode=$mode --variant=extract --include=base-files,curl,python3-aioquic \
    --keyring=$keyring --skip=check/qemu,chroot/mount \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' --aptopt="APT::Default-Release \"$suite\"" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$base" "$root.new" "$@" >"$root.log" 2>&1 ||
    { rm -rf "$root.new"; skip "mmdebstrap failed: $(grep '^E:' "$root.log" | head -n 1) (log: $root.log)"; }
find "$root.new/dev" -mindepth 1 -delete
mv "$root.new" "$root"

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
