/* SPDX-License-Identifier: MIT */
#include "fake_request.h"

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_submit(void *stream_ctx, struct http_request *r, const struct http_header *fields, size_t count)
{
    struct fake_stream *s = stream_ctx;
    CHECK(s->request == r);
    CHECK(count <= sizeof s->field / sizeof s->field[0]);
    s->submits++;
    s->field_count = count;
    for (size_t i = 0; i < count; i++) {
        s->field[i] = fields[i];
        CHECK(fields[i].name.len < sizeof s->text[i].name && fields[i].value.len < sizeof s->text[i].value);
        memcpy(s->text[i].name, fields[i].name.at, fields[i].name.len);
        memcpy(s->text[i].value, fields[i].value.at, fields[i].value.len);
    }
    const char *status = fake_value(s, ":status");
    s->status = status != NULL ? (unsigned)strtoul(status, NULL, 10) : 0;
}

static void on_resume(void *stream_ctx, struct http_request *r)
{
    struct fake_stream *s = stream_ctx;
    CHECK(s->request == r);
    s->resumes++;
}

static void on_stop_reading(void *stream_ctx, struct http_request *r)
{
    struct fake_stream *s = stream_ctx;
    CHECK(s->request == r);
    s->stops++;
}

static const struct request_ops ops = {.submit = on_submit, .resume = on_resume, .stop_reading = on_stop_reading};

static struct hp_buffer *fake_stats(void *ctx, struct hp_byte_pool *pool)
{
    struct hp_builder b;
    (void)ctx;
    hp_builder_init(&b, pool, 64);
    hp_builder_append_str(&b, "{\"stats\":1}\n");
    return hp_builder_finish(&b);
}

void fake_open(struct fake *f, http_handler handler, uint64_t limit_bytes)
{
    *f = (struct fake){.manager = hp_pool_manager_new(2 * limit_bytes), .pattern = malloc(HTTP_PATTERN_BYTES)};
    CHECK(f->manager != NULL && f->pattern != NULL);
    f->data = hp_byte_pool_new(f->manager, "data", 64, 64u << 10, limit_bytes);
    CHECK(f->data != NULL);
    CHECK(hp_object_pool_init(&f->requests, f->manager, "requests", sizeof(struct http_request), 8, NULL) == 0);
    http_pattern_fill(f->pattern);
    f->server = (struct http_server){.version = "0.1.0", .build = "pooled", .stats = fake_stats, .pattern = f->pattern};
    f->env = (struct request_env){
        .pool = &f->requests,
        .data = f->data,
        .ops = &ops,
        .handler = handler,
        .server = &f->server,
        .metrics = &f->metrics,
        .max_header_bytes = 16u << 10,
        .max_header_fields = 100,
        .max_body_bytes = 16u << 20,
        .start_ns = 1000000000u,
        .now_ns = (FAKE_UPTIME_S + 1) * 1000000000ull + 999999999u,
    };
    f->env.wall_offset_ns = FAKE_WALL_NS - f->env.now_ns;
}

void fake_close(struct fake *f)
{
    CHECK(f->list == NULL);
    CHECK_U64(HP_READ(f->metrics.requests_active), 0);
    CHECK_U64(hp_pool_manager_live(f->manager), 0);
    hp_object_pool_fini(&f->requests);
    hp_byte_pool_free(f->data);
    CHECK_U64(hp_pool_manager_held(f->manager), 0);
    hp_pool_manager_free(f->manager);
    free(f->pattern);
}

static enum request_field_kind kind_of(const char *name)
{
    return strcmp(name, ":method") == 0          ? REQUEST_FIELD_METHOD
           : strcmp(name, ":path") == 0          ? REQUEST_FIELD_PATH
           : strcmp(name, "content-length") == 0 ? REQUEST_FIELD_CONTENT_LENGTH
           : name[0] == ':'                      ? REQUEST_FIELD_PSEUDO
                                                 : REQUEST_FIELD_OTHER;
}

void fake_field(struct fake_stream *s, const char *name, const char *value)
{
    struct http_text n = {strdup(name), strlen(name)}, v = {strdup(value), strlen(value)};
    CHECK(n.at != NULL && v.at != NULL);
    request_header(s->request, kind_of(name), n, v);
    memset((char *)(uintptr_t)n.at, '#', n.len);
    memset((char *)(uintptr_t)v.at, '#', v.len);
    free((char *)(uintptr_t)n.at);
    free((char *)(uintptr_t)v.at);
}

struct fake_stream *fake_begin(struct fake *f, const char *method, const char *path)
{
    struct fake_stream *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->fake = f;
    s->request = request_new(&f->env, s, 0, &f->list);
    CHECK(s->request != NULL);
    if (method != NULL)
        fake_field(s, ":method", method);
    fake_field(s, ":scheme", "https");
    fake_field(s, ":authority", "localhost");
    if (path != NULL)
        fake_field(s, ":path", path);
    return s;
}

static void keep(struct fake_stream *s, const struct http_slice *piece)
{
    if (piece->len != 0 && s->body_bytes + piece->len <= FAKE_BODY_KEPT) {
        size_t need = (size_t)s->body_bytes + piece->len + 1;
        if (need > s->body_cap) {
            s->body_cap = need * 2;
            s->body = realloc(s->body, s->body_cap);
            CHECK(s->body != NULL);
        }
        memcpy(s->body + s->body_bytes, piece->data, piece->len);
        s->body[need - 1] = '\0';
    }
    s->body_bytes += piece->len;
}

void fake_drain(struct fake_stream *s)
{
    uint64_t acked = s->body_bytes;
    while (s->submits != 0 && s->field_count != 0 && !s->ended && !s->failed) {
        struct http_slice piece;
        unsigned resumes = s->resumes;
        switch (request_read(s->request, &piece)) {
        case REQUEST_READ_MORE:
            keep(s, &piece);
            break;
        case REQUEST_READ_END:
            keep(s, &piece);
            s->ended = true;
            break;
        case REQUEST_READ_FAILED:
            s->failed = true;
            break;
        case REQUEST_READ_LATER:
            CHECK(s->body_bytes > acked);
            request_acked(s->request, s->body_bytes - acked);
            acked = s->body_bytes;
            CHECK_U64(s->resumes, resumes + 1);
            break;
        }
    }
    if (s->ended)
        request_acked(s->request, s->body_bytes - acked);
}

struct fake_stream *fake_get(struct fake *f, const char *method, const char *path)
{
    struct fake_stream *s = fake_begin(f, method, path);
    request_ready(s->request, true);
    fake_drain(s);
    return s;
}

void fake_free(struct fake_stream *s)
{
    for (size_t i = 0; i < s->field_count; i++) {
        CHECK(http_text_is(s->field[i].name, s->text[i].name));
        CHECK(http_text_is(s->field[i].value, s->text[i].value));
    }
    request_free(s->request, &s->fake->list);
    free(s->body);
    free(s);
}

const char *fake_value(const struct fake_stream *s, const char *name)
{
    for (size_t i = 0; i < s->field_count; i++)
        if (strcmp(s->text[i].name, name) == 0)
            return s->text[i].value;
    return NULL;
}

void fake_exhaust(struct fake *f)
{
    /* In steps finer than the pool's size classes, so that no class keeps a free block. */
    for (size_t bytes = 64u << 10; bytes >= 64; bytes -= bytes / 32)
        for (void **block; (block = hp_byte_pool_get(f->data, bytes)) != NULL; f->hoard = block)
            *block = f->hoard;
}

void fake_relieve(struct fake *f)
{
    while (f->hoard != NULL) {
        void *block = f->hoard;
        f->hoard = *(void **)block;
        hp_byte_pool_put(f->data, block);
    }
}
