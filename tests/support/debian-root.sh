# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# debian-root.sh: how a script prepares a root file system of another Debian suite below .deps; sourced by scripts that
# set `who` (begins their messages) and `checkout`. A root that can't be had is one line and exit status 77.

: "${who:?}" "${checkout:?}"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf '%s: %s\n' "$who" "$*"; }
skip() { say "not available: $*"; exit 77; }

# Sets `mirror`; installs mmdebstrap where that is allowed.
need_mmdebstrap() {
    command -v apt-get >/dev/null || skip "needs apt-get"
    if ! command -v mmdebstrap >/dev/null; then
        [ "$(id -u)" = 0 ] || skip "needs mmdebstrap (as root: apt-get install mmdebstrap)"
        say "installing mmdebstrap"
        { apt-get -qq update &&
            DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends mmdebstrap; } \
            >/dev/null 2>&1 || skip "apt-get could not install mmdebstrap"
    fi
    [ -r $keyring ] || skip "$keyring is missing (package debian-archive-keyring)"
    mirror=$(sh "$checkout/cmake/apt-mirror.sh") || skip "no Debian mirror in the system's apt configuration"
}

first_error() { sed -n 's/: E: .*//; s/^E: //p' "$1" | head -n 1; }

# unpack_root ROOT SUITE PACKAGES: the packages (comma-separated) of a suite, X-backports with X's, and what they depend
# on, in a folder; the log is ROOT.log. The root is built beside its final place and moved there, so that an interrupted
# run leaves no half of one. Packages are only unpacked: none of their maintainer scripts runs, nor does it need mounts,
# nor root.
unpack_root() {
    root=$1 suite=$2 packages=$3
    base=${suite%-backports}
    set -- "deb $mirror $base main"
    # The Release file of a rolling suite may have expired on a mirror; its signature is still checked.
    [ "$suite" != forky ] || set -- "deb [check-valid-until=no] $mirror $base main"
    [ "$suite" = "$base" ] || set -- "$@" "deb $mirror $suite main"
    mkdir -p "$(dirname "$root")"
    rm -rf "$root" "$root.new"
    mode=auto
    [ "$(id -u)" = 0 ] || mode=chrootless
    mmdebstrap --quiet --mode=$mode --variant=extract --include="base-files,$packages" \
        --keyring=$keyring --skip=check/qemu,chroot/mount \
        --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
        --aptopt="APT::Default-Release \"$suite\"" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$base" "$root.new" "$@" >"$root.log" 2>&1 ||
        { rm -rf "$root.new"; skip "mmdebstrap failed: $(first_error "$root.log") (log: $root.log)"; }
    find "$root.new/dev" -mindepth 1 -delete
    mv "$root.new" "$root"
}
