/* SPDX-License-Identifier: MIT
 *
 * Arena: memory of one short life (a request), taken by advancing a pointer and given back all at once.
 *
 * Chunks come from a byte pool: the first at the first allocation, further ones each twice as large, up to the limit.
 * An allocation that the limit or the pool refuses returns NULL and sets the overflow flag, which stays until reset;
 * so a caller may make a series of allocations and check once. An arena is used by its pool's owner alone.
 */
#ifndef H3POOL_ARENA_H
#define H3POOL_ARENA_H

#include <h3pool/byte_pool.h>

/* internal: the head of a chunk */
struct hp_arena_chunk {
    struct hp_arena_chunk *older;
    size_t bytes; /* with this header */
};

/* An arena, to be embedded in what it serves. Internal fields, but for |overflow|, which may be read. */
struct hp_arena {
    struct hp_byte_pool *pool;
    struct hp_arena_chunk *chunk;
    char *at, *end;
    uint32_t chunk_bytes; /* of the first chunk */
    uint32_t limit_bytes; /* of all chunks */
    uint32_t held_bytes;
    bool overflow; /* an allocation has been refused since init or reset */
};

/* A place in an arena, from hp_arena_mark. Internal fields. */
struct hp_arena_mark {
    struct hp_arena_chunk *chunk;
    char *at;
};

/* Makes an arena over |pool|, which must outlive it. |chunk_bytes|: bytes of the first chunk, at least 64;
 * |limit_bytes|: most bytes of all chunks together, at least |chunk_bytes|; anything else ends the process. Takes no
 * memory yet. An arena needs no end but hp_arena_reset. */
HP_API void hp_arena_init(struct hp_arena *arena, struct hp_byte_pool *pool, uint32_t chunk_bytes,
                          uint32_t limit_bytes);
/* Gives every chunk back to the pool; the arena is as after init, and everything that was allocated from it is gone.
 * Costs a put for each chunk, however many allocations there were. */
HP_API void hp_arena_reset(struct hp_arena *arena);

/* internal: out of line */
HP_API void *hp_arena_alloc_slow(struct hp_arena *arena, size_t bytes, size_t align) HP_MUST_CHECK;

/* Allocates |bytes| bytes (0 is legal) aligned to |align|, a power of two up to 16; they are not zeroed, and valid
 * until reset, or until a rewind to a mark from before. NULL, and the overflow flag, when the limit or the pool
 * refuses. Costs an addition and two compares, and a get from the pool for each new chunk. */
static inline HP_MUST_CHECK void *hp_arena_alloc(struct hp_arena *arena, size_t bytes, size_t align)
{
    char *p = (char *)(((uintptr_t)arena->at + align - 1) & ~(uintptr_t)(align - 1));
    if (HP_UNLIKELY(arena->at == NULL || p > arena->end || bytes > (size_t)(arena->end - p)))
        return hp_arena_alloc_slow(arena, bytes, align);
    arena->at = p + bytes;
    return p;
}

/* Allocates a copy of the |len| bytes at |bytes| (not NULL) with a 0 byte behind it, valid as from hp_arena_alloc; NULL
 * and the overflow flag when refused. */
HP_API char *hp_arena_copy(struct hp_arena *arena, const void *bytes, size_t len) HP_MUST_CHECK;

/* Remembers the place that the arena has come to, for hp_arena_rewind. Marks nest. */
HP_API struct hp_arena_mark hp_arena_mark(const struct hp_arena *arena);
/* Gives back what was allocated since |mark| was taken; later marks are void, |mark| itself may be used again. A reset
 * voids all marks. The overflow flag stays as it is. */
HP_API void hp_arena_rewind(struct hp_arena *arena, struct hp_arena_mark mark);

#endif
