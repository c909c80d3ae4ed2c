#!/bin/sh
# SPDX-License-Identifier: MIT
#
# debian13.sh: builds the work tree on a fresh Debian 13 with the system's own packages (trixie with its backports; no
# private prefix, shared libraries, a newer compiler), runs the unit tests there, and starts and stops both servers.
#
# The root file system is made once with mmdebstrap in .deps/debian13; a second run uses it again. It is entered with
# chroot in private mount and PID namespaces, of which nothing stays mounted. Exit status 77 and one line when it can't
# be had here.
set -eu

checkout=$(cd "$(dirname "$0")/../.." && pwd)
root=$checkout/.deps/debian13
stamp=$root.stamp
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages='gcc make cmake pkg-config openssl ca-certificates libc6-dev python3 libssl-dev libngtcp2-dev
    libngtcp2-crypto-ossl-dev libnghttp3-dev libev-dev'

say() { printf 'debian13: %s\n' "$*"; }
skip() { say "not available: $*"; exit 77; }

# --- the root -------------------------------------------------------------------------------------------------------

[ "$(id -u)" = 0 ] || skip "needs root (it enters a chroot)"
unshare --mount --pid --fork true 2>/dev/null || skip "needs mount and PID namespaces, which are forbidden here"

# The stamp holds the checksum of this part of the script, so that a change of it makes a new root.
recipe=$(sed "/^# --- the work tree/q" "$0" | cksum)
if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$recipe" ]; then
    command -v apt-get >/dev/null || skip "needs apt-get"
    if ! command -v mmdebstrap >/dev/null; then
        say "installing mmdebstrap"
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
            mmdebstrap; } >/dev/null 2>&1 || skip "apt-get could not install mmdebstrap"
    fi
    [ -r $keyring ] || skip "$keyring is missing (package debian-archive-keyring)"
    mirror=$(sh "$checkout/cmake/apt-mirror.sh") || skip "no Debian mirror in the system's apt configuration"

    # It is built beside its final place and moved there, so that an interrupted run leaves no half of one.
    say "preparing a root of Debian 13 with compiler and libraries (about a minute, once)"
    mkdir -p "$checkout/.deps"
    rm -rf "$root" "$root.new" "$stamp"
    # shellcheck disable=SC2016 # the hook's $1 is the new root, for mmdebstrap to give
    mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
        --keyring=$keyring --skip=check/qemu --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
        --setup-hook='printf "Package: libngtcp2* libnghttp3*\nPin: release n=trixie-backports\nPin-Priority: 990\n" \
            >"$1/etc/apt/preferences.d/backports"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        trixie "$root.new" "deb $mirror trixie main" "deb $mirror trixie-backports main" >"$root.log" 2>&1 ||
        { rm -rf "$root.new"; skip "mmdebstrap failed: $(grep '^E:' "$root.log" | head -n 1) (log: $root.log)"; }
    mv "$root.new" "$root"
    rm -f "$root.log"
    echo "$recipe" >"$stamp"
fi

# --- the work tree in it --------------------------------------------------------------------------------------------

copy=$(mktemp -d "$root/tmp/h3pool.XXXXXX")
trap 'rm -rf "$copy"' EXIT
trap 'exit 1' HUP INT TERM
(cd "$checkout" && tar -c --exclude=./.git --exclude=./.deps --exclude=./build --exclude=./reports \
    --exclude='*.pem' .) |
    tar -x -C "$copy" --no-same-owner

# shellcheck disable=SC2016 # for the shell inside
inside='
    set -eu
    export H3POOL_DEPS=system
    echo "debian13: gcc $(gcc -dumpfullversion), glibc $(getconf GNU_LIBC_VERSION | cut -d" " -f2)," \
        "OpenSSL $(pkg-config --modversion openssl), ngtcp2 $(pkg-config --modversion libngtcp2)," \
        "nghttp3 $(pkg-config --modversion libnghttp3)"
    make build JOBS="$JOBS" >build.log 2>&1 || { tail -n 50 build.log; exit 1; }
    # The OpenSSL helper of ngtcp2 is linked from its archive: what it calls has another name in a copy of that.
    for library in libssl libngtcp2 libnghttp3 libev; do
        ldd build/h3pool | grep -q "$library\.so" || { echo "debian13: no $library.so in h3pool"; exit 1; }
    done
    cmake --build build -j "$JOBS" >build.log 2>&1 || { tail -n 50 build.log; exit 1; }
    sh certs/make-certs.sh >/dev/null
    ctest --test-dir build --output-on-failure --no-tests=error -j "$JOBS" >test.log 2>&1 || { cat test.log; exit 1; }
    grep "tests passed" test.log
    mkfifo output
    for server in h3pool h3pool-unpooled; do
        timeout 60 build/$server --listen 127.0.0.1:0 --admin off >output 2>server.log &
        exec 3<output
        read -r line <&3 || line="no line"
        status=0
        kill $! && wait $! || status=$?
        cat <&3 >>server.log
        case $status$line in
        "0listening on https://"*) echo "debian13: $server started, and stopped with exit status 0" ;;
        *) echo "debian13: $server: $line, exit status $status"; cat server.log; exit 1 ;;
        esac
    done'
# shellcheck disable=SC2016 # for the inner shell
JOBS=${JOBS:-$(nproc)} unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" sh -c '
    root=$1 directory=$2 inside=$3
    mount --rbind /dev "$root/dev" && exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root \
        LC_ALL=C.UTF-8 JOBS="$JOBS" sh -c "cd $directory && $inside"' \
    sh "$root" "${copy#"$root"}" "$inside" </dev/null || { say "failed"; exit 1; }
say "passed"
