/* SPDX-License-Identifier: MIT */
#include "cid.h"

#include "test.h"

#include <h3pool/manager.h>
#include <string.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;
static struct hp_object_pool entries;
static unsigned draws;

static void open_pools(void)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "data", 64, 64u << 10, 0);
    CHECK(pool != NULL);
    CHECK(hp_object_pool_init(&entries, manager, "ids", sizeof(struct cid_entry), 64, NULL) == 0);
}

static void close_pools(void)
{
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_object_pool_fini(&entries);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

static void random_bytes(void *ctx, void *bytes, size_t len)
{
    uint8_t *out = bytes;
    CHECK(ctx == &draws);
    draws++;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)test_random(256);
}

/* --- steering -------------------------------------------------------------------------------------------------------
 */

static void test_worker_is_the_hash_of_four_bytes(void)
{
    struct cid_steering s = {.key = 0x9e3779b1, .count = 7};
    static const uint8_t id[] = {0x12, 0x34, 0x56, 0x78, 0x9a};
    CHECK_U64(cid_worker(&s, id, 5), (0x12345678u * 0x9e3779b1u >> 16) % 7);
    CHECK_U64(cid_worker(&s, id, 4), (0x12345678u * 0x9e3779b1u >> 16) % 7);
    CHECK_U64(cid_worker(&s, id, 3), (0x12345600u * 0x9e3779b1u >> 16) % 7);
    CHECK_U64(cid_worker(&s, id, 1), (0x12000000u * 0x9e3779b1u >> 16) % 7);
    CHECK_U64(cid_worker(&s, id, 0), 0);
}

static void test_short_ids_are_not_read_past_their_end(void)
{
    struct cid_steering s = {.key = 0x9e3779b1, .count = 16};
    for (size_t len = 0; len < 8; len++) {
        uint8_t *id = test_guarded(len);
        memset(id, 0x5a, len);
        CHECK(cid_worker(&s, id, len) < 16);
    }
}

static void test_draws_hit_the_worker(void)
{
    for (uint32_t count = 1; count <= 16; count++) {
        draws = 0;
        for (unsigned i = 0; i < 1600; i++) {
            struct cid_steering s = {.key = (uint32_t)test_random(1ull << 32) | 1, .count = count, .worker = i % count};
            ngtcp2_cid id = {0};
            size_t len = 4 + test_random(NGTCP2_MAX_CIDLEN - 3);
            cid_draw(&s, random_bytes, &draws, &id, len);
            CHECK_U64(id.datalen, len);
            CHECK_U64(cid_worker(&s, id.data, len), s.worker);
        }
        /* On average as many draws as there are workers; a fifth more or less is 8 standard deviations or farther. */
        CHECK(draws >= 1280 * count && draws <= 1920 * count);
    }
}

static void test_ids_spread_over_workers(void)
{
    struct cid_steering s = {.key = (uint32_t)test_random(1ull << 32) | 1, .count = 16};
    unsigned of_worker[16] = {0};
    for (unsigned i = 0; i < 16000; i++) {
        uint8_t id[8];
        random_bytes(&draws, id, sizeof id);
        of_worker[cid_worker(&s, id, sizeof id)]++;
    }
    for (unsigned i = 0; i < 16; i++)
        CHECK(of_worker[i] > 750 && of_worker[i] < 1250);
}

/* --- the table ------------------------------------------------------------------------------------------------------
 */

#define CONNS 20u
#define IDS 3000u

/* The model: an array that is searched from end to end. */
static struct model {
    uint8_t id[NGTCP2_MAX_CIDLEN];
    size_t len;
    unsigned conn; /* 0: not in the table */
} model[IDS];
static struct cid_entry *mine[CONNS + 1];

static struct conn *conn_of(unsigned i)
{
    return i == 0 ? NULL : (struct conn *)(uintptr_t)(i * 64);
}

static unsigned model_find(const uint8_t *id, size_t len)
{
    for (unsigned i = 0; i < IDS; i++)
        if (model[i].conn != 0 && model[i].len == len && memcmp(model[i].id, id, len) == 0)
            return model[i].conn;
    return 0;
}

static void new_ids(void)
{
    memset(mine, 0, sizeof mine);
    for (unsigned i = 0; i < IDS; i++) {
        model[i] = (struct model){.len = 1 + test_random(NGTCP2_MAX_CIDLEN)};
        if (i % 3 == 1) /* the beginning of another, or the same */
            memcpy(model[i].id, model[i - 1].id, NGTCP2_MAX_CIDLEN);
        else
            random_bytes(&draws, model[i].id, test_random(4) == 0 ? 1 : model[i].len);
    }
}

static void step(struct cid_table *t)
{
    struct model *m = &model[test_random(IDS)];
    unsigned conn = 1 + (unsigned)test_random(CONNS), taken = model_find(m->id, m->len);
    switch (test_random(8)) {
    case 0: /* an ID of another connection is not removed from this one */
        cid_table_remove(t, &mine[conn], m->id, m->len);
        for (unsigned i = 0; taken == conn && i < IDS; i++)
            if (model[i].conn == conn && model[i].len == m->len && memcmp(model[i].id, m->id, m->len) == 0)
                model[i].conn = 0;
        break;
    case 1:
        if (test_random(30) != 0)
            break;
        cid_table_remove_all(t, &mine[conn]);
        CHECK(mine[conn] == NULL);
        for (unsigned i = 0; i < IDS; i++)
            if (model[i].conn == conn)
                model[i].conn = 0;
        break;
    default:
        CHECK(cid_table_add(t, conn_of(conn), &mine[conn], m->id, m->len) == (taken == 0 ? 0 : -1));
        if (taken == 0)
            m->conn = conn;
    }
    CHECK(cid_table_find(t, m->id, m->len) == conn_of(model_find(m->id, m->len)));
}

static void test_table_agrees_with_an_array(void)
{
    struct cid_table t;
    open_pools();
    CHECK(cid_table_init(&t, pool, &entries, test_random(1ull << 53), 1) == 0);
    CHECK(t.mask + 1 < IDS / 2); /* so that buckets have more than one */
    new_ids();
    for (unsigned i = 0; i < 20000; i++)
        step(&t);
    uint64_t count = 0;
    for (unsigned i = 0; i < IDS; i++) {
        CHECK(cid_table_find(&t, model[i].id, model[i].len) == conn_of(model_find(model[i].id, model[i].len)));
        count += model[i].conn != 0;
    }
    CHECK_U64(hp_pool_manager_live(manager), count + 1);
    for (unsigned i = 1; i <= CONNS; i++)
        cid_table_remove_all(&t, &mine[i]);
    CHECK_U64(hp_pool_manager_live(manager), 1);
    for (unsigned i = 0; i < IDS; i++)
        CHECK(cid_table_find(&t, model[i].id, model[i].len) == NULL);
    cid_table_fini(&t);
    close_pools();
}

static void test_many_more_ids_than_buckets(void)
{
    struct cid_table t;
    struct cid_entry *list = NULL;
    open_pools();
    CHECK(cid_table_init(&t, pool, &entries, 7, 1) == 0);
    for (uint32_t i = 0; i < 20000; i++)
        CHECK(cid_table_add(&t, conn_of(i + 1), &list, (const uint8_t *)&i, sizeof i) == 0);
    for (uint32_t i = 0; i < 20000; i++)
        CHECK(cid_table_find(&t, (const uint8_t *)&i, sizeof i) == conn_of(i + 1));
    cid_table_remove_all(&t, &list);
    cid_table_fini(&t);
    close_pools();
}

static void test_a_taken_id_is_refused(void)
{
    struct cid_table t;
    struct cid_entry *one = NULL, *two = NULL;
    static const uint8_t id[] = "abcdefgh";
    open_pools();
    CHECK(cid_table_init(&t, pool, &entries, 7, 100) == 0);
    CHECK(cid_table_add(&t, conn_of(1), &one, id, 8) == 0);
    CHECK(cid_table_add(&t, conn_of(2), &two, id, 8) == -1);
    CHECK(cid_table_add(&t, conn_of(1), &one, id, 8) == -1);
    CHECK(two == NULL);
    CHECK(cid_table_find(&t, id, 8) == conn_of(1));
    CHECK(cid_table_find(&t, id, 7) == NULL); /* an ID is not its beginning */
    cid_table_remove(&t, &two, id, 8);
    CHECK(cid_table_find(&t, id, 8) == conn_of(1));
    cid_table_remove(&t, &one, id, 8);
    cid_table_remove(&t, &one, id, 8);
    CHECK(cid_table_find(&t, id, 8) == NULL && one == NULL);
    CHECK(cid_table_add(&t, conn_of(2), &two, id, 8) == 0);
    CHECK(cid_table_find(&t, id, 8) == conn_of(2));
    cid_table_remove_all(&t, &two);
    cid_table_fini(&t);
    close_pools();
}

static void test_lengths_of_ids(void)
{
    struct cid_table t;
    struct cid_entry *list = NULL;
    open_pools();
    CHECK(cid_table_init(&t, pool, &entries, 7, 100) == 0);
    for (size_t len = 0; len <= NGTCP2_MAX_CIDLEN + 4; len++) {
        bool fits = len <= NGTCP2_MAX_CIDLEN;
        uint8_t *id = test_guarded(len);
        memset(id, 0, len);
        CHECK(cid_table_find(&t, id, len) == NULL);
        CHECK(cid_table_add(&t, conn_of((unsigned)len + 1), &list, id, len) == (fits ? 0 : -1));
        CHECK(cid_table_find(&t, id, len) == (fits ? conn_of((unsigned)len + 1) : NULL));
    }
    cid_table_remove_all(&t, &list);
    cid_table_fini(&t);
    close_pools();
}

static void test_no_memory_is_an_error(void)
{
    struct cid_table t;
    struct hp_object_pool few;
    struct cid_entry *list = NULL;
    open_pools();
    struct hp_pool_manager *small = hp_pool_manager_new(4u << 20);
    CHECK(small != NULL);
    CHECK(hp_object_pool_init(&few, small, "ids", sizeof(struct cid_entry), 64, NULL) == 0);
    CHECK(cid_table_init(&t, pool, &few, 7, 100) == 0);
    uint32_t i = 0;
    while (cid_table_add(&t, conn_of(1), &list, (const uint8_t *)&i, sizeof i) == 0)
        CHECK(++i < 100000);
    CHECK(cid_table_find(&t, (const uint8_t *)&i, sizeof i) == NULL);
    i--;
    CHECK(cid_table_find(&t, (const uint8_t *)&i, sizeof i) == conn_of(1));
    cid_table_remove_all(&t, &list);
    cid_table_fini(&t);
    CHECK_U64(hp_pool_manager_live(small), 0);
    hp_object_pool_fini(&few);
    hp_pool_manager_free(small);
    close_pools();
}

TEST_MAIN(TEST(test_worker_is_the_hash_of_four_bytes), TEST(test_short_ids_are_not_read_past_their_end),
          TEST(test_draws_hit_the_worker), TEST(test_ids_spread_over_workers), TEST(test_table_agrees_with_an_array),
          TEST(test_many_more_ids_than_buckets), TEST(test_a_taken_id_is_refused), TEST(test_lengths_of_ids),
          TEST(test_no_memory_is_an_error))
