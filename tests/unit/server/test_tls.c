/* SPDX-License-Identifier: MIT
 *
 * Each test runs in a process of its own, over the bridge, as in the server; so that nothing of OpenSSL may be live at
 * the end. Certificates are made here and now.
 */
#include "tls.h"

#include "mem_bridge.h"
#include "test.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files of one run, in a directory of its own. */
static char folder[] = "/tmp/test_tls.XXXXXX";
static const char *const names[] = {"one.pem", "one-key.pem", "two.pem", "two-key.pem", "text", "keylog"};
enum file { ONE, ONE_KEY, TWO, TWO_KEY, TEXT, KEYLOG, MISSING };

static const char *path(enum file file)
{
    static char text[MISSING + 1][64];
    snprintf(text[file], sizeof text[file], "%s/%s", folder, file == MISSING ? "missing" : names[file]);
    return text[file];
}

static void write_pair(enum file cert_file, enum file key_file, const char *host)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_NAME_new();
    CHECK(key != NULL && cert != NULL && name != NULL);
    CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)host, -1, -1, 0) == 1);
    CHECK(X509_set_version(cert, X509_VERSION_3) == 1);
    CHECK(X509_set_subject_name(cert, name) == 1 && X509_set_issuer_name(cert, name) == 1);
    CHECK(X509_gmtime_adj(X509_getm_notBefore(cert), -60) != NULL);
    CHECK(X509_gmtime_adj(X509_getm_notAfter(cert), 3600) != NULL);
    CHECK(X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *f = fopen(path(cert_file), "w");
    CHECK(f != NULL && PEM_write_X509(f, cert) == 1 && fclose(f) == 0);
    f = fopen(path(key_file), "w");
    CHECK(f != NULL && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(f) == 0);
    X509_NAME_free(name);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void run_bridged(void *scenario)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    CHECK(manager != NULL && bridge_init(manager) == NULL);
    write_pair(ONE, ONE_KEY, "one.example");
    write_pair(TWO, TWO_KEY, "two.example");
    FILE *f = fopen(path(TEXT), "w");
    CHECK(f != NULL && fputs("this is no PEM\n", f) >= 0 && fclose(f) == 0);
    ((void (*)(void))scenario)();
    bridge_fini();
    CHECK_U64(hp_pool_manager_live(manager), 0);
    bridge_free();
    hp_pool_manager_free(manager);
}

static void in_child(void (*scenario)(void))
{
    char output[2000];
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    int status = test_in_child(run_bridged, (void *)scenario, output, sizeof output);
    for (int i = 0; i < MISSING; i++)
        unlink(path((enum file)i));
    CHECK(rmdir(folder) == 0);
    if (status != 0)
        test_fail(__FILE__, __LINE__, "in a process of its own: %s", output);
}

static struct tls_config good_config(void)
{
    return (struct tls_config){.pair = {{path(ONE), path(ONE_KEY)}, {path(TWO), path(TWO_KEY)}}, .pair_count = 2};
}

/* --- errors ---------------------------------------------------------------------------------------------------------
 */

/* |config| is refused with a line that has all of these in it. */
static void refused(const struct tls_config *config, const char *option, const char *value, const char *reason)
{
    struct tls_error error = {""};
    CHECK(tls_ctx_new(config, &error) == NULL);
    if (strncmp(error.text, option, strlen(option)) != 0 || strstr(error.text, value) == NULL ||
        strstr(error.text, reason) == NULL || strchr(error.text, '\n') != NULL)
        test_fail(__FILE__, __LINE__, "'%s' lacks '%s', '%s' or '%s'", error.text, option, value, reason);
}

static void bad_files(void)
{
    struct tls_config c = good_config();
    c.pair[0].cert = path(MISSING);
    refused(&c, "--cert:", path(MISSING), "No such file");
    c.pair[0].cert = folder;
    refused(&c, "--cert:", folder, "");
    c.pair[0].cert = path(TEXT);
    refused(&c, "--cert:", path(TEXT), ": ");
    c.pair[0].cert = path(ONE_KEY);
    refused(&c, "--cert:", path(ONE_KEY), ": ");
    c = good_config();
    c.pair[0].key = path(MISSING);
    refused(&c, "--key:", path(MISSING), "No such file");
    c.pair[0].key = path(TEXT);
    refused(&c, "--key:", path(TEXT), ": ");
    c.pair[0].key = path(ONE);
    refused(&c, "--key:", path(ONE), ": ");
}

static void test_bad_files_are_named(void)
{
    in_child(bad_files);
}

static void other_pairs_key(void)
{
    struct tls_config c = good_config();
    c.pair[0].key = path(TWO_KEY);
    refused(&c, "--key:", path(TWO_KEY), "mismatch");
    c = good_config();
    c.pair[1].key = path(ONE_KEY); /* the first pair is good */
    refused(&c, "--key:", path(ONE_KEY), "mismatch");
}

static void test_the_key_of_another_certificate(void)
{
    in_child(other_pairs_key);
}

static void bad_lists(void)
{
    struct tls_config c = good_config();
    c.groups = "X25519:NOSUCHGROUP";
    refused(&c, "--groups:", "X25519:NOSUCHGROUP", "");
    c = good_config();
    c.ciphers = "TLS_NO_SUCH_SUITE";
    refused(&c, "--ciphers:", "TLS_NO_SUCH_SUITE", "");
}

static void test_bad_lists_are_named(void)
{
    in_child(bad_lists);
}

static void bad_keylog(void)
{
    struct tls_config c = good_config();
    char file[100];
    snprintf(file, sizeof file, "%s/log", path(MISSING));
    c.keylog = file;
    refused(&c, "--keylog:", file, "No such file");
}

static void test_a_bad_keylog_is_named(void)
{
    in_child(bad_keylog);
}

static void long_value(void)
{
    struct tls_config c = good_config();
    char file[600];
    memset(file, 'x', sizeof file - 1);
    file[sizeof file - 1] = '\0';
    c.pair[0].cert = file;
    refused(&c, "--cert:", "xxxxxxxxxx'", "too long");
}

static void test_a_long_value_is_cut(void)
{
    in_child(long_value);
}

/* --- contexts and sessions ------------------------------------------------------------------------------------------
 */

static void good_pair(void)
{
    struct tls_config c = good_config();
    struct tls_error error;
    struct tls_ctx *ctx = tls_ctx_new(&c, &error);
    CHECK(ctx != NULL);
    memset(&c, 0, sizeof c); /* the configuration need not live */
    CHECK(tls_ctx_ref(ctx) == ctx);
    tls_ctx_unref(ctx);
    struct tls_session s[3];
    ngtcp2_crypto_conn_ref ref[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        CHECK(tls_session_init(&s[i], ctx, &ref[i]) == 0);
        CHECK(s[i].ssl != NULL && tls_session_native(&s[i]) == s[i].octx && s[i].octx != NULL);
        CHECK(SSL_is_server(s[i].ssl) && SSL_is_quic(s[i].ssl) == 0); /* not OpenSSL's own QUIC */
        CHECK(SSL_get_app_data((SSL *)s[i].ssl) == &ref[i]);
    }
    tls_session_fini(&s[1]);
    CHECK(s[1].ssl == NULL);
    tls_session_fini(&s[1]); /* nothing left to do */
    tls_ctx_unref(ctx);      /* sessions keep what they need */
    tls_session_fini(&s[0]);
    tls_session_fini(&s[2]);
    tls_ctx_unref(NULL);
}

static void test_good_pairs_make_sessions(void)
{
    in_child(good_pair);
}

static void lists(void)
{
    struct tls_config c = good_config();
    struct tls_error error;
    struct tls_session s;
    ngtcp2_crypto_conn_ref ref = {0};
    c.groups = "X25519:P-256";
    c.ciphers = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
    struct tls_ctx *ctx = tls_ctx_new(&c, &error);
    CHECK(ctx != NULL);
    CHECK(tls_session_init(&s, ctx, &ref) == 0);
    STACK_OF(SSL_CIPHER) *suites = SSL_get1_supported_ciphers(s.ssl);
    CHECK(suites != NULL);
    CHECK_U64(sk_SSL_CIPHER_num(suites), 2);
    CHECK_STR(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(suites, 0)), "TLS_CHACHA20_POLY1305_SHA256");
    sk_SSL_CIPHER_free(suites);
    CHECK_U64(SSL_get_min_proto_version((SSL *)s.ssl), TLS1_3_VERSION);
    tls_session_fini(&s);
    tls_ctx_unref(ctx);
}

static void test_lists_are_used(void)
{
    in_child(lists);
}

static void keylog(void)
{
    struct tls_config c = good_config();
    struct tls_error error;
    struct stat st;
    c.keylog = path(KEYLOG);
    struct tls_ctx *ctx = tls_ctx_new(&c, &error);
    CHECK(ctx != NULL);
    CHECK(stat(path(KEYLOG), &st) == 0);
    CHECK_U64(st.st_mode & 07777, 0600); /* secrets are the owner's */
    int next = dup(STDERR_FILENO);
    close(next);
    tls_ctx_unref(ctx);
    int after = open("/dev/null", O_RDONLY);
    CHECK(after >= 0 && after < next); /* the file was closed */
    close(after);
}

static void test_keylog_is_private_and_closed(void)
{
    in_child(keylog);
}

static void no_pair(void)
{
    struct tls_config c = {.pair_count = 0};
    struct tls_error error;
    struct tls_session s;
    ngtcp2_crypto_conn_ref ref = {0};
    struct tls_ctx *ctx = tls_ctx_new(&c, &error);
    CHECK(ctx != NULL);
    CHECK(tls_session_init(&s, ctx, &ref) == -1);
    CHECK(s.ssl == NULL);
    tls_session_fini(&s);
    tls_ctx_unref(ctx);
}

static void test_no_pair_makes_no_session(void)
{
    in_child(no_pair);
}

/* --- random ---------------------------------------------------------------------------------------------------------
 */

static void random_and_version(void)
{
    unsigned char bytes[4096], or [8] = {0};
    tls_random(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        or [i % 8] |= bytes[i];
    for (int i = 0; i < 8; i++)
        CHECK_U64(or [i], 255);
    CHECK(strncmp(tls_version(), "OpenSSL ", 8) == 0);
}

static void test_random_and_version(void)
{
    in_child(random_and_version);
}

TEST_MAIN(TEST(test_bad_files_are_named), TEST(test_the_key_of_another_certificate), TEST(test_bad_lists_are_named),
          TEST(test_a_bad_keylog_is_named), TEST(test_a_long_value_is_cut), TEST(test_good_pairs_make_sessions),
          TEST(test_lists_are_used), TEST(test_keylog_is_private_and_closed), TEST(test_no_pair_makes_no_session),
          TEST(test_random_and_version))
