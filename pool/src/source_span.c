/* SPDX-License-Identifier: MIT
 *
 * The out-of-line half of get and put in the pooled build: fronts, the remote list, counters. Behind it are runs and
 * spans (span.c), or the checks (check.c).
 *
 * A front is filled with half of its capacity from the bin's runs, and when it is full the half that has lain longest
 * goes back: so a burst in either direction comes here once in so many calls.
 */
#include "span.h"

#include "annotate.h"
#include "check.h"
#include "site.h"

#include <string.h>

const char *hp_build_name(void)
{
    return "pooled";
}

uint32_t hp_source_front_cap(const struct hp_byte_pool *pool, uint32_t wanted)
{
    return pool->checks != NULL || hp_watched() ? 0 : wanted;
}

bool hp_source_blocks_alone(const struct hp_byte_pool *pool)
{
    return pool->checks != NULL || hp_watched();
}

/* --- fronts ---------------------------------------------------------------------------------------------------------
 */

/* The state of a bin whose front has |n| blocks, and that has had |gets| gets more. */
static void set_front(struct hp_bin *bin, uint32_t n, uint64_t gets)
{
    HP_SET(bin->state, ((HP_READ(bin->state) >> HP_FRONT_BITS) + gets) << HP_FRONT_BITS | n);
}

/* The block at the lowest address comes out first, so that few pages are touched. */
static uint32_t front_fill(struct hp_byte_pool *pool, struct hp_bin *bin)
{
    uint32_t n = 0, wanted = (bin->front_cap + 1) / 2;
    while (n < wanted && (bin->front[wanted - 1 - n] = hp_run_take(pool, bin, NULL)) != NULL)
        n++;
    memmove(bin->front, bin->front + wanted - n, n * sizeof(void *));
    return n;
}

/* Gives the |count| blocks that have lain longest in the front back to their runs. */
static void front_flush(struct hp_byte_pool *pool, struct hp_bin *bin, uint32_t count)
{
    uint32_t left = hp_bin_front(bin) - count;
    for (uint32_t i = 0; i < count; i++) {
        if (pool->drop != NULL)
            pool->drop(pool->drop_ctx, bin->front[i]);
        hp_run_give(pool, bin->front[i]);
    }
    memmove(bin->front, bin->front + count, left * sizeof(void *));
    set_front(bin, left, 0);
}

/* Lays a block on its front, after making room. */
static void front_put(struct hp_byte_pool *pool, struct hp_bin *bin, void *block)
{
    uint32_t n = hp_bin_front(bin);
    if (HP_UNLIKELY(bin->front[(ptrdiff_t)n - 1] == block))
        hp_die("pool '%s': block %p was put twice", pool->name, block);
    if (n >= bin->front_cap) {
        front_flush(pool, bin, (bin->front_cap + 1) / 2);
        n = hp_bin_front(bin);
    }
    bin->front[n] = block;
    set_front(bin, n + 1, 0);
    bin->warm_slice = (uintptr_t)block / HP_SLICE_BYTES;
}

/* --- get ------------------------------------------------------------------------------------------------------------
 */

static void *refused(struct hp_byte_pool *pool)
{
    HP_ADD(pool->refused, 1);
    return NULL;
}

void *hp_source_take(struct hp_byte_pool *pool, struct hp_bin *bin, size_t bytes)
{
    if (HP_UNLIKELY(pool->checks != NULL))
        return hp_check_get(pool, bytes);
    void *block = hp_run_take(pool, bin, NULL);
    if (block == NULL)
        return refused(pool);
    HP_UNDEFINED(block, bytes);
    set_front(bin, hp_bin_front(bin), 1);
    return block;
}

void *hp_byte_pool_get_slow(struct hp_byte_pool *pool, size_t bytes)
{
    if (HP_UNLIKELY(!hp_byte_pool_mine(pool)))
        hp_die("pool '%s': get by a thread that does not own it", pool->name);
    if (HP_UNLIKELY(HP_READ(pool->remote) != NULL))
        hp_byte_pool_collect(pool);
    if (bytes == 0)
        bytes = 1;
    if (HP_UNLIKELY(pool->checks != NULL))
        return hp_check_get(pool, bytes);
    if (bytes > pool->bytes_max) {
        void *huge = hp_huge_get(pool, bytes);
        return huge != NULL ? huge : refused(pool);
    }
    struct hp_bin *bin = hp_byte_pool_bin(pool, bytes);
    if (bin->front_cap == 0)
        return hp_source_take(pool, bin, bytes);
    uint32_t n = hp_bin_front(bin); /* a get of 0 bytes comes here with a full front too */
    if (n == 0)
        n = front_fill(pool, bin);
    if (n == 0)
        return refused(pool);
    set_front(bin, n - 1, 1);
    return bin->front[n - 1];
}

/* --- put ------------------------------------------------------------------------------------------------------------
 */

/* Leaves a block in its pool's remote list. */
static HP_NO_FRAME void remote_put(struct hp_byte_pool *pool, void *block)
{
    void *head = atomic_load_explicit(&pool->remote, memory_order_relaxed);
    void *link = block;
    if (pool->checks != NULL)
        link = hp_check_put_remote(pool, block);
    if (head == link)
        hp_die("pool '%s': block %p was put twice", pool->name, block);
    HP_USABLE(link, sizeof(void *)); /* the caller may have wanted less */
    do
        hp_link_set(pool, link, head);
    while (
        !atomic_compare_exchange_weak_explicit(&pool->remote, &head, link, memory_order_release, memory_order_relaxed));
    atomic_fetch_add_explicit(&pool->remote_puts, 1, memory_order_relaxed);
}

/* A put by the owner, of a block that lies in a span of this pool. */
static HP_NO_FRAME void owner_put(struct hp_byte_pool *pool, void *block)
{
    struct hp_span *span = hp_span_of(block);
    if (HP_UNLIKELY(pool->checks != NULL)) {
        hp_check_put(pool, block);
        return;
    }
    if (span->huge_bytes != 0) {
        hp_huge_put(span, block);
        return;
    }
    struct hp_bin *bin = hp_bin_of(block);
    if (bin->front_cap == 0) /* of no run, too */
        hp_run_give(pool, block);
    else
        front_put(pool, bin, block);
}

void hp_byte_pool_put_slow(struct hp_byte_pool *pool, void *block)
{
    if (block == NULL)
        return;
    if (!hp_span_known(block))
        hp_die("pool '%s': %p was put, but is not from any pool", pool->name, block);
    const struct hp_span *span = hp_span_of(block);
    if (span->pool != pool)
        hp_die("pool '%s': %p was put, but is from pool '%s'", pool->name, block, span->pool->name);
    if (hp_byte_pool_mine(pool))
        owner_put(pool, block);
    else
        remote_put(pool, block);
}

/* Dies unless |bytes| lead to where the block is: its bin, or a mapping of its own of as many pages. */
static void check_size(struct hp_byte_pool *pool, const void *block, size_t bytes)
{
    const struct hp_span *span = hp_span_of(block);
    const struct hp_bin *bin = hp_bin_of(block);
    uint64_t is = span->huge_bytes != 0 ? span->huge_bytes - HP_HUGE_HEADER_BYTES : bin->block_bytes;
    bool same = bin == &hp_no_bin; /* of no run: for others to find */
    if (bytes <= pool->bytes_max)
        same = span->huge_bytes == 0 && (same || bin == hp_byte_pool_bin(pool, bytes));
    else
        same = span->huge_bytes != 0 && is == ((bytes + 4095) & ~(size_t)4095);
    if (HP_UNLIKELY(!same))
        hp_die("pool '%s': %p was put as %zu bytes, but is a block of %llu", pool->name, block, bytes,
               (unsigned long long)is);
}

void hp_byte_pool_put_sized_slow(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    if (bytes == 0) /* as in a get */
        bytes = 1;
    if (block != NULL && hp_span_known(block) && hp_span_of(block)->pool == pool) {
        if (pool->checks != NULL)
            hp_check_size(pool, block, bytes);
        else
            check_size(pool, block, bytes);
    }
    hp_byte_pool_put_slow(pool, block);
}

void hp_byte_pool_put_any(struct hp_byte_pool *pool, void *block)
{
    if (block == NULL)
        return;
    if (!hp_span_known(block))
        hp_die("pool '%s': %p was put, but is not from any pool", pool->name, block);
    hp_byte_pool_put(hp_span_of(block)->pool, block);
}

void hp_source_give(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    (void)bytes;
    if (pool->checks != NULL)
        hp_check_put(pool, block);
    else
        hp_run_give(pool, block);
}

void hp_source_verify(struct hp_byte_pool *pool, struct hp_bin *bin, void *block)
{
    if (!hp_span_known(block))
        hp_die("pool '%s': %p was put, but is not from any pool", pool->name, block);
    const struct hp_span *span = hp_span_of(block);
    if (span->pool != pool)
        hp_die("pool '%s': %p was put, but is from pool '%s'", pool->name, block, span->pool->name);
    if (pool->checks != NULL)
        hp_check_live(pool, block);
    else if (hp_bin_of(block) != bin)
        hp_die("pool '%s': %p was put, but is not a live block", pool->name, block);
    else if (bin->front_cap != 0)
        bin->warm_slice = (uintptr_t)block / HP_SLICE_BYTES;
}

size_t hp_byte_pool_usable(const void *block)
{
    if (!hp_span_known(block))
        hp_die("%p is not from any pool", block);
    const struct hp_span *span = hp_span_of(block);
    if (span->pool->checks != NULL)
        return hp_check_usable(span->pool, block);
    if (span->huge_bytes != 0)
        return span->huge_bytes - HP_HUGE_HEADER_BYTES;
    size_t bytes = hp_bin_of(block)->block_bytes;
    HP_USABLE(block, bytes); /* from here on the caller may use what it did not ask for */
    return bytes;
}

void hp_byte_pool_collect(struct hp_byte_pool *pool)
{
    char *block = atomic_exchange_explicit(&pool->remote, NULL, memory_order_acquire);
    while (block != NULL) {
        char *next = hp_link_get(pool, block);
        if (HP_UNLIKELY(next != NULL && (!hp_span_known(next) || hp_span_of(next)->pool != pool)))
            hp_die("pool '%s': block %p was written to after it was put", pool->name, (void *)block);
        struct hp_span *span = hp_span_of(block);
        if (pool->checks != NULL)
            hp_check_collect(pool, block);
        else if (span->huge_bytes != 0)
            hp_huge_put(span, block);
        else
            hp_run_give(pool, block);
        block = next;
    }
}

/* --- trimming -------------------------------------------------------------------------------------------------------
 */

/* Discards dirty slices down to what is to be kept, at most |bytes_max|. */
static size_t discard(struct hp_byte_pool *pool, size_t bytes_max)
{
    uint64_t held = HP_READ(pool->held_bytes) - pool->alone_bytes;
    uint64_t over = held > pool->keep_bytes ? held - pool->keep_bytes : 0;
    return hp_spans_discard(pool, bytes_max < over ? bytes_max : over);
}

size_t hp_byte_pool_trim(struct hp_byte_pool *pool)
{
    hp_byte_pool_collect(pool);
    if (pool->checks != NULL)
        hp_check_flush(pool);
    for (unsigned i = 0; i < pool->class_count; i++) {
        front_flush(pool, &pool->bin[i], hp_bin_front(&pool->bin[i]));
        hp_runs_release_empty(pool, &pool->bin[i]);
    }
    size_t fell = discard(pool, SIZE_MAX);
    pool->dirty_low_bytes = pool->dirty_bytes;
    return fell;
}

/* |bytes_max| bounds the slices that are discarded and the blocks that are taken out of fronts: a hundred classes have
 * some ten thousand of those. What is left over goes at the next call. */
size_t hp_byte_pool_trim_idle(struct hp_byte_pool *pool, size_t bytes_max)
{
    uint64_t low = pool->dirty_low_bytes;
    size_t blocks_left = bytes_max / 512;
    if (HP_READ(pool->remote) != NULL)
        hp_byte_pool_collect(pool);
    for (unsigned i = 0; i < pool->class_count; i++) {
        struct hp_bin *bin = &pool->bin[i];
        uint32_t gets = (uint32_t)(HP_READ(bin->state) >> HP_FRONT_BITS);
        if (gets == bin->gets_at_trim) {
            uint32_t front = hp_bin_front(bin), count = front < blocks_left ? front : (uint32_t)blocks_left;
            front_flush(pool, bin, count);
            blocks_left -= count;
            hp_runs_release_empty(pool, bin);
        }
        bin->gets_at_trim = gets;
    }
    size_t fell = discard(pool, low < bytes_max ? (size_t)low : bytes_max);
    pool->dirty_low_bytes = pool->dirty_bytes;
    return fell;
}

/* --- counters, end --------------------------------------------------------------------------------------------------
 */

void hp_source_counters(const struct hp_byte_pool *pool, struct hp_counters *out)
{
    out->gets = HP_READ(pool->other_gets);
    out->live = out->gets - HP_READ(pool->other_puts);
    if ((int64_t)out->live < 0) /* to another thread they are of different moments */
        out->live = 0;
    out->live_bytes = HP_READ(pool->other_bytes);
    if (pool->checks != NULL)
        return; /* the checks keep blocks back, and count for themselves */
    for (unsigned i = 0; i < pool->class_count; i++) {
        const struct hp_bin *bin = &pool->bin[i];
        uint64_t state = HP_READ(bin->state), taken = HP_READ(bin->taken), front = state & HP_FRONT_MAX;
        /* To another thread the two are of different moments, and the difference may be negative. */
        uint64_t live = taken > front ? taken - front : 0;
        out->gets += state >> HP_FRONT_BITS;
        out->live += live;
        out->live_bytes += live * bin->block_bytes;
    }
}

bool hp_source_init(struct hp_byte_pool *pool)
{
    return hp_spans_prefault(pool);
}

void hp_source_fini(struct hp_byte_pool *pool)
{
    hp_byte_pool_collect(pool);
    if (pool->checks != NULL)
        hp_check_flush(pool);
    for (unsigned i = 0; i < pool->class_count; i++) {
        front_flush(pool, &pool->bin[i], hp_bin_front(&pool->bin[i]));
        if (pool->checks != NULL) /* looks at every block for the last time */
            hp_runs_release_empty(pool, &pool->bin[i]);
    }
    while (pool->spans != NULL)
        hp_span_unmap(pool->spans);
}
