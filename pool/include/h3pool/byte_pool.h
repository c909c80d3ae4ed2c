/* SPDX-License-Identifier: MIT
 *
 * Byte pool: blocks by size class, given back with or without their size, from any thread.
 *
 * Misuse ends the process with one line that names the pool. Always found: a pointer that is from no pool or from
 * another one, and a block that is put twice in a row. What else is found, at what price, is chosen by checks.h.
 * Contents of a new block are whatever was left there, unless said otherwise.
 */
#ifndef H3POOL_BYTE_POOL_H
#define H3POOL_BYTE_POOL_H

#include <h3pool/counters.h>
#include <h3pool/types.h>

struct hp_check_state;
struct hp_pool_kind;
struct hp_pool_node;

/* internal, do not touch: visible because the fast path is inlined */
struct hp_byte_pool {
    _Atomic uintptr_t owner; /* &hp_thread_anchor of the owning thread */
    size_t bytes_max;        /* of the last class */
    uint32_t class_first, class_count;
    const char *name;
    uint64_t key;                  /* links in free blocks are encoded with it */
    struct hp_check_state *checks; /* NULL: none */
    struct hp_pool_manager *manager;
    struct hp_pool_node *node;                      /* its place in the manager's tree */
    struct hp_byte_pool *next;                      /* in the manager */
    struct hp_pool_kind *kind;                      /* kind.h; NULL: of none, as the next two */
    struct hp_byte_pool *next_of_kind, **kind_slot; /* where its thread finds it, or NULL */
    struct hp_span *spans;
    uint64_t dirty_bytes, dirty_low_bytes; /* free slices with pages; the least of it since the last idle trim */
    uint64_t keep_bytes;                   /* that trims leave */
    uint64_t alone_bytes;                  /* held by blocks in mappings of their own */
    bool huge_pages, secret;
    _Atomic uint64_t held_bytes, peak_bytes, refused, limit_bytes;
    _Atomic uint64_t other_gets, other_puts, other_bytes; /* of blocks outside the bins; bytes: live */
    size_t mapped_bytes;                                  /* of this struct with its bins and fronts */
    void (*drop)(void *ctx, void *object); /* object pools: what leaves the front for a run goes through it */
    void *drop_ctx;
    alignas(64) _Atomic(void *) remote; /* put by other threads, linked through the first word, encoded */
    _Atomic uint64_t remote_puts, remote_bytes;
    alignas(64) struct hp_bin bin[];
};

/* How a pool is made; sizes in bytes. Zero is a legal value of everything but |min| and |max|.
 *
 * The blocks of a secret pool are left out of core dumps (MADV_DONTDUMP), and a child process finds zeros in them
 * (MADV_WIPEONFORK): it must not use them, nor the pool. Heaps over the pool (heap.h) clear what they give back; who
 * takes blocks from it directly clears them before a put. Costs two system calls a span, which the kernel then keeps
 * apart from its neighbours. In the pass-through build only heaps honour it: blocks are malloc's. */
struct hp_pool_options {
    size_t min;          /* 1..HP_CLASS_BYTES_MAX: smaller requests get a block of |min| bytes */
    size_t max;          /* min..HP_CLASS_BYTES_MAX: larger requests get a mapping of their own: a system call each */
    uint64_t limit;      /* most bytes that the pool may hold, free blocks included; 0: no limit but the manager's */
    uint64_t keep_bytes; /* mapped and touched at birth, so that gets within it meet no page fault; never trimmed */
    bool huge_pages;     /* asks for huge pages (MADV_HUGEPAGE): fewer TLB misses, up to 2 MiB per first touch */
    bool secret;         /* for keys and what they protect: left out of core dumps, and of child processes */
};

/* Makes a pool of the calling thread.
 *
 * |manager|  keeps the pool in its tree and its totals; it must outlive the pool.
 * |name|     a path such as "tls" or "connection/heap" (manager.h), copied. Pools of one name are one row in reports.
 * |options|  sizes, limit and more, copied. Sizes out of range, and what is no name, end the process.
 *
 * Returns the pool, which the caller ends with hp_byte_pool_free; NULL when the system has no memory, or a limit
 * refuses |keep_bytes|. Costs a mapping of 64 bytes a class and 8 bytes a front entry, of which only what is used is
 * touched. */
HP_API struct hp_byte_pool *hp_byte_pool_new_with(struct hp_pool_manager *manager, const char *name,
                                                  const struct hp_pool_options *options) HP_MUST_CHECK;
/* Makes a pool as hp_byte_pool_new_with does, with no options but |min|, |max| and |limit|: bytes, as described there.
 */
HP_API struct hp_byte_pool *hp_byte_pool_new(struct hp_pool_manager *manager, const char *name, size_t min, size_t max,
                                             uint64_t limit) HP_MUST_CHECK;

/* Ends a pool: takes it from its manager and returns all its memory to the system. Nothing of it may be live: with
 * checks (checks.h) live blocks end the process, without them they are dangling. NULL is legal. Owner only, or any
 * thread once the pool is abandoned. Unmaps each span. */
HP_API void hp_byte_pool_free(struct hp_byte_pool *pool);

/* Leaves the pool without an owner: any thread may put, none may get. The last thing that a thread does with a pool
 * that outlives it. */
HP_API void hp_byte_pool_abandon(struct hp_byte_pool *pool);
/* Makes the calling thread the owner. The pool must have been abandoned, and the caller must know of it (as by joining
 * the thread that did it). This is how a thread that ends hands its memory over. */
HP_API void hp_byte_pool_adopt(struct hp_byte_pool *pool);

/* Takes in what other threads have put: until then it counts as live. Every slow get does it by itself; call it before
 * reading final counters. Owner only. A few loads and stores a block. */
HP_API void hp_byte_pool_collect(struct hp_byte_pool *pool);

/* Gives all unused memory back to the system, but for the pool's |keep_bytes|: fronts are emptied, dirty slices
 * discarded, empty spans unmapped. Takes system calls: keep it off the data path. Owner only. Returns the bytes by
 * which held memory fell. */
HP_API size_t hp_byte_pool_trim(struct hp_byte_pool *pool);

/* Gives back what has lain idle since the last call: at most |bytes_max|, and no more than the least that was free at
 * any moment in between, so that memory which a steady load swings through stays. Meant for a timer; the fronts of idle
 * classes are emptied too, a block per 512 bytes of |bytes_max|, so a call may prepare more than it gives back. Owner
 * only; about 15 us per 64 KiB. Returns the bytes by which held memory fell. */
HP_API size_t hp_byte_pool_trim_idle(struct hp_byte_pool *pool, size_t bytes_max);

/* Fills |out| (counters.h). Any thread; numbers of a pool in use are each right, but not all of the same instant. Costs
 * a few loads a class. */
HP_API void hp_byte_pool_counters(const struct hp_byte_pool *pool, struct hp_counters *out);

/* Bytes that may be used in a live block: never less than were asked for, and with checks exactly as many. Any thread
 * that holds the block. What is not from a pool ends the process. Costs a mask and a few loads. */
HP_API size_t hp_byte_pool_usable(const void *block);

/* Resizes a block as realloc(3) does: |block| NULL is a get, |bytes| 0 a put that returns NULL. On failure NULL, and
 * the old block stays valid. The block may come from any pool; a new one comes from |pool|, of which the caller is the
 * owner. Returns |block| itself, and costs a look at its size, while |bytes| is from half of what the block has to all
 * of it. */
HP_API void *hp_byte_pool_resize(struct hp_byte_pool *pool, void *block, size_t bytes) HP_MUST_CHECK;

/* Puts a block into whichever pool it came from; NULL is legal. |pool| is a pool of the same name: for allocator hooks
 * that carry no context, such as OpenSSL's. The pass-through build, in which a block does not lead to its pool, counts
 * the put on |pool|; the sum over the name is right in both. Any thread. */
HP_API void hp_byte_pool_put_any(struct hp_byte_pool *pool, void *block);

/* Computes the most bytes of memory that a pool with these options can ever cost, whatever its callers do: blocks,
 * headers, fronts and the struct; UINT64_MAX without a limit. The pages of a process's other memory and the kernel's
 * page tables are not in it. The pass-through build answers the same. */
HP_API uint64_t hp_footprint(const struct hp_pool_options *options);

/* --- internal: out of line ---------------------------------------------------------------------------------------- */
HP_API void *hp_byte_pool_get_slow(struct hp_byte_pool *pool, size_t bytes) HP_MUST_CHECK;
HP_API void hp_byte_pool_put_slow(struct hp_byte_pool *pool, void *block);
/* |bytes| is what the block was asked with. */
HP_API void hp_byte_pool_put_sized_slow(struct hp_byte_pool *pool, void *block, size_t bytes);

/* internal: true if the calling thread owns the pool. */
static inline bool hp_byte_pool_mine(const struct hp_byte_pool *pool)
{
    return HP_READ(pool->owner) == (uintptr_t)&hp_thread_anchor;
}

/* internal: blocks in a front. */
static inline uint32_t hp_bin_front(const struct hp_bin *bin)
{
    return (uint32_t)(HP_READ(bin->state) & HP_FRONT_MAX);
}

/* --- the fast path ------------------------------------------------------------------------------------------------ */

/* Finds the pool's bin for a size, for callers whose size never changes: hp_bin_get and hp_bin_put save its look-up.
 * |bytes| must be 1..the pool's max. The bin is valid until the pool ends. */
static inline struct hp_bin *hp_byte_pool_bin(struct hp_byte_pool *pool, size_t bytes)
{
    unsigned c = hp_class_of(bytes);
    return &pool->bin[c > pool->class_first ? c - pool->class_first : 0];
}

/* internal: takes the topmost block of the front, or returns NULL. */
static inline HP_MUST_CHECK void *hp_bin_pop(struct hp_bin *bin)
{
    uint64_t state = HP_READ(bin->state);
    void *block = bin->front[(int64_t)(state & HP_FRONT_MAX) - 1];
    if (HP_LIKELY(block != NULL))
        HP_SET(bin->state, state + (1u << HP_FRONT_BITS) - 1);
    return block;
}

/* internal: lays a block of the bin on its front; false if there is no room, or the block lies on top already. */
static inline HP_MUST_CHECK bool hp_bin_push(struct hp_bin *bin, void *block)
{
    uint64_t state = HP_READ(bin->state), n = state & HP_FRONT_MAX;
    if (HP_UNLIKELY(n >= bin->front_cap || bin->front[(int64_t)n - 1] == block))
        return false;
    bin->front[n] = block;
    HP_SET(bin->state, state + 1);
    return true;
}

/* Takes a block of the bin's class from the pool; as hp_byte_pool_get otherwise. |bin| must be one of |pool|'s. */
static inline HP_MUST_CHECK void *hp_bin_get(struct hp_byte_pool *pool, struct hp_bin *bin)
{
    void *block = hp_bin_pop(bin);
    return HP_LIKELY(block != NULL) ? block : hp_byte_pool_get_slow(pool, bin->block_bytes);
}

/* Gives back a block of exactly this bin; NULL is legal. Owner only, other threads use hp_byte_pool_put. */
static inline void hp_bin_put(struct hp_byte_pool *pool, struct hp_bin *bin, void *block)
{
    if (HP_UNLIKELY((uintptr_t)block / HP_SLICE_BYTES != bin->warm_slice || !hp_bin_push(bin, block)))
        hp_byte_pool_put_sized_slow(pool, block, bin->block_bytes);
}

/* Takes a block of at least |bytes| bytes (0 is taken as 1), aligned to 16, and to itself where its class is a power of
 * two up to 64 KiB; or NULL when a limit or the system refuses it, which is counted. The caller holds it until a put.
 * Owner only: another thread's get ends the process, once it comes to the slow path. Constant time; one in dozens fills
 * the front, and one in thousands acquires a run or a span. More than the pool's max is two system calls at least. */
static inline HP_MUST_CHECK void *hp_byte_pool_get(struct hp_byte_pool *pool, size_t bytes)
{
    if (HP_UNLIKELY(bytes - 1 >= pool->bytes_max))
        return hp_byte_pool_get_slow(pool, bytes);
    void *block = hp_bin_pop(hp_byte_pool_bin(pool, bytes));
    return HP_LIKELY(block != NULL) ? block : hp_byte_pool_get_slow(pool, bytes);
}

/* Gives a block back to the pool that it came from; NULL is legal. Any thread: another one than the owner leaves the
 * block in the pool's remote list, without a lock. */
static inline void hp_byte_pool_put(struct hp_byte_pool *pool, void *block)
{
    struct hp_bin *bin = &hp_no_bin;
    if (HP_LIKELY(hp_span_known(block)))
        bin = hp_bin_of(block);
    if (HP_UNLIKELY(bin->pool != pool || !hp_byte_pool_mine(pool) || !hp_bin_push(bin, block)))
        hp_byte_pool_put_slow(pool, block);
}

/* Gives a block back as hp_byte_pool_put does, for a caller that knows with how many bytes it was asked for: a wrong
 * number is misuse, and found if it is of another class. Cheaper where blocks of many sizes take turns. */
static inline void hp_byte_pool_put_sized(struct hp_byte_pool *pool, void *block, size_t bytes)
{
    if (HP_LIKELY(bytes - 1 < pool->bytes_max && hp_byte_pool_mine(pool))) {
        struct hp_bin *bin = hp_byte_pool_bin(pool, bytes);
        if (HP_LIKELY((uintptr_t)block / HP_SLICE_BYTES == bin->warm_slice && hp_bin_push(bin, block)))
            return;
    }
    hp_byte_pool_put_sized_slow(pool, block, bytes);
}

#endif
