/* SPDX-License-Identifier: MIT
 *
 * Pools by thread: a pool for each thread, what becomes of it when the thread ends, and kinds that come and go.
 */
#include "pool_test.h"

#include <h3pool/kind.h>
#include <pthread.h>

static struct hp_pool_manager *manager;
static const struct hp_pool_options options = {.min = 1, .max = 64 * KIB};

static struct hp_pool_kind *open_kind(void)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    struct hp_pool_kind *kind = hp_pool_kind_new(manager, "kind", &options);
    CHECK(kind != NULL);
    return kind;
}

static void count_pools(void *ctx, const struct hp_pool_row *row)
{
    *(unsigned *)ctx += row->pools;
}

static unsigned pools(void)
{
    unsigned n = 0;
    hp_pool_manager_walk(manager, count_pools, &n);
    return n;
}

static void close_kind(struct hp_pool_kind *kind)
{
    hp_pool_kind_free(kind);
    CHECK_U64(pools(), 0);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static pthread_t start(void *(*run)(void *), void *ctx)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, ctx) == 0);
    return thread;
}

static void join(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

/* What a test and its thread hand to each other; a barrier for each step. */
struct meeting {
    pthread_barrier_t barrier;
    struct hp_pool_kind *kind, *next_kind;
    struct hp_byte_pool *pool;
    void *block[100];
};

static void step(struct meeting *m)
{
    pthread_barrier_wait(&m->barrier);
}

static void get_blocks(struct meeting *m)
{
    for (unsigned i = 0; i < 100; i++) {
        m->block[i] = hp_pool_get(m->kind, i * 50 + 1);
        CHECK(m->block[i] != NULL);
        pattern_write(m->block[i], i * 50 + 1, i);
    }
    m->pool = hp_thread_pools[m->kind->index];
}

static void put_blocks(struct meeting *m)
{
    for (unsigned i = 0; i < 100; i++) {
        CHECK(pattern_holds(m->block[i], i * 50 + 1, i));
        hp_pool_put(m->kind, m->block[i]);
    }
}

static void *get_and_end(void *ctx)
{
    get_blocks(ctx);
    return NULL;
}

static void *get_and_stay(void *ctx)
{
    get_blocks(ctx);
    step(ctx);
    step(ctx);
    return NULL;
}

static void *put_and_end(void *ctx)
{
    put_blocks(ctx);
    return NULL;
}

/* --- threads --------------------------------------------------------------------------------------------------------
 */

static void test_each_thread_has_a_pool(void)
{
    struct meeting m = {.kind = open_kind()};
    CHECK_U64(pools(), 0);
    void *mine = hp_pool_get(m.kind, 100);
    CHECK(mine != NULL);
    CHECK_U64(pools(), 1);
    CHECK(pthread_barrier_init(&m.barrier, NULL, 2) == 0);
    pthread_t thread = start(get_and_stay, &m);
    step(&m);
    CHECK_U64(pools(), 2);
    CHECK(m.pool != hp_thread_pools[m.kind->index]);
    put_blocks(&m); /* of a thread that lives */
    hp_pool_put(m.kind, mine);
    step(&m);
    join(thread);
    if (pooled())
        hp_byte_pool_collect(m.pool);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    pthread_barrier_destroy(&m.barrier);
    close_kind(m.kind);
}

static void test_blocks_outlive_their_thread(void)
{
    struct meeting m = {.kind = open_kind()};
    join(start(get_and_end, &m));
    CHECK_U64(hp_pool_manager_live(manager), 100);
    if (pooled())
        for (unsigned i = 0; i < 100; i++)
            CHECK(hp_byte_pool_usable(m.block[i]) >= i * 50 + 1);
    put_blocks(&m); /* by a thread that has no pool of the kind */
    CHECK(hp_thread_pools[m.kind->index] == NULL || !pooled());
    struct meeting next = {.kind = m.kind};
    join(start(get_and_end, &next));
    CHECK_U64(hp_pool_manager_live(manager), 100);
    join(start(put_and_end, &next));
    void *last = hp_pool_get(m.kind, 1); /* takes the pool over, and in what was put */
    CHECK(last != NULL);
    hp_pool_put(m.kind, last);
    hp_byte_pool_collect(hp_thread_pools[m.kind->index]);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    close_kind(m.kind);
}

/* What is put to a pool that nobody owns is taken in by a trim, by whichever thread. */
static void test_pools_of_ended_threads_are_trimmed(void)
{
    struct meeting m = {.kind = open_kind()};
    join(start(get_and_end, &m));
    join(start(put_and_end, &m)); /* takes the pool over, puts half of the blocks as its own */
    struct meeting more = {.kind = m.kind};
    join(start(get_and_end, &more));
    put_blocks(&more); /* by this thread, which has no pool of the kind */
    hp_pool_kind_trim(m.kind);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    CHECK(!pooled() || hp_pool_manager_held(manager) == 0);
    void *block = hp_pool_get(m.kind, 100); /* and it can be taken over as before */
    CHECK(block != NULL);
    hp_pool_put(m.kind, block);
    CHECK_U64(hp_pool_kind_trim(m.kind), 0); /* it is this thread's now */
    close_kind(m.kind);
}

static void test_the_next_thread_takes_the_pool_over(void)
{
    struct meeting first = {.kind = open_kind()}, second = {.kind = first.kind};
    join(start(get_and_end, &first));
    put_blocks(&first);
    join(start(get_and_end, &second));
    CHECK(second.pool == first.pool || !pooled()); /* else the main thread's put has made one */
    CHECK_U64(pools(), pooled() ? 1 : 2);
    put_blocks(&second);
    get_blocks(&first);
    CHECK(!pooled() || first.pool == second.pool);
    put_blocks(&first);
    close_kind(first.kind);
}

static void *get_put_and_end(void *ctx)
{
    struct hp_pool_kind *kind = ctx;
    void *block[20];
    for (unsigned i = 0; i < 20; i++)
        CHECK((block[i] = hp_pool_get(kind, 1 + i * 700)) != NULL);
    for (unsigned i = 0; i < 20; i++)
        hp_pool_put(kind, block[i]);
    return NULL;
}

/* Four at a time, so at most four pools, however many threads. */
static void test_short_threads_do_not_add_up(void)
{
    struct hp_pool_kind *kind = open_kind();
    uint64_t held = 0;
    for (unsigned i = 0; i < 250; i++) {
        pthread_t thread[4];
        for (unsigned t = 0; t < 4; t++)
            thread[t] = start(get_put_and_end, kind);
        for (unsigned t = 0; t < 4; t++)
            join(thread[t]);
        CHECK(pools() <= 4);
        if (i == 0)
            held = hp_pool_manager_held(manager) / pools() * 4;
        CHECK(hp_pool_manager_held(manager) <= held);
    }
    CHECK_U64(hp_pool_manager_live(manager), 0);
    close_kind(kind);
}

/* --- kinds that come and go -----------------------------------------------------------------------------------------
 */

static void test_only_so_many_kinds(void)
{
    struct hp_pool_kind *kind[HP_KINDS_MAX];
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < HP_KINDS_MAX - 1; i++) {
            CHECK((kind[i] = hp_pool_kind_new(manager, "many", &options)) != NULL);
            void *block = hp_pool_get(kind[i], 10);
            CHECK(block != NULL);
            hp_pool_put(kind[i], block);
        }
        CHECK(hp_pool_kind_new(manager, "one too many", &options) == NULL);
        hp_pool_kind_free(kind[7]);
        CHECK((kind[7] = hp_pool_kind_new(manager, "again", &options)) != NULL);
        for (unsigned i = 0; i < HP_KINDS_MAX - 1; i++)
            hp_pool_kind_free(kind[i]);
    }
    hp_pool_kind_free(NULL);
    close_kind(NULL);
}

static void *use_two_kinds(void *ctx)
{
    struct meeting *m = ctx;
    get_blocks(m);
    put_blocks(m);
    step(m); /* the kind is freed, and another takes its place */
    step(m);
    m->kind = m->next_kind;
    get_blocks(m);
    put_blocks(m);
    return NULL;
}

/* Regression: a thread that outlived a kind kept the pointer to its pool of it. */
static void test_a_kind_is_freed_while_its_threads_live(void)
{
    struct meeting m = {.kind = open_kind()};
    CHECK(pthread_barrier_init(&m.barrier, NULL, 2) == 0);
    pthread_t thread = start(use_two_kinds, &m);
    step(&m);
    unsigned index = m.kind->index;
    hp_pool_kind_free(m.kind);
    m.next_kind = hp_pool_kind_new(manager, "next", &options);
    CHECK(m.next_kind != NULL && m.next_kind->index == index);
    step(&m);
    join(thread);
    hp_pool_kind_free(m.next_kind);
    m.kind = hp_pool_kind_new(manager, "last", &options);
    thread = start(get_and_stay, &m); /* and now it ends without a look at another */
    step(&m);
    put_blocks(&m);
    hp_pool_kind_free(m.kind);
    step(&m);
    join(thread);
    pthread_barrier_destroy(&m.barrier);
    close_kind(NULL);
}

/* --- limits, the default kind, misuse -------------------------------------------------------------------------------
 */

static void test_a_refused_pool(void)
{
    manager = hp_pool_manager_new(64 * KIB);
    CHECK(manager != NULL);
    struct hp_pool_options kept = {.min = 1, .max = 100, .keep_bytes = 8192 * KIB};
    struct hp_pool_kind *kind = hp_pool_kind_new(manager, "refused", &kept);
    CHECK(kind != NULL);
    void *block = hp_pool_get(kind, 10);
    CHECK((block == NULL) == pooled()); /* malloc keeps nothing at birth */
    hp_pool_put(kind, block);
    hp_pool_manager_set_limit(manager, NULL, 0);
    CHECK((block = hp_pool_get(kind, 10)) != NULL);
    hp_pool_put(kind, block);
    close_kind(kind);
}

static void *put_byte_buffer(void *block)
{
    CHECK(pattern_holds(block, 300, 3));
    hp_byte_buffer_put(block);
    return NULL;
}

static void test_default_kind(void)
{
    void *block = hp_byte_buffer_get(300), *huge = hp_byte_buffer_get(1024 * KIB);
    CHECK(block != NULL && huge != NULL);
    CHECK_U64(hp_pool_manager_live(hp_default_manager()), 2);
    pattern_write(block, 300, 3);
    join(start(put_byte_buffer, block));
    hp_byte_buffer_put(NULL);
    hp_byte_buffer_put(huge);
    hp_byte_pool_collect(hp_thread_pools[0]);
    CHECK_U64(hp_pool_manager_live(hp_default_manager()), 0);
}

static void put_to_another_kind(void *ctx)
{
    struct hp_pool_kind *const *kind = ctx;
    hp_pool_put(kind[1], hp_pool_get(kind[0], 100));
}

static void put_to_the_default_kind(void *ctx)
{
    struct hp_pool_kind *const *kind = ctx;
    hp_byte_buffer_put(hp_pool_get(kind[0], 100));
}

static void test_put_to_another_kind(void)
{
    struct hp_pool_kind *kind[2] = {open_kind(), hp_pool_kind_new(manager, "other", &options)};
    CHECK(kind[1] != NULL);
    if (pooled()) {
        CHECK_DIES(put_to_another_kind, kind, "kind 'other': ");
        CHECK_DIES(put_to_the_default_kind, kind, "from pool 'kind'");
    }
    hp_pool_kind_free(kind[1]);
    close_kind(kind[0]);
}

TEST_MAIN(TEST(test_put_to_another_kind), TEST(test_each_thread_has_a_pool), TEST(test_blocks_outlive_their_thread),
          TEST(test_pools_of_ended_threads_are_trimmed), TEST(test_the_next_thread_takes_the_pool_over),
          TEST(test_short_threads_do_not_add_up), TEST(test_only_so_many_kinds),
          TEST(test_a_kind_is_freed_while_its_threads_live), TEST(test_a_refused_pool), TEST(test_default_kind))
