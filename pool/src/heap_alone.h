/* SPDX-License-Identifier: MIT
 *
 * Heaps whose blocks stand alone: hp_heap's own calls for them, failures and counts of blocks aside.
 */
#ifndef H3POOL_HEAP_ALONE_H
#define H3POOL_HEAP_ALONE_H

#include <h3pool/heap.h>

void *hp_heap_alone_alloc(struct hp_heap *heap, size_t bytes) HP_MUST_CHECK;
void hp_heap_alone_free(struct hp_heap *heap, void *block);
/* Bytes that may be used of a live block. */
size_t hp_heap_alone_bytes(void *block);

#endif
