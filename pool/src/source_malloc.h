/* SPDX-License-Identifier: MIT
 *
 * The pass-through build's part of internal.h: what it inlines, so that a block costs little more than malloc and free,
 * and a comparison of the builds is not one with these lines.
 *
 * A block counts for the bytes that it was asked with where the put knows them; all others (of byte pools) count for
 * malloc_usable_size, since a put by address has nothing else to go by. Asking for that takes longer than all the
 * counting.
 */
#ifndef H3POOL_SOURCE_MALLOC_H
#define H3POOL_SOURCE_MALLOC_H

#include <h3pool/byte_pool.h>
#include <stdlib.h>
#include <string.h>

#define HP_SOURCE_KNOWS true

/* What hp_source_get_known does where more is to be taken out of the limits, or they refuse. Owner only: another thread
 * ends the process. */
void *hp_malloc_get_more(struct hp_byte_pool *pool, size_t bytes) HP_MUST_CHECK;
/* Takes a get that malloc has refused out of the counts again. Returns NULL. */
void *hp_malloc_failed(struct hp_byte_pool *pool, size_t bytes);

static inline HP_MUST_CHECK void *hp_source_get_known(struct hp_byte_pool *pool, size_t bytes)
{
    uint64_t live = HP_READ(pool->other_bytes) + bytes;
    if (HP_UNLIKELY((int64_t)live > (int64_t)HP_READ(pool->held_bytes)))
        return hp_malloc_get_more(pool, bytes);
    HP_ADD(pool->other_gets, 1); /* before the call, so that less is kept across it */
    HP_SET(pool->other_bytes, live);
    void *block = malloc(bytes);
    return HP_LIKELY(block != NULL) ? block : hp_malloc_failed(pool, bytes);
}

static inline void hp_malloc_count_put(struct hp_byte_pool *pool, size_t bytes)
{
    HP_ADD(pool->other_puts, 1);
    HP_SUB(pool->other_bytes, bytes);
}

static inline void hp_source_put_known(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    hp_malloc_count_put(pool, bytes);
    free(block);
}

static inline void hp_source_put_wiped(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    hp_malloc_count_put(pool, bytes); /* before the call, so that less is kept across it */
    if (pool->secret)
        explicit_bzero(block, bytes); /* not memset, which a compiler may leave out before free */
    free(block);
}

static inline bool hp_source_blocks_alone(const struct hp_byte_pool *pool)
{
    (void)pool;
    return true;
}

static inline HP_MUST_CHECK void *hp_source_take(struct hp_byte_pool *pool, struct hp_bin *bin, size_t bytes)
{
    (void)bin;
    return hp_source_get_known(pool, bytes);
}

static inline void hp_source_give(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    hp_source_put_known(pool, block, bytes);
}

static inline void hp_source_verify(struct hp_byte_pool *pool, struct hp_bin *bin, void *block)
{
    (void)pool, (void)bin, (void)block; /* malloc's blocks do not lead to their pool */
}

#endif
