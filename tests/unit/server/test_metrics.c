/* SPDX-License-Identifier: MIT */
#include "metrics.h"

#include "json.h"
#include "test.h"

#include <h3pool/manager.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 3u

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;

/* The JSON of |count| workers' metrics as an object; to be freed. */
static char *json_of(struct metrics *const *of_worker, unsigned count)
{
    struct hp_builder b;
    struct metrics_set set = {.of_worker = of_worker, .count = count};
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "data", 64, 64u << 10, 0);
    CHECK(pool != NULL);
    hp_builder_init(&b, pool, 1u << 16);
    hp_builder_append_str(&b, "{");
    metrics_json(&set, &b);
    hp_builder_append(&b, "}", 2);
    struct hp_buffer *buffer = hp_builder_finish(&b);
    CHECK(buffer != NULL);
    char *text = strdup((const char *)buffer->data);
    hp_buffer_unref(buffer);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
    CHECK(text != NULL && json_valid(text, strlen(text)));
    return text;
}

static void test_sums_over_workers(void)
{
    static struct metrics m[WORKERS];
    struct metrics *of_worker[WORKERS] = {&m[0], &m[1], &m[2]};
#define X(name, text)                                                                                                  \
    for (unsigned i = 0; i < WORKERS; i++)                                                                             \
        METRIC_ADD(&m[i], name, test_random(1ull << 50));
    METRICS(X)
#undef X
    char *text = json_of(of_worker, WORKERS);
#define X(name, text_) CHECK_U64(json_u64(text, #name), m[0].name + m[1].name + m[2].name);
    METRICS(X)
#undef X
    free(text);
}

static void test_every_counter_is_there_once(void)
{
    struct metrics m = {0}, *of_worker[] = {&m};
    char *text = json_of(of_worker, 1);
    unsigned names = 0, commas = 0;
#define X(name, text_)                                                                                                 \
    CHECK_U64(json_u64(text, #name), 0);                                                                               \
    names++;
    METRICS(X)
#undef X
    for (const char *p = text; *p != '\0'; p++)
        commas += *p == ',';
    CHECK_U64(commas, names - 1);
    free(text);
}

static void test_adding_and_subtracting(void)
{
    struct metrics m = {0};
    METRIC_ADD(&m, requests_active, 5);
    METRIC_SUB(&m, requests_active, 3);
    METRIC_ADD(&m, bytes_sent, (size_t)1 << 40);
    CHECK_U64(HP_READ(m.requests_active), 2);
    CHECK_U64(HP_READ(m.bytes_sent), 1ull << 40);
    CHECK_U64(HP_READ(m.requests), 0);
}

static void test_no_workers(void)
{
    char *text = json_of(NULL, 0);
    CHECK_U64(json_u64(text, "requests"), 0);
    free(text);
}

TEST_MAIN(TEST(test_sums_over_workers), TEST(test_every_counter_is_there_once), TEST(test_adding_and_subtracting),
          TEST(test_no_workers))
