/* SPDX-License-Identifier: MIT
 *
 * Byte pool: blocks by size class, given back with or without their size, from any thread.
 *
 * Misuse (a foreign pointer, a block of another pool, an immediate double put) ends the process with one line that
 * names the pool. Contents of a new block are whatever was left there, unless said otherwise.
 */
#ifndef H3POOL_BYTE_POOL_H
#define H3POOL_BYTE_POOL_H

#include <h3pool/counters.h>
#include <h3pool/types.h>

struct hp_byte_pool {
    _Atomic uintptr_t owner; /* &hp_thread_anchor of the owning thread */
    uint32_t class_first, class_count;
    size_t bytes_max; /* of the last class */
    const char *name;
    struct hp_pool_manager *manager;
    struct hp_byte_pool *next; /* in the manager */
    struct hp_span *spans;
    _Atomic uint64_t held_bytes, peak_bytes, refused, limit_bytes;
    _Atomic uint64_t other_gets, other_live, other_bytes; /* blocks outside the bins */
    size_t mapped_bytes;                                  /* of this struct with its bins and fronts */
    void (*drop)(void *ctx, void *object); /* object pools: what leaves the front for a run goes through it */
    void *drop_ctx;
    alignas(64) _Atomic(void *) remote; /* put by other threads, linked through the first word */
    _Atomic uint64_t remote_puts, remote_bytes;
    alignas(64) struct hp_bin bin[];
};

/* Makes a pool of the calling thread.
 *
 * |manager|  keeps the pool in its list and its total; it must outlive the pool.
 * |name|     not copied; pools of one name are one row in reports.
 * |min|      1..HP_CLASS_BYTES_MAX: smaller requests get a block of |min| bytes.
 * |max|      min..HP_CLASS_BYTES_MAX: larger requests get a mapping of their own: a system call each.
 * |limit|    most bytes that the pool may hold, free blocks included; 0: no limit but the manager's.
 *
 * Returns NULL when the system has no memory. Maps about 100 bytes a class and 8 bytes a front entry. */
struct hp_byte_pool *hp_byte_pool_new(struct hp_pool_manager *manager, const char *name, size_t min, size_t max,
                                      uint64_t limit) HP_MUST_CHECK;

/* Ends a pool: leaves the manager and returns all memory to the system. Nothing of it may be live. */
void hp_byte_pool_free(struct hp_byte_pool *pool);

/* Makes the calling thread the owner. The thread that owned it must have ended, or must never use it again except to
 * put. This is how a thread that ends hands its memory over. */
void hp_byte_pool_adopt(struct hp_byte_pool *pool);

/* Takes in what other threads have put. Every slow get does it by itself; call it before reading final counters. */
void hp_byte_pool_collect(struct hp_byte_pool *pool);

/* Gives empty memory back to the system: fronts are emptied, empty spans unmapped, free slices discarded. Takes
 * system calls: keep it off the data path. Owner only. Returns the bytes by which held memory fell. */
size_t hp_byte_pool_trim(struct hp_byte_pool *pool);

/* Fills |out| from any thread. Numbers of a pool in use are each right, but not all of the same instant. */
void hp_byte_pool_counters(const struct hp_byte_pool *pool, struct hp_counters *out);

/* Bytes that may be used in a live block; never less than were asked for. Cost: a mask and two loads. */
size_t hp_byte_pool_usable(const void *block);

/* As realloc(3): |block| NULL is a get, |bytes| 0 a put that returns NULL. On failure NULL, and the old block stays
 * valid. The block may come from any pool; a new one comes from |pool|. */
void *hp_byte_pool_resize(struct hp_byte_pool *pool, void *block, size_t bytes) HP_MUST_CHECK;

/* Puts a block of whichever pool it came from. |pool| is a pool of the same name: for allocator hooks that
 * carry no context, such as OpenSSL's. The pass-through build, in which a block does not lead to its pool, counts the
 * put on |pool|; the sum over the name is right in both. Any thread. */
void hp_byte_pool_put_any(struct hp_byte_pool *pool, void *block);

/* --- internal: out of line ---------------------------------------------------------------------------------------- */
void *hp_byte_pool_get_slow(struct hp_byte_pool *pool, size_t bytes) HP_MUST_CHECK;
void hp_byte_pool_put_slow(struct hp_byte_pool *pool, void *block);

/* internal: true if the calling thread owns the pool. */
static inline bool hp_byte_pool_mine(const struct hp_byte_pool *pool)
{
    return HP_READ(pool->owner) == (uintptr_t)&hp_thread_anchor;
}

/* --- the fast path ------------------------------------------------------------------------------------------------ */

/* The pool's bin for a size, for callers whose size never changes: hp_bin_get(pool, bin), hp_bin_put(...).
 * |bytes| must be 1..the pool's max. */
static inline struct hp_bin *hp_byte_pool_bin(struct hp_byte_pool *pool, size_t bytes)
{
    unsigned c = hp_class_of(bytes);
    return &pool->bin[c > pool->class_first ? c - pool->class_first : 0];
}

/* internal: |bytes| is what the caller wants of the block, for the sanitizers' sake. */
static inline HP_MUST_CHECK void *hp_bin_take(struct hp_byte_pool *pool, struct hp_bin *bin, size_t bytes)
{
    uint32_t n = HP_READ(bin->front_count);
    if (HP_UNLIKELY(n == 0))
        return hp_byte_pool_get_slow(pool, bytes);
    HP_ADD(bin->gets, 1);
    atomic_store_explicit(&bin->front_count, n - 1, memory_order_relaxed);
    return bin->front[n - 1];
}

/* A block of the bin's class, or NULL. Owner only. */
static inline HP_MUST_CHECK void *hp_bin_get(struct hp_byte_pool *pool, struct hp_bin *bin)
{
    return hp_bin_take(pool, bin, bin->block_bytes);
}

/* Gives back a block of exactly this bin. Owner only. */
static inline void hp_bin_put(struct hp_byte_pool *pool, struct hp_bin *bin, void *block)
{
    uint32_t n = HP_READ(bin->front_count);
    if (HP_UNLIKELY(n >= bin->front_cap || (n != 0 && bin->front[n - 1] == block))) {
        hp_byte_pool_put_slow(pool, block);
        return;
    }
    bin->front[n] = block;
    atomic_store_explicit(&bin->front_count, n + 1, memory_order_relaxed);
}

/* A block of at least |bytes| bytes, or NULL when a limit or the system refuses it. 0 bytes is taken as 1. Owner only.
 * Constant time; a run or a span is acquired about once in thousands. */
static inline HP_MUST_CHECK void *hp_byte_pool_get(struct hp_byte_pool *pool, size_t bytes)
{
    if (HP_UNLIKELY(bytes - 1 >= pool->bytes_max))
        return hp_byte_pool_get_slow(pool, bytes);
    return hp_bin_take(pool, hp_byte_pool_bin(pool, bytes), bytes);
}

/* Gives a block back to the pool that it came from; NULL is legal. Any thread: another one than the owner leaves the
 * block in the pool's remote list, without a lock. */
static inline void hp_byte_pool_put(struct hp_byte_pool *pool, void *block)
{
    struct hp_span *span = hp_span_of(block);
    if (HP_UNLIKELY(!hp_span_known(block) || span->pool != pool || span->huge_bytes != 0 || !hp_byte_pool_mine(pool))) {
        hp_byte_pool_put_slow(pool, block);
        return;
    }
    hp_bin_put(pool, hp_run_of(span, block)->bin, block);
}

#endif
