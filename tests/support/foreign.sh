#!/bin/sh
# SPDX-License-Identifier: MIT
#
# foreign.sh COMMAND [ARGUMENT...]: runs a program of the root that foreign-root.sh prepares, on the host's network. The
# checkout and the scratch directory (TMPDIR, else /tmp) are visible under their own absolute paths. The process ID
# stays that of this script, so a caller may signal the command. Exit status 77 when there is no such root.
#
# It is a chroot in a private mount namespace, from which nothing stays mounted. Where namespaces are forbidden (in most
# containers), the root's own dynamic loader runs the same program with the same libraries instead; the host's files are
# then visible to it.
set -eu

checkout=$(cd "$(dirname "$0")/../.." && pwd)
scratch=${TMPDIR:-/tmp}
root=$checkout/.deps/foreign-${FOREIGN_SUITE:-trixie-backports}
[ -e "$root.stamp" ] || [ -n "${FOREIGN_UNCHECKED:-}" ] ||
    { echo "foreign clients: not available: run tests/support/foreign-root.sh" >&2; exit 77; }

export PATH=/usr/bin:/usr/sbin TMPDIR="$scratch"
as_root=
[ "$(id -u)" = 0 ] || as_root=--map-root-user

enter='
    set -eu
    root=$1 checkout=$2 scratch=$3
    shift 3
    mount --rbind /dev "$root/dev"
    mount --bind "$scratch" "$root$scratch"
    [ -d "$root$checkout" ] && mount --bind "$checkout" "$root$checkout"
    exec chroot "$root" "$@"'

if mkdir -p "$root$checkout" "$root$scratch" 2>/dev/null && unshare $as_root --mount true 2>/dev/null; then
    exec unshare $as_root --mount sh -c "$enter" sh "$root" "$checkout" "$scratch" "$@"
fi

program=$root/usr/bin/$1
shift
libraries=$(dirname "$(find "$root/usr/lib" -name libc.so.6 | head -n 1)")
loader=$(find "$root/usr/lib64" "$root/usr/lib" -name 'ld-linux*.so.*' | head -n 1)
export PYTHONHOME="$root/usr" OPENSSL_MODULES="$libraries/ossl-modules" OPENSSL_CONF="$root/etc/ssl/openssl.cnf"
exec "$loader" --library-path "$libraries" "$program" "$@"
