/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

#include <ctype.h>
#include <h3pool/builder.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define POOLS 5

/* Two pools share a name, and one name needs escaping. */
static const char *const names[POOLS] = {"beta", "alpha", "beta", "a \"quoted\"\n", "last"};
static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool[POOLS];
static void *block[POOLS][100];
static unsigned count[POOLS];

static void open_pools(uint64_t limit)
{
    manager = hp_pool_manager_new(limit);
    CHECK(manager != NULL);
    for (int i = 0; i < POOLS; i++) {
        pool[i] = hp_byte_pool_new(manager, names[i], 1, 64 * KIB, 0);
        CHECK(pool[i] != NULL);
        count[i] = 0;
    }
}

static void get_some(void)
{
    for (int i = 0; i < POOLS; i++) {
        for (count[i] = 0; count[i] < 10u * (unsigned)i + 3; count[i]++) {
            block[i][count[i]] = hp_byte_pool_get(pool[i], 100);
            CHECK(block[i][count[i]] != NULL);
        }
    }
}

static void close_pools(void)
{
    for (int i = 0; i < POOLS; i++)
        while (count[i] > 0)
            hp_byte_pool_put(pool[i], block[i][--count[i]]);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    for (int i = 0; i < POOLS; i++)
        hp_byte_pool_free(pool[(i + 2) % POOLS]); /* in an order of its own */
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static void test_no_pools(void)
{
    hp_pool_manager_free(NULL);
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

/* --- walk ----------------------------------------------------------------------------------------------------------
 */

struct walked {
    unsigned rows;
    const char *name[POOLS];
    struct hp_counters sum[POOLS];
};

static void note(void *ctx, const struct hp_pool_row *row)
{
    struct walked *walked = ctx;
    CHECK(walked->rows < POOLS);
    walked->name[walked->rows] = row->name;
    walked->sum[walked->rows++] = row->sum;
}

static void test_walk_sums_per_name_in_order(void)
{
    struct walked walked = {0};
    open_pools(0);
    get_some();
    hp_pool_manager_walk(manager, note, &walked);
    CHECK_U64(walked.rows, 4);
    CHECK_STR(walked.name[0], "beta");
    CHECK_STR(walked.name[1], "alpha");
    CHECK_STR(walked.name[2], names[3]);
    CHECK_STR(walked.name[3], "last");
    CHECK_U64(walked.sum[0].live, 3 + 23);
    CHECK_U64(walked.sum[1].live, 13);
    CHECK_U64(walked.sum[2].live, 33);
    CHECK_U64(walked.sum[3].live, 43);
    struct hp_counters a = counters_of(pool[0]), b = counters_of(pool[2]);
#define X(name, column, text) CHECK_U64(walked.sum[0].name, a.name + b.name);
    HP_COUNTERS(X)
#undef X
    CHECK_U64(hp_pool_manager_live(manager), 3 + 13 + 23 + 33 + 43);
    uint64_t held = 0;
    for (int i = 0; i < POOLS; i++)
        held += counters_of(pool[i]).held_bytes;
    CHECK_U64(hp_pool_manager_held(manager), held);
    close_pools();
}

/* --- the limit over all --------------------------------------------------------------------------------------------
 */

static void test_limit_over_all_pools(void)
{
    open_pools(1024 * KIB);
    unsigned got = 0;
    uint64_t refused = 0;
    for (; refused == 0; got++) {
        int i = (int)(got % POOLS);
        CHECK(count[i] < 100);
        block[i][count[i]] = hp_byte_pool_get(pool[i], 30 * KIB);
        if (block[i][count[i]] == NULL) {
            refused++;
            CHECK_U64(counters_of(pool[i]).refused, 1);
        } else {
            count[i]++;
        }
        CHECK(hp_pool_manager_held(manager) <= 1024 * KIB);
    }
    CHECK(got > 10);
    CHECK(hp_pool_manager_held(manager) > 512 * KIB);
    /* What one pool gives back, another may have. */
    int giver = got % POOLS == 1 ? 1 : 0, taker = giver == 0 ? 1 : 0;
    while (count[giver] > 0)
        hp_byte_pool_put(pool[giver], block[giver][--count[giver]]);
    CHECK(hp_byte_pool_trim(pool[giver]) > 0);
    block[taker][count[taker]] = hp_byte_pool_get(pool[taker], 30 * KIB);
    CHECK(block[taker][count[taker]] != NULL);
    count[taker]++;
    close_pools();
}

/* Threads that take and return at once: the sum must neither exceed the limit nor lose anything. */
static void *churn(void *ended)
{
    struct hp_byte_pool *mine = hp_byte_pool_new(manager, "churn", 1, 64 * KIB, 0);
    CHECK(mine != NULL);
    for (int round = 0; round < 300; round++) {
        void *held[20];
        for (int i = 0; i < 20; i++)
            held[i] = hp_byte_pool_get(mine, 64 * KIB);
        for (int i = 0; i < 20; i++)
            hp_byte_pool_put(mine, held[i]);
        hp_byte_pool_trim(mine);
        CHECK_U64(counters_of(mine).held_bytes, 0);
    }
    CHECK_U64(counters_of(mine).gets + counters_of(mine).refused, 300 * 20);
    hp_byte_pool_free(mine);
    atomic_fetch_add((_Atomic int *)ended, 1);
    return NULL;
}

static void check_plausible(void *ctx, const struct hp_pool_row *row)
{
    (void)ctx;
    CHECK_STR(row->name, "churn");
    CHECK(row->sum.live <= 3 * (20 + 64)); /* what is on its way to a front may be counted */
#define X(counter, column, text) CHECK(row->sum.counter < 1ull << 32);
    HP_COUNTERS(X)
#undef X
}

/* Regression: a report beside the work once took a moment's difference of two counters for 2^64 less a few. */
static void test_limit_and_reports_with_threads(void)
{
    _Atomic int ended = 0;
    pthread_t thread[3];
    manager = hp_pool_manager_new(1024 * KIB);
    CHECK(manager != NULL);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread[i], NULL, churn, &ended) == 0);
    while (atomic_load(&ended) < 3) {
        hp_pool_manager_walk(manager, check_plausible, NULL);
        CHECK(hp_pool_manager_held(manager) <= 1024 * KIB + 3 * 64 * KIB); /* a request may be counted till refused */
    }
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

/* --- reports -------------------------------------------------------------------------------------------------------
 */

static void test_print(void)
{
    char *text = NULL;
    size_t len = 0;
    open_pools(0);
    get_some();
    FILE *to = open_memstream(&text, &len);
    CHECK(to != NULL);
    hp_pool_manager_print(manager, to);
    CHECK(fclose(to) == 0);
    char name[16];
    unsigned long long gets, puts, live;
    CHECK(strncmp(text, "name ", 5) == 0);
#define X(name, column, text_) CHECK(strstr(text, " " column) != NULL);
    HP_COUNTERS(X)
#undef X
    const char *row = strchr(text, '\n');
    CHECK(row != NULL && sscanf(row + 1, "%15s %llu %llu %llu", name, &gets, &puts, &live) == 4);
    CHECK_STR(name, "beta");
    CHECK_U64(live, 26);
    row = strstr(text, "\nalpha ");
    CHECK(row != NULL && sscanf(row, " %15s %llu %llu %llu", name, &gets, &puts, &live) == 4);
    CHECK_U64(live, 13);
    row = strstr(text, "\nlast ");
    CHECK(row != NULL && sscanf(row, " %15s %llu %llu %llu", name, &gets, &puts, &live) == 4);
    CHECK_U64(gets, 43);
    CHECK_U64(live, 43);
    free(text);
    close_pools();
}

/* A reader of just what the report may be: objects, strings and numbers. Returns what follows the value, or NULL. */
static const char *json_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at == '\\' && strchr("\"\\/bfnrtu", *++at) == NULL)
            return NULL;
    }
    return at + 1;
}

static const char *json_value(const char *at, int depth)
{
    if (isdigit((unsigned char)*at))
        return at + strspn(at, "0123456789");
    if (*at != '{' || depth == 0)
        return NULL;
    do {
        at = json_string(at + 1);
        if (at == NULL || *at != ':')
            return NULL;
        at = json_value(at + 1, depth - 1);
        if (at == NULL)
            return NULL;
    } while (*at == ',');
    return *at == '}' ? at + 1 : NULL;
}

static void test_json(void)
{
    struct hp_builder out;
    char row[200];
    open_pools(0);
    get_some();
    struct hp_pool_manager *text_manager = hp_pool_manager_new(0); /* so that the report does not change itself */
    CHECK(text_manager != NULL);
    struct hp_byte_pool *text_pool = hp_byte_pool_new(text_manager, "text", 64, 64 * KIB, 0);
    CHECK(text_pool != NULL);
    hp_builder_init(&out, text_pool, 64 * KIB);
    hp_pool_manager_json(manager, &out);
    hp_builder_append(&out, "", 1);
    struct hp_buffer *built = hp_builder_finish(&out);
    CHECK(built != NULL);
    const char *text = (const char *)built->data, *end = json_value(text, 2);
    CHECK(end != NULL && *end == '\0');
    CHECK(strncmp(text, "{\"beta\":{", 9) == 0);
    CHECK(strstr(text, ",\"a \\\"quoted\\\"\\n\":{") != NULL);
    struct hp_counters c = counters_of(pool[1]);
    snprintf(row, sizeof row,
             ",\"alpha\":{\"gets\":%llu,\"puts\":0,\"live\":13,\"live_bytes\":%llu,\"held_bytes\":%llu,",
             (unsigned long long)c.gets, (unsigned long long)c.live_bytes, (unsigned long long)c.held_bytes);
    CHECK(strstr(text, row) != NULL);
    hp_buffer_unref(built);
    hp_byte_pool_free(text_pool);
    hp_pool_manager_free(text_manager);
    close_pools();
}

TEST_MAIN(TEST(test_no_pools), TEST(test_walk_sums_per_name_in_order), TEST(test_limit_over_all_pools),
          TEST(test_limit_and_reports_with_threads), TEST(test_print), TEST(test_json))
