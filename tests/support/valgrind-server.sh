#!/bin/sh
# SPDX-License-Identifier: MIT
#
# valgrind-server.sh ARGUMENT...: the pass-through server under Valgrind, as a server for tests/e2e/run.py. An error or
# a leak makes the exit status 99.
exec valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
    "$(dirname "$0")/../../build/h3pool-unpooled" "$@"
