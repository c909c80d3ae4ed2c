/* SPDX-License-Identifier: MIT
 *
 * The linker leads every call of a function NAME that is listed here, from another object than its own, to
 * __wrap_NAME, which times __real_NAME: NAME itself. bench/CMakeLists.txt takes the names for the linker from the lines
 * of the list. A name that no object has is harmless, since the reference to it is weak; the reference that makes the
 * linker take an object from an archive must therefore come from elsewhere, and does: each of these objects has
 * functions beside the listed ones.
 *
 * Costs two readings of the clock a call in a turn (about 25 ns each), and two system calls a turn for its CPU time.
 */
#include "memory_clock.h"
#include "shared_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

struct hp_arena;
struct hp_byte_pool;
struct hp_heap;
struct hp_object_pool;

enum kind {
    PUT,      /* or upkeep: memory goes back */
    GET,      /* memory is got */
    POOL_GET, /* likewise; it is a get of a pool that left the inlined path */
};

/* A line each, which begins with X(kind, and the name: the build reads it.
 *   kind      name                   result   parameters                                      arguments */
#define WRAPPED(X)                                                                                                     \
    X(POOL_GET, hp_byte_pool_get_slow, void *, (struct hp_byte_pool * pool, size_t bytes), (pool, bytes))              \
    X(PUT, hp_byte_pool_put_slow, void, (struct hp_byte_pool * pool, void *block), (pool, block))                      \
    X(PUT, hp_byte_pool_put_sized_slow, void, (struct hp_byte_pool * pool, void *block, size_t bytes),                 \
      (pool, block, bytes))                                                                                            \
    X(PUT, hp_byte_pool_put_any, void, (struct hp_byte_pool * pool, void *block), (pool, block))                       \
    X(GET, hp_byte_pool_resize, void *, (struct hp_byte_pool * pool, void *old, size_t bytes), (pool, old, bytes))     \
    X(PUT, hp_byte_pool_collect, void, (struct hp_byte_pool * pool), (pool))                                           \
    X(PUT, hp_byte_pool_trim, size_t, (struct hp_byte_pool * pool), (pool))                                            \
    X(PUT, hp_byte_pool_trim_idle, size_t, (struct hp_byte_pool * pool, size_t bytes_max), (pool, bytes_max))          \
    X(GET, hp_heap_alloc, void *, (struct hp_heap * heap, size_t bytes), (heap, bytes))                                \
    X(GET, hp_heap_calloc, void *, (struct hp_heap * heap, size_t count, size_t bytes), (heap, count, bytes))          \
    X(GET, hp_heap_resize, void *, (struct hp_heap * heap, void *old, size_t bytes), (heap, old, bytes))               \
    X(PUT, hp_heap_free, void, (struct hp_heap * heap, void *block), (heap, block))                                    \
    X(PUT, hp_heap_drop, void, (struct hp_heap * heap), (heap))                                                        \
    X(POOL_GET, hp_object_pool_get_slow, void *, (struct hp_object_pool * pool), (pool))                               \
    X(PUT, hp_object_pool_put_slow, void, (struct hp_object_pool * pool, void *object), (pool, object))                \
    X(PUT, hp_object_pool_put_full, void, (struct hp_object_pool * pool, void *object), (pool, object))                \
    X(GET, hp_arena_alloc_slow, void *, (struct hp_arena * arena, size_t bytes, size_t align), (arena, bytes, align))  \
    X(GET, malloc, void *, (size_t bytes), (bytes))                                                                    \
    X(GET, calloc, void *, (size_t count, size_t bytes), (count, bytes))                                               \
    X(GET, realloc, void *, (void *old, size_t bytes), (old, bytes))                                                   \
    X(PUT, free, void, (void *block), (block))

#define NS_PER_S 1000000000u
#define PS_PER_NS 1000u
#define LOST_MIN_NS 2000u /* less lies between the readings of the two clocks */
#define PAIRS 1000u       /* of readings, each of PAIRS_TRIES times, to find what they cost */
#define PAIRS_TRIES 16u

static struct memory_clock_file early = {
    .magic = MEMORY_CLOCK_MAGIC,
    .version = MEMORY_CLOCK_VERSION,
    .slot_count = MEMORY_CLOCK_SLOTS,
    .slot_bytes = sizeof(struct memory_clock_slot),
    .interval = 1, /* so that a slot in which nothing was written is of no interval that runs */
};
static struct memory_clock_file *file = &early;

/* Of the calling thread. */
static _Thread_local struct {
    struct memory_clock_slot *slot;
    bool open, untimed;
    unsigned depth; /* of listed functions that call each other */
    uint32_t interval;
    uint64_t wall_ns, cpu_ns; /* at its begin, of both clocks */
    uint64_t lost_ns;         /* spent off the CPU, as far as it has been taken from a call */
    int64_t memory_ps;
    uint64_t get_ns, calls, pool_gets;
} turn;

static inline uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

struct memory_clock_file *memory_clock_self(void)
{
    return file;
}

/* The least that an average over many pairs of readings gives. */
static uint64_t pair_cost_ps(void)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < PAIRS_TRIES; i++) {
        uint64_t sum_ns = 0;
        for (unsigned k = 0; k < PAIRS; k++) {
            uint64_t from_ns = now_ns(CLOCK_MONOTONIC);
            sum_ns += now_ns(CLOCK_MONOTONIC) - from_ns;
        }
        uint64_t average_ps = sum_ns * PS_PER_NS / PAIRS;
        least = average_ps < least ? average_ps : least;
    }
    return least;
}

static __attribute__((constructor)) void start(void)
{
    const char *path = getenv(MEMORY_CLOCK_VARIABLE);
    early.pid = (uint32_t)getpid();
    early.cost_ps = pair_cost_ps();
    if (path != NULL && path[0] != '\0')
        file = shared_file_make("memory_clock", path, &early, sizeof early);
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

struct call {
    uint64_t from_ns;
    enum kind kind;
};

static inline struct call call_begin(enum kind kind)
{
    struct call call = {.kind = kind};
    if (!turn.open)
        return call;
    turn.pool_gets += kind == POOL_GET;
    if (turn.depth++ == 0)
        call.from_ns = now_ns(CLOCK_MONOTONIC);
    return call;
}

/* How much of a call of |ns| that has just ended may have been time off the CPU. */
static __attribute__((noinline)) uint64_t lost_in(uint64_t ns)
{
    uint64_t cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - turn.cpu_ns;
    uint64_t wall_ns = now_ns(CLOCK_MONOTONIC) - turn.wall_ns;
    if (wall_ns < cpu_ns + turn.lost_ns + LOST_MIN_NS)
        return 0;
    uint64_t lost_ns = wall_ns - cpu_ns - turn.lost_ns;
    turn.lost_ns += lost_ns;
    return lost_ns < ns ? lost_ns : ns;
}

static inline void call_end(const struct call *call)
{
    if (!turn.open || --turn.depth != 0)
        return;
    uint64_t ns = now_ns(CLOCK_MONOTONIC) - call->from_ns;
    if (__builtin_expect(ns > MEMORY_CLOCK_SUSPECT_NS, 0))
        ns -= lost_in(ns);
    int64_t ps = (int64_t)(ns * PS_PER_NS) - (int64_t)file->cost_ps;
    turn.memory_ps += ps;
    turn.calls++;
    if (call->kind != PUT && ps > (int64_t)(turn.get_ns * PS_PER_NS))
        turn.get_ns = (uint64_t)ps / PS_PER_NS;
}

#define X(how, name, result, parameters, arguments)                                                                    \
    result __real_##name parameters __attribute__((weak));                                                             \
    result __wrap_##name parameters;                                                                                   \
    result __wrap_##name parameters                                                                                    \
    {                                                                                                                  \
        __attribute__((cleanup(call_end), unused)) struct call call = call_begin(how);                                 \
        return __real_##name arguments;                                                                                \
    }
WRAPPED(X)
#undef X

/* --- turns ----------------------------------------------------------------------------------------------------------
 */

static struct memory_clock_slot *slot_take(void)
{
    uint32_t before = atomic_fetch_add_explicit(&file->threads, 1, memory_order_relaxed);
    turn.untimed = before >= MEMORY_CLOCK_SLOTS;
    return turn.untimed ? NULL : &file->slot[before];
}

static void turn_begin(void)
{
    if (turn.slot == NULL && (turn.untimed || (turn.slot = slot_take()) == NULL))
        return;
    turn.interval = atomic_load_explicit(&file->interval, memory_order_relaxed);
    turn.lost_ns = turn.get_ns = turn.calls = turn.pool_gets = 0;
    turn.memory_ps = 0;
    turn.wall_ns = now_ns(CLOCK_MONOTONIC);
    turn.cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
    turn.open = true;
}

/* A slot's values begin anew with the first turn of an interval. */
static void slot_renew(struct memory_clock_slot *slot)
{
#define X(how, name, text) atomic_store_explicit(&slot->name, 0, memory_order_relaxed);
    MEMORY_CLOCK_VALUES(X)
#undef X
    atomic_store_explicit(&slot->interval, turn.interval, memory_order_release);
}

static void turn_end(void)
{
    if (!turn.open)
        return;
    turn.open = false;
    uint64_t cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - turn.cpu_ns;
    if (atomic_load_explicit(&file->interval, memory_order_relaxed) != turn.interval)
        return;
    uint64_t memory_ns = turn.memory_ps > 0 ? (uint64_t)turn.memory_ps / PS_PER_NS : 0;
    memory_ns = memory_ns < cpu_ns ? memory_ns : cpu_ns;
    struct memory_clock_values now = {
        .turns = 1,
        .cpu_ns = cpu_ns,
        .memory_ns = memory_ns,
        .calls = turn.calls,
        .pool_gets = turn.pool_gets,
        .turn_ns = memory_ns,
        .get_ns = turn.get_ns < cpu_ns ? turn.get_ns : cpu_ns,
    };
    struct memory_clock_slot *slot = turn.slot;
    if (atomic_load_explicit(&slot->interval, memory_order_relaxed) != turn.interval)
        slot_renew(slot);
#define X(how, name, text)                                                                                             \
    atomic_store_explicit(&slot->name,                                                                                 \
                          MEMORY_CLOCK_##how(atomic_load_explicit(&slot->name, memory_order_relaxed), now.name),       \
                          memory_order_relaxed);
    MEMORY_CLOCK_VALUES(X)
#undef X
}

int __real_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    turn_end();
    int n = __real_epoll_wait(fd, events, count, timeout_ms);
    int kept = errno;
    turn_begin();
    errno = kept;
    return n;
}
