#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Makes a development certificate authority and, signed by it, a P-256 certificate for localhost, 127.0.0.1 and ::1:
#   ca.pem ca-key.pem                 the authority; give ca.pem to clients (curl --cacert)
#   localhost.pem localhost-key.pem   the server's chain and key
# They are valid for 90 days and only good for development. What exists and is valid for another day is kept; -f makes
# all anew. None of it is ever committed.
set -eu

cd "$(dirname "$0")"
umask 077
[ "${1:-}" != -f ] || rm -f ca.pem ca-key.pem localhost.pem localhost-key.pem

valid() {
    [ -s "$1" ] && [ -s "$2" ] && openssl x509 -in "$1" -noout -checkend 86400 >/dev/null
}

if valid ca.pem ca-key.pem && valid localhost.pem localhost-key.pem; then
    exit 0
fi
command -v openssl >/dev/null || { echo "make-certs: error: the program 'openssl' is missing" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

new_key "$work/ca-key.pem"
openssl req -x509 -new -key "$work/ca-key.pem" -sha256 -days 90 -subj "/CN=h3pool development CA" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out "$work/ca.pem"

new_key "$work/localhost-key.pem"
openssl req -new -key "$work/localhost-key.pem" -subj "/CN=localhost" -out "$work/localhost.csr"
cat >"$work/leaf.cnf" <<CNF
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1
CNF
openssl x509 -req -in "$work/localhost.csr" -CA "$work/ca.pem" -CAkey "$work/ca-key.pem" -CAcreateserial -sha256 \
    -days 90 -extfile "$work/leaf.cnf" -out "$work/localhost.pem" 2>/dev/null

mv "$work/ca.pem" "$work/ca-key.pem" "$work/localhost.pem" "$work/localhost-key.pem" .
chmod 644 ca.pem localhost.pem
echo "certs: made a development CA and a certificate for localhost, valid for 90 days"
