/* SPDX-License-Identifier: MIT
 *
 * TLS 1.3 for QUIC (RFC 9001) by OpenSSL: a context for the process, a session per connection.
 */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include <ngtcp2/ngtcp2_crypto.h>
#include <stddef.h>

#define TLS_CERTS_MAX 16u

/* PEM files and OpenSSL list strings; NULL where a preset is wanted. Pointers need to live during the call alone. */
struct tls_config {
    struct {
        const char *cert, *key;
    } pair[TLS_CERTS_MAX]; /* the first is served where no name matches */
    size_t pair_count;
    const char *groups, *ciphers;
    const char *keylog; /* secrets are appended to this file; the caller has warned */
};

struct tls_ctx; /* shared by the workers, counted */
struct tls_error {
    char text[256]; /* names the option or file that was wrong */
};

/* Reads certificates and keys and makes a context with one reference; NULL with |error| filled. */
struct tls_ctx *tls_ctx_new(const struct tls_config *config, struct tls_error *error)
    __attribute__((warn_unused_result));
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx);

/* RFC 8446 section 6. */
#define TLS_ALERT_UNEXPECTED_MESSAGE 10

/* One connection's TLS state. */
struct tls_session {
    void *ssl, *octx;    /* SSL, ngtcp2_crypto_ossl_ctx */
    struct tls_ctx *ctx; /* a reference: callbacks of the SSL object lead to it, also after a reload */
};

/* Begins a server session; |ref| must live as long as the session. Returns 0, or -1 without memory. */
int tls_session_init(struct tls_session *session, struct tls_ctx *ctx, ngtcp2_crypto_conn_ref *ref)
    __attribute__((warn_unused_result));
/* What ngtcp2_conn_set_tls_native_handle wants; NULL once the session is ended. */
void *tls_session_native(const struct tls_session *session);
/* Frees it. The connection need not exist any more; one that does must not refer to it, see
 * ngtcp2_conn_set_tls_native_handle. */
void tls_session_fini(struct tls_session *session);

/* The library's version, as in "OpenSSL 3.5.9 …". */
const char *tls_version(void);
/* Decodes base64 (RFC 4648 section 4); returns the number of bytes, or -1 if it is none or does not fit. */
int tls_decode_base64(const char *text, unsigned char *out, size_t cap);
/* Draws a secret of |len| bytes into memory that stays out of core dumps, where the build has such (mem_bridge.h). NULL
 * without memory; to be freed with tls_secret_free, which clears it. */
uint8_t *tls_secret_new(size_t len) __attribute__((warn_unused_result));
void tls_secret_free(uint8_t *secret, size_t len); /* NULL is legal */
/* Fills |bytes| with |len| bytes from the system's random generator; ends the process if it has none. */
void tls_random(void *bytes, size_t len);

#endif
