#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh: builds docker/Dockerfile without a Docker engine (buildah with chroot isolation, on a base that mmdebstrap
# makes from the system's own mirror), then starts the image's default command and stops it with SIGTERM: it must say
# that it listens, run without root, need no library but libc, and end with exit status 0.
#
# Everything is kept in one temporary directory that is removed at the end: about 400 MB and a minute and a half. Every
# step has mount and PID namespaces of its own, so nothing stays mounted or running either. Exit status 77 and one line
# when it can't run here.
set -eu

checkout=$(cd "$(dirname "$0")/.." && pwd)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'docker: %s\n' "$*"; }
skip() { say "not available: $*"; exit 77; }
fail() { say "FAILED: $*"; exit 1; }

[ "$(id -u)" = 0 ] || skip "needs root"
unshare --mount --pid --net --fork true 2>/dev/null || skip "needs namespaces, which are forbidden here"
missing=
for tool in buildah mmdebstrap; do
    command -v $tool >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || skip "needs$missing"
    say "installing$missing"
    # shellcheck disable=SC2086 # a list of package names
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing; } \
        >/dev/null 2>&1 || skip "apt-get could not install$missing"
fi
[ -r $keyring ] || skip "$keyring is missing (package debian-archive-keyring)"
mirror=$(sh "$checkout/cmake/apt-mirror.sh") || skip "no Debian mirror in the system's apt configuration"

work=$(mktemp -d)
# buildah's cache of image names has a fixed place.
cache=/var/lib/containers
[ ! -e $cache ] || cache=
run=
clean_up() {
    # timeout leads a process group; with the group dies the first process of the PID namespace, and so all in it.
    [ -z "$run" ] || { kill -s KILL -- "-$run" && wait "$run"; } 2>/dev/null || :
    # shellcheck disable=SC2086 # nothing, when there was a cache before
    rm -rf --one-file-system "$work" $cache
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/tmp"
export TMPDIR="$work/tmp" BUILDAH_ISOLATION=chroot
store="--root $work/root --runroot $work/run --storage-driver vfs"
alone="unshare --mount --pid --fork --kill-child --mount-proc"
# shellcheck disable=SC2086 # lists of words
image() { $alone buildah $store "$@"; }

# --- the base -------------------------------------------------------------------------------------------------------

say "making a base image of Debian stable"
# What the system's apt needs to reach its mirror, the image's needs too.
apt-config dump | grep -E '^Acquire::(https?::([^:]*::)?Proxy|Check-Date|Check-Valid-Until) ' >"$work/apt.conf" || :
mmdebstrap --quiet --mode=root --variant=minbase --keyring=$keyring --skip=check/qemu --aptopt="$work/apt.conf" \
    stable "$work/base.tar" "deb $mirror stable main" >"$work/log" 2>&1 ||
    skip "mmdebstrap failed: $(grep '^E:' "$work/log" | head -n 1)"
{
    base=$(image from scratch) && image add -q "$base" "$work/base.tar" / && image run "$base" -- true &&
        image commit -q "$base" localhost/h3pool-base && image rm "$base"
} >"$work/log" 2>&1 || skip "buildah does not work here: $(tail -n 1 "$work/log")"
rm "$work/base.tar"

# --- the image ------------------------------------------------------------------------------------------------------

say "building the image"
image bud --layers=false --build-arg BASE=localhost/h3pool-base -f "$checkout/docker/Dockerfile" \
    -t localhost/h3pool "$checkout" >"$work/log" 2>&1 || { tail -n 50 "$work/log"; fail "the image does not build"; }
container=$(image from localhost/h3pool)
libraries=$(image run "$container" -- ldd /usr/local/bin/h3pool /usr/local/bin/h3pool-unpooled) ||
    fail "ldd: $libraries"
! echo "$libraries" | grep '=>' | grep -v 'libc\.so' || fail "the servers need more than libc"

# --- one start and stop ---------------------------------------------------------------------------------------------

command=$(image inspect --type image --format '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}' localhost/h3pool |
    tr -d '[]')
say "starting: $command"
mkfifo "$work/output"
# A network of its own keeps it off the machine's ports.
# shellcheck disable=SC2086 # lists of words
timeout -s KILL 60 $alone --net buildah $store run "$container" -- $command >"$work/output" 2>"$work/log" &
run=$!
exec 3<"$work/output"
read -r line <&3 || line="no output"
case $line in
"listening on https://0.0.0.0:4433") ;;
*) cat "$work/log"; fail "expected the line of a listening server, got: $line" ;;
esac

# The container's first process, which an engine would signal: below timeout, unshare and buildah's own.
server=$run name=timeout
while case $name in timeout | unshare | *buildah* | exe) ;; *) false ;; esac do
    server=$(cat "/proc/$server"/task/*/children | cut -d ' ' -f 1)
    name=$(cat "/proc/$server/comm")
done
[ "$name" = h3pool ] || fail "the entrypoint did not give way to the server: $name is running"
user=$(awk '/^Uid:/ { print $2 }' "/proc/$server/status")
[ "$user" != 0 ] || fail "the server runs as root"

kill -TERM "$server"
status=0
wait $run || status=$?
run=
cat <&3 >>"$work/log"
[ $status = 0 ] || { cat "$work/log"; fail "exit status $status after SIGTERM"; }
say "passed: $line as user $user, exit status 0 after SIGTERM"
