#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: what `make peers` runs, as root. ROUNDS, DURATION and PEERS are read from the environment.
set -eu

cd "$(dirname "$0")/../.."
command -v python3 >/dev/null ||
    { echo "peers: missing: python3; run: sudo apt-get install --no-install-recommends python3" >&2; exit 2; }
exec python3 bench/peers/peers.py
