/* SPDX-License-Identifier: MIT */
#include "handlers/router.h"

#include "fake_request.h"
#include "json.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The document of |items| records, made in another way; to be freed. */
static char *model(uint64_t items)
{
    char *text;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    CHECK(f != NULL);
    fprintf(f, "{\"count\":%llu,\"items\":[", (unsigned long long)items);
    for (uint64_t i = 0; i < items; i++)
        fprintf(f, "%s{\"id\":%llu,\"name\":\"item-%llu\",\"value\":%llu}", i == 0 ? "" : ",", (unsigned long long)i,
                (unsigned long long)i, (unsigned long long)(i * 2654435761u % 1000000u));
    fprintf(f, "]}\n");
    CHECK(fclose(f) == 0);
    return text;
}

static void check_document(struct fake *f, const char *path, uint64_t items)
{
    struct fake_stream *s = fake_get(f, "GET", path);
    char *should = model(items);
    CHECK_U64(s->status, 200);
    CHECK_STR(fake_value(s, "content-type"), "application/json");
    CHECK(s->ended && !s->failed);
    CHECK_U64(s->body_bytes, strlen(should));
    CHECK(memcmp(s->body, should, s->body_bytes) == 0);
    CHECK(json_valid(s->body, s->body_bytes));
    const char *length = fake_value(s, "content-length");
    if (length != NULL)
        CHECK_U64(strtoull(length, NULL, 10), s->body_bytes);
    free(should);
    fake_free(s);
}

static void test_documents(void)
{
    /* 200 is the last that is one buffer; what follows comes in pieces of 16 KiB. */
    static const uint64_t items[] = {0,   1,   2,   9,   10,  11,   199,  200,   201,
                                     202, 350, 351, 352, 353, 1000, 5000, 99999, 100000};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        char path[40];
        snprintf(path, sizeof path, "/data?items=%llu", (unsigned long long)items[i]);
        check_document(&f, path, items[i]);
    }
    fake_close(&f);
}

static void test_every_length_around_the_pieces(void)
{
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (uint64_t items = 180; items < 800; items++) {
        char path[40];
        snprintf(path, sizeof path, "/data?items=%llu", (unsigned long long)items);
        check_document(&f, path, items);
    }
    fake_close(&f);
}

static void test_ten_is_the_preset(void)
{
    struct fake f;
    fake_open(&f, router_handle, 0);
    check_document(&f, "/data", 10);
    check_document(&f, "/data?", 10);
    check_document(&f, "/data?other=3", 10);
    check_document(&f, "/data?x=1&items=3", 3);
    check_document(&f, "/data?items=0003", 3);
    fake_close(&f);
}

static void test_bad_numbers(void)
{
    static const char *const bad[] = {"x",   "-1", "100001", "", "1x", "+1", "%31", "1.0", "18446744073709551617",
                                      "1%20"};
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[60];
        snprintf(path, sizeof path, "/data?items=%s", bad[i]);
        struct fake_stream *s = fake_get(&f, "GET", path);
        if (s->status != 400)
            test_fail(__FILE__, __LINE__, "%s gives %u", path, s->status);
        CHECK_STR(s->body, "{\"error\":\"items must be a number from 0 to 100000\"}\n");
        fake_free(s);
    }
    fake_close(&f);
}

static void test_a_long_document_costs_a_few_pieces(void)
{
    struct fake f;
    struct http_slice piece;
    struct hp_counters c;
    fake_open(&f, router_handle, 0);
    struct fake_stream *s = fake_begin(&f, "GET", "/data?items=100000");
    request_ready(s->request, true);
    CHECK(fake_value(s, "content-length") == NULL);
    while (request_read(s->request, &piece) == REQUEST_READ_MORE)
        CHECK(piece.len > 16000 && piece.len <= 16384);
    hp_byte_pool_counters(f.data, &c);
    CHECK(c.live_bytes < (REQUEST_PIECES + 1) * (20u << 10));
    fake_free(s);
    fake_close(&f);
}

static void test_no_memory_for_a_piece(void)
{
    struct fake f;
    struct http_slice piece;
    fake_open(&f, router_handle, 4u << 20);
    struct fake_stream *s = fake_begin(&f, "GET", "/data?items=100000");
    request_ready(s->request, true);
    CHECK_U64(s->status, 200);
    CHECK(request_read(s->request, &piece) == REQUEST_READ_MORE);
    fake_exhaust(&f);
    CHECK(request_read(s->request, &piece) == REQUEST_READ_FAILED); /* a reset says that something is missing */
    fake_relieve(&f);
    fake_free(s);
    fake_close(&f);
}

static void test_head_of_both_kinds(void)
{
    struct fake f;
    fake_open(&f, router_handle, 0);
    struct fake_stream *s = fake_get(&f, "HEAD", "/data?items=0");
    CHECK_STR(fake_value(s, "content-length"), "23");
    CHECK_U64(s->body_bytes, 0);
    fake_free(s);
    s = fake_get(&f, "HEAD", "/data?items=5000");
    CHECK_U64(s->status, 200);
    CHECK(s->ended);
    CHECK_U64(s->body_bytes, 0);
    fake_free(s);
    fake_close(&f);
}

TEST_MAIN(TEST(test_documents), TEST(test_every_length_around_the_pieces), TEST(test_ten_is_the_preset),
          TEST(test_bad_numbers), TEST(test_a_long_document_costs_a_few_pieces), TEST(test_no_memory_for_a_piece),
          TEST(test_head_of_both_kinds))
