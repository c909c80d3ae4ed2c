/* SPDX-License-Identifier: MIT
 *
 * Vocabulary of libh3pool. Every header of the library includes this one.
 *
 *   block    what a caller gets: size-class bytes, aligned to 16 (a power-of-two class up to 64 KiB: to itself)
 *   class    a block size. 8 classes per doubling, so at most 12.5 % of a block above 128 bytes is unused
 *   bin      one class of one pool: a front (an array of free blocks, the inlined fast path) before its runs
 *   run      1 to 8 slices cut into blocks of one class
 *   slice    64 KiB: in a run, or free and clean (no page behind it), or free and dirty (pages stay, for the next run)
 *   span     2 MiB from the system, aligned to 2 MiB: a header slice and 31 slices for runs
 *   pool     bins and spans with a name, a limit and counters; belongs to one thread
 *   manager  the named pools of a process, and the limits over them
 *
 *   span  |header|run of 64-byte blocks|run of 10 KiB blocks, 2 slices|free|free|...|
 *          \ which bin and run each slice belongs to: an address leads there by masking and one load
 *
 * The invariant of a bin:  taken == front + (blocks that callers hold, or that wait in the remote list)
 * and of a pool:           held == slices in runs + dirty slices + huge blocks
 *
 * Threads: a pool belongs to the thread that made or adopted it. Only that thread gets; any thread may put. Counters
 * are written by the owner with relaxed atomic stores (plain moves), so any thread may read them.
 *
 * Two builds of the library have the same headers, so that callers are compiled once: the pooled build, and the
 * pass-through build in which every block is a malloc of its own (h3pool-unpooled). Where the front's capacity is 0
 * (pass-through, sanitizers, checks) the inlined fast path falls through to the library's functions.
 */
#ifndef H3POOL_TYPES_H
#define H3POOL_TYPES_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#error "h3pool is for C: its fast path is inlined, and C++ has no _Atomic members; wrap it in a C file"
#endif

/* Public: what the shared library exports. */
#define HP_API __attribute__((visibility("default")))
/* Callers must look at the result. */
#define HP_MUST_CHECK __attribute__((warn_unused_result))
/* internal: hints to the compiler */
#define HP_LIKELY(x) __builtin_expect(!!(x), 1)
#define HP_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Alignment of every block, and bytes of the smallest. */
#define HP_BLOCK_ALIGN 16u
/* Bytes of a slice: the unit of held memory and of limits. */
#define HP_SLICE_BYTES (64u << 10)
/* Bytes of a span: what is asked from the system at a time. */
#define HP_SPAN_BYTES (2u << 20)
/* Slices of a span, its header's included. */
#define HP_SPAN_SLICES (HP_SPAN_BYTES / HP_SLICE_BYTES)
/* Largest block that comes from a class; larger ones get a mapping of their own. */
#define HP_CLASS_BYTES_MAX (256u << 10)
/* Classes that there are. */
#define HP_CLASS_COUNT 96u
/* internal: bits of a front's count */
#define HP_FRONT_BITS 16

/* Most entries of a front: unused objects that an object pool may keep. */
#define HP_FRONT_MAX ((1u << HP_FRONT_BITS) - 1)

struct hp_byte_pool;
struct hp_pool_manager;

/* --- internal, do not touch: visible because the fast path is inlined ------------------------------------------- */

struct hp_run;

/* A slice that no address leads to, and NULL (which is put too) least of all. */
#define HP_NO_SLICE UINTPTR_MAX

struct hp_bin {
    /* Gets since birth << HP_FRONT_BITS | blocks in the front: one word, so a get is one load and one store of it. */
    _Atomic uint64_t state;
    void **front; /* front[-1] is NULL for ever, so that the topmost entry can be read without a test */
    /* The slice, as address / HP_SLICE_BYTES, of a run of this bin that a put has verified last; or HP_NO_SLICE. */
    uintptr_t warm_slice;
    uint32_t front_cap; /* 0: everything goes through the library's functions */
    uint32_t block_bytes;
    struct hp_byte_pool *pool;
    _Atomic uint64_t taken; /* blocks outside the runs */
    struct hp_run *runs;    /* with a free block; doubly linked */
    uint32_t gets_at_trim;  /* as of the last idle trim: a bin without gets since then gives up its front */
    uint32_t run_slices;
};

struct hp_run {
    struct hp_bin *bin;
    struct hp_run *next, *prev;
    void *free;          /* given back, linked through their first word, which is encoded */
    char *base;          /* first block */
    uint64_t reciprocal; /* 2^HP_RECIPROCAL_BITS / block bytes, rounded up: to divide an offset by a multiplication */
    uint32_t used;       /* blocks outside the run */
    uint32_t carved;     /* blocks ever taken from base on; the rest has not been touched */
    uint32_t capacity;
    uint8_t slice, slices;
    bool listed;
};

struct hp_span {
    uint32_t magic;
    uint32_t free_slices;  /* bit per slice */
    uint32_t dirty_slices; /* of these: may have pages, and are in held_bytes */
    uint32_t guarded;      /* not 0: a block of the checks, before a guard page */
    uint64_t huge_bytes;   /* not 0: one block in a mapping of its own, this long with its header page */
    struct hp_byte_pool *pool;
    struct hp_span *next, *prev;
    struct hp_bin *bin_of[HP_SPAN_SLICES]; /* slice -> the bin of its run; &hp_no_bin where there is none */
    uint8_t run_of[HP_SPAN_SLICES];        /* slice -> its run's first slice */
    struct hp_run run[HP_SPAN_SLICES];
};

/* Enough for a quotient that is exact: 19 bits of offset and 18 of block. */
#define HP_RECIPROCAL_BITS 40

#define HP_SPAN_MAGIC 0x68705370u /* "hpSp" */

/* A byte per 2 MiB of address space, 1 where a span of ours begins: 64 MiB of zero pages, of which a few are touched.
 * Weak to callers, which makes compilers reach it through the GOT: or a program that is linked with the shared library
 * would get a copy of its own, and the dynamic linker would touch all of it at start. A static link makes that the
 * address itself again. */
#define HP_ADDRESS_BITS 47
#ifdef HP_LIBRARY
#define HP_API_MAP HP_API
#else
#define HP_API_MAP HP_API __attribute__((weak))
#endif
extern HP_API_MAP _Atomic uint8_t hp_span_map[(1ull << HP_ADDRESS_BITS) / HP_SPAN_BYTES];

/* The bin of what is in no run. Its pool is no pool, NULL neither, and its front has no room: a stray put ends in the
 * slow path. */
extern HP_API struct hp_bin hp_no_bin;

/* Its address is the identity of the calling thread. */
extern HP_API _Thread_local char hp_thread_anchor;

static inline struct hp_span *hp_span_of(const void *block)
{
    return (struct hp_span *)((uintptr_t)block & ~(uintptr_t)(HP_SPAN_BYTES - 1));
}

static inline bool hp_span_known(const void *block)
{
    uintptr_t i = (uintptr_t)block / HP_SPAN_BYTES;
    return i < sizeof hp_span_map && atomic_load_explicit(&hp_span_map[i], memory_order_relaxed) != 0;
}

/* |block| must lie in a known span. */
static inline struct hp_bin *hp_bin_of(const void *block)
{
    return hp_span_of(block)->bin_of[((uintptr_t)block & (HP_SPAN_BYTES - 1)) / HP_SLICE_BYTES];
}

static inline struct hp_run *hp_run_of(struct hp_span *span, const void *block)
{
    return &span->run[span->run_of[((uintptr_t)block & (HP_SPAN_BYTES - 1)) / HP_SLICE_BYTES]];
}

/* Classes of the sizes up to HP_CLASS_TABLE_MAX, by granule: a load is faster than the arithmetic. */
#define HP_CLASS_TABLE_MAX 4096u
extern HP_API const uint8_t hp_class_table[HP_CLASS_TABLE_MAX / HP_BLOCK_ALIGN + 1];

/* Class of a size of 1 to HP_CLASS_BYTES_MAX bytes, computed: 16, 32, ... 128, 144, 160, ... 256, 288, ... */
static inline unsigned hp_class_compute(size_t bytes)
{
    size_t last = (bytes + HP_BLOCK_ALIGN - 1) / HP_BLOCK_ALIGN - 1; /* granules less one */
    unsigned e = 63u - (unsigned)__builtin_clzll(last | 8);
    return (e - 3) * 8 + (unsigned)(last >> (e - 3));
}

/* The same, fast. */
static inline unsigned hp_class_of(size_t bytes)
{
    if (HP_LIKELY(bytes <= HP_CLASS_TABLE_MAX))
        return hp_class_table[(bytes + HP_BLOCK_ALIGN - 1) / HP_BLOCK_ALIGN];
    return hp_class_compute(bytes);
}

/* Block size of a class below HP_CLASS_COUNT. */
static inline uint32_t hp_class_bytes(unsigned class_index)
{
    if (class_index < 8)
        return (class_index + 1) * HP_BLOCK_ALIGN;
    return (class_index % 8 + 9) * HP_BLOCK_ALIGN << (class_index / 8 - 1);
}

#define HP_ADD(counter, n)                                                                                             \
    atomic_store_explicit(&(counter), atomic_load_explicit(&(counter), memory_order_relaxed) + (n),                    \
                          memory_order_relaxed)
#define HP_SUB(counter, n)                                                                                             \
    atomic_store_explicit(&(counter), atomic_load_explicit(&(counter), memory_order_relaxed) - (n),                    \
                          memory_order_relaxed)
#define HP_SET(counter, n) atomic_store_explicit(&(counter), (n), memory_order_relaxed)
#define HP_READ(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

#endif
