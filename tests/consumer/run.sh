#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs the pool library alone into a temporary prefix, and builds and runs programs that use it: through
# find_package with each of its four libraries, through pkg-config linked dynamically and statically. Then what is
# exported, the headers each alone, the other build loaded before the first, and what the README shows. A line for each,
# totals at the end; status 1 on failure.
set -u
cd "$(dirname "$0")" || exit 1
here=$PWD
root=$(cd ../.. && pwd)
include=$root/pool/include
cc=${CC:-cc}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0 skipped=0

# Runs a command; on failure says which, with what it wrote.
quiet() {
    "$@" >"$tmp/log" 2>&1 && return 0
    echo "failed: $*"
    cat "$tmp/log"
    return 1
}

check() { # NAME COMMAND...
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "not ok: $name"
    fi
}

skip() { # NAME REASON
    skipped=$((skipped + 1))
    echo "skipped: $1: $2"
}

# The program must say the installed version and this build.
says() { # PROGRAM BUILD
    said=$("$1") || { echo "$1 ended with status $?"; return 1; }
    [ "$said" = "$version $2" ] || { echo "$1 says '$said', not '$version $2'"; return 1; }
}

needs() { # PROGRAM LIBRARY: 0 if it is loaded with this one
    readelf -d "$1" | grep -q "NEEDED.*\[$2\]"
}

through_cmake() { # TARGET BUILD SONAME
    dir=$tmp/cmake-$1
    quiet cmake -S "$here" -B "$dir" -DPOOL="$1" -DCMAKE_PREFIX_PATH="$tmp/prefix" -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
        quiet cmake --build "$dir" && says "$dir/consumer" "$2" && quiet "$dir/quick_start" &&
        quiet "$dir/handle_requests" && grep -qx 'live 0' "$tmp/log" || return 1
    if [ -n "$3" ]; then needs "$dir/consumer" "$3"; else ! needs "$dir/consumer" 'libh3pool.*'; fi
}

through_pkg_config() { # PACKAGE BUILD static|shared
    static=
    [ "$3" = shared ] || static=-static
    # The flags are words.
    # shellcheck disable=SC2046,SC2086
    quiet "$cc" -std=c17 $static -o "$tmp/$1-$3" "$here/consumer.c" \
        $(pkg-config ${static:+--static} --cflags --libs "$1") || return 1
    if [ "$3" = shared ]; then needs "$tmp/$1-$3" "lib$1.so.0" || return 1; fi
    LD_LIBRARY_PATH=$libdir says "$tmp/$1-$3" "$2"
}

# The other build, loaded before the one that the program is linked with, takes its place.
preloaded() {
    LD_LIBRARY_PATH=$libdir LD_PRELOAD=libh3pool-unpooled.so.0 says "$tmp/h3pool-shared" unpooled
}

# The dynamic linker would copy all 64 MiB of the map into the program.
map_is_not_copied() {
    ! readelf -rW "$tmp/h3pool-shared" | grep -q 'COPY.*hp_span_map'
}

exports() { # LIBRARY
    nm -D --defined-only "$libdir/$1" | awk '{ print $3 }' | LC_ALL=C sort >"$tmp/exported"
    python3 "$here/headers.py" exported "$include/h3pool" >"$tmp/declared" || return 1
    [ -s "$tmp/declared" ] && ! grep -v '^hp_' "$tmp/exported" && diff "$tmp/declared" "$tmp/exported"
}

header_alone() { # HEADER COMPILER STANDARD
    echo "#include <h3pool/$1>" >"$tmp/alone.c"
    quiet "$2" "-std=$3" -Wall -Wextra -Wpedantic -Werror -I"$include" -fsyntax-only "$tmp/alone.c"
}

headers_alone() { # COMPILER
    for header in "$include"/h3pool/*.h; do
        for standard in c11 c17 gnu17 gnu2x; do
            header_alone "${header##*/}" "$1" $standard || return 1
        done
    done
}

# Whoever tries C++ is told so first of all.
not_for_cxx() {
    echo '#include <h3pool/manager.h>' >"$tmp/alone.cc"
    ! c++ -I"$include" -fsyntax-only "$tmp/alone.cc" 2>"$tmp/log" && grep -q 'h3pool is for C' "$tmp/log"
}

quiet cmake -S "$root/pool" -B "$tmp/build" -DCMAKE_INSTALL_PREFIX="$tmp/prefix" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DH3POOL_WERROR=ON && quiet cmake --build "$tmp/build" -j 2 && quiet cmake --install "$tmp/build" || exit 1

# The library directory depends on the system; only what was installed just now may be found.
pc=$(find "$tmp/prefix" -name h3pool.pc)
PKG_CONFIG_LIBDIR=$(dirname "$pc")
export PKG_CONFIG_LIBDIR
libdir=$(dirname "$PKG_CONFIG_LIBDIR")
version=$(pkg-config --modversion h3pool) || exit 1

check "cmake h3pool" through_cmake h3pool pooled ""
check "cmake shared" through_cmake shared pooled libh3pool.so.0
check "cmake unpooled" through_cmake unpooled unpooled ""
check "cmake unpooled-shared" through_cmake unpooled-shared unpooled libh3pool-unpooled.so.0
check "pkg-config" through_pkg_config h3pool pooled shared
check "pkg-config --static" through_pkg_config h3pool pooled static
check "pkg-config, pass-through" through_pkg_config h3pool-unpooled unpooled shared
check "pkg-config --static, pass-through" through_pkg_config h3pool-unpooled unpooled static
check "pass-through build in place of the other" preloaded
check "the map of spans is not copied" map_is_not_copied
check "headers alone, $cc" headers_alone "$cc"
if command -v clang >/dev/null; then
    check "headers alone, clang" headers_alone clang
else
    skip "headers alone, clang" "no clang"
fi
if command -v c++ >/dev/null; then check "C++" not_for_cxx; else skip "C++" "no c++"; fi
if command -v python3 >/dev/null; then
    check "exports of libh3pool" exports libh3pool.so.0
    check "exports of libh3pool-unpooled" exports libh3pool-unpooled.so.0
    check "README" python3 "$here/readme.py" "$root/pool/README.md" "$tmp/build"
else
    skip "exports, README" "no python3"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
