/* SPDX-License-Identifier: MIT
 *
 * Pools by thread: a kind is a name with its settings, and each thread that gets from it has a pool of its own, made
 * with its first get. For programs that do not want to hand pools from function to function; the process has one kind
 * ready made, the default one, behind hp_byte_buffer_get.
 *
 * A thread that ends leaves its pools to the kind, with all that is live in them: blocks stay good and may be put by
 * any thread. The next thread that needs a pool of the kind takes one of these over.
 */
#ifndef H3POOL_KIND_H
#define H3POOL_KIND_H

#include <h3pool/byte_pool.h>

/* Kinds that may exist at a time, the default one included. */
#define HP_KINDS_MAX 64u

/* A kind. Internal fields, visible because the fast path is inlined. */
struct hp_pool_kind {
    uint32_t index; /* in hp_thread_pools */
    bool used;
    struct hp_pool_manager *manager;
    const char *name;
    struct hp_pool_options options;
    struct hp_byte_pool *pools; /* all of them, linked through next_of_kind */
};

/* internal: the calling thread's pools by kind. */
extern HP_API _Thread_local struct hp_byte_pool *hp_thread_pools[HP_KINDS_MAX];

/* Makes a kind. |manager| must outlive it. |name| as for a pool, but not copied: it must stay as long as the kind;
 * |options|, copied, are those of each thread's pool, so a limit there holds for each alone, and one over all is
 * hp_pool_manager_set_limit's. The caller ends it with hp_pool_kind_free. NULL when there are HP_KINDS_MAX. Any thread;
 * takes a lock. */
HP_API struct hp_pool_kind *hp_pool_kind_new(struct hp_pool_manager *manager, const char *name,
                                             const struct hp_pool_options *options) HP_MUST_CHECK;
/* Ends a kind and all its pools. NULL is legal. No block may be live (hp_byte_pool_free), no thread may get or put, and
 * all others that ever did must have ended: a thread's own note of its pool can't be taken from it. */
HP_API void hp_pool_kind_free(struct hp_pool_kind *kind);

/* Trims the pools of |kind| (NULL: the default one) that ended threads have left and no thread has taken over yet,
 * after taking in what was put to them meanwhile: until then such blocks count as live. Returns the bytes by which held
 * memory fell. Any thread; not on the data path. */
HP_API size_t hp_pool_kind_trim(struct hp_pool_kind *kind);

/* Finds the manager of the default kind: without a limit (set one with hp_pool_manager_set_limit), made with the first
 * use, never freed. NULL without memory. Any thread; takes a lock. */
HP_API struct hp_pool_manager *hp_default_manager(void) HP_MUST_CHECK;

/* internal: out of line */
HP_API struct hp_byte_pool *hp_pool_kind_here(struct hp_pool_kind *kind) HP_MUST_CHECK;
HP_API void *hp_byte_buffer_get_slow(size_t bytes) HP_MUST_CHECK;
HP_API void hp_pool_put_slow(struct hp_pool_kind *kind, void *block); /* NULL: the default one */

/* Takes a block of at least |bytes| bytes from the calling thread's pool; otherwise as hp_byte_pool_get, but any
 * thread. NULL when refused, or when a thread's first get finds no memory for its pool. Costs a load more. */
static inline HP_MUST_CHECK void *hp_pool_get(struct hp_pool_kind *kind, size_t bytes)
{
    struct hp_byte_pool *pool = hp_thread_pools[kind->index];
    if (HP_UNLIKELY(pool == NULL) && (pool = hp_pool_kind_here(kind)) == NULL)
        return NULL;
    return hp_byte_pool_get(pool, bytes);
}

/* internal: a block to |mine|, the calling thread's own pool or NULL; false if it is not from there. */
static inline HP_MUST_CHECK bool hp_thread_put(struct hp_byte_pool *mine, void *block)
{
    if (HP_UNLIKELY(!hp_span_known(block)))
        return false;
    struct hp_bin *bin = hp_bin_of(block);
    return HP_LIKELY(bin->pool == mine) && mine != NULL && hp_bin_push(bin, block);
}

/* Gives a block of the kind back, whichever thread it came from; NULL is legal. Any thread. */
static inline void hp_pool_put(struct hp_pool_kind *kind, void *block)
{
    if (HP_UNLIKELY(!hp_thread_put(hp_thread_pools[kind->index], block)))
        hp_pool_put_slow(kind, block);
}

/* Takes a block of at least |bytes| bytes from the calling thread's pool of the default kind: any size, any thread.
 * Give it back with hp_byte_buffer_put. NULL when refused. */
static inline HP_MUST_CHECK void *hp_byte_buffer_get(size_t bytes)
{
    struct hp_byte_pool *pool = hp_thread_pools[0];
    if (HP_UNLIKELY(pool == NULL))
        return hp_byte_buffer_get_slow(bytes);
    return hp_byte_pool_get(pool, bytes);
}
/* Gives a block of the default kind back, whichever thread it came from; NULL is legal. Any thread. */
static inline void hp_byte_buffer_put(void *block)
{
    if (HP_UNLIKELY(!hp_thread_put(hp_thread_pools[0], block)))
        hp_pool_put_slow(NULL, block);
}

#endif
