/* SPDX-License-Identifier: MIT */
#include "http.h"

#include "fake_request.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/* |text| where it ends at an unreadable page. */
static struct http_text guarded(const char *text)
{
    size_t len = strlen(text);
    return (struct http_text){memcpy(test_guarded(len), text, len), len};
}

static void test_text_is(void)
{
    CHECK(http_text_is(guarded("GET"), "GET"));
    CHECK(!http_text_is(guarded("GET"), "GE"));
    CHECK(!http_text_is(guarded("GE"), "GET"));
    CHECK(!http_text_is(guarded("get"), "GET"));
    CHECK(http_text_is(guarded(""), ""));
    CHECK(http_text_is(HTTP_TEXT("date"), "date"));
    CHECK(!http_text_is((struct http_text){"a\0b", 3}, "a"));
}

static void test_numbers(void)
{
    static const struct {
        const char *text;
        uint64_t max, value;
        int result;
    } cases[] = {
        {"0", 0, 0, 0},
        {"7", 10, 7, 0},
        {"10", 10, 10, 0},
        {"11", 10, 0, -1},
        {"0010", 10, 10, 0},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, 0},
        {"18446744073709551616", UINT64_MAX, 0, -1},
        {"18446744073709551620", UINT64_MAX, 0, -1},
        {"99999999999999999999", UINT64_MAX, 0, -1},
        {"184467440737095516150", UINT64_MAX, 0, -1},
        {"", 10, 0, -1},
        {"-1", 10, 0, -1},
        {"+1", 10, 0, -1},
        {" 1", 10, 0, -1},
        {"1 ", 10, 0, -1},
        {"1x", 10, 0, -1},
        {"0x1", 10, 0, -1},
        {"1.0", 10, 0, -1},
        {"\xb1", 10, 0, -1},
        {":", 100, 0, -1},
        {"/", 100, 0, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t value = 0;
        if (http_text_u64(guarded(cases[i].text), cases[i].max, &value) != cases[i].result)
            test_fail(__FILE__, __LINE__, "'%s' should give %d", cases[i].text, cases[i].result);
        if (cases[i].result == 0)
            CHECK_U64(value, cases[i].value);
    }
}

static void test_query_values(void)
{
    static const struct {
        const char *query, *value; /* of "items" */
    } cases[] = {
        {"", NULL},           {"items=5", "5"},         {"items=", ""},
        {"items", NULL},      {"item", NULL},           {"=5", NULL},
        {"&", NULL},          {"&&items=7&&", "7"},     {"x=1&items=5", "5"},
        {"items=5&x=1", "5"}, {"items=5&items=6", "5"}, {"items&items=6", "6"},
        {"myitems=1", NULL},  {"itemsx=1", NULL},       {"x=items=1", NULL},
        {"Items=1", NULL},    {"items=a=b", "a=b"},     {"items=5?x", "5?x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_request r = {.query = guarded(cases[i].query)};
        struct http_text value = http_query_value(&r, "items");
        if ((value.at == NULL) != (cases[i].value == NULL) ||
            (value.at != NULL && !http_text_is(value, cases[i].value)))
            test_fail(__FILE__, __LINE__, "'%s' gives '%.*s'", cases[i].query, (int)value.len, value.at);
    }
    CHECK(http_query_value(&(struct http_request){0}, "items").at == NULL);
}

static void test_pattern_is_as_defined(void)
{
    uint8_t *pattern = test_guarded(HTTP_PATTERN_BYTES);
    http_pattern_fill(pattern);
    for (uint64_t i = 0; i < HTTP_PATTERN_BYTES; i++) {
        uint64_t product = (i % 65521) * 2654435761u;
        CHECK_U64(pattern[i], (product >> 24) & 255);
    }
    /* Known bytes, in case formula and test are wrong together. */
    CHECK_U64(pattern[0], 0);
    CHECK_U64(pattern[1], 0x9e);
    CHECK_U64(pattern[2], 0x3c);
    CHECK_U64(pattern[65521], 0);
    CHECK_U64(pattern[65522], 0x9e);
}

static void answer_nothing(struct http_request *r)
{
    http_respond(r, &(struct http_response){.status = 204});
}

static void test_getters(void)
{
    struct fake f;
    fake_open(&f, answer_nothing, 0);
    struct fake_stream *s = fake_begin(&f, "PUT", "/a/b%20c?x=1&y=2?");
    fake_field(s, "x-one", "1");
    fake_field(s, "x-two", "");
    fake_field(s, "x-one", "again");
    request_ready(s->request, true);
    struct http_request *r = s->request;
    CHECK(http_method(r) == HTTP_PUT);
    CHECK(http_text_is(http_path(r), "/a/b%20c"));
    CHECK(http_text_is(http_query(r), "x=1&y=2?"));
    CHECK(http_text_is(http_query_value(r, "y"), "2?"));
    CHECK(http_text_is(http_field(r, "x-one"), "1"));
    CHECK(http_text_is(http_field(r, "x-two"), "") && http_field(r, "x-two").at != NULL);
    CHECK(http_field(r, "x-three").at == NULL);
    CHECK(http_field(r, ":authority").at == NULL);
    CHECK(http_pool(r) == f.data);
    CHECK(http_server(r) == &f.server);
    CHECK_U64(http_uptime_ns(r) / 1000000000u, FAKE_UPTIME_S);
    CHECK(!http_draining(r));
    f.env.draining = true;
    CHECK(http_draining(r));
    CHECK(hp_arena_alloc(http_arena(r), 100, 8) != NULL);
    fake_free(s);
    fake_close(&f);
}

static void test_methods(void)
{
    static const struct {
        const char *text;
        enum http_method method;
    } cases[] = {{"GET", HTTP_GET},           {"HEAD", HTTP_HEAD},           {"POST", HTTP_POST},
                 {"PUT", HTTP_PUT},           {"DELETE", HTTP_OTHER_METHOD}, {"get", HTTP_OTHER_METHOD},
                 {"GETS", HTTP_OTHER_METHOD}, {"", HTTP_OTHER_METHOD}};
    struct fake f;
    fake_open(&f, answer_nothing, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_stream *s = fake_get(&f, cases[i].text, "/");
        CHECK_U64(http_method(s->request), cases[i].method);
        fake_free(s);
    }
    fake_close(&f);
}

TEST_MAIN(TEST(test_text_is), TEST(test_numbers), TEST(test_query_values), TEST(test_pattern_is_as_defined),
          TEST(test_getters), TEST(test_methods))
