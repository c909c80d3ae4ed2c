/* SPDX-License-Identifier: MIT
 *
 * The part of a byte pool that both builds share: birth and death, limits, counters, resize.
 *
 * A pool is one mapping: the struct, its bins, and behind them the fronts. A front keeps up to 64 blocks but at most
 * 128 KiB, so that a burst is served without touching the runs, and little lies idle; blocks of 16 KiB and more keep 8.
 */
#include <h3pool/byte_pool.h>

#include "internal.h"

#include <string.h>

const char *hp_version(void)
{
    return "0.1.0";
}

static uint32_t front_entries(uint32_t block_bytes, uint32_t front_max)
{
    if (front_max != 0)
        return front_max;
    uint32_t n = (128u << 10) / block_bytes;
    return n < 8 ? 8 : n > 64 ? 64 : n;
}

/* The fewest slices of which at most an eighth is left over when they are cut into blocks. */
static uint32_t slices_for(uint32_t block_bytes)
{
    for (uint32_t n = 1;; n++) {
        uint32_t run = n * HP_SLICE_BYTES;
        if (run >= block_bytes && run % block_bytes <= run / 8)
            return n;
    }
}

struct hp_byte_pool *hp_byte_pool_make(struct hp_pool_manager *manager, const char *name, size_t min, size_t max,
                                       uint64_t limit, uint32_t front_max)
{
    if (min == 0 || min > max || max > HP_CLASS_BYTES_MAX)
        hp_die("pool '%s': block sizes %zu to %zu, but 1 to %u are possible", name, min, max, HP_CLASS_BYTES_MAX);
    unsigned first = hp_class_of(min), count = hp_class_of(max) - first + 1;
    size_t fronts = 0;
    for (unsigned i = 0; i < count; i++)
        fronts += front_entries(hp_class_bytes(first + i), front_max);
    size_t head = sizeof(struct hp_byte_pool) + count * sizeof(struct hp_bin);
    size_t bytes = (head + fronts * sizeof(void *) + 4095) & ~(size_t)4095;
    struct hp_byte_pool *pool = hp_system_map(bytes, 4096);
    if (pool == NULL)
        return NULL;
    atomic_store_explicit(&pool->owner, (uintptr_t)&hp_thread_anchor, memory_order_relaxed);
    pool->class_first = first;
    pool->class_count = count;
    pool->bytes_max = hp_class_bytes(first + count - 1);
    pool->name = name;
    pool->manager = manager;
    pool->limit_bytes = limit;
    pool->mapped_bytes = bytes;
    void **front = (void **)((char *)pool + head);
    for (unsigned i = 0; i < count; i++) {
        struct hp_bin *bin = &pool->bin[i];
        bin->block_bytes = hp_class_bytes(first + i);
        bin->run_slices = slices_for(bin->block_bytes);
        uint32_t entries = front_entries(bin->block_bytes, front_max);
        bin->front_cap = hp_source_front_cap(entries);
        bin->front = front;
        front += entries;
    }
    hp_pool_manager_add(manager, pool);
    return pool;
}

struct hp_byte_pool *hp_byte_pool_new(struct hp_pool_manager *manager, const char *name, size_t min, size_t max,
                                      uint64_t limit)
{
    return hp_byte_pool_make(manager, name, min, max, limit, 0);
}

void hp_byte_pool_free(struct hp_byte_pool *pool)
{
    if (pool == NULL)
        return;
    hp_source_fini(pool);
    hp_pool_manager_remove(pool->manager, pool);
    hp_pool_manager_return(pool->manager, HP_READ(pool->held_bytes));
    hp_system_unmap(pool, pool->mapped_bytes);
}

void hp_byte_pool_adopt(struct hp_byte_pool *pool)
{
    atomic_store_explicit(&pool->owner, (uintptr_t)&hp_thread_anchor, memory_order_relaxed);
}

bool hp_pool_hold(struct hp_byte_pool *pool, uint64_t bytes)
{
    uint64_t limit = HP_READ(pool->limit_bytes), held = HP_READ(pool->held_bytes) + bytes;
    if ((limit != 0 && held > limit) || !hp_pool_manager_grant(pool->manager, bytes))
        return false;
    atomic_store_explicit(&pool->held_bytes, held, memory_order_relaxed);
    if (held > HP_READ(pool->peak_bytes))
        atomic_store_explicit(&pool->peak_bytes, held, memory_order_relaxed);
    return true;
}

void hp_pool_unhold(struct hp_byte_pool *pool, uint64_t bytes)
{
    HP_SUB(pool->held_bytes, bytes);
    hp_pool_manager_return(pool->manager, bytes);
}

void hp_byte_pool_counters(const struct hp_byte_pool *pool, struct hp_counters *out)
{
    *out = (struct hp_counters){
        .held_bytes = HP_READ(pool->held_bytes),
        .peak_bytes = HP_READ(pool->peak_bytes),
        .remote_puts = HP_READ(pool->remote_puts),
        .refused = HP_READ(pool->refused),
    };
    hp_source_counters(pool, out);
    out->puts = out->gets - out->live;
    if ((int64_t)out->puts < 0) /* to another thread the two are of different moments */
        out->puts = 0;
}

void *hp_byte_pool_resize(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    if (block == NULL)
        return hp_byte_pool_get(pool, bytes);
    if (bytes == 0) {
        hp_byte_pool_put_any(pool, block);
        return NULL;
    }
    size_t usable = hp_byte_pool_usable(block);
    if (bytes <= usable && bytes >= usable / 2)
        return block;
    void *moved = hp_byte_pool_get(pool, bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, bytes < usable ? bytes : usable);
    hp_byte_pool_put_any(pool, block);
    return moved;
}
