/* SPDX-License-Identifier: MIT
 *
 * The session cache is off and tickets are stateless, so that no memory grows with the number of handshakes. One ticket
 * is sent per connection instead of OpenSSL's two: a browser uses one.
 */
#include "tls.h"

#include "net/log.h"

#include <errno.h>
#include <fcntl.h>
#include <ngtcp2/ngtcp2_crypto_ossl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tls_ctx {
    SSL_CTX *of_pair[TLS_CERTS_MAX];
    size_t pair_count;
    _Atomic unsigned refs;
    int keylog_fd;
};

static int fail(struct tls_error *error, const char *option, const char *value)
{
    char reason[120] = "";
    unsigned long code = ERR_peek_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (code != 0 && ERR_SYSTEM_ERROR(code))
        snprintf(reason, sizeof reason, ": %s", strerror(ERR_GET_REASON(code)));
    else if (text != NULL)
        snprintf(reason, sizeof reason, ": %s", text);
    snprintf(error->text, sizeof error->text, "--%s: can't use '%.100s'%s", option, value, reason);
    ERR_clear_error();
    return -1;
}

static int select_h3(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                     unsigned in_len, void *arg)
{
    (void)ssl, (void)arg;
    for (unsigned i = 0; i + 1 <= in_len; i += in[i] + 1u)
        if (in[i] == 2 && i + 3 <= in_len && memcmp(in + i + 1, "h3", 2) == 0) {
            *out = in + i + 1;
            *out_len = 2;
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol, RFC 9001 section 8.1 */
}

static void write_keylog(const SSL *ssl, const char *line)
{
    const struct tls_ctx *ctx = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    char text[512];
    int n = snprintf(text, sizeof text, "%s\n", line);
    if (n > 0 && (size_t)n < sizeof text && write(ctx->keylog_fd, text, (size_t)n) < 0)
        log_warn("keylog: %s", strerror(errno));
    OPENSSL_cleanse(text, sizeof text);
}

/* Serves the certificate whose names match what the client asks for, RFC 6066 section 3. */
static int select_certificate(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    struct tls_ctx *ctx = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name == NULL || ctx->pair_count < 2)
        return SSL_TLSEXT_ERR_OK;
    for (size_t i = 0; i < ctx->pair_count; i++)
        if (X509_check_host(SSL_CTX_get0_certificate(ctx->of_pair[i]), name, 0, 0, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, ctx->of_pair[i]);
            break;
        }
    return SSL_TLSEXT_ERR_OK;
}

static int load_pair(SSL_CTX *ssl_ctx, const char *cert, const char *key, struct tls_error *error)
{
    if (SSL_CTX_use_certificate_chain_file(ssl_ctx, cert) != 1)
        return fail(error, "cert", cert);
    if (SSL_CTX_use_PrivateKey_file(ssl_ctx, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ssl_ctx) != 1)
        return fail(error, "key", key);
    return 0;
}

static int set_up(struct tls_ctx *ctx, size_t i, const struct tls_config *config, struct tls_error *error)
{
    SSL_CTX *c = ctx->of_pair[i] = SSL_CTX_new(TLS_server_method());
    if (c == NULL)
        return fail(error, "cert", config->pair[i].cert);
    SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
    SSL_CTX_set_options(c, SSL_OP_SINGLE_ECDH_USE | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_ANTI_REPLAY);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(c, (const unsigned char *)"h3pool", 6);
    SSL_CTX_set_num_tickets(c, 1);
    SSL_CTX_set_alpn_select_cb(c, select_h3, NULL);
    SSL_CTX_set_app_data(c, ctx);
    SSL_CTX_set_tlsext_servername_callback(c, select_certificate);
    SSL_CTX_set_tlsext_servername_arg(c, ctx);
    if (config->groups != NULL && SSL_CTX_set1_groups_list(c, config->groups) != 1)
        return fail(error, "groups", config->groups);
    if (config->ciphers != NULL && SSL_CTX_set_ciphersuites(c, config->ciphers) != 1)
        return fail(error, "ciphers", config->ciphers);
    if (ctx->keylog_fd >= 0)
        SSL_CTX_set_keylog_callback(c, write_keylog);
    return load_pair(c, config->pair[i].cert, config->pair[i].key, error);
}

struct tls_ctx *tls_ctx_new(const struct tls_config *config, struct tls_error *error)
{
    ERR_clear_error();
    struct tls_ctx *ctx = OPENSSL_zalloc(sizeof *ctx);
    if (ctx == NULL) {
        snprintf(error->text, sizeof error->text, "no memory for a TLS context");
        return NULL;
    }
    atomic_init(&ctx->refs, 1);
    ctx->keylog_fd = -1;
    if (config->keylog != NULL) {
        ctx->keylog_fd = open(config->keylog, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (ctx->keylog_fd < 0) {
            snprintf(error->text, sizeof error->text, "--keylog: can't open '%.100s': %s", config->keylog,
                     strerror(errno));
            goto fail;
        }
    }
    for (size_t i = 0; i < config->pair_count; i++) {
        ctx->pair_count = i + 1;
        if (set_up(ctx, i, config, error) != 0)
            goto fail;
    }
    return ctx;
fail:
    tls_ctx_unref(ctx);
    return NULL;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
    if (ctx == NULL || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < ctx->pair_count; i++)
        SSL_CTX_free(ctx->of_pair[i]);
    if (ctx->keylog_fd >= 0)
        close(ctx->keylog_fd);
    OPENSSL_free(ctx);
}

int tls_session_init(struct tls_session *session, struct tls_ctx *ctx, ngtcp2_crypto_conn_ref *ref)
{
    *session = (struct tls_session){0};
    ngtcp2_crypto_ossl_ctx *octx = NULL;
    SSL *ssl = SSL_new(ctx->of_pair[0]);
    if (ssl == NULL || ngtcp2_crypto_ossl_ctx_new(&octx, ssl) != 0 ||
        ngtcp2_crypto_ossl_configure_server_session(ssl) != 0) {
        ngtcp2_crypto_ossl_ctx_del(octx);
        SSL_free(ssl);
        return -1;
    }
    SSL_set_app_data(ssl, ref);
    SSL_set_accept_state(ssl);
    *session = (struct tls_session){.ssl = ssl, .octx = octx, .ctx = tls_ctx_ref(ctx)};
    return 0;
}

void *tls_session_native(const struct tls_session *session)
{
    return session->octx;
}

void tls_session_fini(struct tls_session *session)
{
    if (session->ssl == NULL)
        return;
    SSL_set_app_data(session->ssl, NULL); /* SSL_free calls back into the helper */
    ngtcp2_crypto_ossl_ctx_del(session->octx);
    SSL_free(session->ssl);
    tls_ctx_unref(session->ctx);
    *session = (struct tls_session){0};
}

const char *tls_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

int tls_decode_base64(const char *text, unsigned char *out, size_t cap)
{
    size_t len = strlen(text);
    if (len / 4 * 3 > cap)
        return -1;
    int n = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);
    for (size_t i = len; n > 0 && i > 0 && text[i - 1] == '='; i--)
        n--; /* padding is decoded as zeros */
    return n;
}

void tls_random(void *bytes, size_t len)
{
    if (RAND_bytes(bytes, (int)len) != 1) {
        log_error("the system's random generator fails");
        abort();
    }
}

uint8_t *tls_secret_new(size_t len)
{
    uint8_t *secret = OPENSSL_malloc(len);
    if (secret != NULL)
        tls_random(secret, len);
    return secret;
}

void tls_secret_free(uint8_t *secret, size_t len)
{
    OPENSSL_clear_free(secret, len);
}
