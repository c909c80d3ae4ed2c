/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

#include <h3pool/object_pool.h>

#define CONSTRUCTED 0xc0

struct thing {
    unsigned char state; /* CONSTRUCTED while the pool keeps it, or right after get */
    unsigned uses;
    char payload[200];
};

HP_OBJECT_POOL(thing, struct thing)

static struct hp_pool_manager *manager;
static struct hp_object_pool pool;
static unsigned constructed, resets, destructed;

static void construct(void *object)
{
    *(struct thing *)object = (struct thing){.state = CONSTRUCTED};
    constructed++;
}

static void reset(void *object)
{
    struct thing *thing = object;
    CHECK_U64(thing->state, 1); /* in use until now */
    thing->state = CONSTRUCTED;
    resets++;
}

static void destruct(void *object)
{
    struct thing *thing = object;
    CHECK_U64(thing->state, CONSTRUCTED);
    thing->state = 0;
    destructed++;
}

static void open_pool(uint32_t kept_max)
{
    static const struct hp_object_ops ops = {.construct = construct, .reset = reset, .destruct = destruct};
    constructed = resets = destructed = 0;
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    CHECK(hp_object_pool_init(&pool, manager, "things", sizeof(struct thing), kept_max, &ops) == 0);
}

static void close_pool(void)
{
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_object_pool_fini(&pool);
    CHECK_U64(constructed, destructed);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static struct thing *take(void)
{
    struct thing *thing = thing_get(&pool);
    CHECK(thing != NULL);
    CHECK_U64(thing->state, CONSTRUCTED);
    thing->state = 1;
    thing->uses++;
    return thing;
}

/* What this build and mode keeps of |kept_max|. */
static unsigned keeps(unsigned kept_max)
{
    return pooled() && !hp_watched() ? kept_max : 0;
}

static void test_unused_pool(void)
{
    open_pool(10);
    CHECK_U64(constructed, 0);
    close_pool();
}

static void test_kept_between_uses(void)
{
    open_pool(10);
    unsigned uses = 0;
    for (unsigned i = 0; i < 100; i++) {
        struct thing *thing = take();
        uses = thing->uses;
        thing_put(&pool, thing);
    }
    CHECK_U64(resets, 100);
    CHECK_U64(constructed, keeps(10) ? 1 : 100);
    CHECK_U64(destructed, keeps(10) ? 0 : 100);
    CHECK_U64(uses, keeps(10) ? 100 : 1);
    CHECK_U64(counters_of(pool.blocks).gets, 100);
    CHECK_U64(counters_of(pool.blocks).puts, 100);
    close_pool();
}

static void check_kept_max(uint32_t kept_max)
{
    enum { COUNT = 100 };
    struct thing *thing[COUNT];
    open_pool(kept_max);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            thing[i] = take();
            memset(thing[i]->payload, (int)i, sizeof thing[i]->payload);
        }
        CHECK_U64(constructed - destructed, COUNT); /* all are out, none is kept */
        CHECK_U64(counters_of(pool.blocks).live, COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            CHECK_U64(thing[i]->payload[0], i);
            CHECK_U64(thing[i]->payload[199], i);
            thing_put(&pool, thing[i]);
        }
        CHECK_U64(constructed - destructed, keeps(kept_max));
        CHECK_U64(constructed, COUNT + (round - 1) * (COUNT - keeps(kept_max)));
        CHECK_U64(resets, round * COUNT);
    }
    close_pool();
}

static void test_at_most_kept_max_are_kept(void)
{
    check_kept_max(0);
    check_kept_max(1);
    check_kept_max(7);
    check_kept_max(100);
}

static void test_trim_destructs_what_is_kept(void)
{
    open_pool(10);
    struct thing *out = take(), *in = take();
    thing_put(&pool, in);
    hp_byte_pool_trim(pool.blocks);
    CHECK_U64(constructed, 2);
    CHECK_U64(destructed, 1);
    CHECK_U64(out->state, 1);
    thing_put(&pool, out);
    thing_put(&pool, take());
    close_pool();
}

static void test_no_ops(void)
{
    static const struct hp_object_ops none = {0};
    const struct hp_object_ops *ops[] = {NULL, &none};
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK(hp_object_pool_init(&pool, manager, "plain", 1 + 100 * i, i / 2, ops[i % 2]) == 0);
        void *object = hp_object_pool_get(&pool);
        CHECK(object != NULL);
        memset(object, 1, 1 + 100 * i);
        hp_object_pool_put(&pool, object);
        CHECK_U64(counters_of(pool.blocks).live, 0);
        CHECK_U64(counters_of(pool.blocks).live_bytes, 0);
        hp_object_pool_fini(&pool);
    }
    hp_pool_manager_free(manager);
}

static void test_refused_object_is_not_constructed(void)
{
    static const struct hp_object_ops ops = {.construct = construct};
    constructed = 0;
    manager = hp_pool_manager_new(100);
    CHECK(manager != NULL);
    CHECK(hp_object_pool_init(&pool, manager, "things", sizeof(struct thing), 3, &ops) == 0);
    CHECK(thing_get(&pool) == NULL);
    CHECK_U64(constructed, 0);
    CHECK_U64(counters_of(pool.blocks).refused, 1);
    hp_object_pool_fini(&pool);
    hp_object_pool_fini(&pool); /* once more is legal, as of a pool that was zeroed */
    hp_pool_manager_free(manager);
}

TEST_MAIN(TEST(test_unused_pool), TEST(test_kept_between_uses), TEST(test_at_most_kept_max_are_kept),
          TEST(test_trim_destructs_what_is_kept), TEST(test_no_ops), TEST(test_refused_object_is_not_constructed))
