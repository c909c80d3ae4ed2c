/* SPDX-License-Identifier: MIT
 *
 * Blocks of the pooled build: runs of equal blocks inside spans from the system.
 *
 * Nothing is stored in or before a block, so sizes are exact and powers of two are aligned; an address leads to its
 * span by masking, from there to its run, and from there to its bin. A run is cut up lazily: what was never asked for
 * is never touched. A free block holds one link in its first word.
 *
 * What it costs: a page per class in use at least, a header page per span, and slices that stay with their class
 * until every block of the run is back. Runs go back to their span when they are empty, except the last of a bin.
 *
 * Under a sanitizer the fronts are off and free blocks are poisoned, so that a use after put is reported.
 */
#include <h3pool/byte_pool.h>

#include "internal.h"

#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define HP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HP_ASAN 1
#endif
#endif

#ifdef HP_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define HP_ASAN 0
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define HUGE_HEADER_BYTES 8192u

/* The bin of a run that is not cut up: a stray put finds no front in it, and so comes to run_give. */
static struct hp_bin no_bin;

const char *hp_build_name(void)
{
    return "pooled";
}

uint32_t hp_source_front_cap(uint32_t wanted)
{
    return HP_ASAN ? 0 : wanted;
}

/* --- spans ----------------------------------------------------------------------------------------------------------
 */

static void span_map_set(const struct hp_span *span)
{
    uintptr_t i = (uintptr_t)span / HP_SPAN_BYTES;
    assert(i < sizeof hp_span_map * 8);
    atomic_fetch_or_explicit(&hp_span_map[i / 8], (uint8_t)(1u << (i % 8)), memory_order_relaxed);
}

static void span_map_clear(const struct hp_span *span)
{
    uintptr_t i = (uintptr_t)span / HP_SPAN_BYTES;
    atomic_fetch_and_explicit(&hp_span_map[i / 8], (uint8_t) ~(1u << (i % 8)), memory_order_relaxed);
}

static struct hp_span *span_new(struct hp_byte_pool *pool, size_t bytes)
{
    static_assert(sizeof(struct hp_span) <= HUGE_HEADER_BYTES, "the header fits before a huge block");
    struct hp_span *span = hp_system_map(bytes, HP_SPAN_BYTES);
    if (span == NULL)
        return NULL;
    /* Without this a first touch may cost 2 MiB: what a pool holds would not be what it uses. */
    madvise(span, bytes, MADV_NOHUGEPAGE);
    span->magic = HP_SPAN_MAGIC;
    span->pool = pool;
    span->free_slices = ~1u; /* the header's slice is taken */
    for (unsigned i = 0; i < HP_SPAN_SLICES; i++)
        span->run[i].bin = &no_bin;
    span->next = pool->spans;
    if (span->next != NULL)
        span->next->prev = span;
    pool->spans = span;
    span_map_set(span);
    return span;
}

static void span_free(struct hp_span *span)
{
    size_t bytes = span->huge_bytes != 0 ? span->huge_bytes : HP_SPAN_BYTES;
    if (span->next != NULL)
        span->next->prev = span->prev;
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        span->pool->spans = span->next;
    span_map_clear(span);
    UNPOISON(span, bytes);
    hp_system_unmap(span, bytes);
}

/* --- huge blocks ----------------------------------------------------------------------------------------------------
 */

static void *huge_get(struct hp_byte_pool *pool, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t mapped = (bytes + HUGE_HEADER_BYTES + 4095) & ~(size_t)4095;
    if (!hp_pool_hold(pool, mapped))
        return NULL;
    struct hp_span *span = span_new(pool, mapped);
    if (span == NULL) {
        hp_pool_unhold(pool, mapped);
        return NULL;
    }
    span->huge_bytes = mapped;
    HP_ADD(pool->other_gets, 1);
    HP_ADD(pool->other_live, 1);
    HP_ADD(pool->other_bytes, mapped - HUGE_HEADER_BYTES);
    return (char *)span + HUGE_HEADER_BYTES;
}

static void huge_put(struct hp_byte_pool *pool, struct hp_span *span, const void *block)
{
    if (HP_UNLIKELY((const char *)block != (char *)span + HUGE_HEADER_BYTES))
        hp_die("pool '%s': %p points into a block, not at its start", pool->name, block);
    HP_SUB(pool->other_live, 1);
    HP_SUB(pool->other_bytes, span->huge_bytes - HUGE_HEADER_BYTES);
    hp_pool_unhold(pool, span->huge_bytes);
    span_free(span);
}

/* --- runs -----------------------------------------------------------------------------------------------------------
 */

static void run_list(struct hp_run *run)
{
    struct hp_bin *bin = run->bin;
    run->listed = true;
    run->prev = NULL;
    run->next = bin->runs;
    if (run->next != NULL)
        run->next->prev = run;
    bin->runs = run;
}

static void run_unlist(struct hp_run *run)
{
    run->listed = false;
    if (run->next != NULL)
        run->next->prev = run->prev;
    if (run->prev != NULL)
        run->prev->next = run->next;
    else
        run->bin->runs = run->next;
}

/* First slice of |count| free ones in a row, or 0. */
static unsigned find_slices(uint32_t free_slices, unsigned count)
{
    uint32_t starts = free_slices;
    for (unsigned i = 1; i < count; i++)
        starts &= free_slices >> i;
    return starts != 0 ? (unsigned)__builtin_ctz(starts) : 0;
}

static struct hp_span *span_with_room(struct hp_byte_pool *pool, unsigned slices, unsigned *first)
{
    struct hp_span *span = pool->spans;
    for (; span != NULL; span = span->next)
        if (span->huge_bytes == 0 && (*first = find_slices(span->free_slices, slices)) != 0)
            return span;
    span = span_new(pool, HP_SPAN_BYTES);
    *first = 1;
    return span;
}

static bool run_acquire(struct hp_byte_pool *pool, struct hp_bin *bin)
{
    uint64_t bytes = (uint64_t)bin->run_slices * HP_SLICE_BYTES;
    unsigned first;
    if (!hp_pool_hold(pool, bytes))
        return false;
    struct hp_span *span = span_with_room(pool, bin->run_slices, &first);
    if (span == NULL) {
        hp_pool_unhold(pool, bytes);
        return false;
    }
    span->free_slices &= ~(((1u << bin->run_slices) - 1) << first);
    memset(&span->run_of[first], (int)first, bin->run_slices);
    struct hp_run *run = &span->run[first];
    *run = (struct hp_run){
        .bin = bin,
        .base = (char *)span + first * HP_SLICE_BYTES,
        .capacity = (uint32_t)(bytes / bin->block_bytes),
        .slice = (uint8_t)first,
        .slices = (uint8_t)bin->run_slices,
    };
    POISON(run->base, bytes);
    run_list(run);
    return true;
}

static void run_release(struct hp_byte_pool *pool, struct hp_run *run)
{
    uint64_t bytes = (uint64_t)run->slices * HP_SLICE_BYTES;
    run_unlist(run);
    hp_span_of(run->base)->free_slices |= ((1u << run->slices) - 1) << run->slice;
    run->bin = &no_bin;
    hp_pool_unhold(pool, bytes);
}

/* A block from the bin's first run with room, or NULL. */
static void *run_take(struct hp_byte_pool *pool, struct hp_bin *bin)
{
    if (bin->runs == NULL && !run_acquire(pool, bin))
        return NULL;
    struct hp_run *run = bin->runs;
    void *block = run->free;
    if (block != NULL) {
        UNPOISON(block, sizeof(void *));
        memcpy(&run->free, block, sizeof(void *));
    } else {
        block = run->base + (size_t)run->carved++ * bin->block_bytes;
    }
    run->used++;
    if (run->used == run->capacity)
        run_unlist(run);
    HP_ADD(bin->taken, 1);
    return block;
}

static void run_give(struct hp_byte_pool *pool, struct hp_run *run, void *block)
{
    struct hp_bin *bin = run->bin;
    if (HP_UNLIKELY(bin == &no_bin))
        hp_die("pool '%s': %p was put, but is not a live block", pool->name, block);
    if (HP_UNLIKELY(run->used == 0 || block == run->free))
        hp_die("pool '%s': block %p was put twice", pool->name, block);
    if (HP_UNLIKELY((size_t)((char *)block - run->base) % bin->block_bytes != 0))
        hp_die("pool '%s': %p points into a block, not at its start", pool->name, block);
    UNPOISON(block, sizeof(void *));
    memcpy(block, &run->free, sizeof(void *));
    POISON(block, bin->block_bytes);
    run->free = block;
    run->used--;
    HP_SUB(bin->taken, 1);
    if (!run->listed)
        run_list(run);
    /* The last run of a bin stays, so that a bin that swings between 0 and 1 blocks does not churn. */
    if (run->used == 0 && (run->next != NULL || run->prev != NULL))
        run_release(pool, run);
}

/* --- fronts ---------------------------------------------------------------------------------------------------------
 */

static void front_fill(struct hp_byte_pool *pool, struct hp_bin *bin)
{
    uint32_t n = 0;
    while (n < (bin->front_cap + 1) / 2) {
        void *block = run_take(pool, bin);
        if (block == NULL)
            break;
        bin->front[n++] = block;
    }
    atomic_store_explicit(&bin->front_count, n, memory_order_relaxed);
}

/* Gives the |count| blocks that have lain longest in the front back to their runs. */
static void front_flush(struct hp_byte_pool *pool, struct hp_bin *bin, uint32_t count)
{
    uint32_t left = HP_READ(bin->front_count) - count;
    for (uint32_t i = 0; i < count; i++) {
        if (pool->drop != NULL)
            pool->drop(pool->drop_ctx, bin->front[i]);
        run_give(pool, hp_run_of(hp_span_of(bin->front[i]), bin->front[i]), bin->front[i]);
    }
    memmove(bin->front, bin->front + count, left * sizeof(void *));
    atomic_store_explicit(&bin->front_count, left, memory_order_relaxed);
}

/* --- the interface to the rest of the library -----------------------------------------------------------------------
 */

void *hp_source_take(struct hp_byte_pool *pool, struct hp_bin *bin, size_t bytes)
{
    void *block = run_take(pool, bin);
    if (block == NULL) {
        HP_ADD(pool->refused, 1);
        return NULL;
    }
    UNPOISON(block, bytes);
    HP_ADD(bin->gets, 1);
    return block;
}

void hp_source_give(struct hp_byte_pool *pool, void *block)
{
    run_give(pool, hp_run_of(hp_span_of(block), block), block);
}

void *hp_byte_pool_get_slow(struct hp_byte_pool *pool, size_t bytes)
{
    if (HP_UNLIKELY(!hp_byte_pool_mine(pool)))
        hp_die("pool '%s': get by a thread that does not own it", pool->name);
    if (HP_UNLIKELY(HP_READ(pool->remote) != NULL))
        hp_byte_pool_collect(pool);
    if (bytes == 0)
        bytes = 1;
    if (bytes > pool->bytes_max) {
        void *huge = huge_get(pool, bytes);
        if (huge == NULL)
            HP_ADD(pool->refused, 1);
        return huge;
    }
    struct hp_bin *bin = hp_byte_pool_bin(pool, bytes);
    if (bin->front_cap == 0)
        return hp_source_take(pool, bin, bytes);
    if (HP_READ(bin->front_count) == 0) /* a get of 0 bytes comes here with a full front too */
        front_fill(pool, bin);
    uint32_t n = HP_READ(bin->front_count);
    if (n == 0) {
        HP_ADD(pool->refused, 1);
        return NULL;
    }
    HP_ADD(bin->gets, 1);
    atomic_store_explicit(&bin->front_count, n - 1, memory_order_relaxed);
    return bin->front[n - 1];
}

/* Leaves a block in its pool's remote list. */
static void remote_put(struct hp_byte_pool *pool, void *block)
{
    void *head = atomic_load_explicit(&pool->remote, memory_order_relaxed);
    UNPOISON(block, sizeof(void *)); /* the caller may have wanted less */
    do
        memcpy(block, &head, sizeof(void *));
    while (!atomic_compare_exchange_weak_explicit(&pool->remote, &head, block, memory_order_release,
                                                  memory_order_relaxed));
    atomic_fetch_add_explicit(&pool->remote_puts, 1, memory_order_relaxed);
}

/* A put by the owner, of a block that is known to be of this pool. */
static void owner_put(struct hp_byte_pool *pool, struct hp_span *span, void *block)
{
    if (span->huge_bytes != 0) {
        huge_put(pool, span, block);
        return;
    }
    struct hp_run *run = hp_run_of(span, block);
    struct hp_bin *bin = run->bin;
    if (bin->front_cap == 0) {
        run_give(pool, run, block);
        return;
    }
    uint32_t n = HP_READ(bin->front_count);
    if (n != 0 && bin->front[n - 1] == block)
        hp_die("pool '%s': block %p was put twice", pool->name, block);
    if (n >= bin->front_cap) {
        front_flush(pool, bin, (bin->front_cap + 1) / 2);
        n = HP_READ(bin->front_count);
    }
    bin->front[n] = block;
    atomic_store_explicit(&bin->front_count, n + 1, memory_order_relaxed);
}

void hp_byte_pool_put_slow(struct hp_byte_pool *pool, void *block)
{
    if (block == NULL)
        return;
    struct hp_span *span = hp_span_of(block);
    if (!hp_span_known(block))
        hp_die("pool '%s': %p was put, but is not from any pool", pool->name, block);
    if (span->pool != pool)
        hp_die("pool '%s': %p was put, but is from pool '%s'", pool->name, block, span->pool->name);
    if (hp_byte_pool_mine(pool))
        owner_put(pool, span, block);
    else
        remote_put(pool, block);
}

void hp_byte_pool_put_any(struct hp_byte_pool *pool, void *block)
{
    if (block == NULL)
        return;
    if (!hp_span_known(block))
        hp_die("pool '%s': %p was put, but is not from any pool", pool->name, block);
    hp_byte_pool_put(hp_span_of(block)->pool, block);
}

size_t hp_byte_pool_usable(const void *block)
{
    struct hp_span *span = hp_span_of(block);
    if (!hp_span_known(block))
        hp_die("%p is not from any pool", block);
    if (span->huge_bytes != 0)
        return span->huge_bytes - HUGE_HEADER_BYTES;
    size_t bytes = hp_run_of(span, block)->bin->block_bytes;
    UNPOISON(block, bytes); /* from here on the caller may use what it did not ask for */
    return bytes;
}

void hp_byte_pool_collect(struct hp_byte_pool *pool)
{
    char *block = atomic_exchange_explicit(&pool->remote, NULL, memory_order_acquire);
    while (block != NULL) {
        char *next;
        memcpy(&next, block, sizeof next);
        struct hp_span *span = hp_span_of(block);
        if (span->huge_bytes != 0)
            huge_put(pool, span, block);
        else
            run_give(pool, hp_run_of(span, block), block);
        block = next;
    }
}

size_t hp_byte_pool_trim(struct hp_byte_pool *pool)
{
    uint64_t before = HP_READ(pool->held_bytes);
    hp_byte_pool_collect(pool);
    for (unsigned i = 0; i < pool->class_count; i++) {
        struct hp_bin *bin = &pool->bin[i];
        front_flush(pool, bin, HP_READ(bin->front_count));
        for (struct hp_run *run = bin->runs, *next; run != NULL; run = next) {
            next = run->next;
            if (run->used == 0)
                run_release(pool, run);
        }
    }
    for (struct hp_span *span = pool->spans, *next; span != NULL; span = next) {
        next = span->next;
        if (span->huge_bytes != 0)
            continue;
        if (span->free_slices == ~1u) {
            span_free(span);
            continue;
        }
        for (unsigned s = 1; s < HP_SPAN_SLICES; s++)
            if (span->free_slices >> s & 1)
                madvise((char *)span + s * HP_SLICE_BYTES, HP_SLICE_BYTES, MADV_DONTNEED);
    }
    return (size_t)(before - HP_READ(pool->held_bytes));
}

void hp_source_counters(const struct hp_byte_pool *pool, struct hp_counters *out)
{
    out->gets = HP_READ(pool->other_gets);
    out->live = HP_READ(pool->other_live);
    out->live_bytes = HP_READ(pool->other_bytes);
    for (unsigned i = 0; i < pool->class_count; i++) {
        const struct hp_bin *bin = &pool->bin[i];
        /* To another thread the two are of different moments, and the difference may be negative. */
        uint64_t taken = HP_READ(bin->taken), front = HP_READ(bin->front_count);
        uint64_t live = taken > front ? taken - front : 0;
        out->gets += HP_READ(bin->gets);
        out->live += live;
        out->live_bytes += live * bin->block_bytes;
    }
}

void hp_source_fini(struct hp_byte_pool *pool)
{
    hp_byte_pool_collect(pool);
    for (unsigned i = 0; i < pool->class_count; i++)
        front_flush(pool, &pool->bin[i], HP_READ(pool->bin[i].front_count));
    while (pool->spans != NULL)
        span_free(pool->spans);
}
