/* SPDX-License-Identifier: MIT
 *
 * Memory of a request: the struct from an object pool, texts in the arena (the first chunk of 1 KiB holds those of an
 * ordinary request), body pieces by reference. A body is produced piece by piece as the client takes it, and at most
 * REQUEST_PIECES pieces wait for acknowledgement, so a client that does not read or acknowledge costs a bounded amount.
 */
#include "request.h"

#include <string.h>

#define ARENA_CHUNK 1024u
#define FIELD_OVERHEAD 32u /* RFC 9114 section 4.2.2 */

struct http_request *request_new(struct request_env *env, void *stream_ctx, int64_t stream_id,
                                 struct http_request **list)
{
    struct http_request *r = hp_object_pool_get(env->pool);
    if (r == NULL)
        return NULL;
    *r = (struct http_request){.env = env, .stream_ctx = stream_ctx, .stream_id = stream_id, .next = *list};
    /* What is counted is less than what is kept, so the limit holds the texts, their table and what a handler adds. */
    hp_arena_init(&r->arena, env->data, ARENA_CHUNK, (uint32_t)(2 * env->max_header_bytes + 16 * ARENA_CHUNK));
    if (*list != NULL)
        (*list)->prev = r;
    *list = r;
    METRIC_ADD(env->metrics, requests_active, 1);
    return r;
}

static void drop_pieces(struct http_request *r, uint64_t acked)
{
    while (r->piece_count > 0 && r->piece[r->piece_first].end <= acked) {
        hp_buffer_unref(r->piece[r->piece_first].owner);
        r->piece_first = (r->piece_first + 1) % REQUEST_PIECES;
        r->piece_count--;
    }
}

void request_free(struct http_request *r, struct http_request **list)
{
    if (r->next != NULL)
        r->next->prev = r->prev;
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        *list = r->next;
    drop_pieces(r, UINT64_MAX);
    hp_buffer_unref(r->body.owner);
    hp_arena_reset(&r->arena);
    METRIC_SUB(r->env->metrics, requests_active, 1);
    hp_object_pool_put(r->env->pool, r);
}

uint64_t request_account(const struct http_request *r)
{
    uint64_t bytes = r->env->pool->bin->block_bytes + r->arena.held_bytes;
    if (r->body.owner != NULL)
        bytes += hp_byte_pool_usable(r->body.owner);
    for (unsigned i = 0; i < r->piece_count; i++) {
        const struct hp_buffer *owner = r->piece[(r->piece_first + i) % REQUEST_PIECES].owner;
        bytes += owner != NULL ? hp_byte_pool_usable(owner) : 0;
    }
    return bytes;
}

/* --- receiving ------------------------------------------------------------------------------------------------------
 */

static struct http_text copy(struct http_request *r, struct http_text text)
{
    char *at = hp_arena_copy(&r->arena, text.at, text.len);
    return (struct http_text){at, at != NULL ? text.len : 0};
}

static void refuse(struct http_request *r, unsigned status)
{
    if (r->refuse == 0)
        r->refuse = status;
}

static enum http_method parse_method(struct http_text value)
{
    return http_text_is(value, "GET")    ? HTTP_GET
           : http_text_is(value, "HEAD") ? HTTP_HEAD
           : http_text_is(value, "POST") ? HTTP_POST
           : http_text_is(value, "PUT")  ? HTTP_PUT
                                         : HTTP_OTHER_METHOD;
}

static void set_path(struct http_request *r, struct http_text value)
{
    const char *mark = memchr(value.at, '?', value.len); /* sooner readable than the copy */
    struct http_text text = copy(r, value);
    if (text.at == NULL)
        return;
    r->path = (struct http_text){text.at, mark != NULL ? (size_t)(mark - value.at) : text.len};
    if (mark != NULL)
        r->query = (struct http_text){text.at + r->path.len + 1, text.len - r->path.len - 1};
}

/* Fields are kept as a list, newest first, so that their number is bounded by --max-header-fields alone. */
static void keep_field(struct http_request *r, struct http_text name, struct http_text value)
{
    struct request_field *f =
        hp_arena_alloc(&r->arena, sizeof *f + name.len + value.len, alignof(struct request_field));
    if (f == NULL)
        return;
    char *at = (char *)(f + 1);
    memcpy(at, name.at, name.len);
    memcpy(at + name.len, value.at, value.len);
    *f = (struct request_field){.next = r->kept, {at, name.len}, {at + name.len, value.len}};
    r->kept = f;
}

void request_header(struct http_request *r, enum request_field_kind kind, struct http_text name, struct http_text value)
{
    const struct request_env *env = r->env;
    r->field_bytes += name.len + value.len + FIELD_OVERHEAD;
    r->field_count++;
    if (r->field_bytes > env->max_header_bytes || r->field_count > env->max_header_fields)
        refuse(r, 431);
    if (r->refuse != 0)
        return;
    uint64_t length;
    switch (kind) {
    case REQUEST_FIELD_METHOD:
        r->method = parse_method(value);
        break;
    case REQUEST_FIELD_PATH:
        set_path(r, value);
        break;
    case REQUEST_FIELD_PSEUDO:
        break;
    case REQUEST_FIELD_CONTENT_LENGTH:
        if (http_text_u64(value, UINT64_MAX, &length) == 0 && length > env->max_body_bytes)
            refuse(r, 413);
        break;
    case REQUEST_FIELD_OTHER:
        keep_field(r, name, value);
        break;
    }
}

static const char *refuse_text(unsigned status)
{
    switch (status) {
    case 400:
        return "no path";
    case 413:
        return "content too large";
    case 431:
        return "request header fields too large";
    default:
        return "no memory";
    }
}

/* Fields of which some did not fit are of no use; their memory serves the refusal, so that it can be sent. */
static void drop_fields(struct http_request *r)
{
    hp_arena_reset(&r->arena);
    r->path = r->query = (struct http_text){0};
    r->kept = NULL;
}

void request_ready(struct http_request *r, bool fin)
{
    METRIC_ADD(r->env->metrics, requests, 1);
    r->state = fin ? REQUEST_COMPLETE : REQUEST_CONTENT;
    if (r->env->shedding && r->stream_id != 0 && r->refuse == 0) { /* who has just been accepted is served once */
        METRIC_ADD(r->env->metrics, requests_shed, 1);
        refuse(r, 503);
    }
    if (r->arena.overflow)
        refuse(r, 503);
    else if (r->path.at == NULL) /* CONNECT has none */
        refuse(r, 400);
    if (r->refuse != 0)
        http_respond_error(r, r->refuse, refuse_text(r->refuse), NULL, 0);
    else
        r->env->handler(r);
    if (fin && r->on_body != NULL && !r->responded)
        r->on_body(r, r->on_body_ctx, NULL, 0, true);
}

/* RFC 9114 section 4.1: the response is made, what still comes of the content is not wanted. */
static void stop_reading(struct http_request *r)
{
    if (!r->stopped)
        r->env->ops->stop_reading(r->stream_ctx, r);
    r->stopped = true;
}

void request_body(struct http_request *r, const uint8_t *data, size_t len)
{
    if (!r->responded) {
        r->content_bytes += len;
        if (r->content_bytes > r->env->max_body_bytes)
            http_respond_error(r, 413, refuse_text(413), NULL, 0);
        else if (r->on_body != NULL)
            r->on_body(r, r->on_body_ctx, data, len, false);
        if (!r->responded)
            return;
    }
    stop_reading(r);
}

void request_end(struct http_request *r)
{
    if (r->state != REQUEST_CONTENT)
        return;
    r->state = REQUEST_COMPLETE;
    if (r->on_body != NULL && !r->responded)
        r->on_body(r, r->on_body_ctx, NULL, 0, true);
}

/* --- responding -----------------------------------------------------------------------------------------------------
 */

/* The texts of a response that are made for it; in the arena, as they are needed until they are encoded. */
struct made {
    char status[3], date[CLOCK_HTTP_DATE_CAP - 1], length[20];
};

/* Writes decimal digits up to |end|. */
static struct http_text put_number(char *end, uint64_t value)
{
    char *at = end;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return (struct http_text){at, (size_t)(end - at)};
}

static struct http_text put_date(char *to, struct request_env *env)
{
    uint64_t wall_ns = env->now_ns + env->wall_offset_ns;
    if (env->date_s != wall_ns / NS_PER_S || env->date[0] == '\0') {
        env->date_s = wall_ns / NS_PER_S;
        clock_http_date(wall_ns, env->date);
    }
    memcpy(to, env->date, CLOCK_HTTP_DATE_CAP - 1);
    return (struct http_text){to, CLOCK_HTTP_DATE_CAP - 1};
}

static bool has_content_length(unsigned status, uint64_t length)
{
    return length != HTTP_LENGTH_UNKNOWN && status >= 200 && status != 204 && status != 304;
}

void http_respond(struct http_request *r, const struct http_response *response)
{
    struct http_header fields[HTTP_HEADERS_MAX + 4];
    size_t count = 0;
    assert(!r->responded && response->header_count <= HTTP_HEADERS_MAX);
    r->responded = true;
    r->body = response->body;
    r->pull = response->pull;
    r->pull_ctx = response->pull_ctx;
    r->length = response->pull != NULL ? response->length : response->body.len;
    if (response->status >= 500)
        METRIC_ADD(r->env->metrics, responses_5xx, 1);
    else if (response->status >= 400)
        METRIC_ADD(r->env->metrics, responses_4xx, 1);

    struct made *made = hp_arena_alloc(&r->arena, sizeof *made, 1);
    if (made != NULL) {
        fields[count++] = (struct http_header){HTTP_TEXT(":status"), put_number(made->status + 3, response->status)};
        fields[count++] = (struct http_header){HTTP_TEXT("server"), HTTP_TEXT("h3pool")};
        fields[count++] = (struct http_header){HTTP_TEXT("date"), put_date(made->date, r->env)};
        if (has_content_length(response->status, r->length))
            fields[count++] =
                (struct http_header){HTTP_TEXT("content-length"), put_number(made->length + 20, r->length)};
        for (size_t i = 0; i < response->header_count; i++)
            fields[count++] = response->headers[i];
    }
    if (r->method == HTTP_HEAD)
        r->length = 0;
    r->env->ops->submit(r->stream_ctx, r, fields, r->arena.overflow ? 0 : count); /* 0: resets the stream */
}

void http_respond_buffer(struct http_request *r, unsigned status, const char *content_type, struct hp_buffer *buffer)
{
    if (buffer == NULL) {
        http_respond_error(r, 503, "no memory", NULL, 0);
        return;
    }
    struct http_header type = {HTTP_TEXT("content-type"), {content_type, strlen(content_type)}};
    http_respond(r, &(struct http_response){
                        .status = status,
                        .headers = &type,
                        .header_count = 1,
                        .body = {.data = buffer->data, .len = buffer->len, .owner = buffer},
                    });
}

void http_respond_error(struct http_request *r, unsigned status, const char *text, const struct http_header *headers,
                        size_t header_count)
{
    struct http_header all[HTTP_HEADERS_MAX] = {{HTTP_TEXT("content-type"), HTTP_TEXT("application/json")}};
    assert(header_count < HTTP_HEADERS_MAX);
    if (r->arena.overflow) { /* what led here may not have fitted: its memory serves the refusal */
        drop_fields(r);
        status = 503;
        text = refuse_text(status);
        header_count = 0;
    }
    if (header_count != 0)
        memcpy(all + 1, headers, header_count * sizeof *headers);
    size_t len = strlen(text) + sizeof "{\"error\":\"\"}\n" - 1;
    char *body = hp_arena_alloc(&r->arena, len, 1);
    if (body != NULL) {
        memcpy(body, "{\"error\":\"", 10);
        memcpy(body + 10, text, len - 13);
        memcpy(body + len - 3, "\"}\n", 3);
    }
    http_respond(r, &(struct http_response){
                        .status = status,
                        .headers = all,
                        .header_count = header_count + 1,
                        .body = {.data = (const uint8_t *)body, .len = body != NULL ? len : 0},
                    });
}

/* One slice in one go; its owner stays in r->body until the request ends. */
static enum request_read read_whole(struct http_request *r, struct http_slice *out)
{
    *out = r->body;
    r->read = r->body.len;
    return REQUEST_READ_END;
}

enum request_read request_read(struct http_request *r, struct http_slice *out)
{
    *out = (struct http_slice){0};
    if (r->length == r->read)
        return REQUEST_READ_END;
    if (r->pull == NULL)
        return read_whole(r, out);
    if (r->piece_count == REQUEST_PIECES) {
        r->waiting = true;
        return REQUEST_READ_LATER;
    }
    if (r->pull(r, r->pull_ctx, r->read, out) != HTTP_PULL_OK ||
        (out->len == 0 && r->length != HTTP_LENGTH_UNKNOWN)) /* shorter than was said */
        return REQUEST_READ_FAILED;
    if (r->length != HTTP_LENGTH_UNKNOWN && out->len > r->length - r->read)
        out->len = r->length - r->read;
    r->read += out->len;
    if (out->owner != NULL) {
        r->piece[(r->piece_first + r->piece_count) % REQUEST_PIECES].owner = out->owner;
        r->piece[(r->piece_first + r->piece_count) % REQUEST_PIECES].end = r->read;
        r->piece_count++;
    }
    return r->read == r->length || out->len == 0 ? REQUEST_READ_END : REQUEST_READ_MORE;
}

void request_acked(struct http_request *r, uint64_t len)
{
    r->acked += len;
    drop_pieces(r, r->acked);
    if (r->waiting && r->piece_count < REQUEST_PIECES) {
        r->waiting = false;
        r->env->ops->resume(r->stream_ctx, r);
    }
}
