/* SPDX-License-Identifier: MIT
 *
 * Runs of equal blocks inside spans from the system.
 *
 * Nothing is stored in or before a block, so sizes are exact and powers of two are aligned; an address leads to its
 * span by masking, and from there to its bin and run. A run is cut up lazily: what was never asked for is never
 * touched. A free block holds one encoded link in its first word.
 *
 * A run whose blocks are all back returns its slices to the span. They stay dirty, that is with their pages, for the
 * next run of any class, and leave the pool's account only when a trim discards them: held_bytes is what the pool can
 * have in memory, not what it has handed out.
 *
 * What it costs: a page per class in use at least, a header page per span, and slices that stay with their class
 * until every block of the run is back. The last run of a bin stays, so that a bin that swings between 0 and 1 blocks
 * does not churn.
 */
#include "span.h"

#include "annotate.h"
#include "check.h"

#include <string.h>
#include <sys/mman.h>

#define ALL_SLICES (~1u) /* the header's slice is not for runs */

/* --- spans ----------------------------------------------------------------------------------------------------------
 */

/* The header is left out: it has no secrets, and a debugger finds its way by it. The kernel may know neither advice,
 * and with Valgrind the second is refused: that is no reason to do without memory. */
static void keep_secret(struct hp_span *span, size_t bytes)
{
    madvise((char *)span + 4096, bytes - 4096, MADV_DONTDUMP);
    madvise((char *)span + 4096, bytes - 4096, MADV_WIPEONFORK);
}

static struct hp_span *span_new(struct hp_byte_pool *pool, size_t bytes)
{
    static_assert(sizeof(struct hp_span) <= 4096, "the header is one page");
    struct hp_span *span = hp_system_map(bytes, HP_SPAN_BYTES);
    uintptr_t i = (uintptr_t)span / HP_SPAN_BYTES;
    if (span == NULL)
        return NULL;
    if (i >= sizeof hp_span_map) { /* the kernel gives such addresses only to who asks for them */
        hp_system_unmap(span, bytes);
        return NULL;
    }
    /* Without this a first touch may cost 2 MiB: what a pool holds would not be what it uses. */
    madvise(span, bytes, pool->huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    if (pool->secret)
        keep_secret(span, bytes);
    span->magic = HP_SPAN_MAGIC;
    span->pool = pool;
    span->free_slices = ALL_SLICES;
    for (unsigned s = 0; s < HP_SPAN_SLICES; s++) {
        span->run[s].bin = &hp_no_bin;
        span->bin_of[s] = &hp_no_bin;
    }
    span->next = pool->spans;
    if (span->next != NULL)
        span->next->prev = span;
    pool->spans = span;
    HP_SET(hp_span_map[i], 1);
    return span;
}

void hp_span_unmap(struct hp_span *span)
{
    size_t bytes = span->huge_bytes != 0 ? span->huge_bytes : HP_SPAN_BYTES;
    if (span->next != NULL)
        span->next->prev = span->prev;
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        span->pool->spans = span->next;
    HP_SET(hp_span_map[(uintptr_t)span / HP_SPAN_BYTES], 0);
    HP_USABLE(span, bytes);
    hp_system_unmap(span, bytes);
}

struct hp_span *hp_span_map_alone(struct hp_byte_pool *pool, size_t bytes)
{
    bool fits = hp_pool_hold(pool, bytes);
    if (!fits && pool->dirty_bytes != 0) { /* what lies unused in slices may be all that is missing */
        hp_spans_discard(pool, bytes + HP_SLICE_BYTES);
        fits = hp_pool_hold(pool, bytes);
    }
    if (!fits)
        return NULL;
    struct hp_span *span = span_new(pool, bytes);
    if (span == NULL) {
        hp_pool_unhold(pool, bytes);
        return NULL;
    }
    span->free_slices = 0;
    span->huge_bytes = bytes;
    pool->alone_bytes += bytes;
    return span;
}

void hp_span_unmap_alone(struct hp_span *span)
{
    span->pool->alone_bytes -= span->huge_bytes;
    hp_pool_unhold(span->pool, span->huge_bytes);
    hp_span_unmap(span);
}

/* --- huge blocks ----------------------------------------------------------------------------------------------------
 */

void *hp_huge_get(struct hp_byte_pool *pool, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    struct hp_span *span = hp_span_map_alone(pool, (bytes + HP_HUGE_HEADER_BYTES + 4095) & ~(size_t)4095);
    if (span == NULL)
        return NULL;
    HP_ADD(pool->other_gets, 1);
    HP_ADD(pool->other_bytes, span->huge_bytes - HP_HUGE_HEADER_BYTES);
    return (char *)span + HP_HUGE_HEADER_BYTES;
}

void hp_huge_put(struct hp_span *span, const void *block)
{
    struct hp_byte_pool *pool = span->pool;
    if (HP_UNLIKELY((const char *)block != (char *)span + HP_HUGE_HEADER_BYTES))
        hp_die("pool '%s': %p points into a block, not at its start", pool->name, block);
    HP_ADD(pool->other_puts, 1);
    HP_SUB(pool->other_bytes, span->huge_bytes - HP_HUGE_HEADER_BYTES);
    hp_span_unmap_alone(span);
}

/* --- slices ---------------------------------------------------------------------------------------------------------
 */

/* First slice of |count| ones in a row in |slices|, or 0. */
static unsigned find_slices(uint32_t slices, unsigned count)
{
    uint32_t starts = slices;
    for (unsigned i = 1; i < count; i++)
        starts &= slices >> i;
    return starts != 0 ? (unsigned)__builtin_ctz(starts) : 0;
}

/* A span with |count| free slices in a row: dirty ones if there are, since they are paid for and warm. */
static struct hp_span *span_with_room(const struct hp_byte_pool *pool, unsigned count, unsigned *first)
{
    struct hp_span *clean = NULL;
    unsigned clean_first = 0;
    for (struct hp_span *span = pool->spans; span != NULL; span = span->next) {
        if ((*first = find_slices(span->dirty_slices, count)) != 0)
            return span;
        if (clean == NULL && (clean_first = find_slices(span->free_slices, count)) != 0)
            clean = span;
    }
    *first = clean_first;
    return clean;
}

static uint64_t slice_bytes(uint32_t slices)
{
    return (uint64_t)(unsigned)__builtin_popcount(slices) * HP_SLICE_BYTES;
}

static void dirty_less(struct hp_byte_pool *pool, uint64_t bytes)
{
    pool->dirty_bytes -= bytes;
    if (pool->dirty_bytes < pool->dirty_low_bytes)
        pool->dirty_low_bytes = pool->dirty_bytes;
}

/* Takes |bytes| more into the account. Where that would be a new peak while slices lie unused, which are in rows too
 * short, they are given up for it: else the peak would creep up with each wave of a load, as the rows get shorter. */
static bool hold_slices(struct hp_byte_pool *pool, uint64_t bytes)
{
    if (pool->dirty_bytes != 0 && HP_READ(pool->held_bytes) + bytes > HP_READ(pool->peak_bytes))
        hp_spans_discard(pool, bytes);
    return hp_pool_hold(pool, bytes);
}

/* Takes |count| slices in a row out of a span and into the account; NULL when refused. */
static struct hp_span *slices_take(struct hp_byte_pool *pool, unsigned count, unsigned *first)
{
    struct hp_span *span = span_with_room(pool, count, first);
    if (span == NULL) {
        span = span_new(pool, HP_SPAN_BYTES);
        *first = 1;
    }
    if (span == NULL)
        return NULL;
    uint32_t mask = ((1u << count) - 1) << *first;
    uint32_t dirty = span->dirty_slices & mask;
    span->free_slices &= ~mask;
    span->dirty_slices &= ~mask;
    dirty_less(pool, slice_bytes(dirty));
    if (dirty == mask || hold_slices(pool, slice_bytes(mask & ~dirty)))
        return span;
    span->free_slices |= mask;
    span->dirty_slices |= dirty;
    pool->dirty_bytes += slice_bytes(dirty);
    if (span->free_slices == ALL_SLICES && span->dirty_slices == 0)
        hp_span_unmap(span);
    return NULL;
}

/* Writes to each page what is there. */
static void touch(volatile char *page, const char *end)
{
    for (; page < end; page += 4096)
        *page = *page;
}

bool hp_spans_prefault(struct hp_byte_pool *pool)
{
    if (pool->keep_bytes != 0) /* the fronts too */
        touch((char *)(((uintptr_t)&pool->bin[pool->class_count] + 4095) & ~(uintptr_t)4095),
              (char *)pool + pool->mapped_bytes);
    while (pool->dirty_bytes < pool->keep_bytes) {
        uint64_t missing = (pool->keep_bytes - pool->dirty_bytes + HP_SLICE_BYTES - 1) / HP_SLICE_BYTES;
        unsigned count = missing < HP_SPAN_SLICES - 1 ? (unsigned)missing : HP_SPAN_SLICES - 1;
        uint32_t mask = (uint32_t)(((1ull << count) - 1) << 1);
        if (!hp_pool_hold(pool, slice_bytes(mask)))
            return false;
        struct hp_span *span = span_new(pool, HP_SPAN_BYTES);
        if (span == NULL) {
            hp_pool_unhold(pool, slice_bytes(mask));
            return false;
        }
        char *slices = (char *)span + HP_SLICE_BYTES;
        touch(slices, slices + slice_bytes(mask));
        span->dirty_slices = mask;
        pool->dirty_bytes += slice_bytes(mask);
    }
    pool->dirty_low_bytes = pool->dirty_bytes;
    return true;
}

/* Discards up to |most| dirty slices of a span; returns their bytes. The span may be gone after it. */
static size_t span_discard(struct hp_span *span, unsigned most)
{
    uint32_t dropped = 0;
    while (most > 0 && span->dirty_slices != 0) { /* a system call for each row of neighbours */
        unsigned first = (unsigned)__builtin_ctz(span->dirty_slices);
        unsigned count = (unsigned)__builtin_ctz(~(span->dirty_slices >> first));
        count = count < most ? count : most;
        uint32_t mask = ((1u << count) - 1) << first;
        span->dirty_slices &= ~mask;
        dropped |= mask;
        most -= count;
        if (span->free_slices != ALL_SLICES || span->dirty_slices != 0)
            madvise((char *)span + first * HP_SLICE_BYTES, count * HP_SLICE_BYTES, MADV_DONTNEED);
    }
    if (span->free_slices == ALL_SLICES && span->dirty_slices == 0)
        hp_span_unmap(span);
    return slice_bytes(dropped);
}

size_t hp_spans_discard(struct hp_byte_pool *pool, size_t bytes_max)
{
    size_t dropped = 0;
    for (struct hp_span *span = pool->spans, *next; span != NULL && bytes_max - dropped >= HP_SLICE_BYTES;
         span = next) {
        size_t slices = (bytes_max - dropped) / HP_SLICE_BYTES;
        next = span->next;
        if (span->huge_bytes == 0)
            dropped += span_discard(span, slices < HP_SPAN_SLICES ? (unsigned)slices : HP_SPAN_SLICES);
    }
    dirty_less(pool, dropped);
    hp_pool_unhold(pool, dropped);
    return dropped;
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

static bool run_acquire(struct hp_byte_pool *pool, struct hp_bin *bin)
{
    unsigned first;
    struct hp_span *span = slices_take(pool, bin->run_slices, &first);
    /* Free slices may lie in rows too short for this run: what they hold of the limit is given back for another try. */
    if (span == NULL && pool->dirty_bytes != 0) {
        hp_spans_discard(pool, SIZE_MAX);
        span = slices_take(pool, bin->run_slices, &first);
    }
    if (span == NULL)
        return false;
    memset(&span->run_of[first], (int)first, bin->run_slices);
    for (unsigned s = first; s < first + bin->run_slices; s++)
        span->bin_of[s] = bin;
    struct hp_run *run = &span->run[first];
    *run = (struct hp_run){
        .bin = bin,
        .base = (char *)span + first * HP_SLICE_BYTES,
        .reciprocal = ((1ull << HP_RECIPROCAL_BITS) + bin->block_bytes - 1) / bin->block_bytes,
        .capacity = bin->run_slices * HP_SLICE_BYTES / bin->block_bytes,
        .slice = (uint8_t)first,
        .slices = (uint8_t)bin->run_slices,
    };
    HP_UNUSABLE(run->base, bin->run_slices * HP_SLICE_BYTES);
    run_list(run);
    return true;
}

static void run_release(struct hp_byte_pool *pool, struct hp_run *run)
{
    struct hp_span *span = hp_span_of(run->base);
    struct hp_bin *bin = run->bin;
    uint32_t mask = ((1u << run->slices) - 1) << run->slice;
    if (pool->checks != NULL)
        hp_check_run(pool, run);
    run_unlist(run);
    span->free_slices |= mask;
    span->dirty_slices |= mask;
    pool->dirty_bytes += slice_bytes(mask);
    run->bin = &hp_no_bin;
    for (unsigned s = run->slice; s < run->slice + run->slices; s++) {
        span->bin_of[s] = &hp_no_bin;
        if (bin->warm_slice == ((uintptr_t)span + s * HP_SLICE_BYTES) / HP_SLICE_BYTES)
            bin->warm_slice = HP_NO_SLICE;
    }
}

void hp_runs_release_empty(struct hp_byte_pool *pool, struct hp_bin *bin)
{
    for (struct hp_run *run = bin->runs, *next; run != NULL; run = next) {
        next = run->next;
        if (run->used == 0)
            run_release(pool, run);
    }
}

void *hp_run_take(struct hp_byte_pool *pool, struct hp_bin *bin, bool *fresh)
{
    if (bin->runs == NULL && !run_acquire(pool, bin))
        return NULL;
    struct hp_run *run = bin->runs;
    void *block = run->free;
    if (fresh != NULL)
        *fresh = block == NULL;
    if (block != NULL) {
        HP_USABLE(block, sizeof(void *));
        char *next = hp_link_get(pool, block);
        if (HP_UNLIKELY(next != NULL && (size_t)(next - run->base) >= (size_t)run->carved * bin->block_bytes))
            hp_die("pool '%s': block %p was written to after it was put", pool->name, block);
        run->free = next;
    } else {
        block = run->base + (size_t)run->carved++ * bin->block_bytes;
    }
    run->used++;
    if (run->used == run->capacity)
        run_unlist(run);
    HP_ADD(bin->taken, 1);
    return block;
}

void hp_run_give(struct hp_byte_pool *pool, void *block)
{
    struct hp_run *run = hp_run_of(hp_span_of(block), block);
    struct hp_bin *bin = run->bin;
    if (HP_UNLIKELY(bin == &hp_no_bin))
        hp_die("pool '%s': %p was put, but is not a live block", pool->name, block);
    if (HP_UNLIKELY(run->used == 0 || block == run->free))
        hp_die("pool '%s': block %p was put twice", pool->name, block);
    size_t offset = (size_t)((char *)block - run->base), index = offset * run->reciprocal >> HP_RECIPROCAL_BITS;
    if (HP_UNLIKELY(index * bin->block_bytes != offset))
        hp_die("pool '%s': %p points into a block, not at its start", pool->name, block);
    if (HP_UNLIKELY(index >= run->carved))
        hp_die("pool '%s': %p was put, but is not a live block", pool->name, block);
    HP_USABLE(block, sizeof(void *));
    hp_link_set(pool, block, run->free);
    HP_UNUSABLE(block, bin->block_bytes);
    run->free = block;
    run->used--;
    HP_SUB(bin->taken, 1);
    if (!run->listed)
        run_list(run);
    if (run->used == 0 && (run->next != NULL || run->prev != NULL))
        run_release(pool, run);
}
