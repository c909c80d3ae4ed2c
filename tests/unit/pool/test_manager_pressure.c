/* SPDX-License-Identifier: MIT
 *
 * Stages of pressure: entered and left where they say, told once for each change, and right in the end however many
 * threads come and go at once.
 */
#include "pool_test.h"

#include <h3pool/manager.h>
#include <pthread.h>

#define LIMIT ((uint64_t)6400 * KIB) /* a unit of 64 KiB is 10 permille */
#define UNIT (64 * KIB)

static const struct hp_pressure_stage stages[] = {{500, 400}, {800, 700}, {1000, 900}};

struct told {
    unsigned calls;
    uint32_t was, is;
};

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;
static struct told told;
static void *block[200];
static unsigned count;

static void note(void *ctx, uint32_t was, uint32_t is)
{
    struct told *t = ctx;
    CHECK_U64(was, t->is); /* what is told is without a gap */
    CHECK(was != is);
    *t = (struct told){.calls = t->calls + 1, .was = was, .is = is};
}

static void open_pool(void)
{
    told = (struct told){0};
    CHECK((manager = hp_pool_manager_new(LIMIT)) != NULL);
    hp_pool_manager_set_pressure(manager, stages, 3, note, &told);
    CHECK((pool = hp_byte_pool_new(manager, "pool", 1, 4096, 0)) != NULL);
    count = 0;
}

/* Holds so many units, in blocks with mappings of their own, which come and go one by one. */
static void hold(unsigned units)
{
    while (hp_pool_manager_held(manager) < units * UNIT)
        CHECK((block[count++] = hp_byte_pool_get(pool, UNIT - 8192)) != NULL);
    while (hp_pool_manager_held(manager) > units * UNIT) {
        if (count > 0)
            hp_byte_pool_put(pool, block[--count]);
        hp_byte_pool_trim(pool);
    }
}

static void close_pool(void)
{
    hold(0);
    CHECK_U64(hp_pool_manager_pressure(manager), 0);
    CHECK_U64(told.is, 0);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

/* The stage that is due at so many permille, coming from |stage|. */
static uint32_t stage_at(uint32_t stage, uint64_t permille)
{
    while (stage < 3 && permille >= stages[stage].enter_permille)
        stage++;
    while (stage > 0 && permille < stages[stage - 1].leave_permille)
        stage--;
    return stage;
}

static void test_up_and_down(void)
{
    open_pool();
    uint32_t stage = 0;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 200; i++) {
            hold(i < 100 ? i + 1 : 199 - i);
            uint64_t permille = hp_pool_manager_held(manager) * 1000 / LIMIT;
            stage = stage_at(stage, permille);
            CHECK_U64(hp_pool_manager_pressure(manager), stage);
            CHECK_U64(told.is, stage);
        }
    CHECK(told.calls >= 3 * 6 && told.calls % 2 == 0);
    close_pool();
}

/* Between leave and enter nothing is told. */
static void test_no_flutter(void)
{
    open_pool();
    hold(60);
    CHECK_U64(told.is, 1);
    unsigned calls = told.calls;
    for (int i = 0; i < 20; i++) {
        hold(41);
        hold(79 - 8);
    }
    CHECK_U64(told.calls, calls);
    hold(30);
    CHECK_U64(told.is, 0);
    CHECK_U64(told.was, 1);
    CHECK_U64(told.calls, calls + 1);
    for (int i = 0; i < 20; i++) {
        hold(40);
        hold(30);
    }
    CHECK_U64(told.calls, calls + 1);
    close_pool();
}

/* One block that is larger than what lies between two stages. */
static void test_stages_are_skipped(void)
{
    open_pool();
    void *huge = hp_byte_pool_get(pool, LIMIT - 3 * UNIT);
    CHECK(huge != NULL);
    CHECK_U64(told.calls, 1);
    CHECK_U64(told.was, 0);
    CHECK_U64(told.is, 2);
    void *refused = hp_byte_pool_get(pool, LIMIT); /* what is refused is no pressure */
    CHECK(refused == NULL);
    CHECK_U64(told.calls, 1);
    hp_byte_pool_put(pool, huge);
    hp_byte_pool_trim(pool);
    CHECK_U64(told.calls, 2);
    CHECK_U64(told.was, 2);
    CHECK_U64(told.is, 0);
    close_pool();
}

static void test_set_late_and_taken_away(void)
{
    open_pool();
    hp_pool_manager_set_pressure(manager, NULL, 0, NULL, NULL);
    hold(85);
    CHECK_U64(told.calls, 0);
    CHECK_U64(hp_pool_manager_pressure(manager), 0);
    hp_pool_manager_set_pressure(manager, stages, 3, note, &told);
    CHECK_U64(told.calls, 1);
    CHECK_U64(told.is, 2);
    CHECK_U64(hp_pool_manager_pressure(manager), 2);
    close_pool();
}

/* Without a limit there is nothing to be short of. */
static void test_no_limit_no_pressure(void)
{
    open_pool();
    hp_pool_manager_set_limit(manager, NULL, 0);
    hold(99);
    CHECK_U64(told.calls, 0);
    hp_pool_manager_set_limit(manager, NULL, LIMIT);
    close_pool();
}

/* Regression: a new limit changed nothing until the next get or put. */
static void test_a_new_limit_is_looked_at(void)
{
    open_pool();
    hold(45);
    CHECK_U64(told.calls, 0);
    hp_pool_manager_set_limit(manager, NULL, 50 * UNIT);
    CHECK_U64(told.is, 2);
    hp_pool_manager_set_limit(manager, "pool", 200 * UNIT); /* another one's is none of its business */
    CHECK_U64(told.calls, 1);
    hp_pool_manager_set_limit(manager, NULL, 45 * UNIT);
    CHECK_U64(told.is, 3);
    hp_pool_manager_set_limit(manager, NULL, 0);
    CHECK_U64(told.is, 0);
    CHECK_U64(hp_pool_manager_pressure(manager), 0);
    hp_pool_manager_set_limit(manager, NULL, LIMIT);
    CHECK_U64(told.calls, 3);
    close_pool();
}

/* --- threads --------------------------------------------------------------------------------------------------------
 */

static _Atomic int64_t balance[4]; /* entered less left, by stage */
static _Atomic unsigned changes;

static void count_change(void *ctx, uint32_t was, uint32_t is)
{
    (void)ctx;
    CHECK(was <= 3 && is <= 3 && was != is);
    atomic_fetch_sub(&balance[was], 1);
    atomic_fetch_add(&balance[is], 1);
    atomic_fetch_add(&changes, 1);
}

static void *swing(void *ctx)
{
    uint64_t state = (uintptr_t)ctx;
    unsigned rounds = fewer_if_slowed(1000, 20);
    struct hp_byte_pool *mine = hp_byte_pool_new(manager, "swing", 1, 4096, 0);
    CHECK(mine != NULL);
    for (unsigned i = 0; i < rounds; i++) {
        void *huge[4];
        for (unsigned k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            huge[k] = hp_byte_pool_get(mine, UNIT + (state >> 33) % (20 * UNIT));
        }
        for (unsigned k = 0; k < 4; k++)
            hp_byte_pool_put(mine, huge[k]);
    }
    hp_byte_pool_free(mine);
    return NULL;
}

/* In the end every stage that was entered has been left, and what is in force is what was told. Regression: a refusal
 * that another thread had seen as held left it in a stage. */
static void test_nothing_is_lost_between_threads(void)
{
    pthread_t thread[4];
    open_pool();
    for (unsigned round = 0; round < 10; round++) {
        memset(balance, 0, sizeof balance);
        hp_pool_manager_set_pressure(manager, stages, 3, count_change, NULL);
        for (uintptr_t i = 0; i < 4; i++)
            CHECK(pthread_create(&thread[i], NULL, swing, (void *)(test_random(UINT32_MAX) + i)) == 0);
        for (unsigned i = 0; i < 4; i++)
            CHECK(pthread_join(thread[i], NULL) == 0);
        CHECK_U64(hp_pool_manager_held(manager), 0);
        CHECK_U64(hp_pool_manager_pressure(manager), 0);
        for (unsigned i = 0; i < 4; i++)
            CHECK_U64(atomic_load(&balance[i]), 0);
    }
    CHECK(atomic_load(&changes) > 0 || slowed());
    printf("   %u changes of stage\n", atomic_load(&changes));
    hp_pool_manager_set_pressure(manager, stages, 3, note, &told);
    close_pool();
}

/* --- misuse ---------------------------------------------------------------------------------------------------------
 */

static void set_stages(void *ctx)
{
    hp_pool_manager_set_pressure(manager, ctx, 2, note, NULL);
}

static void set_too_many(void *ctx)
{
    hp_pool_manager_set_pressure(manager, ctx, HP_PRESSURE_STAGES_MAX + 1, note, NULL);
}

static void test_impossible_stages(void)
{
    struct hp_pressure_stage falling[] = {{500, 400}, {500, 450}}, inverted[] = {{300, 200}, {500, 501}};
    struct hp_pressure_stage many[HP_PRESSURE_STAGES_MAX + 1] = {{1, 1}};
    open_pool();
    CHECK_DIES(set_stages, falling, "stage 2 of pressure");
    CHECK_DIES(set_stages, inverted, "stage 2 of pressure");
    CHECK_DIES(set_too_many, many, "at most 8 are possible");
    close_pool();
}

TEST_MAIN(TEST(test_impossible_stages), TEST(test_up_and_down), TEST(test_no_flutter), TEST(test_stages_are_skipped),
          TEST(test_set_late_and_taken_away), TEST(test_no_limit_no_pressure), TEST(test_a_new_limit_is_looked_at),
          TEST(test_nothing_is_lost_between_threads))
