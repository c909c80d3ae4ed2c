/* SPDX-License-Identifier: MIT */
#include "handlers/router.h"

#include "fake_request.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t pattern_at(uint64_t i)
{
    return (uint8_t)((i % 65521 * 2654435761u >> 24) & 255);
}

static struct fake_stream *get_range(struct fake *f, const char *method, const char *path, const char *range)
{
    struct fake_stream *s = fake_begin(f, method, path);
    if (range != NULL)
        fake_field(s, "range", range);
    request_ready(s->request, true);
    fake_drain(s);
    return s;
}

/* Checks status, length and, where it was kept, the body: bytes from |first| on. */
static void check_body(const struct fake_stream *s, unsigned status, uint64_t first, uint64_t len)
{
    char text[24];
    CHECK_U64(s->status, status);
    CHECK_STR(fake_value(s, "content-type"), "application/octet-stream");
    CHECK_STR(fake_value(s, "accept-ranges"), "bytes");
    snprintf(text, sizeof text, "%llu", (unsigned long long)len);
    CHECK_STR(fake_value(s, "content-length"), text);
    CHECK(s->ended && !s->failed);
    CHECK_U64(s->body_bytes, len);
    if (len > FAKE_BODY_KEPT)
        return;
    for (uint64_t i = 0; i < len; i++)
        if ((uint8_t)s->body[i] != pattern_at(first + i))
            test_fail(__FILE__, __LINE__, "byte %llu of %llu is wrong", (unsigned long long)i, (unsigned long long)len);
}

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {{"0", 0},
                 {"0K", 0},
                 {"1", 1},
                 {"1000", 1000},
                 {"65520", 65520},
                 {"65521", 65521},
                 {"65522", 65522},
                 {"64K", 65536},
                 {"327605", 327605}, /* the whole of the shared block */
                 {"327606", 327606},
                 {"1M", 1u << 20},
                 {"0005M", 5u << 20},
                 {"1G", 1u << 30},
                 {"1073741825", (1u << 30) + 1}};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char path[40];
        snprintf(path, sizeof path, "/data/%s", sizes[i].text);
        struct fake_stream *s = fake_get(&f, "GET", path);
        check_body(s, 200, 0, sizes[i].bytes);
        fake_free(s);
    }
    fake_close(&f);
}

static void test_the_largest(void)
{
    static const char *const paths[] = {"/data/16G", "/data/16384M", "/data/17179869184"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < 3; i++) {
        struct fake_stream *s = fake_get(&f, "HEAD", paths[i]);
        CHECK_U64(s->status, 200);
        CHECK_STR(fake_value(s, "content-length"), "17179869184");
        CHECK_U64(s->body_bytes, 0);
        fake_free(s);
    }
    struct fake_stream *s = get_range(&f, "GET", "/data/16G", "bytes=17179800000-");
    check_body(s, 206, 17179800000u, 69184);
    CHECK_STR(fake_value(s, "content-range"), "bytes 17179800000-17179869183/17179869184");
    fake_free(s);
    fake_close(&f);
}

static void test_bad_sizes(void)
{
    static const char *const bad[] = {"x",
                                      "K",
                                      "1k",
                                      "1KB",
                                      "1T",
                                      "-1",
                                      "+1",
                                      "1.5M",
                                      "1/",
                                      "0x10",
                                      "1M1",
                                      "17G",
                                      "16385M",
                                      "16777217K",
                                      "17179869185",
                                      "18446744073709551616",
                                      "99999999999999999999G",
                                      "G1",
                                      "1 ",
                                      "%31"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[60];
        snprintf(path, sizeof path, "/data/%s", bad[i]);
        struct fake_stream *s = fake_get(&f, "GET", path);
        if (s->status != 404)
            test_fail(__FILE__, __LINE__, "%s gives %u", path, s->status);
        CHECK_STR(s->body, "{\"error\":\"not a size from 0 to 16G\"}\n");
        fake_free(s);
    }
    fake_close(&f);
}

static void test_ranges(void)
{
    static const struct {
        const char *range, *content_range;
        uint64_t first, len;
    } cases[] = {
        {"bytes=0-0", "bytes 0-0/1000", 0, 1},
        {"bytes=0-99", "bytes 0-99/1000", 0, 100},
        {"bytes=100-199", "bytes 100-199/1000", 100, 100},
        {"bytes=999-999", "bytes 999-999/1000", 999, 1},
        {"bytes=0-999", "bytes 0-999/1000", 0, 1000},
        {"bytes=0-1000", "bytes 0-999/1000", 0, 1000},
        {"bytes=500-", "bytes 500-999/1000", 500, 500},
        {"bytes=999-", "bytes 999-999/1000", 999, 1},
        {"bytes=0-", "bytes 0-999/1000", 0, 1000},
        {"bytes=-1", "bytes 999-999/1000", 999, 1},
        {"bytes=-300", "bytes 700-999/1000", 700, 300},
        {"bytes=-1000", "bytes 0-999/1000", 0, 1000},
        {"bytes=-5000", "bytes 0-999/1000", 0, 1000},
        {"bytes=-18446744073709551615", "bytes 0-999/1000", 0, 1000},
        {"bytes=7-18446744073709551615", "bytes 7-999/1000", 7, 993},
    };
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_stream *s = get_range(&f, "GET", "/data/1000", cases[i].range);
        check_body(s, 206, cases[i].first, cases[i].len);
        CHECK_STR(fake_value(s, "content-range"), cases[i].content_range);
        fake_free(s);
    }
    fake_close(&f);
}

static void test_unsatisfiable_ranges(void)
{
    static const struct {
        const char *path, *range, *content_range;
    } cases[] = {{"/data/1000", "bytes=1000-", "bytes */1000"},
                 {"/data/1000", "bytes=1000-1000", "bytes */1000"},
                 {"/data/1000", "bytes=18446744073709551615-", "bytes */1000"},
                 {"/data/1000", "bytes=-0", "bytes */1000"},
                 {"/data/0", "bytes=0-", "bytes */0"},
                 {"/data/0", "bytes=0-0", "bytes */0"},
                 {"/data/0", "bytes=-1", "bytes */0"}};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_stream *s = get_range(&f, "GET", cases[i].path, cases[i].range);
        CHECK_U64(s->status, 416);
        CHECK_STR(fake_value(s, "content-range"), cases[i].content_range);
        CHECK_STR(s->body, "{\"error\":\"range not satisfiable\"}\n");
        fake_free(s);
    }
    fake_close(&f);
}

static void test_what_is_not_one_range_is_ignored(void)
{
    static const char *const ranges[] = {"bytes=0-1,5-6",
                                         "bytes=0-1,",
                                         "bytes=",
                                         "bytes=-",
                                         "bytes",
                                         "bytes=5",
                                         "bytes=9-5",
                                         "bytes=a-5",
                                         "bytes=5-a",
                                         "bytes=--5",
                                         "bytes=5--6",
                                         "items=0-5",
                                         "",
                                         "0-5",
                                         "bytes 0-5",
                                         "bytes=0x1-5",
                                         "bytes=-1-2",
                                         "bytes=18446744073709551616-",
                                         "bytes=0-18446744073709551616",
                                         "bytes=-18446744073709551616",
                                         "bytes=1 -5"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        struct fake_stream *s = get_range(&f, "GET", "/data/1000", ranges[i]);
        if (s->status != 200)
            test_fail(__FILE__, __LINE__, "range '%s' gives %u", ranges[i], s->status);
        check_body(s, 200, 0, 1000);
        CHECK(fake_value(s, "content-range") == NULL);
        fake_free(s);
    }
    fake_close(&f);
}

static void test_head_ignores_ranges(void)
{
    static const char *const ranges[] = {"bytes=0-5", "bytes=5000-"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < 2; i++) {
        struct fake_stream *s = get_range(&f, "HEAD", "/data/1000", ranges[i]);
        CHECK_U64(s->status, 200);
        CHECK_STR(fake_value(s, "content-length"), "1000");
        CHECK(fake_value(s, "content-range") == NULL);
        CHECK_U64(s->body_bytes, 0);
        fake_free(s);
    }
    fake_close(&f);
}

static void test_random_ranges(void)
{
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (int i = 0; i < 300; i++) {
        uint64_t size = 1 + test_random(i % 2 ? 2000 : 1000000), first = test_random(size);
        uint64_t len = 1 + test_random(size - first);
        char path[40], range[64];
        snprintf(path, sizeof path, "/data/%llu", (unsigned long long)size);
        snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)first,
                 (unsigned long long)(first + len - 1));
        struct fake_stream *s = get_range(&f, "GET", path, range);
        check_body(s, 206, first, len);
        fake_free(s);
    }
    fake_close(&f);
}

static void test_a_body_costs_no_memory(void)
{
    struct fake f;
    struct http_slice piece;
    fake_open(&f, router_handle, 0);
    struct fake_stream *s = fake_begin(&f, "GET", "/data/16G");
    request_ready(s->request, true);
    uint64_t live = hp_pool_manager_live(f.manager);
    for (int i = 0; i < 1000; i++) {
        CHECK(request_read(s->request, &piece) == REQUEST_READ_MORE);
        CHECK(piece.data >= f.pattern && piece.data + piece.len <= f.pattern + HTTP_PATTERN_BYTES);
        CHECK(piece.len > HTTP_PATTERN_BYTES - HTTP_PATTERN_PERIOD && piece.owner == NULL);
    }
    CHECK_U64(hp_pool_manager_live(f.manager), live);
    fake_free(s);
    fake_close(&f);
}

TEST_MAIN(TEST(test_sizes), TEST(test_the_largest), TEST(test_bad_sizes), TEST(test_ranges),
          TEST(test_unsatisfiable_ranges), TEST(test_what_is_not_one_range_is_ignored), TEST(test_head_ignores_ranges),
          TEST(test_random_ranges), TEST(test_a_body_costs_no_memory))
