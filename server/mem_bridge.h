/* SPDX-License-Identifier: MIT
 *
 * The bridge: every allocation of ngtcp2, nghttp3, OpenSSL and libev comes from a pool of libh3pool, in both builds.
 *
 *   ngtcp2, nghttp3  -> the connection's own heap        (their hooks carry a context)
 *   OpenSSL          -> the thread's pool "tls"          (its hooks carry none; a free may come from another thread)
 *     packet keys    -> the thread's pool "keys"         (they outlive the handshake)
 *   ngtcp2's helper for OpenSSL -> as OpenSSL            (it has no hooks: cmake/Deps.cmake renames what it calls)
 *   libev            -> the thread's pool "loop"
 *
 * "tls" and "keys" are secret pools (byte_pool.h): private keys, ticket keys, session and packet keys lie in them.
 * OpenSSL clears its own before it frees them.
 */
#ifndef SERVER_MEM_BRIDGE_H
#define SERVER_MEM_BRIDGE_H

#include <h3pool/heap.h>
#include <h3pool/manager.h>
#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>

/* Installs the hooks of OpenSSL and libev and opens the calling thread's pools. Must come before the first call of
 * either library. Returns NULL, or what failed. */
const char *bridge_init(struct hp_pool_manager *manager);
/* Ends OpenSSL for the process and takes in what other threads have put; after it no library may be called. */
void bridge_fini(void);
/* Returns the process's memory pools of the calling thread to the system. Last of all. */
void bridge_free(void);

/* Pools of one thread. */
struct bridge_thread {
    struct hp_byte_pool *tls, *keys, *loop;
    bool making_keys; /* OpenSSL's next blocks come from |keys| */
};
/* Opens pools for the calling thread; returns 0, or -1 without memory. */
int bridge_thread_enter(void) __attribute__((warn_unused_result));
/* Ends the thread's OpenSSL state and hands its pools over to whoever calls bridge_adopt. */
struct bridge_thread bridge_thread_leave(void);
/* The calling thread keeps the pools of a thread that has ended, until bridge_free. */
void bridge_adopt(struct bridge_thread thread);

/* While true, OpenSSL's blocks for the calling thread come from its pool "keys". */
void bridge_making_keys(bool making);

/* What the helper calls instead of malloc and free. */
void *bridge_helper_malloc(size_t bytes);
void bridge_helper_free(void *block);

/* Allocators over |heap|, which must outlive their users; the structs are used by reference. */
ngtcp2_mem bridge_ngtcp2_mem(struct hp_heap *heap);
nghttp3_mem bridge_nghttp3_mem(struct hp_heap *heap);

#endif
