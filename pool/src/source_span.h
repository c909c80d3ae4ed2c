/* SPDX-License-Identifier: MIT
 *
 * The pooled build's part of internal.h. An address leads to all there is to know of a block, so its size is no help.
 */
#ifndef H3POOL_SOURCE_SPAN_H
#define H3POOL_SOURCE_SPAN_H

#include <h3pool/byte_pool.h>
#include <string.h>

#define HP_SOURCE_KNOWS false

static inline HP_MUST_CHECK void *hp_source_get_known(struct hp_byte_pool *pool, size_t bytes)
{
    return hp_byte_pool_get(pool, bytes);
}

static inline void hp_source_put_known(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    (void)bytes;
    hp_byte_pool_put(pool, block);
}

static inline void hp_source_put_wiped(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    if (pool->secret)
        explicit_bzero(block, bytes); /* not memset, which a compiler may leave out before a put */
    hp_byte_pool_put(pool, block);
}

bool hp_source_blocks_alone(const struct hp_byte_pool *pool);
void *hp_source_take(struct hp_byte_pool *pool, struct hp_bin *bin, size_t bytes) HP_MUST_CHECK;
void hp_source_give(struct hp_byte_pool *pool, void *block, size_t bytes);
void hp_source_verify(struct hp_byte_pool *pool, struct hp_bin *bin, void *block);

#endif
