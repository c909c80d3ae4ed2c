/* SPDX-License-Identifier: MIT
 *
 * Spans and runs: where the pooled build's blocks come from and go to, behind the fronts. All by the owner alone.
 */
#ifndef H3POOL_SPAN_H
#define H3POOL_SPAN_H

#include "internal.h"

/* Bytes before the block in a mapping of its own: the span's header, and a page for the checks. */
#define HP_HUGE_HEADER_BYTES 8192u

/* A block from the bin's first run with room, or NULL. |*fresh|: it was cut just now, and has never been put; may be
 * NULL. */
void *hp_run_take(struct hp_byte_pool *pool, struct hp_bin *bin, bool *fresh) HP_MUST_CHECK;
/* A block back to its run. Dies of a block that is not live as far as its run can tell. */
void hp_run_give(struct hp_byte_pool *pool, void *block);

/* A mapping of |bytes| with a span's header before |offset|; counts nothing but held bytes. NULL when refused. */
struct hp_span *hp_span_map_alone(struct hp_byte_pool *pool, size_t bytes) HP_MUST_CHECK;
void hp_span_unmap(struct hp_span *span);
void hp_span_unmap_alone(struct hp_span *span);

/* A block larger than any class, in a mapping of its own. */
void *hp_huge_get(struct hp_byte_pool *pool, size_t bytes) HP_MUST_CHECK;
void hp_huge_put(struct hp_span *span, const void *block);

/* Makes |keep_bytes| of slices dirty, so that gets find pages; false when refused. */
bool hp_spans_prefault(struct hp_byte_pool *pool) HP_MUST_CHECK;
/* Releases the empty runs that bins keep, of all bins or of |only|. */
void hp_runs_release_empty(struct hp_byte_pool *pool, struct hp_bin *bin);
/* Discards up to |bytes_max| of dirty slices; returns how many bytes it were. */
size_t hp_spans_discard(struct hp_byte_pool *pool, size_t bytes_max);

/* The link in a free block: encoded with the pool's key and the block's address, so that a write after put, or bytes
 * that someone has planted, do not become a pointer. Its bytes are in reverse, so that even a write to the first of
 * them leads out of the run. */
static inline void hp_link_set(const struct hp_byte_pool *pool, void *block, const void *next)
{
    uint64_t link = __builtin_bswap64((uintptr_t)next ^ (uintptr_t)block ^ pool->key);
    __builtin_memcpy(block, &link, sizeof link);
}
static inline void *hp_link_get(const struct hp_byte_pool *pool, const void *block)
{
    uint64_t link;
    __builtin_memcpy(&link, block, sizeof link);
    return (void *)(uintptr_t)(__builtin_bswap64(link) ^ (uintptr_t)block ^ pool->key);
}

#endif
