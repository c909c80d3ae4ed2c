#!/bin/sh
# SPDX-License-Identifier: MIT
#
# root.sh PACKAGE PROGRAM [SUITE]: prepares .deps/peers-SUITE/PACKAGE, a root file system that holds one server of a
# newer Debian suite (forky, or PEERS_SUITE), and has its PROGRAM. Each server has a root of its own, so
# that one which can't be had costs only itself. A second run does nothing. Exit status 77 and one line when it can't be
# had here.
set -eu

package=$1 program=$2 suite=${3:-${PEERS_SUITE:-forky}}
checkout=$(cd "$(dirname "$0")/../.." && pwd)
who=$package
. "$checkout/tests/support/debian-root.sh"

root=$checkout/.deps/peers-$suite/$package
stamp=$root.stamp
recipe=$(cat "$0" "$checkout/tests/support/debian-root.sh" | cksum)
[ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$recipe" ] || { echo "$root"; exit 0; }

[ "$(id -u)" = 0 ] || skip "needs root"
need_mmdebstrap >&2
say "preparing $package of $suite (about 10 s, once)" >&2
rm -f "$stamp"
unpack_root "$root" "$suite" "$package"
mkdir -p "$root/peers"
# No maintainer script made these, and a server may want to be somebody.
echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
[ -x "$root$program" ] || skip "$package of $suite has no $program"
rm -f "$root.log"
echo "$recipe" >"$stamp"
echo "$root"
