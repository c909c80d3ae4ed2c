/* SPDX-License-Identifier: MIT
 *
 * Object pool: objects of one type, kept constructed between uses.
 *
 * Life of an object:
 *   memory -> constructor -> [ get -> used -> reset -> kept ]* -> destructor -> memory
 * Objects beyond the most that are kept, and all objects where nothing is kept (pass-through, sanitizers), go through
 * constructor and destructor on each use.
 */
#ifndef H3POOL_OBJECT_POOL_H
#define H3POOL_OBJECT_POOL_H

#include <h3pool/byte_pool.h>

/* What is done with objects; NULL: nothing, for each. They may not touch the pool. */
struct hp_object_ops {
    void (*construct)(void *object); /* memory is not zeroed */
    void (*reset)(void *object);     /* on every put */
    void (*destruct)(void *object);  /* before memory goes back */
};

/* An object pool, to be embedded. Internal fields. It stays where it is from init to fini. */
struct hp_object_pool {
    struct hp_byte_pool *blocks; /* of one class; the front of its bin holds the constructed objects */
    struct hp_bin *bin;
    size_t object_bytes;
    struct hp_object_ops ops;
};

/* Makes a pool of objects of |bytes| bytes, 1..HP_CLASS_BYTES_MAX, that keeps at most |kept_max| unused ones, up to
 * HP_FRONT_MAX. |ops| is copied; NULL: none. |manager|, |name| and the owning thread are as for hp_byte_pool_new; a
 * limit is set on the name. Returns 0; or -1 without memory, and then |pool| is not to be used. */
HP_API int hp_object_pool_init(struct hp_object_pool *pool, struct hp_pool_manager *manager, const char *name,
                               size_t bytes, uint32_t kept_max, const struct hp_object_ops *ops) HP_MUST_CHECK;
/* Destructs what is kept and ends the pool. No object may be live (hp_byte_pool_free). Owner only. */
HP_API void hp_object_pool_fini(struct hp_object_pool *pool);

/* internal: out of line. The second one: an object that has been reset and finds no room, or lies on the front already.
 */
HP_API void *hp_object_pool_get_slow(struct hp_object_pool *pool) HP_MUST_CHECK;
HP_API void hp_object_pool_put_slow(struct hp_object_pool *pool, void *object);
HP_API void hp_object_pool_put_full(struct hp_object_pool *pool, void *object);

/* Takes a constructed object, as its reset or its constructor has left it, aligned to 16; NULL when memory is refused.
 * The caller holds it until the put. Owner only. Costs what a get of a byte pool does, and now and then a constructor.
 */
static inline HP_MUST_CHECK void *hp_object_pool_get(struct hp_object_pool *pool)
{
    void *object = hp_bin_pop(pool->bin);
    return HP_LIKELY(object != NULL) ? object : hp_object_pool_get_slow(pool);
}

/* Resets an object and keeps it, or destructs it where enough are kept. |object| may not be NULL, and must be of this
 * pool. Owner only: another thread's put is misuse, and ends the process where it is found. */
static inline void hp_object_pool_put(struct hp_object_pool *pool, void *object)
{
    struct hp_bin *bin = pool->bin;
    if (HP_UNLIKELY((uintptr_t)object / HP_SLICE_BYTES != bin->warm_slice)) {
        hp_object_pool_put_slow(pool, object);
        return;
    }
    if (pool->ops.reset != NULL)
        pool->ops.reset(object);
    if (HP_UNLIKELY(!hp_bin_push(bin, object)))
        hp_object_pool_put_full(pool, object);
}

/* Defines typed functions over hp_object_pool_get and hp_object_pool_put. HP_OBJECT_POOL(request, struct request) makes
 *   struct request *request_get(struct hp_object_pool *);  void request_put(struct hp_object_pool *, struct request *);
 */
#define HP_OBJECT_POOL(prefix, type)                                                                                   \
    static inline HP_MUST_CHECK type *prefix##_get(struct hp_object_pool *pool)                                        \
    {                                                                                                                  \
        return hp_object_pool_get(pool);                                                                               \
    }                                                                                                                  \
    static inline void prefix##_put(struct hp_object_pool *pool, type *object)                                         \
    {                                                                                                                  \
        hp_object_pool_put(pool, object);                                                                              \
    }

#endif
