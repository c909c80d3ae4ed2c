/* SPDX-License-Identifier: MIT
 *
 * Heap of the pass-through build: each block is a block of the byte pool, and so a malloc. The 16 bytes before it
 * link the blocks of a heap, since dropping a heap whole is part of its contract; the comparison's reports say so.
 */
#include <h3pool/heap.h>

#include "internal.h"

#include <string.h>

void hp_heap_init(struct hp_heap *heap, struct hp_byte_pool *pool)
{
    *heap = (struct hp_heap){.pool = pool};
}

void hp_heap_drop(struct hp_heap *heap)
{
    for (struct hp_heap_large *block = heap->large, *next; block != NULL; block = next) {
        next = block->next;
        hp_byte_pool_put(heap->pool, block);
    }
    hp_heap_init(heap, heap->pool);
}

void *hp_heap_alloc(struct hp_heap *heap, size_t bytes)
{
    struct hp_heap_large *block = NULL;
    if (bytes <= SIZE_MAX / 4 && !heap->failed)
        block = hp_byte_pool_get(heap->pool, sizeof *block + bytes);
    if (HP_UNLIKELY(block == NULL)) {
        heap->failed = true;
        return NULL;
    }
    *block = (struct hp_heap_large){.next = heap->large};
    if (heap->large != NULL)
        heap->large->prev = block;
    heap->large = block;
    size_t held = hp_byte_pool_usable(block);
    heap->live_blocks++;
    heap->live_bytes += held;
    heap->held_bytes += held;
    return block + 1;
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

void hp_heap_free(struct hp_heap *heap, void *pointer)
{
    if (pointer == NULL || heap->failed)
        return;
    struct hp_heap_large *block = (struct hp_heap_large *)pointer - 1;
    if (block->next != NULL)
        block->next->prev = block->prev;
    if (block->prev != NULL)
        block->prev->next = block->next;
    else
        heap->large = block->next;
    size_t held = hp_byte_pool_usable(block);
    heap->live_blocks--;
    heap->live_bytes -= held;
    heap->held_bytes -= held;
    hp_byte_pool_put(heap->pool, block);
}

void *hp_heap_resize(struct hp_heap *heap, void *pointer, size_t bytes)
{
    if (pointer == NULL)
        return hp_heap_alloc(heap, bytes);
    if (heap->failed) /* the block may be one that was freed */
        return NULL;
    size_t old = hp_byte_pool_usable((struct hp_heap_large *)pointer - 1) - sizeof(struct hp_heap_large);
    if (bytes != 0 && bytes <= old && bytes >= old / 2)
        return pointer;
    void *moved = hp_heap_alloc(heap, bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, pointer, bytes < old ? bytes : old);
    hp_heap_free(heap, pointer);
    return moved;
}
