/* SPDX-License-Identifier: MIT
 *
 * Heap: a general allocator whose blocks die together at the latest, such as all that libraries allocate for one
 * connection. Blocks are freed without their size; what the heap holds is the connection's account; and a heap whose
 * user can't be trusted any more (an allocation failed inside a library) is frozen and dropped whole.
 *
 *   chunk (2 KiB from the byte pool)
 *   |next|hdr payload........|hdr payload..|hdr (free) link ....|          untouched          |
 *         \ 8 bytes: size of the block, magic                    at ^                     end ^
 *   large block (own block of the byte pool):  |next|prev|size|hdr payload ........................|
 */
#ifndef H3POOL_HEAP_H
#define H3POOL_HEAP_H

#include <h3pool/byte_pool.h>

/* --- internal, do not touch: visible for embedding ------------------------------------------------------------------
 */

#define HP_HEAP_CHUNK_BYTES 2048u
#define HP_HEAP_BINS 24u /* classes up to 512 bytes */

struct hp_heap_large {
    struct hp_heap_large *next;
    uint64_t prev; /* an address, and beside it what heap_alone.h says */
};

struct hp_heap {
    struct hp_byte_pool *pool;
    void *chunks;
    char *at, *end;
    struct hp_heap_large large; /* a ring of all large blocks through this head, which stays where it is */
    uint64_t live_blocks;
    uint64_t small_bytes; /* of live blocks that are cut from chunks */
    uint64_t chunk_bytes;
    uint64_t large_bytes; /* of blocks that are blocks of the pool */
    bool failed;
    bool alone; /* each block is one of the pool: pass-through, checks, sanitizers */
    void *bin[HP_HEAP_BINS];
};

/* --- the interface --------------------------------------------------------------------------------------------------
 */

/* Makes a heap over |pool|, which must outlive it. Takes no memory yet. The heap is used by the pool's owner alone,
 * stays where it is, and ends with hp_heap_drop. */
HP_API void hp_heap_init(struct hp_heap *heap, struct hp_byte_pool *pool);
/* Gives all memory back to the pool, live blocks included: who holds one must never use it again. The heap is as after
 * init, and no longer frozen. Costs a put for each chunk and each large block; over a secret pool (byte_pool.h) all
 * that was used is cleared before. */
HP_API void hp_heap_drop(struct hp_heap *heap);

/* Allocates |bytes| bytes (0 is legal) as malloc(3) does, aligned to 16 and not zeroed. NULL when the pool refuses.
 *
 * From that moment on the heap is frozen: every allocation fails, and a free does nothing, so that every block keeps
 * its contents until hp_heap_drop. A user that was caught in the middle of a change (and may hold pointers to blocks
 * that it has freed, or free one twice) can therefore still be torn down.
 *
 * Costs a pop from a list or an addition up to 512 bytes, with 8 bytes before each block; a get from the pool beyond,
 * and for each 2 KiB of small blocks. */
HP_API void *hp_heap_alloc(struct hp_heap *heap, size_t bytes) HP_MUST_CHECK;
/* Allocates |count| * |bytes| bytes as hp_heap_alloc does, zeroed. A product that overflows fails like a refusal. */
HP_API void *hp_heap_calloc(struct hp_heap *heap, size_t count, size_t bytes) HP_MUST_CHECK;
/* Resizes a block of this heap as realloc(3) does: |block| NULL is an allocation. On failure NULL, the old block stays
 * valid, and the heap is frozen. 0 bytes is a block too, and never frees. */
HP_API void *hp_heap_resize(struct hp_heap *heap, void *block, size_t bytes) HP_MUST_CHECK;
/* Frees a block of this heap; NULL is legal. A block that was freed already, or is from elsewhere, ends the process;
 * but a frozen heap does nothing. Costs a push to a list, or a put of a large block; small ones stay with the heap. */
HP_API void hp_heap_free(struct hp_heap *heap, void *block);

/* Counts blocks not yet freed; 0 when every user has cleaned up, unless the heap is frozen. */
static inline uint64_t hp_heap_live(const struct hp_heap *heap)
{
    return heap->live_blocks;
}
/* Counts bytes that the heap has taken from its pool: the connection's account. */
static inline uint64_t hp_heap_held(const struct hp_heap *heap)
{
    return heap->chunk_bytes + heap->large_bytes;
}
/* Tells whether the heap is frozen: true when an allocation has failed since init. */
static inline bool hp_heap_failed(const struct hp_heap *heap)
{
    return heap->failed;
}

#endif
