/* SPDX-License-Identifier: MIT
 *
 * The ways to get and put a block that bench-pools compares. A way is a row of a list below, and nothing else: each
 * case is one loop that takes the way as a constant, so that all of them run the same code around get and put.
 *
 * The way "heap" is malloc, of whichever library the program was started with.
 */
#ifndef BENCH_MICRO_WAYS_H
#define BENCH_MICRO_WAYS_H

#include "bench.h"

#include <h3pool/byte_pool.h>
#include <h3pool/kind.h>
#include <h3pool/manager.h>
#include <h3pool/object_pool.h>
#include <stdlib.h>

#define FIXED_BYTES 1024u
#define NAME_OF_HEAP ways_heap_name()

#define LOOP static inline __attribute__((always_inline)) void

/* What a thread allocates from. The loops hold it by value, as a program would hold its pool. */
struct home {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *bytes;
    struct hp_bin *bin; /* of |bytes|, for FIXED_BYTES */
    struct hp_object_pool *plain, *resetting;
    struct hp_pool_kind *kind;
};

struct way {
    void *(*get)(const struct home *h, size_t bytes);
    void (*put)(const struct home *h, void *p, size_t bytes);
};

/* X(case, its name, way, its name, get of |n| bytes from |h|, put of |p|, which was asked for with |n|)
 *
 * A block of any size; put by any thread. */
#define WAYS_OF_ANY_SIZE(X, loop, name)                                                                                \
    X(loop, name, heap, NAME_OF_HEAP, malloc(n), free(p))                                                              \
    X(loop, name, bytes, "pool-bytes", hp_byte_pool_get(h->bytes, n), hp_byte_pool_put(h->bytes, p))                   \
    X(loop, name, sized, "pool-sized", hp_byte_pool_get(h->bytes, n), hp_byte_pool_put_sized(h->bytes, p, n))          \
    X(loop, name, manager, "pool-manager", hp_pool_get(h->kind, n), hp_pool_put(h->kind, p))                           \
    X(loop, name, buffer, "pool-buffer", hp_byte_buffer_get(n), hp_byte_buffer_put(p))

/* A block of FIXED_BYTES; put by the thread that got it. */
#define WAYS_OF_FIXED_SIZE(X, loop, name)                                                                              \
    X(loop, name, fixed_heap, NAME_OF_HEAP, malloc(FIXED_BYTES), free(p))                                              \
    X(loop, name, bin, "pool-bin", hp_bin_get(h->bytes, h->bin), hp_bin_put(h->bytes, h->bin, p))                      \
    X(loop, name, object, "pool-object", hp_object_pool_get(h->plain), hp_object_pool_put(h->plain, p))                \
    X(loop, name, object_reset, "pool-object-reset", hp_object_pool_get(h->resetting),                                 \
      hp_object_pool_put(h->resetting, p))

/* Defines the way of a row. */
#define WAY_DEFINE(loop, name, id, label, get_expression, put_expression)                                              \
    static inline void *id##_get(const struct home *h, size_t n)                                                       \
    {                                                                                                                  \
        (void)h, (void)n;                                                                                              \
        return get_expression;                                                                                         \
    }                                                                                                                  \
    static inline void id##_put(const struct home *h, void *p, size_t n)                                               \
    {                                                                                                                  \
        (void)h, (void)n;                                                                                              \
        put_expression;                                                                                                \
    }                                                                                                                  \
    static const struct way way_##id __attribute__((unused)) = {id##_get, id##_put};

/* Defines the case of a loop and a row, and its place in the table; the name of the way goes behind "/alloc=". */
#define CASE_DEFINE(loop, name, id, label, get, put)                                                                   \
    static void loop##_##id(struct bench *b, uint64_t ops)                                                             \
    {                                                                                                                  \
        loop(b, ops, way_##id);                                                                                        \
    }
#define CASE_LIST(loop, name, id, label, get, put) ways_add(cases, name, label, loop##_##id);

/* The table of cases, in order of addition. */
struct ways_cases {
    struct bench_case list[64];
    size_t count;
};
void ways_add(struct ways_cases *cases, const char *name, const char *way, void (*run)(struct bench *, uint64_t));

/* What malloc is: "glibc", "jemalloc", "mimalloc", "tcmalloc", or the name of the file that has it. */
const char *ways_heap_name(void);

/* Pools by thread, through the manager; as the home's. */
struct hp_pool_kind *ways_kind(struct hp_pool_manager *manager);
/* The home of the calling thread, ended by the same thread. Failure ends the program. */
struct home ways_home_make(struct hp_pool_manager *manager);
void ways_home_end(struct home *home);
/* The home of the main thread, made at the start. */
extern struct home ways_home;

/* The size of FIXED_BYTES, as something that is not known before the program runs. */
extern volatile size_t ways_runtime_bytes;
/* Sizes of 16 bytes to 4 KiB, as many of each doubling, shuffled. */
#define WAYS_SIZES 1024u
extern uint32_t ways_sizes[WAYS_SIZES];
void ways_init(void);

/* Ends the program with a message unless |good|. */
void ways_require(int good, const char *what);

/* Cases in other files. */
void ways_add_thread_cases(struct ways_cases *cases);

#endif
