/* SPDX-License-Identifier: MIT */
#include "client_tls.h"

#include <arpa/inet.h>
#include <ngtcp2/ngtcp2_crypto_ossl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

struct client_tls {
    SSL_CTX *ctx;
    bool insecure;
};

static int configure(struct client_tls *tls, const struct client_tls_config *config, struct tls_error *error)
{
    tls->ctx = SSL_CTX_new(TLS_client_method());
    if (tls->ctx == NULL) {
        snprintf(error->text, sizeof error->text, "no memory for a TLS context");
        return -1;
    }
    SSL_CTX_set_min_proto_version(tls->ctx, TLS1_3_VERSION);
    SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_verify_paths(tls->ctx);
    if (config->ca_file != NULL && SSL_CTX_load_verify_locations(tls->ctx, config->ca_file, NULL) != 1) {
        snprintf(error->text, sizeof error->text, "--cacert: can't use '%.150s'", config->ca_file);
        return -1;
    }
    if ((config->groups != NULL && SSL_CTX_set1_groups_list(tls->ctx, config->groups) != 1) ||
        (config->ciphers != NULL && SSL_CTX_set_ciphersuites(tls->ctx, config->ciphers) != 1)) {
        snprintf(error->text, sizeof error->text, "--groups or --ciphers: OpenSSL does not know one of the list");
        return -1;
    }
    return 0;
}

struct client_tls *client_tls_new(const struct client_tls_config *config, struct tls_error *error)
{
    struct client_tls *tls = OPENSSL_zalloc(sizeof *tls);
    if (tls == NULL) {
        snprintf(error->text, sizeof error->text, "no memory for a TLS context");
        return NULL;
    }
    tls->insecure = config->insecure;
    if (configure(tls, config, error) == 0)
        return tls;
    ERR_clear_error();
    client_tls_free(tls);
    return NULL;
}

void client_tls_free(struct client_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->ctx);
    OPENSSL_free(tls);
}

/* Server name, and what the certificate must be for. An address has no SNI, RFC 6066 section 3. */
static int expect_host(SSL *ssl, const char *host, bool insecure)
{
    unsigned char literal[16];
    bool address = inet_pton(AF_INET, host, literal) == 1 || inet_pton(AF_INET6, host, literal) == 1;
    if (!address && SSL_set_tlsext_host_name(ssl, host) != 1)
        return -1;
    if (insecure)
        return 0;
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    int rv = address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) : SSL_set1_host(ssl, host);
    return rv == 1 ? 0 : -1;
}

int client_tls_session_init(struct tls_session *session, struct client_tls *tls, const char *host,
                            ngtcp2_crypto_conn_ref *ref)
{
    static const unsigned char alpn[] = {2, 'h', '3'};
    ngtcp2_crypto_ossl_ctx *octx = NULL;
    SSL *ssl = SSL_new(tls->ctx);
    *session = (struct tls_session){0};
    if (ssl == NULL || ngtcp2_crypto_ossl_ctx_new(&octx, ssl) != 0 ||
        ngtcp2_crypto_ossl_configure_client_session(ssl) != 0 || SSL_set_alpn_protos(ssl, alpn, sizeof alpn) != 0 ||
        expect_host(ssl, host, tls->insecure) != 0) {
        ngtcp2_crypto_ossl_ctx_del(octx);
        SSL_free(ssl);
        return -1;
    }
    SSL_set_app_data(ssl, ref);
    SSL_set_connect_state(ssl);
    *session = (struct tls_session){.ssl = ssl, .octx = octx};
    return 0;
}
