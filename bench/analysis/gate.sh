#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The regression gate: fails when the server's memory costs more than bench/limits.json says. Needs the release build.
set -eu

cd "$(dirname "$0")/../.."
sh certs/make-certs.sh
exec python3 bench/analysis/gate.py
