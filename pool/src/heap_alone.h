/* SPDX-License-Identifier: MIT
 *
 * Heaps whose blocks stand alone: hp_heap's own calls for them, failures and counts of blocks aside. And what both
 * kinds of heaps do with memory that they give back.
 */
#ifndef H3POOL_HEAP_ALONE_H
#define H3POOL_HEAP_ALONE_H

#include <h3pool/heap.h>
#include <string.h>

void *hp_heap_alone_alloc(struct hp_heap *heap, size_t bytes) HP_MUST_CHECK;
void hp_heap_alone_free(struct hp_heap *heap, void *block);
/* Bytes that may be used of a live block. */
size_t hp_heap_alone_bytes(void *block);

/* Clears memory that leaves the heap, if its pool is secret. Not by memset, which a compiler may leave out before free.
 */
static inline void hp_heap_wipe(const struct hp_heap *heap, void *memory, size_t bytes)
{
    if (heap->pool->secret)
        explicit_bzero(memory, bytes);
}

#endif
