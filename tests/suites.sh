# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# The suites of `make test` and `make check`, in order; read by run.sh, which defines run, build, unit, e2e and need.

suites_test() {
    run build build release
    run unit unit release
    run lint sh tests/lint/lint.sh
    run e2e e2e build/h3pool 2
    run compare-unit sh tests/unit/bench/run.sh
    run consumer consumer
    run docs docs
}

# The pool library as others find it.
consumer() {
    need pkg-config=pkg-config readelf=binutils || return
    sh tests/consumer/run.sh
}

docs() {
    need doxygen=doxygen python3=python3 || return
    sh tests/consumer/docs.sh
}

suites_check() {
    run foreign-clients sh tests/support/foreign-root.sh
    run make-test make test
    run memory-gate memory_gate
    run lint-planted sh tests/lint/test_lint.sh
    for server in h3pool h3pool-unpooled; do
        for workers in 1 2; do
            run "e2e-$server-$workers" e2e "build/$server" $workers
        done
    done
    suites_sanitizers
    run clang-build clang_build
    run debian13 sh tests/systems/debian13.sh
    run docker sh docker/check.sh
}

# Memory that was saved and may not be taken again.
memory_gate() {
    need python3=python3 addr2line=binutils || return
    sh bench/analysis/gate.sh
}

suites_sanitizers() {
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:quarantine_size_mb=16
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    run asan-build build asan
    run asan-unit unit asan
    for server in h3pool h3pool-unpooled; do
        run "asan-e2e-$server" e2e "build/asan/$server" 2 --slow 4 --skip curl-download-1G-constant-memory \
            --skip aioquic-slow-reader
    done
    run tsan tsan
    run valgrind-unit valgrind_unit
    run valgrind-e2e valgrind_e2e
}

# Threads: the pools, and a server with two workers.
tsan() {
    build tsan && unit tsan -R '^(pool_(byte|check|kind|manager|misuse|span)|example_|net_|server_|sim_machine)' &&
        e2e build/tsan/h3pool 2 --slow 4 --only curl-health --only aioquic-requests --only aioquic-connections \
            --only sigterm-during-download --only hostile-abandon --only sighup-reloads-certificates
}

clang_build() {
    need clang=clang || return
    build clang && unit clang
}

# Leaks are looked for in the pass-through build, in which blocks are malloc's.
valgrind_unit() {
    need valgrind=valgrind || return
    # shellcheck disable=SC2016 # $0 is the inner shell's: the program
    find build/tests -name "*-unpooled" -type f -print0 | xargs -0 -P "$(nproc)" -n 1 sh -c '
        if valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "$0" >"$0.log" 2>&1
        then echo "ok $0"; else echo "FAIL $0"; cat "$0.log"; fi' >build/log/valgrind.programs
    cat build/log/valgrind.programs
    clean=$(grep -c '^ok build/' build/log/valgrind.programs)
    echo "$clean passed, $(grep -c '^FAIL build/' build/log/valgrind.programs) failed"
}

valgrind_e2e() {
    need valgrind=valgrind || return
    e2e tests/support/valgrind-server.sh 2 --slow 10 --only curl-health --only curl-data --only curl-download-1M \
        --only curl-upload-10M --only aioquic-requests --only hostile-reset-midway --only hostile-random-datagrams \
        --only hostile-truncated-initial
}
