/* SPDX-License-Identifier: MIT
 *
 * The getters of http.h, and its small tools.
 */
#include "http.h"

#include "request.h"

#include <string.h>

int http_text_u64(struct http_text text, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned char)text.at[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value))
            return -1;
    }
    *out = value;
    return value <= max ? 0 : -1;
}

enum http_method http_method(const struct http_request *r)
{
    return r->method;
}

struct http_text http_path(const struct http_request *r)
{
    return r->path;
}

struct http_text http_query(const struct http_request *r)
{
    return r->query;
}

struct http_text http_query_value(const struct http_request *r, const char *name)
{
    size_t name_len = strlen(name);
    const char *at = r->query.at, *end = at + r->query.len;
    while (r->query.len != 0 && at < end) {
        const char *amp = memchr(at, '&', (size_t)(end - at));
        const char *stop = amp != NULL ? amp : end;
        if ((size_t)(stop - at) > name_len && memcmp(at, name, name_len) == 0 && at[name_len] == '=')
            return (struct http_text){at + name_len + 1, (size_t)(stop - at) - name_len - 1};
        at = stop + 1;
    }
    return (struct http_text){0};
}

struct http_text http_field(const struct http_request *r, const char *name)
{
    struct http_text first = {0};
    for (const struct request_field *f = r->kept; f != NULL; f = f->next) /* from the last to the first */
        if (http_text_is(f->name, name))
            first = f->value;
    return first;
}

struct hp_arena *http_arena(struct http_request *r)
{
    return &r->arena;
}

struct hp_byte_pool *http_pool(struct http_request *r)
{
    return r->env->data;
}

const struct http_server *http_server(const struct http_request *r)
{
    return r->env->server;
}

uint64_t http_uptime_ns(const struct http_request *r)
{
    return r->env->now_ns - r->env->start_ns;
}

bool http_draining(const struct http_request *r)
{
    return r->env->draining;
}

void http_on_body(struct http_request *r, http_body_fn on_body, void *ctx)
{
    r->on_body = on_body;
    r->on_body_ctx = ctx;
}

void http_pattern_fill(uint8_t out[HTTP_PATTERN_BYTES])
{
    for (uint64_t i = 0; i < HTTP_PATTERN_BYTES; i++)
        out[i] = (uint8_t)((i % HTTP_PATTERN_PERIOD * 2654435761u >> 24) & 255);
}
