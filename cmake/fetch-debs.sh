#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fetch-debs.sh SUITE DIR PACKAGE...: downloads packages of a Debian suite and unpacks them into DIR, without root and
# without touching the system's apt. Only the named packages are fetched, not what they depend on.
#
# trixie-backports stands for trixie with its backports, of which the newer version of a package wins.
set -eu

suite=$1 dir=$2
shift 2

say() { printf 'deps: %s\n' "$*"; }
die() { printf 'deps: error: %s\n' "$*" >&2; exit 1; }

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keyring ] || die "$keyring is missing: install the package debian-archive-keyring"

mirror=$(sh "$(dirname "$0")/apt-mirror.sh") || die "no Debian mirror in the system's apt configuration"

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
work=$dir/.apt
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
trap 'rm -rf "$work"' EXIT

base=${suite%-backports}
for s in $base $([ "$base" = "$suite" ] || echo "$suite"); do
    options=signed-by=$keyring
    # The Release file of a rolling suite may have expired on a mirror; its signature is still checked.
    [ "$s" != forky ] || options="$options check-valid-until=no"
    echo "deb [$options] $mirror $s main"
done >"$work/sources.list"

# A backports suite is marked NotAutomatic; here it is wanted.
[ "$base" = "$suite" ] || printf 'Package: *\nPin: release %s\nPin-Priority: 990\n\n' \
    a=stable-backports "n=$suite" >"$work/preferences"
touch "$work/preferences" "$work/status"

private_apt() {
    apt-get -qq \
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences="$work/preferences" -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache" \
        -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User= "$@"
}

say "fetching from $suite: $*"
private_apt update || die "apt could not read the package lists of $suite"
(cd "$work/debs" && private_apt download "$@") || die "apt could not download a package of $suite"
for deb in "$work"/debs/*.deb; do
    dpkg -x "$deb" "$dir"
done
