/* SPDX-License-Identifier: MIT
 *
 * Heap. Blocks up to 512 bytes are cut from 2 KiB chunks and, once freed, wait in a list per class; larger ones are
 * blocks of the byte pool. There is no coalescing and a chunk is given back only when the heap is dropped: the
 * libraries that use it never give much back before the connection ends, and a free costs a push.
 *
 * Each block has 8 bytes before it: its size with them, and a magic number that says used or free, so that a double
 * free and a foreign pointer are found when they happen.
 *
 * Over a secret pool memory is cleared when it leaves the heap, not with each free: that costs a few instructions a
 * chunk where clearing small blocks one by one would cost a call each, and until then the memory is the connection's
 * own.
 *
 * What follows is for such heaps; those whose blocks stand alone, and what both kinds share, are in heap_alone.h.
 */
#include <h3pool/heap.h>

#include "heap_alone.h"
#include "internal.h"

#include <string.h>

struct header {
    uint32_t bytes; /* of the block with this header; 0: large */
    uint32_t magic;
};

/* A large block's payload has this before it. */
struct large {
    struct hp_heap_large link;
    size_t bytes; /* payload */
    struct header header;
};

#define HEADER ((uint32_t)sizeof(struct header))
#define USED 0x68705573u /* "hpUs" */
#define FREE 0x68704672u /* "hpFr" */
#define SMALL_MAX 512u   /* with the header: the last class of HP_HEAP_BINS */
#define CHUNK_HEADER 16u

static_assert(sizeof(struct header) == 8, "a payload 8 bytes behind an odd multiple of 8 is aligned to 16");
static_assert(sizeof(struct large) % 16 == 0, "a large payload is aligned to 16");

void hp_heap_init(struct hp_heap *heap, struct hp_byte_pool *pool)
{
    *heap = (struct hp_heap){
        .pool = pool,
        .large = {&heap->large, (uintptr_t)&heap->large},
        .alone = hp_source_blocks_alone(pool),
    };
}

void hp_heap_drop(struct hp_heap *heap)
{
    const char *used_end = heap->at; /* in the first chunk; the others are full */
    for (char *chunk = heap->chunks, *next; chunk != NULL; chunk = next) {
        memcpy(&next, chunk, sizeof next);
        hp_source_put_wiped(heap->pool, chunk, used_end != NULL ? (size_t)(used_end - chunk) : HP_HEAP_CHUNK_BYTES);
        used_end = NULL;
    }
    for (struct hp_heap_large *large = heap->large.next, *next; large != &heap->large; large = next) {
        next = large->next;
        hp_heap_put(heap, large, hp_heap_size(large));
    }
    hp_heap_init(heap, heap->pool);
}

static struct header *header_of(const struct hp_heap *heap, void *block)
{
    struct header *h = (struct header *)((char *)block - HEADER);
    if (HP_UNLIKELY(h->magic != USED))
        hp_die("heap of pool '%s': %p is %s", heap->pool->name, block,
               h->magic == FREE ? "freed already" : "not a block of a heap");
    return h;
}

/* Known at compile time in the pass-through build, which leaves all else out. */
static inline bool stands_alone(const struct hp_heap *heap)
{
    return HP_SOURCE_KNOWS || heap->alone;
}

static size_t payload_bytes(const struct hp_heap *heap, void *block)
{
    if (stands_alone(heap))
        return hp_heap_alone_bytes(block);
    const struct header *h = header_of(heap, block);
    if (h->bytes != 0)
        return h->bytes - HEADER;
    return ((struct large *)block - 1)->bytes;
}

static void free_list_push(struct hp_heap *heap, struct header *h)
{
    unsigned bin = hp_class_of(h->bytes);
    h->magic = FREE;
    memcpy(h + 1, &heap->bin[bin], sizeof(void *));
    heap->bin[bin] = h;
}

/* Leaves the rest of the current chunk to the free lists, and takes a new one. */
static bool new_chunk(struct hp_heap *heap)
{
    while (heap->end - heap->at >= 16) {
        size_t rest = (size_t)(heap->end - heap->at);
        unsigned bin = rest >= SMALL_MAX ? HP_HEAP_BINS - 1 : hp_class_of(rest);
        if (hp_class_bytes(bin) > rest)
            bin--;
        struct header *h = (struct header *)heap->at;
        *h = (struct header){.bytes = hp_class_bytes(bin)};
        heap->at += h->bytes;
        free_list_push(heap, h);
    }
    char *chunk = hp_byte_pool_get(heap->pool, HP_HEAP_CHUNK_BYTES);
    if (chunk == NULL)
        return false;
    memcpy(chunk, &heap->chunks, sizeof(void *));
    heap->chunks = chunk;
    heap->at = chunk + CHUNK_HEADER - HEADER; /* so that payloads are aligned to 16 */
    heap->end = chunk + HP_HEAP_CHUNK_BYTES;
    heap->chunk_bytes += HP_HEAP_CHUNK_BYTES;
    return true;
}

static void *small_alloc(struct hp_heap *heap, size_t bytes)
{
    unsigned bin = hp_class_of(bytes + HEADER);
    uint32_t block_bytes = hp_class_bytes(bin);
    struct header *h = heap->bin[bin];
    if (h != NULL) {
        memcpy(&heap->bin[bin], h + 1, sizeof(void *));
    } else {
        if (heap->end - heap->at < (ptrdiff_t)block_bytes && !new_chunk(heap))
            return NULL;
        h = (struct header *)heap->at;
        heap->at += block_bytes;
    }
    *h = (struct header){.bytes = block_bytes, .magic = USED};
    heap->small_bytes += block_bytes;
    return h + 1;
}

static void *large_alloc(struct hp_heap *heap, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    struct large *large = hp_byte_pool_get(heap->pool, sizeof *large + bytes);
    if (large == NULL)
        return NULL;
    size_t held = hp_byte_pool_usable(large);
    *large = (struct large){
        .bytes = held - sizeof *large,
        .header = {.magic = USED},
    };
    hp_heap_link(heap, &large->link, 0);
    heap->large_bytes += held;
    return large + 1;
}

static void large_free(struct hp_heap *heap, struct large *large)
{
    hp_heap_unlink(&large->link);
    large->header.magic = FREE;
    hp_heap_put(heap, &large->link, large->bytes + sizeof *large);
}

void *hp_heap_alloc(struct hp_heap *heap, size_t bytes)
{
    if (HP_UNLIKELY(heap->failed))
        return NULL;
    void *block = stands_alone(heap)            ? hp_heap_alone_alloc(heap, bytes)
                  : bytes <= SMALL_MAX - HEADER ? small_alloc(heap, bytes)
                                                : large_alloc(heap, bytes);
    if (HP_UNLIKELY(block == NULL)) {
        heap->failed = true;
        return NULL;
    }
    heap->live_blocks++;
    return block;
}

void *hp_heap_calloc(struct hp_heap *heap, size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) {
        heap->failed = true;
        return NULL;
    }
    void *block = hp_heap_alloc(heap, total);
    if (block != NULL)
        memset(block, 0, total);
    return block;
}

void hp_heap_free(struct hp_heap *heap, void *block)
{
    if (HP_UNLIKELY(block == NULL || heap->failed))
        return;
    heap->live_blocks--;
    if (stands_alone(heap)) {
        hp_heap_alone_free(heap, block);
        return;
    }
    struct header *h = header_of(heap, block);
    if (h->bytes == 0) {
        large_free(heap, (struct large *)block - 1);
        return;
    }
    heap->small_bytes -= h->bytes;
    free_list_push(heap, h);
}

void *hp_heap_resize(struct hp_heap *heap, void *block, size_t bytes)
{
    if (block == NULL)
        return hp_heap_alloc(heap, bytes);
    if (heap->failed) /* the block may be one that was freed */
        return NULL;
    size_t old = payload_bytes(heap, block);
    if (bytes != 0 && bytes <= old && bytes >= old / 2)
        return block;
    void *moved = hp_heap_alloc(heap, bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, bytes < old ? bytes : old);
    hp_heap_free(heap, block);
    return moved;
}
