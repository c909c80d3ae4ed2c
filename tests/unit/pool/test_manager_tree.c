/* SPDX-License-Identifier: MIT
 *
 * Names as paths: rows of groups, limits at any node, and what is held below each.
 */
#include "pool_test.h"

#include <h3pool/builder.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define POOLS 6u
#define UNIT (64 * KIB)
#define HUGE (UNIT - 8192) /* a block that holds one unit, in a mapping of its own */

static const char *const names[POOLS] = {"connection/heap",       "tls",        "connection/objects",
                                         "connection/heap/large", "connection", "tls/x"};
static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool[POOLS];

static void open_pools(uint64_t limit)
{
    CHECK((manager = hp_pool_manager_new(limit)) != NULL);
    for (unsigned i = 0; i < POOLS; i++)
        CHECK((pool[i] = hp_byte_pool_new(manager, names[i], 1, 4096, 0)) != NULL);
}

static void close_pools(void)
{
    for (unsigned i = 0; i < POOLS; i++)
        hp_byte_pool_free(pool[i]);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    for (unsigned i = 0; i < POOLS; i++)
        CHECK_U64(hp_pool_manager_held_below(manager, names[i]), 0);
    hp_pool_manager_free(manager);
}

/* --- rows -----------------------------------------------------------------------------------------------------------
 */

struct rows {
    unsigned count;
    char name[20][HP_POOL_NAME_CAP + 1];
    struct hp_pool_row row[20];
};

static void note(void *ctx, const struct hp_pool_row *row)
{
    struct rows *r = ctx;
    CHECK(r->count < 20);
    snprintf(r->name[r->count], sizeof r->name[0], "%s", row->name);
    r->row[r->count++] = *row;
}

static void test_a_group_comes_before_what_is_below_it(void)
{
    static const char *const order[] = {"connection/",
                                        "connection",
                                        "connection/heap/",
                                        "connection/heap",
                                        "connection/heap/large",
                                        "connection/objects",
                                        "tls/",
                                        "tls",
                                        "tls/x"};
    static const unsigned members[] = {4, 1, 2, 1, 1, 1, 2, 1, 1},
                          live[] = {1 + 3 + 4 + 5, 5, 1 + 4, 1, 4, 3, 2 + 6, 2, 6};
    struct rows r = {0};
    void *block[POOLS][6];
    open_pools(0);
    for (unsigned i = 0; i < POOLS; i++)
        for (unsigned k = 0; k <= i; k++)
            CHECK((block[i][k] = hp_byte_pool_get(pool[i], 100)) != NULL);
    hp_pool_manager_walk(manager, note, &r);
    CHECK_U64(r.count, 9);
    for (unsigned i = 0; i < r.count; i++) {
        CHECK_STR(r.name[i], order[i]);
        CHECK_U64(r.row[i].group, order[i][strlen(order[i]) - 1] == '/');
        CHECK_U64(r.row[i].pools, members[i]);
        CHECK_U64(r.row[i].sum.live, live[i]);
    }
    CHECK_U64(hp_pool_manager_live(manager), 1 + 2 + 3 + 4 + 5 + 6); /* groups are not counted twice */
    for (unsigned i = 0; i < POOLS; i++)
        for (unsigned k = 0; k <= i; k++)
            hp_byte_pool_put(pool[i], block[i][k]);
    close_pools();
}

static void test_reports_name_groups(void)
{
    char *text = NULL;
    size_t len = 0;
    open_pools(0);
    hp_pool_manager_set_limit(manager, "connection", 77 * UNIT);
    struct rows r = {0};
    hp_pool_manager_walk(manager, note, &r);
    CHECK_U64(r.row[0].limit_bytes, 77 * UNIT);
    CHECK_U64(r.row[2].limit_bytes, 0);
    FILE *to = open_memstream(&text, &len);
    CHECK(to != NULL);
    hp_pool_manager_print(manager, to);
    CHECK(fclose(to) == 0);
    CHECK(strstr(text, "\nconnection/ ") != NULL && strstr(text, "\nconnection ") != NULL);
    free(text);
    struct hp_builder out;
    hp_builder_init(&out, pool[1], 64 * KIB);
    hp_pool_manager_json(manager, &out);
    hp_builder_append(&out, "", 1);
    struct hp_buffer *json = hp_builder_finish(&out);
    CHECK(json != NULL);
    CHECK(strncmp((char *)json->data, "{\"connection/\":{", 16) == 0);
    CHECK(strstr((char *)json->data, ",\"connection/heap/large\":{") != NULL);
    hp_buffer_unref(json);
    close_pools();
}

/* --- limits ---------------------------------------------------------------------------------------------------------
 */

static void check_held(const unsigned units[POOLS])
{
    unsigned u[POOLS];
    memcpy(u, units, sizeof u);
    CHECK_U64(hp_pool_manager_held_below(manager, "connection/heap"), (u[0] + u[3]) * UNIT);
    CHECK_U64(hp_pool_manager_held_below(manager, "connection"), (u[0] + u[2] + u[3] + u[4]) * UNIT);
    CHECK_U64(hp_pool_manager_held_below(manager, "connection/objects"), u[2] * UNIT);
    CHECK_U64(hp_pool_manager_held_below(manager, "tls"), (u[1] + u[5]) * UNIT);
    CHECK_U64(hp_pool_manager_held_below(manager, NULL), hp_pool_manager_held(manager));
    CHECK_U64(hp_pool_manager_held(manager), (u[0] + u[1] + u[2] + u[3] + u[4] + u[5]) * UNIT);
    CHECK_U64(hp_pool_manager_held_below(manager, "no such name"), 0);
    for (unsigned i = 0; i < POOLS; i++)
        CHECK_U64(counters_of(pool[i]).held_bytes, u[i] * UNIT);
}

/* Random gets and puts of one unit under limits at several nodes, beside a model that knows which must be refused. A
 * refusal changes nothing anywhere. */
static void test_limits_at_every_node(void)
{
    static void *block[POOLS][64];
    unsigned held[POOLS] = {0}, refused = 0, rounds = fewer_if_slowed(100000, 10);
    if (!pooled())
        return; /* malloc's sizes are not exactly a unit */
    open_pools(40 * UNIT);
    hp_pool_manager_set_limit(manager, "connection", 24 * UNIT);
    hp_pool_manager_set_limit(manager, "connection/heap", 13 * UNIT);
    hp_pool_manager_set_limit(manager, "connection/heap/large", 9 * UNIT);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned p = (unsigned)test_random(POOLS);
        if (test_random(5) < 2) {
            if (held[p] > 0)
                hp_byte_pool_put(pool[p], block[p][--held[p]]);
        } else {
            unsigned heap = held[0] + held[3], connection = heap + held[2] + held[4];
            bool full = (p == 3 && held[3] == 9) || ((p == 3 || p == 0) && heap == 13) ||
                        (p != 1 && p != 5 && connection == 24) || connection + held[1] + held[5] == 40;
            void *got = hp_byte_pool_get(pool[p], HUGE);
            CHECK((got == NULL) == full);
            refused += got == NULL;
            if (got != NULL)
                block[p][held[p]++] = got;
        }
        check_held(held);
    }
    CHECK(refused > rounds / 100);
    for (unsigned p = 0; p < POOLS; p++)
        while (held[p] > 0)
            hp_byte_pool_put(pool[p], block[p][--held[p]]);
    close_pools();
}

/* A limit may be set for a name before there is a pool of it, raised, lowered below what is held, and lifted. */
static void test_limits_change(void)
{
    void *block[8];
    unsigned n = 0;
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    hp_pool_manager_set_limit(manager, "early/bird", 2 * UNIT);
    struct hp_byte_pool *bird = hp_byte_pool_new(manager, "early/bird", 1, 4096, 0);
    CHECK(bird != NULL);
    for (unsigned i = 0; i < 4; i++)
        if ((block[n] = hp_byte_pool_get(bird, HUGE - 64)) != NULL)
            n++;
    CHECK_U64(n, 2);
    CHECK_U64(counters_of(bird).refused, 2);
    hp_pool_manager_set_limit(manager, "early/bird", UNIT);
    CHECK(hp_byte_pool_get(bird, HUGE - 64) == NULL);
    CHECK_U64(hp_pool_manager_held(manager), 2 * UNIT);
    hp_pool_manager_set_limit(manager, "early/bird", 0);
    hp_pool_manager_set_limit(manager, "early", 3 * UNIT);
    CHECK((block[n++] = hp_byte_pool_get(bird, HUGE - 64)) != NULL);
    CHECK(hp_byte_pool_get(bird, HUGE - 64) == NULL);
    hp_pool_manager_set_limit(manager, "early", 0);
    hp_pool_manager_set_limit(manager, NULL, 4 * UNIT);
    CHECK((block[n++] = hp_byte_pool_get(bird, HUGE - 64)) != NULL);
    CHECK(hp_byte_pool_get(bird, HUGE - 64) == NULL);
    while (n > 0)
        hp_byte_pool_put(bird, block[--n]);
    hp_byte_pool_free(bird);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

/* --- threads --------------------------------------------------------------------------------------------------------
 */

#define GROUP_UNITS 10u

static _Atomic unsigned at_work;

static void check_limits(void)
{
    CHECK(hp_pool_manager_held_below(manager, "group") <= GROUP_UNITS * UNIT);
    CHECK(hp_pool_manager_held(manager) <= (GROUP_UNITS + 2) * UNIT);
}

static void *take_and_return(void *ctx)
{
    unsigned rounds = fewer_if_slowed(2000, 20);
    struct hp_byte_pool *mine = hp_byte_pool_new(manager, ctx, 1, 4096, 0);
    CHECK(mine != NULL);
    for (unsigned i = 0; i < rounds; i++) {
        void *block[6];
        for (unsigned k = 0; k < 6; k++)
            block[k] = hp_byte_pool_get(mine, HUGE);
        check_limits();
        for (unsigned k = 0; k < 6; k++)
            hp_byte_pool_put(mine, block[k]);
    }
    hp_byte_pool_free(mine);
    atomic_fetch_sub(&at_work, 1);
    return NULL;
}

/* Never above a limit, not for a moment, and in the end exactly nothing. */
static void test_limits_hold_between_threads(void)
{
    static char name[4][16] = {"group/a", "group/b", "group/a", "alone"};
    pthread_t thread[4];
    CHECK((manager = hp_pool_manager_new((GROUP_UNITS + 2) * UNIT)) != NULL);
    hp_pool_manager_set_limit(manager, "group", GROUP_UNITS * UNIT);
    atomic_store(&at_work, 4);
    for (unsigned i = 0; i < 4; i++)
        CHECK(pthread_create(&thread[i], NULL, take_and_return, name[i]) == 0);
    while (atomic_load(&at_work) > 0)
        check_limits();
    for (unsigned i = 0; i < 4; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    CHECK_U64(hp_pool_manager_held_below(manager, "group"), 0);
    hp_pool_manager_free(manager);
}

/* --- names that are none --------------------------------------------------------------------------------------------
 */

static void make_pool(void *name)
{
    CHECK(hp_byte_pool_new(manager, name, 1, 100, 0) == NULL);
}

static void make_too_many(void *ctx)
{
    char name[16];
    (void)ctx;
    for (unsigned i = 0; i < HP_POOL_NAMES_MAX; i++) {
        snprintf(name, sizeof name, "pool%u", i);
        CHECK(hp_byte_pool_new(manager, name, 1, 1, 0) != NULL);
    }
}

static void test_impossible_names(void)
{
    char bad[][64] = {"", "/", "/a", "a/", "a//b", "123456789012345678901234567890123456789012345678"};
    open_pools(0);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_DIES(make_pool, bad[i], "not a name");
    CHECK_DIES(make_too_many, NULL, "at most 256 names");
    bad[5][47] = '\0';
    struct hp_byte_pool *longest = hp_byte_pool_new(manager, bad[5], 1, 100, 0);
    CHECK(longest != NULL);
    CHECK_STR(longest->name, bad[5]);
    hp_byte_pool_free(longest);
    close_pools();
}

TEST_MAIN(TEST(test_impossible_names), TEST(test_a_group_comes_before_what_is_below_it), TEST(test_reports_name_groups),
          TEST(test_limits_at_every_node), TEST(test_limits_change), TEST(test_limits_hold_between_threads))
