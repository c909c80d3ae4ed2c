/* SPDX-License-Identifier: MIT
 *
 * TLS of the load generator's side: verification of the server, ALPN, server name.
 */
#ifndef H3LOAD_CLIENT_TLS_H
#define H3LOAD_CLIENT_TLS_H

#include "tls.h"

#include <stdbool.h>

struct client_tls; /* shared by the threads, read-only */

struct client_tls_config {
    const char *ca_file;          /* trusted beside the system's authorities; NULL: none */
    bool insecure;                /* do not verify */
    const char *groups, *ciphers; /* NULL: OpenSSL's */
};

/* Makes a context; NULL with |error| filled. */
struct client_tls *client_tls_new(const struct client_tls_config *config, struct tls_error *error)
    __attribute__((warn_unused_result));
void client_tls_free(struct client_tls *tls);

/* Begins a client session with |host| (a name or an address literal), ended by tls_session_fini. Returns 0, or -1. */
int client_tls_session_init(struct tls_session *session, struct client_tls *tls, const char *host,
                            ngtcp2_crypto_conn_ref *ref) __attribute__((warn_unused_result));

#endif
