#!/bin/sh
# SPDX-License-Identifier: MIT
#
# apt-mirror.sh: prints the first Debian mirror that the system itself is configured with; exit status 1 when there is
# none.
set -eu

mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 2>/dev/null |
    awk -F'|' '$1 == "Debian" && $2 == "Debian" && !found { print $3; found = 1 }')
if [ -z "$mirror" ]; then # no package lists yet (a fresh container): read the configuration itself
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        sed -n -e 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([a-z+]*:[^ ]*\) .*/\2/p' -e 's/^URIs: *\([^ ]*\).*/\1/p' |
        grep -v security | grep '/debian/*$' | head -n 1)
fi
[ -n "$mirror" ] && echo "$mirror"
