/* SPDX-License-Identifier: MIT
 *
 * OpenSSL frees on one thread what another allocated (shared certificates, cached methods), and at exit frees what
 * ended workers allocated: so pools of ended threads are kept, adopted by the main thread, until the report is printed.
 */
#include "mem_bridge.h"

#include <assert.h>
#include <ev.h>
#include <ngtcp2/ngtcp2_crypto_ossl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

#define POOL_MIN 16u
#define POOL_MAX (64u << 10)
#define ADOPTED_MAX 1024u

static struct hp_pool_manager *manager;
static _Thread_local struct bridge_thread mine;
static struct bridge_thread adopted[ADOPTED_MAX];
static unsigned adopted_count;
static bool blocks_lead_to_pools;

/* --- OpenSSL --------------------------------------------------------------------------------------------------------
 */

/* Where the calling thread's next block comes from. */
static struct hp_byte_pool *tls_pool(void)
{
    if (HP_UNLIKELY(mine.tls == NULL) && bridge_thread_enter() != 0)
        return NULL;
    return mine.making_keys ? mine.keys : mine.tls;
}

static void *tls_malloc(size_t bytes, const char *file, int line)
{
    (void)file, (void)line;
    struct hp_byte_pool *pool = tls_pool();
    return pool != NULL && bytes != 0 ? hp_byte_pool_get(pool, bytes) : NULL;
}

static void *tls_realloc(void *block, size_t bytes, const char *file, int line)
{
    (void)file, (void)line;
    struct hp_byte_pool *pool = tls_pool();
    return pool != NULL ? hp_byte_pool_resize(pool, block, bytes) : NULL;
}

static void tls_free(void *block, const char *file, int line)
{
    (void)file, (void)line;
    if (block != NULL)
        hp_byte_pool_put_any(tls_pool(), block);
}

void bridge_making_keys(bool making)
{
    mine.making_keys = making;
}

/* The linker leads the helper's calls of two functions of ngtcp2's here: they make the contexts of a connection's
 * packet keys. Those of the last level stay until the connection ends, while all else of a handshake goes. Among its
 * thousand blocks each of them would keep a run, so they have a pool of their own. */
#define INSTALL_KEY(direction)                                                                                         \
    typedef int install_##direction##_key(ngtcp2_conn *quic, uint8_t *key, uint8_t *iv, uint8_t *hp,                   \
                                          ngtcp2_encryption_level level, const uint8_t *secret, size_t len);           \
    install_##direction##_key __wrap_ngtcp2_crypto_derive_and_install_##direction##_key;                               \
    install_##direction##_key __real_ngtcp2_crypto_derive_and_install_##direction##_key __attribute__((weak));         \
    int __wrap_ngtcp2_crypto_derive_and_install_##direction##_key(ngtcp2_conn *quic, uint8_t *key, uint8_t *iv,        \
                                                                  uint8_t *hp, ngtcp2_encryption_level level,          \
                                                                  const uint8_t *secret, size_t len)                   \
    {                                                                                                                  \
        bridge_making_keys(level == NGTCP2_ENCRYPTION_LEVEL_1RTT);                                                     \
        int rv = __real_ngtcp2_crypto_derive_and_install_##direction##_key(quic, key, iv, hp, level, secret, len);     \
        bridge_making_keys(false);                                                                                     \
        return rv;                                                                                                     \
    }
INSTALL_KEY(rx)
INSTALL_KEY(tx)

/* ngtcp2_crypto_ossl_init keeps a reference to each algorithm for the process, and before 1.24 has no way to give it
 * back. A fetch returns the same object once more, so two frees end both references. The list is that of 1.22; where
 * the library is another one, its 30 blocks stay and are reported. */
static void release_prefetched(void)
{
#if NGTCP2_VERSION_NUM >= 0x011800
    ngtcp2_crypto_ossl_free();
#else
    if (ngtcp2_version(0)->version_num >> 8 != 0x0116)
        return;
    static const char *const ciphers[] = {"AES-128-GCM", "AES-256-GCM",       "AES-128-CCM", "AES-128-ECB",
                                          "AES-256-ECB", "ChaCha20-Poly1305", "ChaCha20"};
    static const char *const digests[] = {"sha256", "sha384"};
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, ciphers[i], NULL);
        EVP_CIPHER_free(cipher);
        EVP_CIPHER_free(cipher);
    }
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        EVP_MD *digest = EVP_MD_fetch(NULL, digests[i], NULL);
        EVP_MD_free(digest);
        EVP_MD_free(digest);
    }
    EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "hkdf", NULL);
    EVP_KDF_free(hkdf);
    EVP_KDF_free(hkdf);
#endif
}

/* --- ngtcp2's OpenSSL helper ----------------------------------------------------------------------------------------
 */

void *bridge_helper_malloc(size_t bytes)
{
    return tls_malloc(bytes, NULL, 0);
}

void bridge_helper_free(void *block)
{
    tls_free(block, NULL, 0);
}

/* --- libev ----------------------------------------------------------------------------------------------------------
 */

static void *loop_realloc(void *block, long bytes)
{
    if (bytes != 0)
        return hp_byte_pool_resize(mine.loop, block, (size_t)bytes);
    hp_byte_pool_put_any(mine.loop, block); /* which may be NULL: libev then wants NULL */
    return NULL;
}

/* --- a connection's heap --------------------------------------------------------------------------------------------
 */

static void *heap_malloc(size_t bytes, void *heap)
{
    return hp_heap_alloc(heap, bytes);
}

static void heap_free(void *block, void *heap)
{
    hp_heap_free(heap, block);
}

static void *heap_calloc(size_t count, size_t bytes, void *heap)
{
    return hp_heap_calloc(heap, count, bytes);
}

static void *heap_realloc(void *block, size_t bytes, void *heap)
{
    return hp_heap_resize(heap, block, bytes);
}

ngtcp2_mem bridge_ngtcp2_mem(struct hp_heap *heap)
{
    return (ngtcp2_mem){heap, heap_malloc, heap_free, heap_calloc, heap_realloc};
}

nghttp3_mem bridge_nghttp3_mem(struct hp_heap *heap)
{
    return (nghttp3_mem){heap, heap_malloc, heap_free, heap_calloc, heap_realloc};
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

int bridge_thread_enter(void)
{
    static const struct hp_pool_options secret = {.min = POOL_MIN, .max = POOL_MAX, .secret = true};
    mine.tls = hp_byte_pool_new_with(manager, "tls", &secret);
    /* Where blocks do not lead to their pool, as in the pass-through build, there can be one only: see put_any. */
    mine.keys = blocks_lead_to_pools ? hp_byte_pool_new_with(manager, "keys", &secret) : mine.tls;
    mine.loop = hp_byte_pool_new(manager, "loop", POOL_MIN, POOL_MAX, 0);
    return mine.tls != NULL && mine.keys != NULL && mine.loop != NULL ? 0 : -1;
}

struct bridge_thread bridge_thread_leave(void)
{
    OPENSSL_thread_stop();
    struct bridge_thread left = mine;
    struct hp_byte_pool *const pools[] = {left.tls, left.keys, left.loop};
    for (unsigned i = 0; i < sizeof pools / sizeof pools[0]; i++)
        if (pools[i] != NULL) /* NULL: the thread could not start */
            hp_byte_pool_abandon(pools[i]);
    mine = (struct bridge_thread){0};
    return left;
}

void bridge_adopt(struct bridge_thread thread)
{
    assert(adopted_count < ADOPTED_MAX);
    struct hp_byte_pool *const pools[] = {thread.tls, thread.keys, thread.loop};
    for (unsigned i = 0; i < sizeof pools / sizeof pools[0]; i++)
        if (pools[i] != NULL)
            hp_byte_pool_adopt(pools[i]);
    adopted[adopted_count++] = thread;
}

const char *bridge_init(struct hp_pool_manager *pools)
{
    manager = pools;
    blocks_lead_to_pools = strcmp(hp_build_name(), "pooled") == 0;
    if (bridge_thread_enter() != 0)
        return "no memory for the pools of TLS and the event loop";
    if (CRYPTO_set_mem_functions(tls_malloc, tls_realloc, tls_free) != 1)
        return "OpenSSL has allocated before its memory functions could be set";
    ev_set_allocator(loop_realloc);
    if (ngtcp2_crypto_ossl_init() != 0)
        return "ngtcp2_crypto_ossl_init failed";
    return NULL;
}

void bridge_fini(void)
{
    release_prefetched();
    OPENSSL_cleanup();
    for (unsigned i = 0; i < adopted_count; i++)
        if (adopted[i].tls != NULL) {
            hp_byte_pool_collect(adopted[i].tls);
            hp_byte_pool_collect(adopted[i].keys);
        }
    hp_byte_pool_collect(mine.tls);
    hp_byte_pool_collect(mine.keys);
}

void bridge_free(void)
{
    for (unsigned i = 0; i < adopted_count; i++) {
        if (adopted[i].keys != adopted[i].tls)
            hp_byte_pool_free(adopted[i].keys);
        hp_byte_pool_free(adopted[i].tls);
        hp_byte_pool_free(adopted[i].loop);
    }
    adopted_count = 0;
    if (mine.keys != mine.tls)
        hp_byte_pool_free(mine.keys);
    hp_byte_pool_free(mine.tls);
    hp_byte_pool_free(mine.loop);
    mine = (struct bridge_thread){0};
}
