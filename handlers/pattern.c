/* SPDX-License-Identifier: MIT
 *
 * GET /data/SIZE: exactly SIZE bytes of the pattern, with Range (RFC 9110 section 14). Every response refers to one
 * block that all share, so a body of any size costs no memory and no copy.
 */
#include "handlers.h"

#include <string.h>

#define SIZE_BYTES_MAX (16ull << 30)

struct range {
    uint64_t first, len;
};

/* Reads "65536", "64K", "1M", "2G". */
static int parse_size(struct http_text text, uint64_t *bytes)
{
    unsigned shift = 0;
    if (text.len != 0) {
        char unit = text.at[text.len - 1];
        shift = unit == 'K' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0;
        text.len -= shift != 0;
    }
    if (http_text_u64(text, SIZE_BYTES_MAX >> shift, bytes) != 0)
        return -1;
    *bytes <<= shift;
    return 0;
}

enum range_result { RANGE_NONE, RANGE_OK, RANGE_UNSATISFIABLE };

/* A single byte range of a |size| byte body; anything else than one well-formed range is ignored, as section 14.2
 * allows. */
static enum range_result parse_range(struct http_text field, uint64_t size, struct range *out)
{
    if (field.at == NULL || field.len < 6 || memcmp(field.at, "bytes=", 6) != 0)
        return RANGE_NONE;
    const char *at = field.at + 6, *dash = memchr(at, '-', field.len - 6);
    if (dash == NULL)
        return RANGE_NONE;
    struct http_text from = {at, (size_t)(dash - at)};
    struct http_text to = {dash + 1, (size_t)(field.at + field.len - dash - 1)};
    uint64_t first, last = UINT64_MAX;
    if (from.len == 0) { /* the last so many bytes */
        if (http_text_u64(to, UINT64_MAX, &last) != 0)
            return RANGE_NONE;
        if (last == 0 || size == 0)
            return RANGE_UNSATISFIABLE;
        *out = last < size ? (struct range){size - last, last} : (struct range){0, size};
        return RANGE_OK;
    }
    if (http_text_u64(from, UINT64_MAX, &first) != 0 || (to.len != 0 && http_text_u64(to, UINT64_MAX, &last) != 0) ||
        last < first)
        return RANGE_NONE;
    if (first >= size)
        return RANGE_UNSATISFIABLE;
    if (last > size - 1)
        last = size - 1;
    *out = (struct range){first, last - first + 1};
    return RANGE_OK;
}

/* "bytes 0-99/1000", or "bytes *" "/1000" where |range| is NULL; in the request's arena. */
static struct http_text content_range(struct http_request *r, const struct range *range, uint64_t size)
{
    struct hp_builder b;
    hp_builder_init(&b, http_pool(r), 128);
    hp_builder_append_str(&b, "bytes ");
    if (range != NULL) {
        hp_builder_append_u64(&b, range->first);
        hp_builder_append_str(&b, "-");
        hp_builder_append_u64(&b, range->first + range->len - 1);
    } else {
        hp_builder_append_str(&b, "*");
    }
    hp_builder_append_str(&b, "/");
    hp_builder_append_u64(&b, size);
    struct hp_buffer *text = hp_builder_finish(&b);
    struct http_text copy = {0};
    if (text != NULL)
        copy = (struct http_text){hp_arena_copy(http_arena(r), text->data, text->len), text->len};
    hp_buffer_unref(text);
    return copy.at != NULL ? copy : (struct http_text){0};
}

static enum http_pull pull_pattern(struct http_request *r, void *ctx, uint64_t offset, struct http_slice *out)
{
    const struct range *range = ctx;
    size_t i = (size_t)((range->first + offset) % HTTP_PATTERN_PERIOD);
    *out = (struct http_slice){.data = http_server(r)->pattern + i, .len = HTTP_PATTERN_BYTES - i};
    return HTTP_PULL_OK;
}

static void respond(struct http_request *r, uint64_t size, const struct range *range, bool partial)
{
    struct http_header headers[3] = {
        {HTTP_TEXT("content-type"), HTTP_TEXT("application/octet-stream")},
        {HTTP_TEXT("accept-ranges"), HTTP_TEXT("bytes")},
    };
    size_t count = 2;
    if (partial)
        headers[count++] = (struct http_header){HTTP_TEXT("content-range"), content_range(r, range, size)};
    struct range *kept = hp_arena_alloc(http_arena(r), sizeof *kept, alignof(struct range));
    if (kept == NULL) {
        http_respond_error(r, 503, "no memory", NULL, 0);
        return;
    }
    *kept = *range;
    http_respond(r, &(struct http_response){
                        .status = partial ? 206 : 200,
                        .headers = headers,
                        .header_count = count,
                        .pull = pull_pattern,
                        .pull_ctx = kept,
                        .length = range->len,
                    });
}

void pattern_handle(struct http_request *r)
{
    struct http_text path = http_path(r), field = {0};
    uint64_t size;
    size_t skip = sizeof "/data/" - 1;
    if (parse_size((struct http_text){path.at + skip, path.len - skip}, &size) != 0) {
        http_respond_error(r, 404, "not a size from 0 to 16G", NULL, 0);
        return;
    }
    struct range range = {0, size};
    if (http_method(r) == HTTP_GET) /* RFC 9110 section 14.2: Range has a meaning for GET alone */
        field = http_field(r, "range");
    enum range_result result = parse_range(field, size, &range);
    if (result == RANGE_UNSATISFIABLE) {
        struct http_header whole = {HTTP_TEXT("content-range"), content_range(r, NULL, size)};
        http_respond_error(r, 416, "range not satisfiable", &whole, 1);
        return;
    }
    respond(r, size, &range, result == RANGE_OK);
}
