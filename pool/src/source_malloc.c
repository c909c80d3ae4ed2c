/* SPDX-License-Identifier: MIT
 *
 * Blocks of the pass-through build: each is a malloc of its own, so that programs and tools see what the same code
 * costs without pools. What is inlined is in source_malloc.h, which says for which size a block counts. The counters
 * and limits are those of the pooled build; limits are taken from the manager in units of 64 KiB, as there. Fronts have
 * no capacity, so nothing is kept.
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

uint32_t hp_source_front_cap(const struct hp_byte_pool *pool, uint32_t wanted)
{
    (void)pool, (void)wanted;
    return 0;
}

bool hp_source_init(struct hp_byte_pool *pool)
{
    (void)pool; /* malloc keeps what it likes */
    return true;
}

/* Whole units for |bytes|, of which what is negative needs none. */
static uint64_t units_for(int64_t bytes)
{
    return bytes > 0 ? ((uint64_t)bytes + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES : 0;
}

/* Bytes of live blocks; negative in a pool on which put_any has counted the blocks of others. */
static int64_t live_bytes(const struct hp_byte_pool *pool)
{
    return (int64_t)(HP_READ(pool->other_bytes) - HP_READ(pool->remote_bytes));
}

/* Takes |bytes| out of the limits, less what other threads have put meanwhile. */
static bool hold_more(struct hp_byte_pool *pool, size_t bytes)
{
    HP_SUB(pool->other_bytes, atomic_exchange_explicit(&pool->remote_bytes, 0, memory_order_relaxed));
    int64_t missing = live_bytes(pool) + (int64_t)bytes - (int64_t)HP_READ(pool->held_bytes);
    return missing <= 0 || hp_pool_hold(pool, units_for(missing));
}

static void check_owner(const struct hp_byte_pool *pool)
{
    if (HP_UNLIKELY(!hp_byte_pool_mine(pool)))
        hp_die("pool '%s': get by a thread that does not own it", pool->name);
}

static void *refused(struct hp_byte_pool *pool)
{
    HP_ADD(pool->refused, 1);
    return NULL;
}

void *hp_malloc_failed(struct hp_byte_pool *pool, size_t bytes)
{
    HP_SUB(pool->other_gets, 1);
    HP_SUB(pool->other_bytes, bytes);
    return refused(pool);
}

/* The end of a get of |block|, which may be NULL, and counts for |bytes|. The limit comes after malloc, which may
 * refuse what no one has a limit for, and alone knows what is usable. */
static void *counted(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    uint64_t live = HP_READ(pool->other_bytes) + bytes;
    if (HP_UNLIKELY(block == NULL || ((int64_t)live > (int64_t)HP_READ(pool->held_bytes) && !hold_more(pool, bytes)))) {
        free(block);
        return refused(pool);
    }
    HP_ADD(pool->other_gets, 1);
    HP_ADD(pool->other_bytes, bytes); /* read anew: hold_more may have taken off */
    return block;
}

void *hp_malloc_get_more(struct hp_byte_pool *pool, size_t bytes)
{
    check_owner(pool);
    return counted(pool, malloc(bytes), bytes);
}

void *hp_byte_pool_get_slow(struct hp_byte_pool *pool, size_t bytes)
{
    check_owner(pool);
    if (HP_UNLIKELY(bytes > SIZE_MAX / 2)) /* who looks at malloc's calls takes them for a mistake */
        return refused(pool);
    void *block = malloc(bytes != 0 ? bytes : 1);
    return counted(pool, block, malloc_usable_size(block));
}

void hp_byte_pool_put_slow(struct hp_byte_pool *pool, void *block)
{
    if (block == NULL)
        return;
    if (HP_LIKELY(hp_byte_pool_mine(pool))) {
        hp_source_put_known(pool, block, malloc_usable_size(block));
        return;
    }
    atomic_fetch_add_explicit(&pool->remote_puts, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->remote_bytes, malloc_usable_size(block), memory_order_relaxed);
    free(block);
}

void hp_byte_pool_put_sized_slow(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    (void)bytes;
    hp_byte_pool_put_slow(pool, block);
}

void hp_byte_pool_put_any(struct hp_byte_pool *pool, void *block)
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

/* What malloc has got back is not held any more, or a limit's stage would never be left. Whether it goes to the system
 * is malloc's affair, which has a threshold of its own for what lies at the end of its heap. */
size_t hp_byte_pool_trim_idle(struct hp_byte_pool *pool, size_t bytes_max)
{
    uint64_t keep = units_for(live_bytes(pool)), held = HP_READ(pool->held_bytes);
    uint64_t most = bytes_max / UNIT_BYTES * UNIT_BYTES;
    uint64_t idle = held > keep ? held - keep : 0;
    uint64_t bytes = idle < most ? idle : most;
    if (bytes != 0)
        hp_pool_unhold(pool, bytes);
    return (size_t)bytes;
}

/* The checks are left to what checks malloc. */
size_t hp_source_checks_overhead(const struct hp_checks *checks)
{
    (void)checks;
    return 0;
}
size_t hp_source_checks_bytes(const struct hp_checks *checks, unsigned class_count)
{
    (void)checks, (void)class_count;
    return 0;
}
void hp_source_checks_init(struct hp_byte_pool *pool, void *memory)
{
    (void)pool, (void)memory;
}
void hp_source_walk(const struct hp_byte_pool *pool, void (*visit)(void *ctx, size_t bytes, uint32_t site), void *ctx)
{
    (void)pool, (void)visit, (void)ctx;
}

const char *hp_source_site_text(uint32_t site, char *out)
{
    (void)site;
    out[0] = '\0';
    return out;
}

void hp_source_counters(const struct hp_byte_pool *pool, struct hp_counters *out)
{
    out->gets = HP_READ(pool->other_gets);
    out->live = out->gets - HP_READ(pool->other_puts) - HP_READ(pool->remote_puts);
    out->live_bytes = (uint64_t)live_bytes(pool); /* wraps, and the sum over the name is right */
}

void hp_source_fini(struct hp_byte_pool *pool)
{
    (void)pool; /* live blocks are malloc's: a leak checker sees them */
}
