/* SPDX-License-Identifier: MIT
 *
 * Heaps whose blocks stand alone: in the pass-through build, with checks, and under sanitizers each block of a heap is
 * a block of the pool, so that malloc or whoever looks at it sees each. The 16 bytes before it link the blocks of a
 * heap, since dropping a heap whole is part of its contract; the comparison's reports say so.
 */
#include "heap_alone.h"

#include "internal.h"

#include <string.h>

static struct hp_heap_large *link_of(void *block)
{
    return (struct hp_heap_large *)block - 1;
}

void *hp_heap_alone_alloc(struct hp_heap *heap, size_t bytes)
{
    size_t held;
    if (HP_UNLIKELY(bytes > SIZE_MAX / 4))
        return NULL;
    struct hp_heap_large *block = hp_source_get_counted(heap->pool, sizeof *block + bytes, &held);
    if (HP_UNLIKELY(block == NULL))
        return NULL;
    block->prev = NULL;
    block->next = heap->large;
    if (block->next != NULL)
        block->next->prev = block;
    heap->large = block;
    heap->live_bytes += held;
    heap->held_bytes += held;
    return block + 1;
}

void hp_heap_alone_free(struct hp_heap *heap, void *pointer)
{
    struct hp_heap_large *block = link_of(pointer);
    struct hp_heap_large *next = block->next, *prev = block->prev;
    if (next != NULL)
        next->prev = prev;
    if (prev != NULL)
        prev->next = next;
    else
        heap->large = next;
    hp_heap_wipe(heap, block, heap->pool->secret ? hp_byte_pool_usable(block) : 0);
    size_t held = hp_source_put_counted(heap->pool, block);
    heap->live_bytes -= held;
    heap->held_bytes -= held;
}

size_t hp_heap_alone_bytes(void *block)
{
    return hp_byte_pool_usable(link_of(block)) - sizeof(struct hp_heap_large);
}
