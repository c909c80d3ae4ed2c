/* SPDX-License-Identifier: MIT
 *
 * Allocation counter that stands outside the program it counts: the layout of its file, and how to read it.
 *
 *   LD_PRELOAD=build/liballoc_counter.so H3POOL_ALLOC_COUNTER=FILE PROGRAM ...
 *   build/alloc-counter-read FILE                 at any time, and after the program has ended
 *
 * Works for programs that take malloc from glibc as a shared library, whatever else is linked into them. The program
 * needs no change, and both builds of the server are counted alike.
 *
 * FILE is made anew by each program image that starts with the variable set, and put in place whole, so that the last
 * image of a chain of exec's owns the name (as under nice or taskset). When it can't be made, the program is not run:
 * exit status 2. A forked child is not counted, unless it exec's. Without the variable counts stay in the process.
 *
 * What is counted: calls that reach these functions through dynamic linking, those of libc's own functions such as
 * strdup and pthread_create included. A call counts whether it succeeds or not.
 *
 * What is not: the mmap, munmap and brk that libc makes for malloc itself, or for thread stacks. They do not pass
 * through the procedure linkage table, so nothing that is preloaded sees them. What they cost shows as page faults,
 * which the reader takes from /proc/PID/stat; "strace -f -c -e trace=mmap,munmap,brk -p PID" counts them, at a price.
 * Not counted either: system calls made without libc's functions.
 *
 * Each thread adds to a slot of its own, two cache lines apart from the next, with plain loads and stores: about a
 * nanosecond a call. Threads beyond ALLOC_COUNTER_SLOTS - 1 share slot 0, with atomic additions. The slot of a thread
 * that has ended stays taken.
 */
#ifndef BENCH_COMPARE_ALLOC_COUNTER_H
#define BENCH_COMPARE_ALLOC_COUNTER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define ALLOC_COUNTER_VARIABLE "H3POOL_ALLOC_COUNTER"
#define ALLOC_COUNTER_MAGIC 0x746e436c6c417033ull
#define ALLOC_COUNTER_VERSION 1u
#define ALLOC_COUNTER_SLOTS 256u

/*   name          what it says */
#define ALLOC_COUNTERS(X)                                                                                              \
    X(malloc, "calls of malloc")                                                                                       \
    X(calloc, "calls of calloc")                                                                                       \
    X(realloc, "calls of realloc and reallocarray, whatever their effect")                                             \
    X(aligned, "calls of aligned_alloc, posix_memalign, memalign, valloc and pvalloc")                                 \
    X(free, "calls of free, those of NULL included")                                                                   \
    X(bytes, "bytes that the first four asked for; a realloc asks for its whole new size")                             \
    X(mmap, "calls of mmap and mmap64")                                                                                \
    X(munmap, "calls of munmap")                                                                                       \
    X(brk, "calls of brk and sbrk")

struct alloc_counter_slot {
#define X(name, text) _Atomic uint64_t name;
    alignas(128) ALLOC_COUNTERS(X)
#undef X
};

/* The file, in the byte order of the machine. */
struct alloc_counter_file {
    uint64_t magic;
    uint32_t version;
    uint32_t slot_count;
    uint32_t slot_bytes; /* from one slot to the next */
    uint32_t pid;
    _Atomic uint32_t threads; /* that have called one of the functions */
    struct alloc_counter_slot slot[ALLOC_COUNTER_SLOTS];
};

struct alloc_counts {
#define X(name, text) uint64_t name;
    ALLOC_COUNTERS(X)
#undef X
};

/* The sums over all slots. While threads run they are each right, but not all of the same instant. */
static inline struct alloc_counts alloc_counter_sum(const struct alloc_counter_file *file)
{
    struct alloc_counts sum = {0};
    uint32_t threads = atomic_load_explicit(&file->threads, memory_order_relaxed);
    for (uint32_t i = 0; i <= threads && i < ALLOC_COUNTER_SLOTS; i++) {
#define X(name, text) sum.name += atomic_load_explicit(&file->slot[i].name, memory_order_relaxed);
        ALLOC_COUNTERS(X)
#undef X
    }
    return sum;
}

/* Calls that allocate. */
static inline uint64_t alloc_counts_calls(const struct alloc_counts *counts)
{
    return counts->malloc + counts->calloc + counts->realloc + counts->aligned;
}

/* The counters of this process, for programs that are linked with alloc_counter.c. */
const struct alloc_counter_file *alloc_counter_self(void);

#endif
