#!/bin/sh
# SPDX-License-Identifier: MIT
#
# entrypoint.sh COMMAND [ARGUMENT...]: starts COMMAND in the container, in place of this shell, so that SIGTERM reaches
# it. Before that, when no certificate is mounted at /certs, a development CA and a certificate for localhost are made
# there; clients take the CA from /certs/ca.pem.
set -eu

script=/usr/local/share/h3pool/make-certs.sh
# The script writes into the directory that it is in: it is told that this is /certs. A volume of an earlier start
# holds our own CA; there, the script makes anew what has expired.
if [ ! -e /certs/localhost.pem ] || [ -e /certs/ca-key.pem ]; then
    sh -c "$(cat "$script")" /certs/make-certs.sh >&2 ||
        echo "entrypoint: no certificate could be made in /certs" >&2
fi
exec "$@"
