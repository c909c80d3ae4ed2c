/* SPDX-License-Identifier: MIT
 *
 * The response: its fields, its body piece by piece, and what is given back when.
 */
#include "request.h"

#include "fake_request.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

static struct http_response answer;

static void respond(struct http_request *r)
{
    http_respond(r, &answer);
}

/* --- fields ---------------------------------------------------------------------------------------------------------
 */

static void test_fields_of_every_response(void)
{
    struct fake f;
    static const struct http_header type = {HTTP_TEXT("content-type"), HTTP_TEXT("text/plain")};
    fake_open(&f, respond, 0);
    answer = (struct http_response){
        .status = 200, .headers = &type, .header_count = 1, .body = {.data = (const uint8_t *)"hello", .len = 5}};
    struct fake_stream *s = fake_get(&f, "GET", "/");
    CHECK_U64(s->field_count, 5);
    CHECK_STR(s->text[0].name, ":status"); /* pseudo-fields come first, RFC 9114 section 4.3 */
    CHECK_STR(s->text[0].value, "200");
    CHECK_STR(fake_value(s, "server"), "h3pool");
    CHECK_STR(fake_value(s, "date"), FAKE_DATE);
    CHECK_STR(fake_value(s, "content-length"), "5");
    CHECK_STR(fake_value(s, "content-type"), "text/plain");
    CHECK_STR(s->body, "hello");
    fake_free(s);
    fake_close(&f);
}

static enum http_pull pull_failing(struct http_request *r, void *ctx, uint64_t offset, struct http_slice *out)
{
    (void)r, (void)ctx, (void)offset, (void)out;
    return HTTP_PULL_FAILED;
}

static void test_content_length(void)
{
    static const struct {
        unsigned status;
        uint64_t length;
        const char *text; /* NULL: no such field */
    } cases[] = {{200, 0, "0"},
                 {200, 1ull << 34, "17179869184"},
                 {206, 9, "9"},
                 {404, 7, "7"},
                 {503, 12, "12"},
                 {200, UINT64_MAX - 1, "18446744073709551614"},
                 {204, 0, NULL},
                 {304, 500, NULL},
                 {200, HTTP_LENGTH_UNKNOWN, NULL}};
    struct fake f;
    fake_open(&f, respond, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        answer = (struct http_response){.status = cases[i].status, .pull = pull_failing, .length = cases[i].length};
        for (int head = 0; head < 2; head++) {
            struct fake_stream *s = fake_begin(&f, head ? "HEAD" : "GET", "/");
            request_ready(s->request, true);
            const char *length = fake_value(s, "content-length");
            CHECK((length == NULL) == (cases[i].text == NULL));
            if (length != NULL)
                CHECK_STR(length, cases[i].text);
            CHECK_U64(s->status, cases[i].status);
            fake_free(s);
        }
    }
    fake_close(&f);
}

static void test_head_has_no_body(void)
{
    struct fake f;
    fake_open(&f, respond, 0);
    answer = (struct http_response){.status = 200, .pull = pull_failing, .length = 1000};
    struct fake_stream *s = fake_get(&f, "HEAD", "/");
    CHECK(s->ended && !s->failed);
    CHECK_U64(s->body_bytes, 0);
    CHECK_STR(fake_value(s, "content-length"), "1000");
    fake_free(s);
    answer.length = HTTP_LENGTH_UNKNOWN;
    s = fake_get(&f, "HEAD", "/");
    CHECK(s->ended && !s->failed);
    fake_free(s);
    struct hp_buffer *buffer = hp_buffer_new(f.data, 100);
    CHECK(buffer != NULL);
    answer = (struct http_response){.status = 200, .body = {.data = buffer->data, .len = 100, .owner = buffer}};
    s = fake_get(&f, "HEAD", "/");
    CHECK_U64(s->body_bytes, 0);
    CHECK_STR(fake_value(s, "content-length"), "100");
    fake_free(s);
    fake_close(&f);
}

static void test_counters(void)
{
    static const unsigned statuses[] = {200, 304, 400, 404, 499, 500, 503};
    struct fake f;
    fake_open(&f, respond, 0);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        answer = (struct http_response){.status = statuses[i]};
        fake_free(fake_get(&f, "GET", "/"));
    }
    struct fake_stream *s = fake_begin(&f, "GET", "/");
    CHECK_U64(HP_READ(f.metrics.requests_active), 1);
    CHECK_U64(HP_READ(f.metrics.requests), 7); /* this one's fields are not complete */
    CHECK_U64(HP_READ(f.metrics.responses_4xx), 3);
    CHECK_U64(HP_READ(f.metrics.responses_5xx), 2);
    fake_free(s);
    fake_close(&f);
}

static void error_with_fields(struct http_request *r)
{
    struct http_header headers[2] = {{HTTP_TEXT("allow"), HTTP_TEXT("GET")}, {HTTP_TEXT("x"), HTTP_TEXT("y")}};
    http_respond_error(r, 405, "no such method", headers, 2);
}

static void test_errors_are_json(void)
{
    struct fake f;
    fake_open(&f, error_with_fields, 0);
    struct fake_stream *s = fake_get(&f, "GET", "/");
    CHECK_U64(s->status, 405);
    CHECK_STR(s->body, "{\"error\":\"no such method\"}\n");
    CHECK_STR(fake_value(s, "content-length"), "27");
    CHECK_STR(fake_value(s, "content-type"), "application/json");
    CHECK_STR(fake_value(s, "allow"), "GET");
    CHECK_STR(fake_value(s, "x"), "y");
    fake_free(s);
    fake_close(&f);
}

static void buffer_refused(struct http_request *r)
{
    http_respond_buffer(r, 200, "text/plain", NULL);
}

static void test_a_refused_buffer_is_503(void)
{
    struct fake f;
    fake_open(&f, buffer_refused, 0);
    struct fake_stream *s = fake_get(&f, "GET", "/");
    CHECK_U64(s->status, 503);
    CHECK_STR(s->body, "{\"error\":\"no memory\"}\n");
    fake_free(s);
    fake_close(&f);
}

/* --- pieces ---------------------------------------------------------------------------------------------------------
 */

#define PIECE 1000u

static struct {
    unsigned pulls;
    uint64_t end;  /* of the body, where the length is unknown */
    bool shared;   /* pieces have no owner */
    uint64_t next; /* offset that must be asked for */
} source;

static enum http_pull pull_piece(struct http_request *r, void *ctx, uint64_t offset, struct http_slice *out)
{
    static const uint8_t zeros[PIECE];
    CHECK(ctx == &source);
    CHECK_U64(offset, source.next);
    source.pulls++;
    if (offset >= source.end)
        return HTTP_PULL_OK;
    source.next += PIECE;
    *out = (struct http_slice){.data = zeros, .len = PIECE};
    if (source.shared)
        return HTTP_PULL_OK;
    struct hp_buffer *buffer = hp_buffer_new(http_pool(r), PIECE);
    CHECK(buffer != NULL);
    memset(buffer->data, (int)(offset / PIECE), PIECE);
    *out = (struct http_slice){.data = buffer->data, .len = PIECE, .owner = buffer};
    return HTTP_PULL_OK;
}

static struct fake_stream *begin_pieces(struct fake *f, uint64_t end, uint64_t length)
{
    fake_open(f, respond, 0);
    memset(&source, 0, sizeof source);
    source.end = end;
    answer = (struct http_response){.status = 200, .pull = pull_piece, .pull_ctx = &source, .length = length};
    struct fake_stream *s = fake_begin(f, "GET", "/");
    request_ready(s->request, true);
    CHECK_U64(source.pulls, 0); /* not before it is read */
    return s;
}

/* Blocks live in the pool of buffers, less the arena's |base|. */
static uint64_t live_buffers(const struct fake *f, uint64_t base)
{
    struct hp_counters c;
    hp_byte_pool_counters(f->data, &c);
    return c.live - base;
}

static void test_pieces_wait_for_acknowledgement(void)
{
    struct fake f;
    struct http_slice piece;
    struct fake_stream *s = begin_pieces(&f, UINT64_MAX, 100 * PIECE);
    uint64_t base = live_buffers(&f, 0);
    for (unsigned i = 0; i < REQUEST_PIECES; i++) {
        CHECK(request_read(s->request, &piece) == REQUEST_READ_MORE);
        CHECK_U64(piece.len, PIECE);
        CHECK_U64(piece.data[0], i);
    }
    CHECK_U64(live_buffers(&f, base), REQUEST_PIECES);
    for (int i = 0; i < 3; i++)
        CHECK(request_read(s->request, &piece) == REQUEST_READ_LATER && piece.len == 0);
    CHECK_U64(source.pulls, REQUEST_PIECES);
    request_acked(s->request, PIECE - 1);
    CHECK_U64(s->resumes, 0);
    CHECK_U64(live_buffers(&f, base), REQUEST_PIECES);
    request_acked(s->request, 1);
    CHECK_U64(s->resumes, 1);
    CHECK_U64(live_buffers(&f, base), REQUEST_PIECES - 1);
    request_acked(s->request, PIECE); /* nobody waits: nothing to resume */
    CHECK_U64(s->resumes, 1);
    for (unsigned i = 0; i < 2; i++)
        CHECK(request_read(s->request, &piece) == REQUEST_READ_MORE && piece.data[0] == REQUEST_PIECES + i);
    CHECK(request_read(s->request, &piece) == REQUEST_READ_LATER);
    request_acked(s->request, 3 * PIECE + 1);
    CHECK_U64(s->resumes, 2);
    CHECK_U64(live_buffers(&f, base), REQUEST_PIECES - 3);
    fake_free(s); /* with pieces that will never be acknowledged */
    fake_close(&f);
}

static void test_random_reads_and_acknowledgements(void)
{
    struct fake f;
    struct http_slice piece;
    const uint64_t whole = 500 * PIECE + 123;
    struct fake_stream *s = begin_pieces(&f, UINT64_MAX, whole);
    uint64_t base = live_buffers(&f, 0), read = 0, acked = 0;
    bool ended = false;
    while (acked < whole) {
        enum request_read result = REQUEST_READ_LATER;
        if (!ended && test_random(2) == 0 && (result = request_read(s->request, &piece)) != REQUEST_READ_LATER) {
            CHECK(result == (read + piece.len == whole ? REQUEST_READ_END : REQUEST_READ_MORE));
            CHECK_U64(piece.len, whole - read < PIECE ? whole - read : PIECE);
            CHECK_U64(piece.data[piece.len - 1], read / PIECE & 255);
            read += piece.len;
            ended = result == REQUEST_READ_END;
        } else if (read > acked) {
            uint64_t n = 1 + test_random(test_random(3) == 0 ? read - acked : 700);
            n = n > read - acked ? read - acked : n;
            request_acked(s->request, n);
            acked += n;
        }
        CHECK_U64(live_buffers(&f, base),
                  (read + PIECE - 1) / PIECE - (acked == whole ? read / PIECE + 1 : acked / PIECE));
        CHECK(live_buffers(&f, base) <= REQUEST_PIECES);
    }
    CHECK_U64(source.pulls, 501);
    CHECK(request_read(s->request, &piece) == REQUEST_READ_END && piece.len == 0);
    fake_free(s);
    fake_close(&f);
}

static void test_a_length_that_is_not_known(void)
{
    struct fake f;
    struct fake_stream *s = begin_pieces(&f, 30 * PIECE, HTTP_LENGTH_UNKNOWN);
    fake_drain(s);
    CHECK(s->ended);
    CHECK_U64(s->body_bytes, 30 * PIECE);
    CHECK_U64(source.pulls, 31);
    CHECK(s->resumes >= 30 / REQUEST_PIECES);
    for (unsigned i = 0; i < 30; i++)
        CHECK_U64(s->body[i * PIECE + 500], i);
    fake_free(s);
    fake_close(&f);
}

static void test_pieces_without_owner_need_not_wait(void)
{
    struct fake f;
    struct http_slice piece;
    struct fake_stream *s = begin_pieces(&f, UINT64_MAX, 99 * PIECE + 1);
    source.shared = true;
    for (unsigned i = 0; i < 99; i++)
        CHECK(request_read(s->request, &piece) == REQUEST_READ_MORE && piece.len == PIECE);
    CHECK(request_read(s->request, &piece) == REQUEST_READ_END); /* cut to the length */
    CHECK_U64(piece.len, 1);
    CHECK_U64(s->resumes, 0);
    fake_free(s);
    fake_close(&f);
}

static void test_a_pull_that_fails(void)
{
    struct fake f;
    fake_open(&f, respond, 0);
    answer = (struct http_response){.status = 200, .pull = pull_failing, .length = 10};
    struct fake_stream *s = fake_get(&f, "GET", "/");
    CHECK(s->failed && !s->ended);
    fake_free(s);
    fake_close(&f);
}

static void test_a_whole_body_lives_until_the_end(void)
{
    struct fake f;
    struct http_slice piece;
    fake_open(&f, respond, 0);
    struct hp_buffer *buffer = hp_buffer_new(f.data, 50);
    CHECK(buffer != NULL);
    hp_buffer_ref(buffer); /* as if another stream sent it, too */
    answer = (struct http_response){.status = 200, .body = {.data = buffer->data, .len = 50, .owner = buffer}};
    struct fake_stream *s = fake_begin(&f, "GET", "/");
    request_ready(s->request, true);
    CHECK(request_read(s->request, &piece) == REQUEST_READ_END);
    CHECK(piece.data == buffer->data && piece.len == 50);
    CHECK(request_read(s->request, &piece) == REQUEST_READ_END && piece.len == 0);
    request_acked(s->request, 50);
    CHECK_U64(buffer->refs, 2);
    fake_free(s);
    CHECK_U64(buffer->refs, 1);
    hp_buffer_unref(buffer);
    fake_close(&f);
}

/* --- many requests --------------------------------------------------------------------------------------------------
 */

static void test_the_list_of_a_connection(void)
{
    struct fake f;
    struct fake_stream *s[50] = {0};
    fake_open(&f, respond, 0);
    answer = (struct http_response){.status = 200};
    for (int i = 0; i < 3000; i++) {
        unsigned at = (unsigned)test_random(50), count = 0;
        if (s[at] == NULL) {
            s[at] = fake_begin(&f, "GET", "/");
        } else {
            fake_free(s[at]);
            s[at] = NULL;
        }
        for (unsigned k = 0; k < 50; k++)
            count += s[k] != NULL;
        for (struct http_request *r = f.list; r != NULL; r = r->next, count--)
            CHECK(r->next == NULL || r->next->prev == r);
        CHECK_U64(count, 0);
    }
    for (unsigned k = 0; k < 50; k++)
        if (s[k] != NULL)
            fake_free(s[k]);
    fake_close(&f);
}

TEST_MAIN(TEST(test_fields_of_every_response), TEST(test_content_length), TEST(test_head_has_no_body),
          TEST(test_counters), TEST(test_errors_are_json), TEST(test_a_refused_buffer_is_503),
          TEST(test_pieces_wait_for_acknowledgement), TEST(test_random_reads_and_acknowledgements),
          TEST(test_a_length_that_is_not_known), TEST(test_pieces_without_owner_need_not_wait),
          TEST(test_a_pull_that_fails), TEST(test_a_whole_body_lives_until_the_end),
          TEST(test_the_list_of_a_connection))
