/* SPDX-License-Identifier: MIT
 *
 * Trims by the manager: of the calling thread's pools and no others, up to what is asked for.
 */
#include "pool_test.h"

#include <pthread.h>

#define MINE 3u
#define BLOCKS 40u

static struct hp_pool_manager *manager;
static struct hp_byte_pool *mine[MINE], *others;
static pthread_barrier_t barrier;
static void *kept;

static void fill_and_empty(struct hp_byte_pool *pool)
{
    void *block[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++)
        CHECK((block[i] = hp_byte_pool_get(pool, 64 * KIB)) != NULL);
    for (unsigned i = 0; i < BLOCKS; i++)
        hp_byte_pool_put(pool, block[i]);
}

static void *other_thread(void *ctx)
{
    (void)ctx;
    CHECK((others = hp_byte_pool_new(manager, "others", 1, 64 * KIB, 0)) != NULL);
    fill_and_empty(others);
    CHECK((kept = hp_byte_pool_get(others, 1000)) != NULL);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); /* the test trims */
    uint64_t held = counters_of(others).held_bytes;
    CHECK(held >= BLOCKS * 64 * KIB || !pooled());
    size_t fell = hp_pool_manager_trim(manager); /* and now this thread its own */
    CHECK(!pooled() || held - fell <= 2 * 64 * KIB);
    CHECK_U64(counters_of(others).held_bytes, held - fell);
    hp_byte_pool_put(others, kept);
    hp_byte_pool_free(others);
    return NULL;
}

static void open_pools(void)
{
    static const char *const name[MINE] = {"a", "b/c", "a"};
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    for (unsigned i = 0; i < MINE; i++) {
        CHECK((mine[i] = hp_byte_pool_new(manager, name[i], 1, 64 * KIB, 0)) != NULL);
        fill_and_empty(mine[i]);
    }
}

static void close_pools(void)
{
    for (unsigned i = 0; i < MINE; i++)
        hp_byte_pool_free(mine[i]);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static void test_only_the_threads_own_pools(void)
{
    pthread_t thread;
    open_pools();
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    pthread_barrier_wait(&barrier);
    uint64_t held = hp_pool_manager_held(manager), theirs = counters_of(others).held_bytes;
    size_t fell = hp_pool_manager_trim(manager);
    CHECK_U64(hp_pool_manager_held(manager), held - fell);
    CHECK_U64(hp_pool_manager_held(manager), theirs);
    for (unsigned i = 0; i < 3; i++)
        CHECK_U64(hp_pool_manager_trim_idle(manager, SIZE_MAX), 0);
    CHECK_U64(counters_of(others).held_bytes, theirs);
    pthread_barrier_wait(&barrier);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_barrier_destroy(&barrier);
    close_pools();
}

/* At most so much of all pools together, with each call, until nothing is left. */
static void test_idle_trims_go_on_from_pool_to_pool(void)
{
    if (!pooled())
        return;
    open_pools();
    hp_pool_manager_trim_idle(manager, 0);
    hp_pool_manager_trim_idle(manager, 0); /* nothing has been got since then: all is idle */
    uint64_t held = hp_pool_manager_held(manager);
    CHECK(held >= MINE * BLOCKS * 64 * KIB);
    for (unsigned calls = 0; held > 0; calls++) {
        size_t fell = hp_pool_manager_trim_idle(manager, 640 * KIB);
        CHECK(fell > 0 && fell <= 640 * KIB);
        held -= fell;
        CHECK_U64(hp_pool_manager_held(manager), held);
        CHECK(calls < 30);
    }
    close_pools();
}

TEST_MAIN(TEST(test_only_the_threads_own_pools), TEST(test_idle_trims_go_on_from_pool_to_pool))
