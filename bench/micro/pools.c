/* SPDX-License-Identifier: MIT
 *
 * bench-pools: what a block costs from a pool and from malloc, on the same loops. Each block is written to.
 *
 *   OneBlock      one block, got and put. size=runtime: 1 KiB, read from memory each time; size=fixed: 1 KiB, constant
 *   Mixed         one block, got and put, of 16 bytes to 4 KiB in shuffled order
 *   Burst         so many gets, then as many puts, the last one first (lifo) or the first one first (fifo)
 *   Trace         a recorded sequence, whole: an operation is one replay of all its events (with -trace FILE)
 *   TwoThreads, ProducerConsumer: threads.c
 *
 * An operation is a get with its put. The program has no malloc of its own and no counter in it: it measures the malloc
 * that it is started with, says in the names which that is, and is as fast as that. With a counter before it, it prints
 * allocations, too. A pool belongs to its thread and is inlined into the loop, malloc is a call into a library: so they
 * are used, and so they are measured.
 */
#include "replay.h"
#include "ways.h"

#include <stdio.h>
#include <string.h>

#define BURST_SMALL 32u
#define BURST_LARGE 1024u

WAYS_OF_ANY_SIZE(WAY_DEFINE, , )
WAYS_OF_FIXED_SIZE(WAY_DEFINE, , )

/* --- loops ----------------------------------------------------------------------------------------------------------
 */

LOOP one_block(struct bench *b, uint64_t ops, const struct way way)
{
    const struct home h = ways_home;
    (void)b;
    for (uint64_t i = 0; i < ops; i++) {
        size_t bytes = ways_runtime_bytes;
        way.put(&h, bench_touch(way.get(&h, bytes), i), bytes);
    }
}

LOOP one_fixed(struct bench *b, uint64_t ops, const struct way way)
{
    const struct home h = ways_home;
    (void)b;
    for (uint64_t i = 0; i < ops; i++)
        way.put(&h, bench_touch(way.get(&h, FIXED_BYTES), i), FIXED_BYTES);
}

LOOP mixed(struct bench *b, uint64_t ops, const struct way way)
{
    const struct home h = ways_home;
    (void)b;
    for (uint64_t i = 0; i < ops; i++) {
        size_t bytes = ways_sizes[i % WAYS_SIZES];
        way.put(&h, bench_touch(way.get(&h, bytes), i), bytes);
    }
}

/* |sizes| NULL: all of ways_runtime_bytes. */
LOOP burst(uint64_t ops, const struct way way, unsigned burst_blocks, const uint32_t *sizes, bool lifo)
{
    const struct home h = ways_home;
    void *block[BURST_LARGE];
    for (uint64_t done = 0; done < ops; done += burst_blocks) {
        unsigned n = ops - done < burst_blocks ? (unsigned)(ops - done) : burst_blocks;
        for (unsigned i = 0; i < n; i++)
            block[i] = bench_touch(way.get(&h, sizes != NULL ? sizes[i % WAYS_SIZES] : ways_runtime_bytes), i);
        for (unsigned k = 0; k < n; k++) {
            unsigned i = lifo ? n - 1 - k : k;
            way.put(&h, block[i], sizes != NULL ? sizes[i % WAYS_SIZES] : ways_runtime_bytes);
        }
    }
}

LOOP burst_lifo(struct bench *b, uint64_t ops, const struct way way)
{
    (void)b;
    burst(ops, way, BURST_SMALL, NULL, true);
}

LOOP burst_fifo(struct bench *b, uint64_t ops, const struct way way)
{
    (void)b;
    burst(ops, way, BURST_SMALL, NULL, false);
}

LOOP large_lifo(struct bench *b, uint64_t ops, const struct way way)
{
    (void)b;
    burst(ops, way, BURST_LARGE, ways_sizes, true);
}

LOOP large_fifo(struct bench *b, uint64_t ops, const struct way way)
{
    (void)b;
    burst(ops, way, BURST_LARGE, ways_sizes, false);
}

/* --- cases ----------------------------------------------------------------------------------------------------------
 */

#define FIXED_SIZE_CASES(X)                                                                                            \
    WAYS_OF_FIXED_SIZE(X, one_fixed, "OneBlock/size=fixed")                                                            \
    WAYS_OF_FIXED_SIZE(X, burst_lifo, "Burst/n=32/size=fixed/order=lifo")                                              \
    WAYS_OF_FIXED_SIZE(X, burst_fifo, "Burst/n=32/size=fixed/order=fifo")

#define ANY_SIZE_CASES(X)                                                                                              \
    WAYS_OF_ANY_SIZE(X, one_block, "OneBlock/size=runtime")                                                            \
    WAYS_OF_ANY_SIZE(X, mixed, "Mixed")                                                                                \
    WAYS_OF_ANY_SIZE(X, burst_lifo, "Burst/n=32/size=runtime/order=lifo")                                              \
    WAYS_OF_ANY_SIZE(X, burst_fifo, "Burst/n=32/size=runtime/order=fifo")                                              \
    WAYS_OF_ANY_SIZE(X, large_lifo, "Burst/n=1024/size=mixed/order=lifo")                                              \
    WAYS_OF_ANY_SIZE(X, large_fifo, "Burst/n=1024/size=mixed/order=fifo")

FIXED_SIZE_CASES(CASE_DEFINE)
ANY_SIZE_CASES(CASE_DEFINE)

static void add_cases(struct ways_cases *cases)
{
    ANY_SIZE_CASES(CASE_LIST)
    FIXED_SIZE_CASES(CASE_LIST)
    ways_add_thread_cases(cases);
}

/* --- the program ----------------------------------------------------------------------------------------------------
 */

/* Takes "|name| VALUE" out of the arguments. */
static const char *take_option(int *argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < *argc; i++) {
        if (strcmp(argv[i], name) != 0)
            continue;
        const char *value = argv[i + 1];
        memmove(&argv[i], &argv[i + 2], (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        return value;
    }
    return NULL;
}

static void usage(void)
{
    printf("-trace FILE     a recorded sequence of allocations: adds the cases Trace\n"
           "-memory WAY     instead: what memory a replay of it takes, from pool-bytes or glibc, jemalloc, ...\n"
           "-waste FILE     instead: what the byte pool's size classes waste on it, by class\n");
}

int main(int argc, char **argv)
{
    static struct ways_cases cases;
    static struct trace trace;
    const char *path = take_option(&argc, argv, "-trace"), *way = take_option(&argc, argv, "-memory");
    const char *waste = take_option(&argc, argv, "-waste");
    if (argc == 2 && (strcmp(argv[1], "-help") == 0 || strcmp(argv[1], "--help") == 0))
        usage();
    ways_require(way == NULL || path != NULL, "-memory needs -trace");
    path = waste != NULL ? waste : path;
    if (path != NULL && trace_read(&trace, path) != 0)
        return 1;
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    ways_require(manager != NULL, "no memory");
    if (way != NULL)
        return replay_memory(&trace, manager, way);
    ways_init();
    ways_home = ways_home_make(manager);
    int rv;
    if (waste != NULL)
        rv = replay_waste(&trace, ways_home.bytes);
    else {
        add_cases(&cases);
        if (path != NULL)
            replay_add_cases(&cases, &trace);
        struct bench_suite suite = {
            .package = "h3pool/pools", .cases = cases.list, .count = cases.count, .name_end = ""};
        rv = bench_suite_main(&suite, argc, argv);
    }
    ways_home_end(&ways_home);
    struct hp_pool_manager *of_threads = hp_default_manager();
    ways_require(of_threads != NULL && hp_pool_manager_live(of_threads) == 0, "buffers are live at the end");
    hp_pool_manager_free(manager);
    return rv;
}
