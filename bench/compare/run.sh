#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: what `make compare` runs. ROUNDS, DURATION, ARGS, CLIENT and BASE are read from the environment. Python is
# installed where that is allowed, and named otherwise.
set -eu

cd "$(dirname "$0")/../.."
if ! command -v python3 >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3 >/dev/null
    else
        echo "compare: missing: python3; run: sudo apt-get install --no-install-recommends python3" >&2
        exit 2
    fi
fi
exec python3 bench/compare/compare.py
