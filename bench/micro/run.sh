#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: what `make bench` runs. ROUNDS and DURATION are read from the environment. Python and the allocators to
# compare with are installed where that is allowed, and named otherwise; without an allocator the rest is measured.
set -eu

cd "$(dirname "$0")/../.."

may_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

install() { # PACKAGE...
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

if ! command -v python3 >/dev/null; then
    if ! may_install; then
        echo "bench: missing: python3; run: sudo apt-get install --no-install-recommends python3" >&2
        exit 2
    fi
    apt-get -qq update
    install python3
fi

missing() {
    PYTHONPATH=bench/compare PYTHONDONTWRITEBYTECODE=1 python3 bench/micro/allocators.py
}

# The number in a package's name differs by suite, so what apt knows decides.
patterns=$(missing)
if [ -n "$patterns" ]; then
    may_install && apt-get -qq update
    packages=
    for pattern in $patterns; do
        found=
        command -v apt-cache >/dev/null &&
            found=$(apt-cache search --names-only "$pattern" | cut -d ' ' -f 1 | sort | tail -n 1)
        packages="$packages ${found:-$(echo "$pattern" | tr -d '^$')}"
    done
    if may_install; then
        # shellcheck disable=SC2086 # a list
        install $packages || echo "bench: can't be installed:$packages" >&2
    else
        echo "bench: missing:$packages; run: sudo apt-get install --no-install-recommends$packages" >&2
    fi
fi
exec python3 bench/micro/runner.py
