#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: the unit tests of the Python in bench/compare, bench/micro and bench/peers. Last line: N passed, N failed.
# Exit status 77 without Python.
command -v python3 >/dev/null || { echo "missing: python3"; exit 77; }
PYTHONDONTWRITEBYTECODE=1 exec python3 "$(dirname "$0")/run.py" "$@"
