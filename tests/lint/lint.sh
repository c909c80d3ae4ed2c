#!/bin/sh
# SPDX-License-Identifier: MIT
#
# lint.sh [CHECK...]: checks the sources against the rules of the architecture and of the style, a line each. Exit
# status 0 if all hold, 1 if not, 77 without Python. The rules are in lint.py.
command -v python3 >/dev/null || { echo "missing: python3"; exit 77; }
exec python3 "$(dirname "$0")/lint.py" "$@"
