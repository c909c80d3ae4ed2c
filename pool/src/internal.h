/* SPDX-License-Identifier: MIT
 *
 * What the library's files share. The two builds differ in exactly two files: where blocks come from
 * (source_span.c or source_malloc.c) and the heap (heap.c or heap_malloc.c).
 */
#ifndef H3POOL_INTERNAL_H
#define H3POOL_INTERNAL_H

#include <h3pool/byte_pool.h>
#include <h3pool/manager.h>

/* Ends the process with one line on stderr: memory is misused, and to go on would corrupt it. */
_Noreturn void hp_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed pages straight from the system, |align| a power of two of at least a page; NULL when refused. */
void *hp_system_map(size_t bytes, size_t align) HP_MUST_CHECK;
void hp_system_unmap(void *memory, size_t bytes);

/* byte_pool.c: takes |bytes| out of the pool's limit and the manager's, or returns false. It is the get that counts a
 * refusal: one that only wanted a few blocks more for a front has been served. */
bool hp_pool_hold(struct hp_byte_pool *pool, uint64_t bytes) HP_MUST_CHECK;
void hp_pool_unhold(struct hp_byte_pool *pool, uint64_t bytes);
/* Makes a pool whose bins keep at most |front_max| blocks each in front, 0: a number that suits their size. */
struct hp_byte_pool *hp_byte_pool_make(struct hp_pool_manager *manager, const char *name, size_t min, size_t max,
                                       uint64_t limit, uint32_t front_max) HP_MUST_CHECK;

/* manager.c */
void hp_pool_manager_add(struct hp_pool_manager *manager, struct hp_byte_pool *pool);
void hp_pool_manager_remove(struct hp_pool_manager *manager, struct hp_byte_pool *pool);
bool hp_pool_manager_grant(struct hp_pool_manager *manager, uint64_t bytes) HP_MUST_CHECK;
void hp_pool_manager_return(struct hp_pool_manager *manager, uint64_t bytes);

/* --- the source of blocks: source_span.c | source_malloc.c ----------------------------------------------------------
 */

/* Entries that a front may have in this build and mode: |wanted|, or 0. */
uint32_t hp_source_front_cap(uint32_t wanted);
/* One block of a bin, not from its front; counts a get, or a refusal. */
void *hp_source_take(struct hp_byte_pool *pool, struct hp_bin *bin, size_t bytes) HP_MUST_CHECK;
/* One block back, not to a front. */
void hp_source_give(struct hp_byte_pool *pool, void *block);
/* Live blocks, live bytes and gets. */
void hp_source_counters(const struct hp_byte_pool *pool, struct hp_counters *out);
/* Everything back to the system, live blocks included. */
void hp_source_fini(struct hp_byte_pool *pool);

#endif
