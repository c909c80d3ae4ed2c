/* SPDX-License-Identifier: MIT
 *
 * Ref-counted buffer: bytes from a byte pool that several holders share, such as a body that is sent on many streams.
 * The count is not atomic: holders are of the pool's thread.
 */
#ifndef H3POOL_BUFFER_H
#define H3POOL_BUFFER_H

#include <h3pool/byte_pool.h>

struct hp_buffer {
    struct hp_byte_pool *pool;
    uint32_t refs;
    uint32_t magic;
    size_t len; /* bytes filled */
    size_t cap; /* room */
    alignas(16) uint8_t data[];
};

/* A buffer with room for at least |cap| bytes and one reference, len 0; NULL when memory is refused. */
HP_API struct hp_buffer *hp_buffer_new(struct hp_byte_pool *pool, size_t cap) HP_MUST_CHECK;
/* One more reference; returns |buffer|. */
HP_API struct hp_buffer *hp_buffer_ref(struct hp_buffer *buffer);
/* One reference less; the last one gives the block back. NULL is legal. */
HP_API void hp_buffer_unref(struct hp_buffer *buffer);

#endif
