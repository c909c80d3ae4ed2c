/* SPDX-License-Identifier: MIT
 *
 * Clock of the time that a server's event loops spend on memory management, for h3pool-clocked and
 * h3pool-unpooled-clocked: the objects and libraries of h3pool and h3pool-unpooled, between which the linker (--wrap)
 * has put memory_clock.c. Here is the layout of its file.
 *
 *   H3POOL_MEMORY_CLOCK=FILE build/h3pool-clocked ...
 *   build/memory-clock-read FILE [new]       at any time; "new" begins a new interval after it has read
 *
 * FILE is made anew at the program's start; when it can't be made, the program is not run: exit status 2. Without the
 * variable values stay in the process.
 *
 * A turn goes from the return of epoll_wait to the thread's next call of it. What is timed in it: the calls of the
 * functions listed in memory_clock.c, each as a whole, so that calls within calls count once. From each is taken what
 * two readings of the clock are apart, as found at the start.
 *
 * Time without the CPU is no memory management. When a call seems to have taken longer than MEMORY_CLOCK_SUSPECT_NS,
 * all time is taken from it that the thread has spent off its CPU since the turn began or since the last such call; and
 * a turn's sum and its longest get never exceed the turn's CPU time. So in a turn that was preempted a long call may
 * count less than it took, and none counts for more.
 *
 * What it does not know: the pools' inlined path, which calls nothing (|pool_gets| says how many gets left it, in
 * the pooled build; in the other one, which has none, a heap's get is a malloc and nothing else); calls
 * of malloc by shared libraries, libc included; turns of a libev that is a shared library. Interrupts, and what a
 * hypervisor takes away without the kernel's knowledge, count as the thread's work. A clock between two functions keeps
 * the CPU from running one into the other, so small calls seem some nanoseconds longer than they are without it.
 *
 * Each thread writes to a slot of its own, without a lock. Threads beyond MEMORY_CLOCK_SLOTS are not timed.
 */
#ifndef BENCH_COMPARE_MEMORY_CLOCK_H
#define BENCH_COMPARE_MEMORY_CLOCK_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define MEMORY_CLOCK_VARIABLE "H3POOL_MEMORY_CLOCK"
#define MEMORY_CLOCK_MAGIC 0x6b636f6c436d3368ull
#define MEMORY_CLOCK_VERSION 1u
#define MEMORY_CLOCK_SLOTS 64u
#define MEMORY_CLOCK_SUSPECT_NS 10000u

/* Of an interval; of several threads the sum, or the greatest.
 *   how  name       what it says */
#define MEMORY_CLOCK_VALUES(X)                                                                                         \
    X(SUM, turns, "turns that began and ended in the interval")                                                        \
    X(SUM, cpu_ns, "their CPU time")                                                                                   \
    X(SUM, memory_ns, "that of memory management in them")                                                             \
    X(SUM, calls, "calls that were timed, without those within others")                                                \
    X(SUM, pool_gets, "gets of pools that left the inlined path, those within other calls included")                   \
    X(MAX, turn_ns, "most memory management in a turn")                                                                \
    X(MAX, get_ns, "longest single call that gets memory")

struct memory_clock_slot {
    alignas(128) _Atomic uint32_t interval; /* that the values are of; set after they are */
#define X(how, name, text) _Atomic uint64_t name;
    MEMORY_CLOCK_VALUES(X)
#undef X
};

/* The file, in the byte order of the machine. */
struct memory_clock_file {
    uint64_t magic;
    uint32_t version;
    uint32_t slot_count;
    uint32_t slot_bytes; /* from one slot to the next */
    uint32_t pid;
    _Atomic uint32_t interval; /* that runs; who reads adds one to begin a new one */
    _Atomic uint32_t threads;  /* that have had a turn */
    uint64_t cost_ps;          /* what two readings of the clock are apart, in picoseconds */
    struct memory_clock_slot slot[MEMORY_CLOCK_SLOTS];
};

struct memory_clock_values {
#define X(how, name, text) uint64_t name;
    MEMORY_CLOCK_VALUES(X)
#undef X
};

#define MEMORY_CLOCK_SUM(to, value) ((to) + (value))
#define MEMORY_CLOCK_MAX(to, value) ((to) > (value) ? (to) : (value))

/* The values of the interval that runs, all threads together. While threads run they are each right, but not all of the
 * same instant; a turn that is under way is not in them. */
static inline struct memory_clock_values memory_clock_values(const struct memory_clock_file *file)
{
    struct memory_clock_values all = {0};
    uint32_t interval = atomic_load_explicit(&file->interval, memory_order_relaxed);
    for (uint32_t i = 0; i < MEMORY_CLOCK_SLOTS; i++) {
        const struct memory_clock_slot *s = &file->slot[i];
        if (atomic_load_explicit(&s->interval, memory_order_acquire) != interval)
            continue;
#define X(how, name, text)                                                                                             \
    all.name = MEMORY_CLOCK_##how(all.name, atomic_load_explicit(&s->name, memory_order_relaxed));
        MEMORY_CLOCK_VALUES(X)
#undef X
    }
    return all;
}

/* Begins a new interval: what came before, and turns that are under way, are in none of its values. */
static inline void memory_clock_new_interval(struct memory_clock_file *file)
{
    atomic_fetch_add_explicit(&file->interval, 1, memory_order_relaxed);
}

/* The file of this process, for programs that are linked with memory_clock.c. */
struct memory_clock_file *memory_clock_self(void);

#endif
