/* SPDX-License-Identifier: MIT
 *
 * Blocks of the pass-through build: each is a malloc of its own, so that programs and tools see what the same code
 * costs without pools. The counters and limits are those of the pooled build; sizes are malloc_usable_size's. Limits
 * are taken from the manager in units of 64 KiB, as there. Fronts have no capacity, so nothing is kept.
 */
#include <h3pool/byte_pool.h>

#include "internal.h"

#include <malloc.h>
#include <stdlib.h>

#define UNIT_BYTES ((uint64_t)HP_SLICE_BYTES)

const char *hp_build_name(void)
{
    return "unpooled";
}

uint32_t hp_source_front_cap(uint32_t wanted)
{
    (void)wanted;
    return 0;
}

/* Bytes of live blocks; negative in a pool on which put_any has counted the blocks of others. */
static int64_t live_bytes(const struct hp_byte_pool *pool)
{
    return (int64_t)(HP_READ(pool->other_bytes) - HP_READ(pool->remote_bytes));
}

/* Whole units for |bytes|, of which what is negative needs none. */
static uint64_t units_for(int64_t bytes)
{
    return bytes > 0 ? ((uint64_t)bytes + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES : 0;
}

void *hp_byte_pool_get_slow(struct hp_byte_pool *pool, size_t bytes)
{
    if (HP_UNLIKELY(!hp_byte_pool_mine(pool)))
        hp_die("pool '%s': get by a thread that does not own it", pool->name);
    /* The limit comes after malloc, which alone knows the size that is counted. */
    void *block = bytes <= SIZE_MAX / 2 ? malloc(bytes != 0 ? bytes : 1) : NULL;
    size_t usable = malloc_usable_size(block);
    int64_t missing = live_bytes(pool) + (int64_t)usable - (int64_t)HP_READ(pool->held_bytes);
    if (HP_UNLIKELY(block == NULL || (missing > 0 && !hp_pool_hold(pool, units_for(missing))))) {
        free(block);
        HP_ADD(pool->refused, 1);
        return NULL;
    }
    HP_ADD(pool->other_gets, 1);
    HP_ADD(pool->other_live, 1);
    HP_ADD(pool->other_bytes, usable);
    return block;
}

void hp_byte_pool_put_slow(struct hp_byte_pool *pool, void *block)
{
    if (block == NULL)
        return;
    size_t bytes = malloc_usable_size(block);
    if (HP_LIKELY(hp_byte_pool_mine(pool))) {
        HP_SUB(pool->other_live, 1);
        HP_SUB(pool->other_bytes, bytes);
    } else {
        atomic_fetch_add_explicit(&pool->remote_puts, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool->remote_bytes, bytes, memory_order_relaxed);
    }
    free(block);
}

void hp_byte_pool_put_any(struct hp_byte_pool *pool, void *block)
{
    hp_byte_pool_put_slow(pool, block);
}

void *hp_source_take(struct hp_byte_pool *pool, struct hp_bin *bin, size_t bytes)
{
    (void)bin;
    return hp_byte_pool_get_slow(pool, bytes);
}

void hp_source_give(struct hp_byte_pool *pool, void *block)
{
    hp_byte_pool_put_slow(pool, block);
}

size_t hp_byte_pool_usable(const void *block)
{
    return malloc_usable_size((void *)(uintptr_t)block);
}

void hp_byte_pool_collect(struct hp_byte_pool *pool)
{
    (void)pool; /* a put by another thread is complete at once */
}

size_t hp_byte_pool_trim(struct hp_byte_pool *pool)
{
    uint64_t keep = units_for(live_bytes(pool));
    uint64_t held = HP_READ(pool->held_bytes);
    if (held <= keep)
        return 0;
    hp_pool_unhold(pool, held - keep);
    malloc_trim(0);
    return (size_t)(held - keep);
}

void hp_source_counters(const struct hp_byte_pool *pool, struct hp_counters *out)
{
    out->gets = HP_READ(pool->other_gets);
    out->live = HP_READ(pool->other_live) - HP_READ(pool->remote_puts);
    out->live_bytes = (uint64_t)live_bytes(pool); /* wraps, and the sum over the name is right */
}

void hp_source_fini(struct hp_byte_pool *pool)
{
    (void)pool; /* live blocks are malloc's: a leak checker sees them */
}
