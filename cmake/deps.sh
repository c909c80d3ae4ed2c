#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deps.sh: makes the compiler, the build tools and the libraries available.
#
# 1. Build tools (gcc, make, cmake, pkg-config): if one is missing, root installs it with apt-get; an ordinary user
#    is told the command.
# 2. Libraries: if pkg-config finds every one in the version that we need, the system's are used and nothing is
#    fetched. Otherwise, on a system with apt, the static development packages of a newer Debian suite are
#    downloaded with a private apt configuration (signatures checked against the installed archive keyring) and
#    unpacked into .deps/SUITE. The system stays as it is, and no root is needed.
#
# The mirror's address is taken from the system's own apt configuration. Running it again redoes nothing.
#
# Environment: H3POOL_DEPS=auto|system|SUITE (default auto; SUITE is trixie-backports or forky).
set -eu

cd "$(dirname "$0")/.."

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: error: %s\n' "$*" >&2; exit 1; }

# --- 1. build tools -------------------------------------------------------------------------------------------------

missing_tools() {
    command -v gcc >/dev/null || command -v clang >/dev/null || echo gcc
    [ -e /usr/include/stdlib.h ] || echo libc6-dev
    command -v make >/dev/null || echo make
    command -v cmake >/dev/null || echo cmake
    command -v pkg-config >/dev/null || echo pkg-config
    command -v openssl >/dev/null || echo openssl
}

tools=$(missing_tools | tr '\n' ' ')
if [ -n "$tools" ]; then
    command -v apt-get >/dev/null ||
        die "missing: ${tools}- install them with your system's package manager, then run this again"
    if [ "$(id -u)" = 0 ]; then
        say "installing $tools"
        export DEBIAN_FRONTEND=noninteractive
        apt-get -qq update
        # shellcheck disable=SC2086 # a list of package names
        apt-get -qq install -y --no-install-recommends $tools ca-certificates >/dev/null
    else
        die "missing: $tools- run: sudo apt-get install --no-install-recommends $tools"
    fi
fi

# --- 2. libraries ---------------------------------------------------------------------------------------------------

# The floors: OpenSSL 3.5.0 has bugs in the QUIC-TLS calls; ngtcp2 before 1.22.1 overflows a buffer in qlog.
system_has_all() {
    for want in 'openssl >= 3.5.1' 'libngtcp2 >= 1.22.1' 'libngtcp2_crypto_ossl >= 1.22.1' \
        'libnghttp3 >= 1.15.0'; do
        pkg-config --exists "$want" || return 1
    done
    # libev ships no .pc file
    printf '#include <ev.h>\nint main(void) { return ev_version_major() != 4; }\n' |
        "${CC:-cc}" -x c - -lev -o /dev/null 2>/dev/null
}

# HdrHistogram, for the load generator: Debian has it from forky on.
fetch_hdr() {
    [ -e .deps/hdr/.complete ] || pkg-config --exists hdr_histogram && return 0
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 0 # then the build leaves h3load out
    if sh cmake/fetch-debs.sh forky .deps/hdr libhdr-histogram-dev; then
        touch .deps/hdr/.complete
    else
        say "HdrHistogram can't be had: h3load will be left out"
    fi
}

mkdir -p .deps
mode=${H3POOL_DEPS:-auto}
case $mode in
auto)
    if system_has_all; then
        say "using the system's OpenSSL $(pkg-config --modversion openssl), ngtcp2" \
            "$(pkg-config --modversion libngtcp2), nghttp3 $(pkg-config --modversion libnghttp3)"
        fetch_hdr
        rm -f .deps/current
        exit 0
    fi
    suite=trixie-backports
    ;;
system)
    system_has_all || die "H3POOL_DEPS=system, but pkg-config lacks one of: openssl >= 3.5.1, libngtcp2 and" \
        "libngtcp2_crypto_ossl >= 1.22.1, libnghttp3 >= 1.15.0, or libev 4 is not there"
    rm -f .deps/current
    exit 0
    ;;
trixie-backports | forky) suite=$mode ;;
*) die "H3POOL_DEPS: unknown value '$mode' (auto, system, trixie-backports, forky)" ;;
esac

packages='libssl-dev libngtcp2-dev libngtcp2-crypto-ossl-dev libnghttp3-dev libev-dev libzstd-dev zlib1g-dev'
prefix=.deps/$suite
stamp=$prefix/.complete

if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$packages" ]; then
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || die "this system has no apt, and its own libraries" \
        "are missing or too old. Install the development packages of: OpenSSL >= 3.5.1, ngtcp2 >= 1.22.1 with its" \
        "OpenSSL backend (libngtcp2_crypto_ossl), nghttp3 >= 1.15.0, libev 4"
    sh cmake/fetch-debs.sh "$suite" "$prefix" $packages
    printf '%s' "$packages" >"$stamp"
fi
ln -sfn "$suite" .deps/current
fetch_hdr
say "using the private prefix $prefix"
