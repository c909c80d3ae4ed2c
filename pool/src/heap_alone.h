/* SPDX-License-Identifier: MIT
 *
 * Heaps whose blocks stand alone, a part of heap.c: in the pass-through build, with checks, and under sanitizers each
 * block of a heap is a block of the pool, so that malloc or whoever looks at it sees each. The 16 bytes before it link
 * the blocks of a heap, since dropping a heap whole is part of its contract; the comparison's reports say so.
 *
 *   |next: 64 bits|previous: 48 bits|size: 16 bits|payload ...
 *
 * The size is that of the block with its links, kept where no address of user space has bits: it spares the
 * pass-through build malloc_usable_size with each get and each free. 0: not known, as in the other build, and from
 * 64 KiB on. A previous link is moved by a difference, which leaves the size beside it alone.
 */
#ifndef H3POOL_HEAP_ALONE_H
#define H3POOL_HEAP_ALONE_H

#include "internal.h"

#include <h3pool/heap.h>

/* All heaps of the pass-through build are of this kind; in the other one it is to stay out of the others' way. */
#ifdef HP_PASS_THROUGH
#define HP_ALONE static inline
#else
#define HP_ALONE static __attribute__((noinline))
#endif

#define HP_SIZE_SHIFT 48
#define HP_SIZE_MAX 0xffffu
static_assert(HP_ADDRESS_BITS <= HP_SIZE_SHIFT, "an address leaves room for a size");

/* --- the ring of large blocks ---------------------------------------------------------------------------------------
 */

static inline void hp_heap_link(struct hp_heap *heap, struct hp_heap_large *block, size_t size)
{
    struct hp_heap_large *head = &heap->large, *next = head->next;
    block->next = next;
    block->prev = (uintptr_t)head | (uint64_t)size << HP_SIZE_SHIFT;
    next->prev += (uintptr_t)block - (uintptr_t)head;
    head->next = block;
}

static inline void hp_heap_unlink(struct hp_heap_large *block)
{
    struct hp_heap_large *next = block->next;
    struct hp_heap_large *prev = (void *)(uintptr_t)(block->prev & (((uint64_t)1 << HP_SIZE_SHIFT) - 1));
    prev->next = next;
    next->prev += (uintptr_t)prev - (uintptr_t)block;
}

/* Bytes that a block counts for, if its ring keeps them; 0: not known. */
static inline size_t hp_heap_known(const struct hp_heap_large *block)
{
    return HP_SOURCE_KNOWS ? block->prev >> HP_SIZE_SHIFT : 0;
}

/* The same, whether they are kept or not. What is from no pool ends the process, as far as the build can tell. */
static inline size_t hp_heap_size(const struct hp_heap_large *block)
{
    size_t known = hp_heap_known(block);
    return known != 0 ? known : hp_byte_pool_usable(block);
}

/* Puts a block that no one will look for in the ring; |size| is its hp_heap_size. */
static inline void hp_heap_put(struct hp_heap *heap, struct hp_heap_large *block, size_t size)
{
    heap->large_bytes -= size;
    hp_source_put_wiped(heap->pool, block, size);
}

/* --- hp_heap's own calls, failures and counts of blocks aside -------------------------------------------------------
 */

/* A block whose size is not kept. */
static HP_MUST_CHECK __attribute__((noinline)) void *hp_heap_alone_alloc_any(struct hp_heap *heap, size_t bytes)
{
    if (HP_UNLIKELY(bytes > SIZE_MAX / 4))
        return NULL;
    struct hp_heap_large *block = hp_byte_pool_get(heap->pool, sizeof *block + bytes);
    if (HP_UNLIKELY(block == NULL))
        return NULL;
    hp_heap_link(heap, block, 0);
    heap->large_bytes += hp_byte_pool_usable(block);
    return block + 1;
}

HP_ALONE HP_MUST_CHECK void *hp_heap_alone_alloc(struct hp_heap *heap, size_t bytes)
{
    size_t size = sizeof(struct hp_heap_large) + bytes;
    if (!HP_SOURCE_KNOWS || HP_UNLIKELY(bytes > HP_SIZE_MAX - sizeof(struct hp_heap_large)))
        return hp_heap_alone_alloc_any(heap, bytes);
    struct hp_heap_large *block = hp_source_get_known(heap->pool, size);
    if (HP_UNLIKELY(block == NULL))
        return NULL;
    hp_heap_link(heap, block, size);
    heap->large_bytes += size;
    return block + 1;
}

static __attribute__((noinline)) void hp_heap_alone_free_any(struct hp_heap *heap, struct hp_heap_large *block)
{
    size_t size = hp_heap_size(block); /* which dies of a foreign pointer, before its links are believed */
    hp_heap_unlink(block);
    hp_heap_put(heap, block, size);
}

HP_ALONE void hp_heap_alone_free(struct hp_heap *heap, void *pointer)
{
    struct hp_heap_large *block = (struct hp_heap_large *)pointer - 1;
    size_t known = hp_heap_known(block);
    if (HP_UNLIKELY(known == 0)) {
        hp_heap_alone_free_any(heap, block);
        return;
    }
    hp_heap_unlink(block);
    hp_heap_put(heap, block, known);
}

/* Bytes that may be used of a live block. */
HP_ALONE size_t hp_heap_alone_bytes(const void *pointer)
{
    const struct hp_heap_large *block = (const struct hp_heap_large *)pointer - 1;
    return hp_heap_size(block) - sizeof *block;
}

#endif
