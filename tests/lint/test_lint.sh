#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Plants violations of each rule in a copy of the tree, one at a time, and checks that lint.sh reports each with its
# place; and that what only looks like one passes.
set -u

cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

for part in CMakeLists.txt Makefile README.md .clang-format server handlers pool bench tests cmake certs docker; do
    if [ -e "$part" ]; then cp -R "$part" "$work/"; fi
done
rm -f "$work"/certs/*.pem

result() { # STATUS TEXT
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
        echo "ok   $2"
    else
        failed=$((failed + 1))
        echo "FAIL $2"
        sed 's/^/    /' "$work/out"
    fi
}

lint() { # CHECK
    sh "$work/tests/lint/lint.sh" "$1" >"$work/out" 2>&1
}

# Puts a line at the end of a file; with HOW "new", instead of what is there.
put() { # FILE LINE HOW
    if [ -e "$work/$1" ]; then cp "$work/$1" "$work/kept"; else : >"$work/absent"; fi
    if [ "$3" = new ]; then : >"$work/$1"; fi
    printf '%s\n' "$2" >>"$work/$1"
}

restore() { # FILE
    if [ -e "$work/absent" ]; then rm "$work/$1" "$work/absent"; else mv "$work/kept" "$work/$1"; fi
}

# The check must not name the file before, must name it and fail with the violation in it.
plant() { # CHECK FILE LINE [HOW]
    lint "$1"
    if grep -qF "    $2:" "$work/out"; then
        result 1 "$1: $2 is clean before"
        return
    fi
    put "$2" "$3" "${4:-more}"
    lint "$1"
    status=$?
    [ $status = 1 ] && grep -q "^FAIL $1:" "$work/out" && grep -qF "    $2:" "$work/out"
    result $? "$1 reports $2: $(printf '%.60s' "$3" | head -n 1)"
    restore "$2"
}

# The check must not name the file.
harmless() { # CHECK FILE LINE [HOW]
    put "$2" "$3" "${4:-more}"
    lint "$1"
    ! grep -qF "    $2:" "$work/out"
    result $? "$1 accepts $2: $(printf '%.60s' "$3" | head -n 1)"
    restore "$2"
}

repeat() { # TEXT COUNT
    awk -v text="$1" -v count="$2" 'BEGIN { for (i = 0; i < count; i++) printf "%s", text }'
}

plant layers server/net/log.c '#include "metrics.h"'
plant layers server/metrics.h '#include "tls.h"'
plant layers server/cid.c '#include "tls.h"'
plant layers server/timerq.h '#include "request.h"'
plant layers server/tls.c '#include "http.h"'
plant layers server/request.c '#include "h3.h"'
plant layers server/http.c '#include "conn.h"'
plant layers server/h3.h '#include "quic_write.h"'
plant layers server/quic_write.c '#include "conn.h"'
plant layers server/conn_quic.c '#include "endpoint.h"'
plant layers server/conn.h '  #  include "worker.h"'
plant layers server/endpoint.c '#include "config.h"'
plant layers server/config.h '#include "worker.h"'
plant layers server/worker.c '#include "handlers/router.h"'
plant layers server/h3.c '#include "no_such_header.h"'
plant layers server/unheard_of.c '/* SPDX-License-Identifier: MIT */' new
harmless layers server/conn_quic.c '#include "conn.h"'
harmless layers server/http.c '#include "request.h"'
harmless layers server/endpoint.c '#include "net/clock.h"'

plant pool-includes pool/src/arena.c '#include "server/http.h"'
plant pool-includes pool/src/arena.c '#include <openssl/crypto.h>'
plant pool-includes pool/include/h3pool/arena.h '#include "internal.h"'
harmless pool-includes pool/src/arena.c '#include "internal.h"'

plant handler-includes handlers/data.c '#include "request.h"'
plant handler-includes handlers/router.h '#include "net/clock.h"'
plant handler-includes handlers/upload.c '#include <sys/socket.h>'
plant handler-includes handlers/health.c '#include <nghttp3/nghttp3.h>'
plant handler-includes server/http.h '#include "request.h"'
harmless handler-includes handlers/data.c '#include "crc32c.h"'
harmless handler-includes handlers/data.c '#include <sys/stat.h>'

plant library-includes server/endpoint.c '#include <ev.h>'
plant library-includes server/request.c '#include <nghttp3/nghttp3.h>'
plant library-includes server/h3.c '#include <ngtcp2/ngtcp2.h>'
plant library-includes server/net/udp.c '#include <ngtcp2/ngtcp2.h>'
plant library-includes server/conn.c '#include <openssl/ssl.h>'
plant library-includes handlers/data.c '#include <openssl/sha.h>'
plant library-includes pool/src/heap.c '#include <ev.h>'
harmless library-includes server/worker.c '#include <ev.h>'
harmless library-includes server/conn.c '#include <ngtcp2/ngtcp2.h>'

plant socket-calls server/endpoint.c 'static void f(int fd) { sendmsg(fd, 0, 0); }'
plant socket-calls server/worker.c 'static int f(void) { return socket (1, 2, 3); }'
plant socket-calls server/net/log.c 'static void f(int fd) { (void)send(fd, 0, 0, 0); }'
plant socket-calls handlers/data.c 'static void f(int fd) { setsockopt(fd, 0, 0, 0, 0); }'
harmless socket-calls server/endpoint.c '/* not sendmsg(fd) but udp_send(fd) */'
harmless socket-calls server/endpoint.c 'static void f(struct x *x) { x->send(1); x->s.bind(2); conn_accept(3); }'
harmless socket-calls server/endpoint.c 'static const char *f = "recv(1)";'
harmless socket-calls server/net/udp.c 'static void f(int fd) { sendmsg(fd, 0, 0); }'

plant sanitizer-macros server/request.c '#if defined(__SANITIZE_ADDRESS__)'
plant sanitizer-macros handlers/data.c '#include <sanitizer/asan_interface.h>'
plant sanitizer-macros server/h3.c 'static void f(void) { VALGRIND_MAKE_MEM_NOACCESS(0, 0); }'
plant sanitizer-macros server/tls.c '__attribute__((no_sanitize("address"))) static void f(void) {}'
harmless sanitizer-macros pool/src/arena.c '#if defined(__SANITIZE_ADDRESS__)'

plant build-conditionals server/main.c '#ifdef H3POOL_UNPOOLED'
plant build-conditionals handlers/health.c '# if defined(PASS_THROUGH)'
plant build-conditionals server/conn.c '#elif HP_ASAN'
harmless build-conditionals pool/src/heap.c '#ifdef H3POOL_UNPOOLED'
harmless build-conditionals server/mem_bridge.c '#if NGTCP2_VERSION_NUM >= 0x011800'

plant machine server/conn.c 'static uint64_t f(void) { return clock_monotonic_ns(); }'
plant machine server/request.c 'static void *f(void) { return malloc(1); }'
plant machine handlers/upload.c 'static void f(void *p) { free(p); }'
plant machine server/endpoint.c 'static void f(void) { pthread_exit(0); }'
harmless machine server/worker.c 'static uint64_t f(void) { return clock_monotonic_ns(); }'
harmless machine server/conn.c 'static void f(struct m *m) { m->mem.free(0); conn_free(0); }'

plant spdx server/plain.c '/* no licence */' new
plant spdx pool/include/h3pool/plain.h '/* no licence */' new
plant spdx tests/plain.sh '#!/bin/sh' new
plant spdx tests/plain.py 'pass' new
plant spdx tests/plain '#!/bin/sh' new
plant spdx cmake/plain.cmake '# no licence' new
plant spdx bench/CMakeLists.txt '# no licence' new
plant spdx Makefile '# no licence' new
plant spdx tests/late.sh "$(printf '#!/bin/sh\n\n\n# SPDX-License-Identifier: MIT')" new
harmless spdx tests/plain.sh "$(printf '#!/bin/sh\n# SPDX-License-Identifier: MIT')" new

plant lengths handlers/home.c "/* $(repeat x 115) */"
plant lengths tests/CMakeLists.txt "# $(repeat y 119)"
plant lengths server/metrics.c "$(repeat '/* */\n' 800)"
harmless lengths handlers/home.c "/* $(repeat x 114) */"

todo=TO fixme=FIX # in two parts, so that this file has neither
plant leftovers server/h3.c "/* ${todo}DO: finish */"
plant leftovers tests/run.sh "# ${fixme}ME"
plant leftovers README.md "${todo}DO"
harmless leftovers server/h3.c '/* a todo list is what a client keeps */'

if clang-format --version 2>/dev/null | grep -q ' 14\.'; then
    plant clang-format server/cid.c 'static void f( void ){ }'
    plant clang-format tests/support/json.c 'int  x;'
    harmless clang-format server/cid.c '/* a comment */'
else
    echo "SKIP clang-format: clang-format 14 is missing"
fi
if command -v shellcheck >/dev/null; then
    # shellcheck disable=SC2016 # to be planted as it stands
    plant shellcheck cmake/plain.sh "$(printf '#!/bin/sh\ncd $1\nrm -rf $x/*')" new
    plant shellcheck tests/plain "$(printf '#!/bin/sh\nif [ $1 == 2 ]; then echo; fi')" new
else
    echo "SKIP shellcheck: it is missing"
fi

# Without the programs these two are skipped, visibly, and that is no failure.
mkdir "$work/bin"
ln -s "$(python3 -c 'import sys; print(sys.executable)')" "$work/bin/python3"
for program in sh dirname; do
    ln -s "$(command -v $program)" "$work/bin/$program"
done
PATH=$work/bin sh "$work/tests/lint/lint.sh" clang-format shellcheck >"$work/out" 2>&1
status=$?
[ $status = 0 ] && grep -q '^SKIP clang-format:' "$work/out" && grep -q '^SKIP shellcheck:' "$work/out"
result $? "missing programs are named"

sh "$work/tests/lint/lint.sh" no-such-check >"$work/out" 2>&1
[ $? = 2 ]
result $? "an unknown check is refused"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
