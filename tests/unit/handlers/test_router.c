/* SPDX-License-Identifier: MIT
 *
 * Which path and method lead where, and the small routes: /, /health, /stats.
 */
#include "handlers/router.h"

#include "fake_request.h"
#include "json.h"
#include "test.h"

#include <string.h>

static void check_error(struct fake *f, const char *method, const char *path, unsigned status, const char *allow)
{
    struct fake_stream *s = fake_get(f, method, path);
    bool head = strcmp(method, "HEAD") == 0;
    if (s->status != status)
        test_fail(__FILE__, __LINE__, "%s %s gives %u, should give %u", method, path, s->status, status);
    CHECK_STR(fake_value(s, "content-type"), "application/json");
    CHECK(s->ended);
    if (head)
        CHECK_U64(s->body_bytes, 0);
    else
        CHECK(json_valid(s->body, s->body_bytes) && strstr(s->body, "{\"error\":\"") == s->body);
    const char *allowed = fake_value(s, "allow");
    CHECK((allowed == NULL) == (allow == NULL));
    if (allow != NULL)
        CHECK_STR(allowed, allow);
    fake_free(s);
}

static void test_unknown_paths(void)
{
    static const char *const paths[] = {"/nothing", "/health/", "/Health", "/healthy",       "/heal",
                                        "/dat",     "/stats/x", "//",      "/data/",         "/data//",
                                        "/data/x",  "/%64ata",  "*",       "/stats ",        "",
                                        "data",     "/..",      "/datax",  "/health/../data"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        check_error(&f, "GET", paths[i], 404, NULL);
        check_error(&f, "HEAD", paths[i], 404, NULL);
    }
    check_error(&f, "POST", "/nothing", 404, NULL);
    check_error(&f, "BREW", "/nothing", 404, NULL);
    fake_close(&f);
}

static void test_wrong_methods(void)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "BREW"};
    static const char *const paths[] = {"/", "/health", "/stats", "/data/5"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        for (size_t p = 0; p < sizeof paths / sizeof paths[0]; p++)
            check_error(&f, methods[m], paths[p], 405, "GET, HEAD");
        if (m > 1)
            check_error(&f, methods[m], "/data", 405, "GET, HEAD, POST, PUT");
    }
    fake_close(&f);
}

static void test_a_query_does_not_change_the_route(void)
{
    static const char *const paths[] = {"/?x", "/health?", "/stats?a=b", "/data?y=/nothing", "/data/7?items=x"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct fake_stream *s = fake_get(&f, "GET", paths[i]);
        CHECK_U64(s->status, 200);
        fake_free(s);
    }
    fake_close(&f);
}

static void test_health(void)
{
    struct fake f;
    fake_open(&f, router_handle, 0);
    struct fake_stream *s = fake_get(&f, "GET", "/health");
    CHECK_U64(s->status, 200);
    CHECK_STR(fake_value(s, "content-type"), "application/json");
    CHECK_STR(s->body, "{\"status\":\"healthy\",\"protocol\":\"h3\",\"version\":\"0.1.0\",\"build\":\"pooled\","
                       "\"uptime_seconds\":77}\n");
    CHECK(json_valid(s->body, s->body_bytes));
    fake_free(s);
    f.env.draining = true;
    f.server.build = "unpooled";
    s = fake_get(&f, "GET", "/health");
    CHECK_U64(s->status, 503);
    CHECK_STR(s->body, "{\"status\":\"draining\",\"protocol\":\"h3\",\"version\":\"0.1.0\",\"build\":\"unpooled\","
                       "\"uptime_seconds\":77}\n");
    fake_free(s);
    fake_close(&f);
}

static void test_head_is_get_without_the_body(void)
{
    static const char *const paths[] = {"/", "/health", "/stats", "/data", "/data/1000"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct fake_stream *get = fake_get(&f, "GET", paths[i]), *head = fake_get(&f, "HEAD", paths[i]);
        CHECK_U64(head->status, 200);
        CHECK_U64(head->body_bytes, 0);
        CHECK_U64(head->field_count, get->field_count);
        for (size_t k = 0; k < get->field_count; k++) {
            CHECK_STR(head->text[k].name, get->text[k].name);
            CHECK_STR(head->text[k].value, get->text[k].value);
        }
        fake_free(get);
        fake_free(head);
    }
    fake_close(&f);
}

static struct hp_buffer *no_stats(void *ctx, struct hp_byte_pool *pool)
{
    (void)ctx, (void)pool;
    return NULL;
}

static void test_stats(void)
{
    struct fake f;
    fake_open(&f, router_handle, 0);
    struct fake_stream *s = fake_get(&f, "GET", "/stats");
    CHECK_U64(s->status, 200);
    CHECK_STR(fake_value(s, "content-type"), "application/json");
    CHECK_STR(s->body, "{\"stats\":1}\n");
    fake_free(s);
    f.server.stats = no_stats;
    check_error(&f, "GET", "/stats", 503, NULL);
    fake_close(&f);
}

static void test_home_names_the_routes(void)
{
    static const char *const parts[] = {"<!doctype html>", "/health", "/data", "/data/65536", "/stats", "</html>"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    struct fake_stream *s = fake_get(&f, "GET", "/");
    CHECK_U64(s->status, 200);
    CHECK_STR(fake_value(s, "content-type"), "text/html; charset=utf-8");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        CHECK(strstr(s->body, parts[i]) != NULL);
    fake_free(s);
    fake_close(&f);
}

static void test_no_memory_is_503(void)
{
    static const char *const paths[] = {"/health", "/data", "/stats", "/data?items=200"};
    struct fake f;
    fake_open(&f, router_handle, 4u << 20);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct fake_stream *s = fake_begin(&f, "GET", paths[i]);
        fake_exhaust(&f);
        request_ready(s->request, true);
        fake_relieve(&f);
        fake_drain(s);
        CHECK_U64(s->status, 503);
        CHECK_STR(s->body, "{\"error\":\"no memory\"}\n");
        fake_free(s);
    }
    fake_close(&f);
}

TEST_MAIN(TEST(test_unknown_paths), TEST(test_wrong_methods), TEST(test_a_query_does_not_change_the_route),
          TEST(test_health), TEST(test_head_is_get_without_the_body), TEST(test_stats),
          TEST(test_home_names_the_routes), TEST(test_no_memory_is_503))
