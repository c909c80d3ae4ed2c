/* SPDX-License-Identifier: MIT
 *
 * What the library's files share. The two builds differ in where blocks come from: source_span.c with span.c and
 * check.c, or source_malloc.c.
 */
#ifndef H3POOL_INTERNAL_H
#define H3POOL_INTERNAL_H

#include <h3pool/byte_pool.h>
#include <h3pool/checks.h>
#include <h3pool/manager.h>

/* Ends the process with one line on stderr: memory is misused, and to go on would corrupt it. */
_Noreturn void hp_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed pages straight from the system, |align| a power of two of at least a page; NULL when refused. */
void *hp_system_map(size_t bytes, size_t align) HP_MUST_CHECK;
void hp_system_unmap(void *memory, size_t bytes);
/* Unpredictable bits, not for cryptography. */
uint64_t hp_system_random(void);

/* byte_pool.c: takes |bytes| out of the pool's limit and the manager's, or returns false. It is the get that counts a
 * refusal: one that only wanted a few blocks more for a front has been served. */
bool hp_pool_hold(struct hp_byte_pool *pool, uint64_t bytes) HP_MUST_CHECK;
void hp_pool_unhold(struct hp_byte_pool *pool, uint64_t bytes);
/* Makes a pool whose bins keep at most |front_max| blocks each in front, 0: a number that suits their size. */
struct hp_byte_pool *hp_byte_pool_make(struct hp_pool_manager *manager, const char *name,
                                       const struct hp_pool_options *options, uint32_t front_max) HP_MUST_CHECK;

/* manager.c */
void hp_pool_manager_add(struct hp_pool_manager *manager, const char *name, struct hp_byte_pool *pool);
void hp_pool_manager_remove(struct hp_pool_manager *manager, struct hp_byte_pool *pool);
bool hp_node_grant(struct hp_pool_node *node, uint64_t bytes) HP_MUST_CHECK;
void hp_node_return(struct hp_pool_node *node, uint64_t bytes);
const struct hp_checks *hp_pool_manager_checks(const struct hp_pool_manager *manager);
/* Counts a get of a checked pool; true if it is to fail. */
bool hp_pool_manager_inject(struct hp_pool_manager *manager);
/* Calls |visit| for each pool. */
void hp_pool_manager_each(struct hp_pool_manager *manager, void (*visit)(void *ctx, struct hp_byte_pool *pool),
                          void *ctx);

/* --- the source of blocks: source_span.c | source_malloc.c ----------------------------------------------------------
 */

/* Entries that a front may have in this build and mode: |wanted|, or 0. */
uint32_t hp_source_front_cap(const struct hp_byte_pool *pool, uint32_t wanted);
/* Bytes behind the bins that the checks of a pool want; and setting them up. */
size_t hp_source_checks_bytes(const struct hp_checks *checks, unsigned class_count);
size_t hp_source_checks_overhead(const struct hp_checks *checks);
void hp_source_checks_init(struct hp_byte_pool *pool, void *memory);
/* After the pool has joined its manager: what is to be held from the beginning. False when refused. */
bool hp_source_init(struct hp_byte_pool *pool) HP_MUST_CHECK;
/* Live blocks, live bytes and gets. */
void hp_source_counters(const struct hp_byte_pool *pool, struct hp_counters *out);
/* Calls |visit| for each live block that the checks know: its bytes and its caller (site.h; 0: unknown). */
void hp_source_walk(const struct hp_byte_pool *pool, void (*visit)(void *ctx, size_t bytes, uint32_t site), void *ctx);
/* The text of a caller (site.h). Returns |out|. */
const char *hp_source_site_text(uint32_t site, char *out);
/* Everything back to the system, live blocks included. */
void hp_source_fini(struct hp_byte_pool *pool);

/* What is inlined in one of the builds:
 *
 *   hp_source_blocks_alone   true if a heap over this pool gives each of its blocks a block of the pool (heap_alone.h)
 *   HP_SOURCE_KNOWS          true if the bytes of a block are of any use to a put, and worth keeping
 *   hp_source_get_known      a get by the owner, of 1 byte or more, for whoever keeps the number of bytes
 *   hp_source_put_known      its put by the owner: with the same number, or of a plain get hp_byte_pool_usable's
 *   hp_source_put_wiped      the same, and before it clears as many bytes, if the pool is secret
 *   hp_source_take           one block of a bin, not from its front; counts a get, or a refusal
 *   hp_source_give           one such block back, not to a front; |bytes| as with the take
 *   hp_source_verify         dies unless the block is one of this bin, as far as this build and mode can tell
 */
#ifdef HP_PASS_THROUGH
#include "source_malloc.h"
#else
#include "source_span.h"
#endif

#endif
