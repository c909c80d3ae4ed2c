/* SPDX-License-Identifier: MIT
 *
 * Byte pools and threads: puts by others, pools handed over, and puts that name only a pool of the same name.
 */
#include "pool_test.h"

#include <pthread.h>
#include <sched.h>

#define THREADS 3u
#define PER_THREAD 8000u

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;

static void open_pool(void)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "threads", 1, 64 * KIB, 0);
    CHECK(pool != NULL);
}

static void close_pool(void)
{
    hp_byte_pool_collect(pool);
    CHECK_U64(counters_of(pool).live, 0);
    CHECK_U64(counters_of(pool).live_bytes, 0);
    hp_byte_pool_free(pool);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static pthread_t start(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, arg) == 0);
    return thread;
}

static void run_in_thread(void *(*run)(void *), void *arg)
{
    CHECK(pthread_join(start(run, arg), NULL) == 0);
}

struct share {
    void *block[PER_THREAD];
    size_t bytes[PER_THREAD];
};

static void *put_share(void *arg)
{
    struct share *share = arg;
    for (unsigned i = 0; i < PER_THREAD; i++) {
        CHECK(pattern_holds(share->block[i], share->bytes[i], i));
        if (i % 2 == 0)
            hp_byte_pool_put(pool, share->block[i]);
        else
            hp_byte_pool_put_any(pool, share->block[i]);
    }
    return NULL;
}

/* Sizes from 1 byte, which is less than the link that waits in the block, to huge. */
static void test_many_threads_put(void)
{
    static struct share share[THREADS];
    pthread_t thread[THREADS];
    open_pool();
    for (unsigned i = 0; i < PER_THREAD; i++) {
        for (unsigned t = 0; t < THREADS; t++) {
            size_t bytes = i % 500 == 0 ? 70 * KIB : 1 + test_random(i % 3 == 0 ? 20 : 1000);
            share[t].bytes[i] = bytes;
            share[t].block[i] = hp_byte_pool_get(pool, bytes);
            CHECK(share[t].block[i] != NULL);
            pattern_write(share[t].block[i], bytes, i);
        }
    }
    for (unsigned t = 0; t < THREADS; t++)
        thread[t] = start(put_share, &share[t]);
    for (unsigned t = 0; t < THREADS; t++)
        CHECK(pthread_join(thread[t], NULL) == 0);
    hp_byte_pool_collect(pool);
    struct hp_counters c = counters_of(pool);
    CHECK_U64(c.live, 0);
    CHECK_U64(c.live_bytes, 0);
    CHECK_U64(c.puts, THREADS * PER_THREAD);
    CHECK_U64(c.remote_puts, THREADS * PER_THREAD);
    hp_byte_pool_trim(pool);
    CHECK_U64(counters_of(pool).held_bytes, 0);
    close_pool();
}

/* Without a call of collect: the gets must find what the other thread has put, or the pool would grow in each round. */
static void test_gets_collect_by_themselves(void)
{
    static struct share share;
    uint64_t held = 0;
    open_pool();
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < PER_THREAD; i++) {
            share.bytes[i] = 200;
            share.block[i] = hp_byte_pool_get(pool, 200);
            CHECK(share.block[i] != NULL);
            pattern_write(share.block[i], 200, i);
        }
        if (round == 0)
            held = counters_of(pool).held_bytes;
        run_in_thread(put_share, &share);
    }
    CHECK(counters_of(pool).peak_bytes <= held + held / 4);
    close_pool();
}

#define RING 64u
#define PASSED 100000u

static _Atomic(void *) ring[RING];

static void *take_from_ring(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < PASSED; i++) {
        unsigned char *block;
        while ((block = atomic_exchange(&ring[i % RING], NULL)) == NULL)
            sched_yield();
        CHECK(pattern_holds(block, 1 + i % 3000, i));
        hp_byte_pool_put(pool, block);
    }
    return NULL;
}

/* The owner gets while the other thread puts. */
static void test_gets_beside_puts(void)
{
    open_pool();
    pthread_t thread = start(take_from_ring, NULL);
    for (unsigned i = 0; i < PASSED; i++) {
        void *block = hp_byte_pool_get(pool, 1 + i % 3000);
        CHECK(block != NULL);
        pattern_write(block, 1 + i % 3000, i);
        while (atomic_load(&ring[i % RING]) != NULL)
            sched_yield();
        atomic_store(&ring[i % RING], block);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    hp_byte_pool_collect(pool);
    CHECK_U64(counters_of(pool).gets, PASSED);
    CHECK_U64(counters_of(pool).remote_puts, PASSED);
    close_pool();
}

struct handed {
    struct hp_byte_pool *pool;
    void *block[500];
};

static void *fill_and_end(void *arg)
{
    struct handed *handed = arg;
    handed->pool = hp_byte_pool_new(manager, "handed", 1, 4096, 0);
    CHECK(handed->pool != NULL);
    for (unsigned i = 0; i < 500; i++) {
        handed->block[i] = hp_byte_pool_get(handed->pool, i * 10);
        CHECK(handed->block[i] != NULL);
        pattern_write(handed->block[i], i * 10, i);
    }
    for (unsigned i = 0; i < 500; i += 2) /* some wait in fronts */
        hp_byte_pool_put(handed->pool, handed->block[i]);
    return NULL;
}

static void test_pool_handed_over(void)
{
    static struct handed handed;
    open_pool();
    run_in_thread(fill_and_end, &handed);
    hp_byte_pool_adopt(handed.pool);
    for (unsigned i = 0; i < 500; i += 2) {
        handed.block[i] = hp_byte_pool_get(handed.pool, i * 10);
        CHECK(handed.block[i] != NULL);
        pattern_write(handed.block[i], i * 10, i);
    }
    CHECK_U64(counters_of(handed.pool).live, 500);
    for (unsigned i = 0; i < 500; i++) {
        CHECK(pattern_holds(handed.block[i], i * 10, i));
        hp_byte_pool_put(handed.pool, handed.block[i]);
    }
    CHECK_U64(counters_of(handed.pool).live, 0);
    CHECK_U64(counters_of(handed.pool).remote_puts, 0); /* puts of the new owner are not foreign */
    hp_byte_pool_trim(handed.pool);
    CHECK_U64(counters_of(handed.pool).held_bytes, 0);
    hp_byte_pool_free(handed.pool);
    close_pool();
}

static void *fill_and_abandon(void *arg)
{
    struct handed *handed = arg;
    fill_and_end(handed);
    hp_byte_pool_abandon(handed->pool);
    return NULL;
}

static void get_from_nobodys_pool(void *arg)
{
    struct handed *handed = arg;
    for (unsigned i = 0; i < 1000; i++) /* the front may have some, which nothing looks after */
        CHECK(hp_byte_pool_get(handed->pool, 100) != NULL);
}

static void get_after_abandoning(void *arg)
{
    (void)arg;
    hp_byte_pool_abandon(pool);
    CHECK(hp_byte_pool_get(pool, 100) != NULL);
}

static void test_abandoned_pool(void)
{
    static struct handed handed;
    open_pool();
    CHECK_DIES(get_after_abandoning, NULL, "pool 'threads': get by a thread");
    run_in_thread(fill_and_abandon, &handed);
    CHECK_DIES(get_from_nobodys_pool, &handed, "pool 'handed': get by a thread");
    for (unsigned i = 1; i < 500; i += 2) {
        CHECK(pattern_holds(handed.block[i], i * 10, i));
        hp_byte_pool_put(handed.pool, handed.block[i]);
    }
    CHECK_U64(counters_of(handed.pool).remote_puts, 250); /* whoever puts does not own it */
    hp_byte_pool_adopt(handed.pool);
    for (unsigned i = 0; i < 500; i++)
        CHECK((handed.block[i] = hp_byte_pool_get(handed.pool, i * 10)) != NULL);
    for (unsigned i = 0; i < 500; i++)
        hp_byte_pool_put(handed.pool, handed.block[i]);
    hp_byte_pool_collect(handed.pool);
    CHECK_U64(counters_of(handed.pool).live, 0);
    CHECK_U64(counters_of(handed.pool).remote_puts, 250);
    hp_byte_pool_free(handed.pool);
    close_pool();
}

static void sum_of_name(void *ctx, const struct hp_pool_row *row)
{
    if (strcmp(row->name, "same") == 0)
        *(struct hp_counters *)ctx = row->sum;
}

static struct hp_counters same_name(void)
{
    struct hp_counters sum = {0};
    hp_pool_manager_walk(manager, sum_of_name, &sum);
    return sum;
}

/* Blocks of one pool put through another of its name. Regression: in the pass-through build the second pool's balance
 * is negative then, and it took that for an immense number: its limit refused everything. */
static void test_put_any_through_a_pool_of_the_name(void)
{
    void *block[40];
    open_pool();
    struct hp_byte_pool *one = hp_byte_pool_new(manager, "same", 1, 64 * KIB, 0);
    struct hp_byte_pool *two = hp_byte_pool_new(manager, "same", 1, 64 * KIB, 4096 * KIB);
    CHECK(one != NULL && two != NULL);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 40; i++) {
            block[i] = hp_byte_pool_get(one, 10 * KIB);
            CHECK(block[i] != NULL);
        }
        CHECK_U64(same_name().live, 40);
        for (unsigned i = 0; i < 40; i++)
            hp_byte_pool_put_any(two, block[i]);
        CHECK_U64(same_name().live, 0);
        CHECK_U64(same_name().live_bytes, 0);
        void *mine = hp_byte_pool_get(two, 1000);
        CHECK(mine != NULL);
        CHECK(counters_of(two).held_bytes <= 64 * KIB);
        hp_byte_pool_put_any(one, mine);
        hp_byte_pool_trim(two);
        CHECK_U64(counters_of(two).held_bytes, 0);
    }
    CHECK_U64(same_name().refused, 0);
    CHECK(same_name().peak_bytes < 4096 * KIB);
    hp_byte_pool_free(one);
    hp_byte_pool_free(two);
    close_pool();
}

static struct hp_byte_pool *shared;

static void *put_one(void *block)
{
    hp_byte_pool_put(shared, block);
    return NULL;
}

/* Regression: NULL was taken for a block of the warm run when there was no such run, and laid on the front. */
static void test_null_is_put_without_a_warm_run(void)
{
    const size_t bytes = 32 * KIB; /* two blocks a run */
    void *block[8];
    open_pool();
    struct hp_byte_pool *two = hp_byte_pool_new(manager, "pairs", bytes, bytes, 0);
    CHECK(two != NULL);
    for (unsigned i = 0; i < 8; i++)
        CHECK((block[i] = hp_byte_pool_get(two, bytes)) != NULL);
    hp_byte_pool_put_sized(two, block[2], bytes); /* warms its run, which other threads then empty */
    CHECK((block[2] = hp_byte_pool_get(two, bytes)) != NULL);
    hp_byte_pool_put(two, block[0]);
    shared = two;
    for (unsigned i = 2; i < 6; i++)
        run_in_thread(put_one, block[i]);
    hp_byte_pool_collect(two);
    hp_byte_pool_put_sized(two, NULL, bytes);
    hp_bin_put(two, hp_byte_pool_bin(two, bytes), NULL);
    CHECK_U64(counters_of(two).live, 3);
    CHECK((block[0] = hp_byte_pool_get(two, bytes)) != NULL);
    hp_byte_pool_put(two, block[0]);
    hp_byte_pool_put(two, block[1]);
    hp_byte_pool_put(two, block[6]);
    hp_byte_pool_put(two, block[7]);
    CHECK_U64(counters_of(two).live, 0);
    hp_byte_pool_free(two);
    close_pool();
}

TEST_MAIN(TEST(test_many_threads_put), TEST(test_gets_collect_by_themselves), TEST(test_gets_beside_puts),
          TEST(test_pool_handed_over), TEST(test_abandoned_pool), TEST(test_put_any_through_a_pool_of_the_name),
          TEST(test_null_is_put_without_a_warm_run))
