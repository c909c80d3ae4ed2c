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
    return n < 8 ? 8 : n > 256 ? 256 : n;
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

/* Bytes of a pool's mapping: the struct, its bins, what the checks want, and the fronts with an entry before each. */
static size_t fronts_bytes(unsigned first, unsigned count, uint32_t front_max)
{
    size_t entries = 0;
    for (unsigned i = 0; i < count; i++)
        entries += 1 + front_entries(hp_class_bytes(first + i), front_max);
    return entries * sizeof(void *);
}

static size_t head_bytes(unsigned count)
{
    return sizeof(struct hp_byte_pool) + count * sizeof(struct hp_bin);
}

static size_t whole_pages(size_t bytes)
{
    return (bytes + 4095) & ~(size_t)4095;
}

static void check_options(const char *name, const struct hp_pool_options *o)
{
    if (o->min == 0 || o->min > o->max || o->max > HP_CLASS_BYTES_MAX)
        hp_die("pool '%s': block sizes %zu to %zu, but 1 to %u are possible", name, o->min, o->max, HP_CLASS_BYTES_MAX);
}

static void init_bins(struct hp_byte_pool *pool, void **front, uint32_t front_max)
{
    for (unsigned i = 0; i < pool->class_count; i++) {
        struct hp_bin *bin = &pool->bin[i];
        uint32_t block_bytes = hp_class_bytes(pool->class_first + i);
        uint32_t entries = front_entries(block_bytes, front_max);
        *bin = (struct hp_bin){
            .front = front + 1,
            .warm_slice = HP_NO_SLICE,
            .front_cap = hp_source_front_cap(pool, entries),
            .block_bytes = block_bytes,
            .run_slices = slices_for(block_bytes),
            .pool = pool,
        };
        front += 1 + entries;
    }
}

struct hp_byte_pool *hp_byte_pool_make(struct hp_pool_manager *manager, const char *name,
                                       const struct hp_pool_options *options, uint32_t front_max)
{
    check_options(name, options);
    const struct hp_checks *checks = hp_pool_manager_checks(manager);
    size_t max = options->max + hp_source_checks_overhead(checks);
    max = max < HP_CLASS_BYTES_MAX ? max : HP_CLASS_BYTES_MAX;
    unsigned first = hp_class_of(options->min), count = hp_class_of(max) - first + 1;
    size_t head = head_bytes(count), extra = hp_source_checks_bytes(checks, count);
    size_t bytes = whole_pages(head + extra + fronts_bytes(first, count, front_max));
    struct hp_byte_pool *pool = hp_system_map(bytes, 4096);
    if (pool == NULL)
        return NULL;
    HP_SET(pool->owner, (uintptr_t)&hp_thread_anchor);
    pool->class_first = first;
    pool->class_count = count;
    pool->bytes_max = hp_class_bytes(first + count - 1);
    pool->key = hp_system_random();
    pool->manager = manager;
    pool->limit_bytes = options->limit;
    pool->keep_bytes = options->keep_bytes;
    pool->huge_pages = options->huge_pages;
    pool->secret = options->secret;
    pool->mapped_bytes = bytes;
    hp_source_checks_init(pool, (char *)pool + head);
    init_bins(pool, (void **)((char *)pool + head + extra), front_max);
    hp_pool_manager_add(manager, name, pool);
    if (hp_source_init(pool))
        return pool;
    hp_byte_pool_free(pool);
    return NULL;
}

struct hp_byte_pool *hp_byte_pool_new_with(struct hp_pool_manager *manager, const char *name,
                                           const struct hp_pool_options *options)
{
    return hp_byte_pool_make(manager, name, options, 0);
}

struct hp_byte_pool *hp_byte_pool_new(struct hp_pool_manager *manager, const char *name, size_t min, size_t max,
                                      uint64_t limit)
{
    return hp_byte_pool_new_with(manager, name, &(struct hp_pool_options){.min = min, .max = max, .limit = limit});
}

/* Each span has at least one slice that is held, or it would have been unmapped, and its header is a page; in a mapping
 * of its own a block's header is held like the block. */
uint64_t hp_footprint(const struct hp_pool_options *options)
{
    check_options("footprint", options);
    unsigned first = hp_class_of(options->min), count = hp_class_of(options->max) - first + 1;
    if (options->limit == 0)
        return UINT64_MAX;
    uint64_t spans = options->limit / HP_SLICE_BYTES + 1;
    return whole_pages(head_bytes(count) + fronts_bytes(first, count, 0)) + options->limit + spans * 4096;
}

void hp_byte_pool_free(struct hp_byte_pool *pool)
{
    struct hp_counters c;
    if (pool == NULL)
        return;
    hp_byte_pool_collect(pool);
    hp_byte_pool_counters(pool, &c);
    if (pool->checks != NULL && c.live != 0)
        hp_die("pool '%s': freed while %llu blocks of %llu bytes are live", pool->name, (unsigned long long)c.live,
               (unsigned long long)c.live_bytes);
    hp_source_fini(pool);
    hp_pool_manager_remove(pool->manager, pool);
    hp_node_return(pool->node, HP_READ(pool->held_bytes));
    hp_system_unmap(pool, pool->mapped_bytes);
}

void hp_byte_pool_adopt(struct hp_byte_pool *pool)
{
    HP_SET(pool->owner, (uintptr_t)&hp_thread_anchor);
}

void hp_byte_pool_abandon(struct hp_byte_pool *pool)
{
    atomic_store_explicit(&pool->owner, 0, memory_order_release);
}

bool hp_pool_hold(struct hp_byte_pool *pool, uint64_t bytes)
{
    uint64_t limit = HP_READ(pool->limit_bytes), held = HP_READ(pool->held_bytes) + bytes;
    if ((limit != 0 && held > limit) || !hp_node_grant(pool->node, bytes))
        return false;
    atomic_store_explicit(&pool->held_bytes, held, memory_order_relaxed);
    if (held > HP_READ(pool->peak_bytes))
        atomic_store_explicit(&pool->peak_bytes, held, memory_order_relaxed);
    return true;
}

void hp_pool_unhold(struct hp_byte_pool *pool, uint64_t bytes)
{
    HP_SUB(pool->held_bytes, bytes);
    hp_node_return(pool->node, bytes);
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
    if (bytes <= usable && bytes >= usable / 2 && pool->checks == NULL)
        return block;
    void *moved = hp_byte_pool_get(pool, bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, bytes < usable ? bytes : usable);
    hp_byte_pool_put_any(pool, block);
    return moved;
}
