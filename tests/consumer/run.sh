#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs the pool library alone into a temporary prefix, and builds and runs a program that uses it: once through
# find_package, with each build of the library, and once through pkg-config. One line for each; status 1 on failure.
set -u
cd "$(dirname "$0")" || exit 1
here=$PWD
root=$(cd ../.. && pwd)
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

# Runs a command; on failure says which, with what it wrote.
quiet() {
    "$@" >"$tmp/log" 2>&1 && return 0
    echo "not ok: $*" >&2
    cat "$tmp/log" >&2
    return 1
}

# program, the build that it must be: runs it and compares its version with the installed one.
check() {
    says=$("$1") || { echo "not ok: $1 ended with status $?" >&2; return 1; }
    [ "$says" = "$version $2" ] || { echo "not ok: $1 says '$says', not '$version $2'" >&2; return 1; }
}

through_cmake() {
    for pool in h3pool unpooled; do
        name=pooled
        [ "$pool" = h3pool ] || name=unpooled
        quiet cmake -S "$here" -B "$tmp/cmake-$pool" -DPOOL="$pool" -DCMAKE_PREFIX_PATH="$tmp/prefix" &&
            quiet cmake --build "$tmp/cmake-$pool" && check "$tmp/cmake-$pool/consumer" "$name" || return 1
    done
}

through_pkg_config() {
    flags=$(pkg-config --cflags --libs h3pool) || return 1
    # The flags are words.
    # shellcheck disable=SC2086
    quiet "${CC:-cc}" -std=c17 -o "$tmp/consumer" "$here/consumer.c" $flags && check "$tmp/consumer" pooled
}

quiet cmake -S "$root/pool" -B "$tmp/build" -DCMAKE_INSTALL_PREFIX="$tmp/prefix" -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
    quiet cmake --build "$tmp/build" && quiet cmake --install "$tmp/build" || exit 1

# The library directory depends on the system; only what was installed just now may be found.
pc=$(find "$tmp/prefix" -name h3pool.pc)
PKG_CONFIG_LIBDIR=$(dirname "$pc")
export PKG_CONFIG_LIBDIR
version=$(pkg-config --modversion h3pool) || exit 1

through_cmake && echo "ok consumer cmake" || failed=1
through_pkg_config && echo "ok consumer pkg-config" || failed=1
exit $failed
