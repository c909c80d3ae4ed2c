/* SPDX-License-Identifier: MIT
 *
 * Arena: memory of one short life (a request), taken by advancing a pointer and given back all at once.
 *
 * Chunks come from a byte pool: the first at the first allocation, further ones each twice as large, up to the limit.
 * An allocation that the limit or the pool refuses returns NULL and sets the overflow flag, which stays until reset;
 * so a caller may make a series of allocations and check once.
 */
#ifndef H3POOL_ARENA_H
#define H3POOL_ARENA_H

#include <h3pool/byte_pool.h>

struct hp_arena_chunk {
    struct hp_arena_chunk *older;
    size_t bytes; /* with this header */
};

struct hp_arena {
    struct hp_byte_pool *pool;
    struct hp_arena_chunk *chunk;
    char *at, *end;
    uint32_t chunk_bytes; /* of the first chunk */
    uint32_t limit_bytes; /* of all chunks */
    uint32_t held_bytes;
    bool overflow;
};

struct hp_arena_mark {
    struct hp_arena_chunk *chunk;
    char *at;
};

/* |chunk_bytes| of the first chunk, at least 64; |limit_bytes| over all chunks, at least |chunk_bytes|. Takes nothing
 * yet. */
HP_API void hp_arena_init(struct hp_arena *arena, struct hp_byte_pool *pool, uint32_t chunk_bytes,
                          uint32_t limit_bytes);
/* Gives every chunk back; the arena is as after init. */
HP_API void hp_arena_reset(struct hp_arena *arena);

/* internal: out of line */
HP_API void *hp_arena_alloc_slow(struct hp_arena *arena, size_t bytes, size_t align) HP_MUST_CHECK;

/* |bytes| bytes aligned to |align| (a power of two up to 16), valid until reset, or until a rewind to before this.
 * NULL, and the overflow flag, when refused. */
static inline HP_MUST_CHECK void *hp_arena_alloc(struct hp_arena *arena, size_t bytes, size_t align)
{
    char *p = (char *)(((uintptr_t)arena->at + align - 1) & ~(uintptr_t)(align - 1));
    if (HP_UNLIKELY(arena->at == NULL || p > arena->end || bytes > (size_t)(arena->end - p)))
        return hp_arena_alloc_slow(arena, bytes, align);
    arena->at = p + bytes;
    return p;
}

/* A copy of |len| bytes with a 0 byte behind it. */
HP_API char *hp_arena_copy(struct hp_arena *arena, const void *bytes, size_t len) HP_MUST_CHECK;

/* A place to return to. What is allocated after it is given back by the rewind; marks nest. */
HP_API struct hp_arena_mark hp_arena_mark(const struct hp_arena *arena);
HP_API void hp_arena_rewind(struct hp_arena *arena, struct hp_arena_mark mark);

#endif
