/* SPDX-License-Identifier: MIT
 *
 * Kinds are slots of a table; a thread finds its pool of a kind by the slot's number in an array of its own. The end of
 * a thread is seen through a key of pthreads, whose destructor leaves the thread's pools without an owner. One lock
 * guards the table and the lists of pools; it is taken when a thread meets a kind for the first time, and when it ends.
 */
#include <h3pool/kind.h>

#include "internal.h"

#include <pthread.h>

_Thread_local struct hp_byte_pool *hp_thread_pools[HP_KINDS_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_thread_end;
static struct hp_pool_kind kinds[HP_KINDS_MAX]; /* 0: the default one */
static struct hp_pool_manager *default_manager;

/* The lock is held. The thread owns its pools, or they have no slot any more. */
static void leave_pool(struct hp_byte_pool **slot)
{
    if (*slot == NULL)
        return;
    (*slot)->kind_slot = NULL;
    hp_byte_pool_abandon(*slot);
    *slot = NULL;
}

static void leave_pools(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < HP_KINDS_MAX; i++)
        leave_pool(&hp_thread_pools[i]);
    pthread_mutex_unlock(&lock);
}

static void init(void)
{
    if (pthread_key_create(&at_thread_end, leave_pools) != 0)
        hp_die("no key for the end of threads");
}

/* --- kinds ----------------------------------------------------------------------------------------------------------
 */

static struct hp_pool_kind *kind_open(unsigned index, struct hp_pool_manager *manager, const char *name,
                                      const struct hp_pool_options *options)
{
    kinds[index] = (struct hp_pool_kind){
        .index = index,
        .used = true,
        .manager = manager,
        .name = name,
        .options = *options,
    };
    return &kinds[index];
}

struct hp_pool_kind *hp_pool_kind_new(struct hp_pool_manager *manager, const char *name,
                                      const struct hp_pool_options *options)
{
    struct hp_pool_kind *kind = NULL;
    pthread_once(&once, init);
    pthread_mutex_lock(&lock);
    for (unsigned i = 1; i < HP_KINDS_MAX && kind == NULL; i++)
        if (!kinds[i].used)
            kind = kind_open(i, manager, name, options);
    pthread_mutex_unlock(&lock);
    return kind;
}

void hp_pool_kind_free(struct hp_pool_kind *kind)
{
    if (kind == NULL)
        return;
    pthread_mutex_lock(&lock);
    while (kind->pools != NULL) {
        struct hp_byte_pool *pool = kind->pools;
        kind->pools = pool->next_of_kind;
        if (pool->kind_slot != NULL) /* of a thread that lives on */
            *pool->kind_slot = NULL;
        hp_byte_pool_free(pool);
    }
    kind->used = false;
    pthread_mutex_unlock(&lock);
}

/* --- a thread's pool ------------------------------------------------------------------------------------------------
 */

/* One that a thread has left, or a new one. The lock is held. */
static struct hp_byte_pool *take_pool(struct hp_pool_kind *kind)
{
    for (struct hp_byte_pool *pool = kind->pools; pool != NULL; pool = pool->next_of_kind)
        if (atomic_load_explicit(&pool->owner, memory_order_acquire) == 0) {
            hp_byte_pool_adopt(pool);
            return pool;
        }
    struct hp_byte_pool *pool = hp_byte_pool_new_with(kind->manager, kind->name, &kind->options);
    if (pool != NULL) {
        pool->kind = kind;
        pool->next_of_kind = kind->pools;
        kind->pools = pool;
    }
    return pool;
}

struct hp_byte_pool *hp_pool_kind_here(struct hp_pool_kind *kind)
{
    pthread_once(&once, init);
    pthread_mutex_lock(&lock);
    struct hp_byte_pool **slot = &hp_thread_pools[kind->index];
    if ((*slot = take_pool(kind)) != NULL)
        (*slot)->kind_slot = slot;
    if (pthread_setspecific(at_thread_end, hp_thread_pools) != 0) /* its end would not be seen */
        leave_pool(slot);
    struct hp_byte_pool *pool = *slot;
    pthread_mutex_unlock(&lock);
    return pool;
}

size_t hp_pool_kind_trim(struct hp_pool_kind *kind)
{
    size_t fell = 0;
    pthread_mutex_lock(&lock);
    kind = kind != NULL ? kind : &kinds[0];
    for (struct hp_byte_pool *pool = kind->pools; pool != NULL; pool = pool->next_of_kind) {
        if (atomic_load_explicit(&pool->owner, memory_order_acquire) != 0)
            continue;
        hp_byte_pool_adopt(pool); /* for as long as the lock is held */
        fell += hp_byte_pool_trim(pool);
        hp_byte_pool_abandon(pool);
    }
    pthread_mutex_unlock(&lock);
    return fell;
}

/* --- the default kind -----------------------------------------------------------------------------------------------
 */

struct hp_pool_manager *hp_default_manager(void)
{
    static const struct hp_pool_options options = {.min = 1, .max = HP_CLASS_BYTES_MAX};
    pthread_mutex_lock(&lock);
    if (default_manager == NULL && (default_manager = hp_pool_manager_new(0)) != NULL)
        kind_open(0, default_manager, "default", &options);
    struct hp_pool_manager *manager = default_manager;
    pthread_mutex_unlock(&lock);
    return manager;
}

void *hp_byte_buffer_get_slow(size_t bytes)
{
    return hp_default_manager() != NULL ? hp_pool_get(&kinds[0], bytes) : NULL;
}

/* In the pass-through build blocks do not lead to their pool: that of the calling thread counts the put. */
void hp_pool_put_slow(struct hp_pool_kind *kind, void *block)
{
    if (block == NULL)
        return;
    if (kind == NULL && hp_default_manager() != NULL)
        kind = &kinds[0];
    struct hp_byte_pool *pool = kind != NULL ? hp_thread_pools[kind->index] : NULL;
    if (pool == NULL && kind != NULL && !hp_span_known(block))
        pool = hp_pool_kind_here(kind);
    if (pool == NULL && !hp_span_known(block))
        hp_die("%p was put, but is not from any pool", block);
    if (hp_span_known(block) && hp_span_of(block)->pool->kind != kind)
        hp_die("kind '%s': %p was put, but is from pool '%s'", kind != NULL ? kind->name : "default", block,
               hp_span_of(block)->pool->name);
    hp_byte_pool_put_any(pool, block);
}
