/* SPDX-License-Identifier: MIT
 *
 * Ref-counted buffer: bytes from a byte pool that several holders share, such as a body that is sent on many streams.
 * The count is not atomic: all holders are of the thread that owns the pool.
 */
#ifndef H3POOL_BUFFER_H
#define H3POOL_BUFFER_H

#include <h3pool/byte_pool.h>

/* A buffer. Holders read and write |data| and |len|, and leave the rest alone. */
struct hp_buffer {
    struct hp_byte_pool *pool;  /* that it came from */
    uint32_t refs;              /* holders */
    uint32_t magic;             /* of a live buffer */
    size_t len;                 /* bytes filled */
    size_t cap;                 /* room, in bytes */
    alignas(16) uint8_t data[]; /* |cap| bytes, not zeroed */
};

/* Makes a buffer with room for |cap| bytes (0 is legal) and len 0. The caller owns the one reference, to be given up
 * with hp_buffer_unref before |pool| ends. NULL when memory is refused. Costs one get. */
HP_API struct hp_buffer *hp_buffer_new(struct hp_byte_pool *pool, size_t cap) HP_MUST_CHECK;
/* Takes one more reference, which is to be given up like the first; returns |buffer|. A buffer that is not live ends
 * the process. */
HP_API struct hp_buffer *hp_buffer_ref(struct hp_buffer *buffer);
/* Gives up one reference; the last one puts the block back into its pool. NULL is legal; a buffer that is not live ends
 * the process. */
HP_API void hp_buffer_unref(struct hp_buffer *buffer);

#endif
