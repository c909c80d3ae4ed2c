/* SPDX-License-Identifier: MIT */
#include "handlers/router.h"

#include "fake_request.h"
#include "json.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The definition: a bit at a time, reflected polynomial. */
static uint32_t crc_by_bits(const uint8_t *p, size_t len)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* Sends |data| in random pieces that end at an unreadable page, and checks the answer. */
static void upload(struct fake *f, const char *method, const uint8_t *data, size_t len, const char *crc)
{
    char should[80];
    uint8_t *page_end = (uint8_t *)test_guarded(4096) + 4096;
    struct fake_stream *s = fake_begin(f, method, "/data");
    request_ready(s->request, false);
    CHECK_U64(s->submits, 0);
    for (size_t at = 0, n; at < len; at += n) {
        n = 1 + test_random(test_random(2) ? 10 : 4096);
        n = n > len - at ? len - at : n;
        memcpy(page_end - n, data + at, n);
        request_body(s->request, page_end - n, n);
    }
    request_end(s->request);
    fake_drain(s);
    CHECK_U64(s->status, 200);
    CHECK_U64(s->stops, 0);
    CHECK_STR(fake_value(s, "content-type"), "application/json");
    snprintf(should, sizeof should, "{\"bytes\":%zu,\"crc32c\":\"%s\"}\n", len, crc);
    CHECK_STR(s->body, should);
    CHECK(json_valid(s->body, s->body_bytes));
    fake_free(s);
}

static void test_known_sums(void)
{
    uint8_t zeros[32] = {0}, ones[32], up[32];
    struct fake f;
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++)
        up[i] = (uint8_t)i;
    fake_open(&f, router_handle, 0);
    for (int i = 0; i < 20; i++) { /* different pieces each time */
        upload(&f, "POST", (const uint8_t *)"123456789", 9, "e3069283");
        upload(&f, "PUT", zeros, 32, "8a9136aa"); /* these three: RFC 3720 appendix B.4 */
        upload(&f, "POST", ones, 32, "62a8ab43");
        upload(&f, "PUT", up, 32, "46dd794e");
        upload(&f, "POST", zeros, 0, "00000000");
    }
    fake_close(&f);
}

static void test_random_content(void)
{
    static uint8_t data[200000];
    struct fake f;
    fake_open(&f, router_handle, 0);
    for (int i = 0; i < 20; i++) {
        size_t len = test_random(sizeof data + 1);
        char crc[9];
        for (size_t k = 0; k < len; k++)
            data[k] = (uint8_t)test_random(256);
        snprintf(crc, sizeof crc, "%08x", crc_by_bits(data, len));
        upload(&f, "POST", data, len, crc);
    }
    fake_close(&f);
}

static void test_no_content(void)
{
    struct fake f;
    fake_open(&f, router_handle, 0);
    struct fake_stream *s = fake_get(&f, "POST", "/data");
    CHECK_U64(s->status, 200);
    CHECK_STR(s->body, "{\"bytes\":0,\"crc32c\":\"00000000\"}\n");
    fake_free(s);
    fake_close(&f);
}

static void test_content_costs_no_memory(void)
{
    static const uint8_t data[10000];
    struct fake f;
    fake_open(&f, router_handle, 0);
    struct fake_stream *s = fake_begin(&f, "POST", "/data");
    request_ready(s->request, false);
    uint64_t live = hp_pool_manager_live(f.manager);
    for (int i = 0; i < 1000; i++) {
        request_body(s->request, data, sizeof data);
        CHECK_U64(hp_pool_manager_live(f.manager), live);
    }
    CHECK_U64(s->submits, 0);
    fake_free(s); /* a client that goes away in the middle */
    fake_close(&f);
}

static void test_too_much_content(void)
{
    static const uint8_t data[1000];
    struct fake f;
    fake_open(&f, router_handle, 0);
    f.env.max_body_bytes = 1500;
    struct fake_stream *s = fake_begin(&f, "POST", "/data");
    request_ready(s->request, false);
    request_body(s->request, data, 1000);
    request_body(s->request, data, 1000);
    request_end(s->request);
    fake_drain(s);
    CHECK_U64(s->status, 413);
    CHECK_U64(s->submits, 1);
    fake_free(s);
    fake_close(&f);
}

static void test_no_memory_for_the_answer(void)
{
    struct fake f;
    fake_open(&f, router_handle, 4u << 20);
    struct fake_stream *s = fake_begin(&f, "POST", "/data");
    request_ready(s->request, false);
    fake_exhaust(&f);
    request_end(s->request);
    fake_relieve(&f);
    fake_drain(s);
    CHECK_U64(s->status, 503);
    fake_free(s);
    fake_close(&f);
}

TEST_MAIN(TEST(test_known_sums), TEST(test_random_content), TEST(test_no_content), TEST(test_content_costs_no_memory),
          TEST(test_too_much_content), TEST(test_no_memory_for_the_answer))
