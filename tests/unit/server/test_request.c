/* SPDX-License-Identifier: MIT
 *
 * Limits, refusals, content, fields of the response. Bodies are in test_request_body.c.
 */
#include "request.h"

#include "fake_request.h"
#include "json.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

static unsigned handled;
static struct http_response answer;

static void respond(struct http_request *r)
{
    handled++;
    http_respond(r, &answer);
}

static void open_fake(struct fake *f)
{
    handled = 0;
    answer = (struct http_response){.status = 200};
    fake_open(f, respond, 0);
}

/* Checks that the request was refused with |status| and an error in JSON. */
static void check_refused(const struct fake_stream *s, unsigned status, const char *text)
{
    char body[100], length[24];
    CHECK_U64(s->submits, 1);
    CHECK_U64(s->status, status);
    CHECK_STR(fake_value(s, "content-type"), "application/json");
    CHECK(s->ended && s->body != NULL && json_valid(s->body, s->body_bytes));
    snprintf(body, sizeof body, "{\"error\":\"%s\"}\n", text);
    CHECK_STR(s->body, body);
    snprintf(length, sizeof length, "%zu", strlen(body));
    CHECK_STR(fake_value(s, "content-length"), length);
}

/* --- limits of the field section ------------------------------------------------------------------------------------
 */

/* What fake_begin's pseudo-fields count, with a path of |path_len|. */
static uint64_t preset_bytes(size_t path_len)
{
    return strlen(":methodGET:schemehttps:authoritylocalhost:path") + path_len + 4 * 32;
}

static void test_header_bytes(void)
{
    struct fake f;
    open_fake(&f);
    for (unsigned over = 0; over < 2; over++) {
        f.env.max_header_bytes = preset_bytes(1) + strlen("x-aabc") + 32 - over;
        struct fake_stream *s = fake_begin(&f, "GET", "/");
        fake_field(s, "x-a", "abc");
        request_ready(s->request, true);
        fake_drain(s);
        if (over == 0)
            CHECK_U64(s->status, 200);
        else
            check_refused(s, 431, "request header fields too large");
        fake_free(s);
    }
    CHECK_U64(handled, 1);
    fake_close(&f);
}

static void test_header_count(void)
{
    struct fake f;
    open_fake(&f);
    for (unsigned fields = 4; fields < 8; fields++) {
        f.env.max_header_fields = 5;
        struct fake_stream *s = fake_begin(&f, "GET", "/");
        for (unsigned i = 4; i < fields; i++)
            fake_field(s, "x", "");
        request_ready(s->request, true);
        fake_drain(s);
        if (fields <= 5)
            CHECK_U64(s->status, 200);
        else
            check_refused(s, 431, "request header fields too large");
        fake_free(s);
    }
    CHECK_U64(handled, 2);
    fake_close(&f);
}

static void test_a_path_that_is_too_long(void)
{
    struct fake f;
    char path[3000] = "/";
    open_fake(&f);
    f.env.max_header_bytes = 1000;
    memset(path + 1, 'x', sizeof path - 2);
    struct fake_stream *s = fake_get(&f, "GET", path);
    check_refused(s, 431, "request header fields too large");
    fake_free(s);
    fake_close(&f);
}

static void test_many_large_fields_cost_bounded_memory(void)
{
    struct fake f;
    static char value[1000];
    open_fake(&f);
    memset(value, 'v', sizeof value - 1);
    struct fake_stream *s = fake_begin(&f, "GET", "/");
    for (int i = 0; i < 5000; i++)
        fake_field(s, "x", value);
    CHECK(s->request->arena.held_bytes <= 4 * f.env.max_header_bytes);
    request_ready(s->request, true);
    fake_drain(s);
    check_refused(s, 431, "request header fields too large");
    fake_free(s);
    fake_close(&f);
}

static void test_a_full_section_fits_the_arena(void)
{
    struct fake f;
    static char path[15u << 10];
    open_fake(&f);
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    struct fake_stream *s = fake_begin(&f, "GET", path);
    char value[16] = "";
    for (unsigned i = 0; s->request->field_bytes + 60 < f.env.max_header_bytes; i++) {
        snprintf(value, sizeof value, "value %u", i);
        fake_field(s, "x-field", value);
    }
    request_ready(s->request, true);
    CHECK_U64(s->status, 200);
    CHECK(!s->request->arena.overflow);
    CHECK_U64(http_path(s->request).len, sizeof path - 1);
    fake_free(s);
    fake_close(&f);
}

static void test_every_field_is_kept(void)
{
    struct fake f;
    open_fake(&f);
    struct fake_stream *s = fake_begin(&f, "GET", "/");
    for (unsigned i = 0; i < 90; i++) {
        char name[8], value[8];
        snprintf(name, sizeof name, "x-%u", i);
        snprintf(value, sizeof value, "%u", i * i);
        fake_field(s, name, value);
    }
    request_ready(s->request, true);
    for (unsigned i = 0; i < 90; i++) {
        char name[8], value[8];
        snprintf(name, sizeof name, "x-%u", i);
        snprintf(value, sizeof value, "%u", i * i);
        struct http_text got = http_field(s->request, name);
        CHECK(got.at != NULL && http_text_is(got, value));
    }
    CHECK_U64(s->status, 200);
    fake_free(s);
    fake_close(&f);
}

static void test_no_path_is_a_bad_request(void)
{
    struct fake f;
    open_fake(&f);
    struct fake_stream *s = fake_get(&f, "CONNECT", NULL);
    CHECK_U64(s->status, 400);
    CHECK_U64(handled, 0);
    fake_free(s);
    fake_close(&f);
}

/* --- no memory ------------------------------------------------------------------------------------------------------
 */

static void test_no_memory_for_the_fields(void)
{
    struct fake f;
    handled = 0;
    fake_open(&f, respond, 4u << 20);
    fake_exhaust(&f);
    struct fake_stream *s = fake_begin(&f, "GET", "/");
    CHECK(s->request->arena.overflow);
    fake_relieve(&f);
    request_ready(s->request, true);
    fake_drain(s);
    check_refused(s, 503, "no memory");
    CHECK_U64(handled, 0);
    CHECK_U64(HP_READ(f.metrics.responses_5xx), 1);
    fake_free(s);
    fake_close(&f);
}

static void test_no_memory_for_anything(void)
{
    struct fake f;
    handled = 0;
    fake_open(&f, respond, 4u << 20);
    fake_exhaust(&f);
    struct fake_stream *s = fake_begin(&f, "GET", "/");
    request_ready(s->request, true);
    CHECK_U64(s->submits, 1); /* without fields: the stream is to be reset */
    CHECK_U64(s->field_count, 0);
    CHECK_U64(handled, 0);
    fake_relieve(&f);
    fake_free(s);
    fake_close(&f);
}

static void fill_arena(struct http_request *r)
{
    while (hp_arena_alloc(http_arena(r), 1000, 1) != NULL)
        continue;
    http_respond(r, &(struct http_response){.status = 200});
}

static void test_a_handler_that_fills_the_arena(void)
{
    struct fake f;
    fake_open(&f, fill_arena, 0);
    struct fake_stream *s = fake_get(&f, "GET", "/");
    CHECK_U64(s->submits, 1);
    CHECK_U64(s->field_count, 0); /* what it built may lack parts */
    fake_free(s);
    fake_close(&f);
}

static void test_no_memory_for_a_request(void)
{
    struct fake f;
    unsigned count = 0;
    fake_open(&f, respond, 4u << 20);
    struct http_request *r;
    while ((r = request_new(&f.env, NULL, 0, &f.list)) != NULL)
        CHECK(++count < 100000);
    CHECK(count > 100);
    CHECK_U64(HP_READ(f.metrics.requests_active), count);
    while (f.list != NULL)
        request_free(f.list, &f.list);
    fake_close(&f);
}

/* --- content --------------------------------------------------------------------------------------------------------
 */

static void test_content_length_over_the_limit(void)
{
    static const struct {
        const char *length;
        unsigned status;
    } cases[] = {{"0", 200}, {"1000", 200}, {"1001", 413}, {"18446744073709551615", 413}};
    struct fake f;
    open_fake(&f);
    f.env.max_body_bytes = 1000;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_stream *s = fake_begin(&f, "POST", "/");
        fake_field(s, "content-length", cases[i].length);
        request_ready(s->request, false);
        fake_drain(s);
        if (cases[i].status == 413)
            check_refused(s, 413, "content too large");
        CHECK_U64(s->status, cases[i].status);
        CHECK_U64(s->stops, 0); /* nothing has come that would have to be stopped */
        request_body(s->request, (const uint8_t *)"x", 1);
        request_body(s->request, (const uint8_t *)"x", 1);
        CHECK_U64(s->stops, 1);
        fake_free(s);
    }
    CHECK_U64(handled, 2);
    fake_close(&f);
}

static uint64_t body_bytes;
static unsigned body_ends;

static void count_body(struct http_request *r, void *ctx, const uint8_t *data, size_t len, bool fin)
{
    CHECK(ctx == &body_bytes);
    CHECK(len == 0 || data != NULL);
    body_bytes += len;
    body_ends += fin;
    if (fin)
        http_respond(r, &answer);
}

static void read_body(struct http_request *r)
{
    handled++;
    http_on_body(r, count_body, &body_bytes);
}

static void open_reader(struct fake *f)
{
    open_fake(f);
    f->env.handler = read_body;
    f->env.max_body_bytes = 1000;
    body_bytes = body_ends = 0;
}

static void test_content_up_to_the_limit(void)
{
    struct fake f;
    uint8_t *data = test_guarded(1000);
    memset(data, 'd', 1000);
    open_reader(&f);
    struct fake_stream *s = fake_begin(&f, "POST", "/");
    request_ready(s->request, false);
    for (size_t at = 0, len; at < 1000; at += len) {
        len = 1 + test_random(100);
        len = len > 1000 - at ? 1000 - at : len;
        request_body(s->request, data + at, len);
    }
    CHECK_U64(s->submits, 0);
    request_end(s->request);
    CHECK_U64(s->status, 200);
    CHECK_U64(body_bytes, 1000);
    CHECK_U64(body_ends, 1);
    CHECK_U64(s->stops, 0);
    fake_free(s);
    fake_close(&f);
}

static void test_content_over_the_limit(void)
{
    struct fake f;
    static const uint8_t data[1000];
    open_reader(&f);
    struct fake_stream *s = fake_begin(&f, "POST", "/");
    request_ready(s->request, false);
    request_body(s->request, data, 1000);
    CHECK_U64(s->submits, 0);
    request_body(s->request, data, 1);
    fake_drain(s);
    check_refused(s, 413, "content too large");
    CHECK_U64(s->stops, 1);
    request_body(s->request, data, 1000); /* what was on its way still comes */
    request_end(s->request);
    CHECK_U64(s->submits, 1);
    CHECK_U64(body_bytes, 1000);
    CHECK_U64(body_ends, 0);
    fake_free(s);
    fake_close(&f);
}

static void test_no_content_ends_at_once(void)
{
    struct fake f;
    open_reader(&f);
    struct fake_stream *s = fake_begin(&f, "POST", "/");
    request_ready(s->request, true);
    CHECK_U64(body_ends, 1);
    CHECK_U64(s->status, 200);
    request_end(s->request); /* the end of the stream is reported after the fields */
    CHECK_U64(body_ends, 1);
    CHECK_U64(s->stops, 0);
    fake_free(s);
    fake_close(&f);
}

static void test_content_that_nobody_wants(void)
{
    struct fake f;
    static const uint8_t data[500];
    open_fake(&f);
    struct fake_stream *s = fake_begin(&f, "POST", "/");
    request_ready(s->request, false);
    CHECK_U64(s->status, 200);
    CHECK_U64(s->stops, 0);
    request_body(s->request, data, sizeof data);
    request_body(s->request, data, sizeof data);
    CHECK_U64(s->stops, 1);
    request_end(s->request);
    CHECK_U64(s->submits, 1);
    fake_free(s);
    fake_close(&f);
}

TEST_MAIN(TEST(test_header_bytes), TEST(test_header_count), TEST(test_a_path_that_is_too_long),
          TEST(test_many_large_fields_cost_bounded_memory), TEST(test_a_full_section_fits_the_arena),
          TEST(test_every_field_is_kept), TEST(test_no_path_is_a_bad_request), TEST(test_no_memory_for_the_fields),
          TEST(test_no_memory_for_anything), TEST(test_a_handler_that_fills_the_arena),
          TEST(test_no_memory_for_a_request), TEST(test_content_length_over_the_limit),
          TEST(test_content_up_to_the_limit), TEST(test_content_over_the_limit), TEST(test_no_content_ends_at_once),
          TEST(test_content_that_nobody_wants))
