#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh test|check: runs the suites of `make test` or `make check`, a line each, and ends with one line of totals. The
# output of a suite goes to build/log/NAME.log and is shown when it fails. A suite that can't run here (exit status 77)
# is shown as SKIP with its reason.
set -u

cd "$(dirname "$0")/.." || exit 1
mode=${1:?test or check}
log=build/log
jobs=$(nproc)
mkdir -p "$log"
passed=0 failed=0 skipped=0

# The packages of the commands that are missing are installed where that is allowed, and named otherwise.
need() { # COMMAND=PACKAGE...
    missing=
    for pair; do
        command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # shellcheck disable=SC2086 # a list
        {
            apt-get -qq update &&
                DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing
        } >"$log/apt.log" 2>&1 && return 0
    fi
    echo "missing:$missing; run: sudo apt-get install --no-install-recommends$missing"
    return 77
}

# Adds the totals that the last lines of a log tell: ours, or ctest's.
count() { # LOG
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$1" | tail -n 1)
    if [ -n "$line" ]; then
        p=${line%% passed*} f=${line#*passed, } s=0
        f=${f%% failed*}
        case $line in *skipped*) s=${line#*failed, } s=${s%% skipped*} ;; esac
    else
        line=$(grep -E '% tests passed, [0-9]+ tests failed out of [0-9]+' "$1" | tail -n 1)
        [ -n "$line" ] || return 1
        f=${line#*passed, } f=${f%% tests*}
        p=$((${line##*out of } - f)) s=0
    fi
}

run() { # NAME COMMAND...
    name=$1 out=$log/$1.log
    shift
    begin=$(date +%s)
    "$@" >"$out" 2>&1 </dev/null
    status=$?
    took="$(($(date +%s) - begin)) s"
    if [ $status = 77 ]; then
        skipped=$((skipped + 1))
        echo "SKIP $name: $(tail -n 1 "$out")"
        return
    fi
    p=0 f=0 s=0
    count "$out" || { [ $status = 0 ] && p=1 || f=1; }
    [ $status = 0 ] || [ $f != 0 ] || f=1 # it died before it could say what failed
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ $status = 0 ] && [ $f = 0 ]; then
        echo "PASS $name: $p passed$([ $s = 0 ] || echo ", $s skipped") ($took)"
    else
        echo "FAIL $name ($took), from $out:"
        grep -E '^(FAIL|not ok)|\*\*\*Failed|: error:|ERROR:' "$out" | head -n 20 | sed 's/^/    /'
        tail -n 40 "$out" | sed 's/^/    /'
    fi
}

build() { # PRESET
    cmake --preset "$1" && cmake --build "$(build_dir "$1")" -j "$jobs"
}

build_dir() {
    [ "$1" = release ] && echo build || echo "build/$1"
}

unit() { # PRESET [CTEST ARGUMENT...]
    dir=$(build_dir "$1")
    shift
    ctest --test-dir "$dir" -j "$jobs" --output-on-failure "$@"
}

e2e() { # SERVER WORKERS [ARGUMENT...]
    need python3=python3 || return
    e2e_server=$1 e2e_workers=$2
    shift 2
    python3 tests/e2e/run.py --server "$e2e_server" --workers "$e2e_workers" "$@"
}

finish() {
    echo
    echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
    [ $failed = 0 ] || exit 1
    exit 0
}

. tests/suites.sh
"suites_$mode"
finish
