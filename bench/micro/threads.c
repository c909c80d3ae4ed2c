/* SPDX-License-Identifier: MIT
 *
 * bench-pools, cases of two threads. Time is CPU time of the threads (CLOCK_THREAD_CPUTIME_ID), added up, while they
 * get and put; that in which one waits for the other, asleep, is left out. So it is what both pay for a block, and not
 * how long it takes: with other work on the machine, wall time would tell of that.
 *
 *   TwoThreads        each thread gets and puts one block of its own; an operation is one such pair, of either
 *   ProducerConsumer  one thread gets blocks of mixed sizes and hands them over by the BATCH, the other puts them,
 *                     while the first gets the next ones
 */
#include "ways.h"

#include <pthread.h>
#include <semaphore.h>

#define BATCH 256u
#define BATCHES 4u
#define WARM_OPS 1000u

WAYS_OF_ANY_SIZE(WAY_DEFINE, , )
WAYS_OF_FIXED_SIZE(WAY_DEFINE, , )

/* --- the same on each -----------------------------------------------------------------------------------------------
 */

struct twin {
    void (*run)(const struct home *h, uint64_t ops);
    uint64_t ops, ns, ns_pause;
    pthread_barrier_t *barrier;
};

static void run_timed(struct twin *t, const struct home *h)
{
    t->run(h, WARM_OPS);
    pthread_barrier_wait(t->barrier);
    uint64_t from = bench_thread_ns();
    t->run(h, t->ops);
    t->ns = bench_thread_ns() - from - t->ns_pause;
}

static void *run_twin(void *arg)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    ways_require(manager != NULL, "no memory");
    struct home h = ways_home_make(manager);
    run_timed(arg, &h);
    ways_home_end(&h);
    hp_pool_manager_free(manager);
    return NULL;
}

static void two_threads(struct bench *b, uint64_t ops, void (*run)(const struct home *h, uint64_t ops))
{
    pthread_barrier_t barrier;
    pthread_t other;
    bench_clock_stop(b);
    struct twin here = {.run = run, .ops = ops / 2, .ns_pause = b->ns_pause, .barrier = &barrier}, there = here;
    there.ops = ops - here.ops;
    ways_require(pthread_barrier_init(&barrier, NULL, 2) == 0, "no barrier");
    ways_require(pthread_create(&other, NULL, run_twin, &there) == 0, "no thread");
    run_timed(&here, &ways_home);
    pthread_join(other, NULL);
    pthread_barrier_destroy(&barrier);
    bench_clock_start(b, here.ns + there.ns);
}

LOOP one_block(const struct home *home, uint64_t ops, const struct way way)
{
    const struct home h = *home;
    for (uint64_t i = 0; i < ops; i++) {
        size_t bytes = ways_runtime_bytes;
        way.put(&h, bench_touch(way.get(&h, bytes), i), bytes);
    }
}

LOOP one_fixed(const struct home *home, uint64_t ops, const struct way way)
{
    const struct home h = *home;
    for (uint64_t i = 0; i < ops; i++)
        way.put(&h, bench_touch(way.get(&h, FIXED_BYTES), i), FIXED_BYTES);
}

#define TWO_DEFINE(loop, name, id, label, get, put)                                                                    \
    static void loop##_##id(const struct home *h, uint64_t ops)                                                        \
    {                                                                                                                  \
        loop(h, ops, way_##id);                                                                                        \
    }                                                                                                                  \
    static void two_##loop##_##id(struct bench *b, uint64_t ops)                                                       \
    {                                                                                                                  \
        two_threads(b, ops, loop##_##id);                                                                              \
    }
WAYS_OF_ANY_SIZE(TWO_DEFINE, one_block, )
WAYS_OF_FIXED_SIZE(TWO_DEFINE, one_fixed, )

/* --- producer and consumer ------------------------------------------------------------------------------------------
 */

struct line {
    struct home home; /* the producer's */
    void (*put)(const struct home *h, void **block, unsigned count);
    sem_t filled, emptied;
    uint64_t ops, ns, ns_pause;
    void *block[BATCHES][BATCH];
};

static unsigned batch_at(uint64_t done, uint64_t ops)
{
    return ops - done < BATCH ? (unsigned)(ops - done) : BATCH;
}

static void *consume(void *arg)
{
    struct line *l = arg;
    uint64_t ns = 0;
    for (uint64_t done = 0; done < l->ops; done += BATCH) {
        sem_wait(&l->filled);
        uint64_t from = bench_thread_ns();
        l->put(&l->home, l->block[done / BATCH % BATCHES], batch_at(done, l->ops));
        ns += bench_thread_ns() - from - l->ns_pause;
        sem_post(&l->emptied);
    }
    l->ns = ns;
    return NULL;
}

static void produce_and_consume(struct bench *b, uint64_t ops,
                                void (*get)(const struct home *h, void **block, unsigned count),
                                void (*put)(const struct home *h, void **block, unsigned count))
{
    static struct line l;
    pthread_t consumer;
    uint64_t ns = 0;
    bench_clock_stop(b);
    l.home = ways_home, l.put = put, l.ops = ops, l.ns_pause = b->ns_pause;
    ways_require(sem_init(&l.filled, 0, 0) == 0 && sem_init(&l.emptied, 0, BATCHES) == 0, "no semaphore");
    ways_require(pthread_create(&consumer, NULL, consume, &l) == 0, "no thread");
    for (uint64_t done = 0; done < ops; done += BATCH) {
        sem_wait(&l.emptied);
        uint64_t from = bench_thread_ns();
        get(&l.home, l.block[done / BATCH % BATCHES], batch_at(done, ops));
        ns += bench_thread_ns() - from - l.ns_pause;
        sem_post(&l.filled);
    }
    pthread_join(consumer, NULL);
    sem_destroy(&l.filled);
    sem_destroy(&l.emptied);
    bench_clock_start(b, ns + l.ns);
}

LOOP get_batch(const struct home *home, void **block, unsigned count, const struct way way)
{
    const struct home h = *home;
    for (unsigned i = 0; i < count; i++)
        block[i] = bench_touch(way.get(&h, ways_sizes[i % WAYS_SIZES]), i);
}

LOOP put_batch(const struct home *home, void **block, unsigned count, const struct way way)
{
    const struct home h = *home;
    for (unsigned i = 0; i < count; i++)
        way.put(&h, block[i], ways_sizes[i % WAYS_SIZES]);
}

#define LINE_DEFINE(loop, name, id, label, get, put)                                                                   \
    static void get_##id(const struct home *h, void **block, unsigned count)                                           \
    {                                                                                                                  \
        get_batch(h, block, count, way_##id);                                                                          \
    }                                                                                                                  \
    static void put_##id(const struct home *h, void **block, unsigned count)                                           \
    {                                                                                                                  \
        put_batch(h, block, count, way_##id);                                                                          \
    }                                                                                                                  \
    static void line_##id(struct bench *b, uint64_t ops)                                                               \
    {                                                                                                                  \
        produce_and_consume(b, ops, get_##id, put_##id);                                                               \
    }
WAYS_OF_ANY_SIZE(LINE_DEFINE, , )

void ways_add_thread_cases(struct ways_cases *cases)
{
    WAYS_OF_ANY_SIZE(CASE_LIST, two_one_block, "TwoThreads/size=runtime")
    WAYS_OF_FIXED_SIZE(CASE_LIST, two_one_fixed, "TwoThreads/size=fixed")
    WAYS_OF_ANY_SIZE(CASE_LIST, line, "ProducerConsumer")
}
