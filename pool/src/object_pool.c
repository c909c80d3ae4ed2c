/* SPDX-License-Identifier: MIT
 *
 * An object pool is a byte pool of one class whose front holds constructed objects: construction and destruction
 * happen where a block enters or leaves the front, and nowhere else.
 */
#include <h3pool/object_pool.h>

#include "internal.h"

static void destruct(void *ctx, void *object)
{
    const struct hp_object_pool *pool = ctx;
    if (pool->ops.destruct != NULL)
        pool->ops.destruct(object);
}

int hp_object_pool_init(struct hp_object_pool *pool, struct hp_pool_manager *manager, const char *name, size_t bytes,
                        uint32_t kept_max, const struct hp_object_ops *ops)
{
    struct hp_pool_options options = {.min = bytes, .max = bytes};
    kept_max = kept_max < HP_FRONT_MAX ? kept_max : HP_FRONT_MAX;
    struct hp_byte_pool *blocks = hp_byte_pool_make(manager, name, &options, kept_max != 0 ? kept_max : 1);
    if (blocks == NULL)
        return -1;
    *pool = (struct hp_object_pool){
        .blocks = blocks,
        .bin = hp_byte_pool_bin(blocks, bytes),
        .object_bytes = bytes,
        .ops = ops != NULL ? *ops : (struct hp_object_ops){0},
    };
    if (kept_max == 0)
        pool->bin->front_cap = 0;
    blocks->drop = destruct;
    blocks->drop_ctx = pool;
    return 0;
}

void hp_object_pool_fini(struct hp_object_pool *pool)
{
    hp_byte_pool_free(pool->blocks); /* NULL is legal */
    *pool = (struct hp_object_pool){0};
}

void *hp_object_pool_get_slow(struct hp_object_pool *pool)
{
    if (!hp_byte_pool_mine(pool->blocks))
        hp_die("pool '%s': get by a thread that does not own it", pool->blocks->name);
    void *object = hp_source_take(pool->blocks, pool->bin, pool->object_bytes);
    if (object != NULL && pool->ops.construct != NULL)
        pool->ops.construct(object);
    return object;
}

/* Of an object that has been reset, where the front does not take it. */
static inline void put_beyond_front(struct hp_object_pool *pool, void *object)
{
    if (pool->bin->front[(ptrdiff_t)hp_bin_front(pool->bin) - 1] == object)
        hp_die("pool '%s': object %p was put twice", pool->blocks->name, object);
    destruct(pool, object);
    hp_source_give(pool->blocks, object, pool->object_bytes);
}

void hp_object_pool_put_slow(struct hp_object_pool *pool, void *object)
{
    if (!hp_byte_pool_mine(pool->blocks))
        hp_die("pool '%s': put by a thread that does not own it", pool->blocks->name);
    hp_source_verify(pool->blocks, pool->bin, object); /* before it is touched */
    if (pool->ops.reset != NULL)
        pool->ops.reset(object);
    if (!hp_bin_push(pool->bin, object))
        put_beyond_front(pool, object);
}

void hp_object_pool_put_full(struct hp_object_pool *pool, void *object)
{
    if (!hp_byte_pool_mine(pool->blocks))
        hp_die("pool '%s': put by a thread that does not own it", pool->blocks->name);
    put_beyond_front(pool, object);
}
