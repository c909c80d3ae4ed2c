#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds the pool library's documentation alone and installs it: Doxygen has nothing to complain of, each function for
# callers has a manual page with a description, and pages are well-formed. Ends with a line of totals.
set -u
cd "$(dirname "$0")" || exit 1
root=$(cd ../.. && pwd)
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0

check() { # NAME COMMAND...
    name=$1
    shift
    if "$@" >"$tmp/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "not ok: $name"
        cat "$tmp/log"
    fi
}

# What NAME says of a page, and whether there is anything below DESCRIPTION.
described() { # PAGE
    awk '/^\.SH/ { section = $2; next }
         section == "NAME" { name = name $0 }
         section == "DESCRIPTION" && !/^\./ { text = text $0 }
         END { sub(/.* \\- /, "", name); exit !(length(name) > 10 && length(text) > 20) }' "$man/$1.3"
}

well_formed() { # PAGE
    says=$(man --warnings=all -E UTF-8 -l "$man/$1.3" 2>&1 >/dev/null) && [ -z "$says" ] || { echo "$says"; return 1; }
}

no_warnings() {
    cat "$tmp/build/docs/warnings"
    [ -f "$tmp/build/docs/warnings" ] && [ ! -s "$tmp/build/docs/warnings" ]
}

check configure cmake -S "$root/pool" -B "$tmp/build" -DH3POOL_EXAMPLES=OFF
check build cmake --build "$tmp/build" --target docs
check "install" cmake --install "$tmp/build/docs" --prefix "$tmp/prefix"
check warnings no_warnings
[ $failed = 0 ] || { echo "$passed passed, $failed failed"; exit 1; }
man=$tmp/prefix/share/man/man3
python3 headers.py documented "$root/pool/include/h3pool" >"$tmp/names"
check "the headers have functions" [ -s "$tmp/names" ]
while read -r name; do
    check "$name is described" described "$name"
done <"$tmp/names"
if command -v man >/dev/null; then
    for page in "$man"/*.3; do
        page=${page##*/}
        check "$page is well-formed" well_formed "${page%.3}"
    done
else
    echo "skipped: no man, so pages are not rendered"
fi
check "each counter has a line" grep -q 'uint64_t peak_bytes' "$man/h3pool_counters.3"
check "HTML" grep -q hp_byte_pool_get "$tmp/prefix/share/doc/libh3pool/html/group__h3pool__byte__pool.html"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
