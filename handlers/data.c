/* SPDX-License-Identifier: MIT
 *
 * GET /data: a JSON document of |items| records, built for each request. Up to 200 records are one buffer; longer
 * documents are built in pieces of 16 KiB as the client takes them, so that their length does not show in memory.
 */
#include "handlers.h"

#include <h3pool/builder.h>
#include <string.h>

#define ITEMS_PRESET 10u
#define ITEMS_MAX 100000u
#define WHOLE_ITEMS_MAX 200u
#define PIECE_BYTES (16u << 10)
/* {"count":100000,"items":[ */
#define HEAD_BYTES_MAX 25u
/* ,{"id":99999,"name":"item-99999","value":999999} and a word for what is written behind the digits */
#define RECORD_BYTES_MAX 56u
#define TAIL "]}\n"

struct document {
    uint64_t items, next;
    bool closed;
};

static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}
#define PUT(at, literal) put((at), (literal), sizeof(literal) - 1)

/* Writes at most RECORD_BYTES_MAX bytes; returns their end. */
static char *put_record(char *at, uint64_t i)
{
    struct hp_digits id = hp_digits_of((uint32_t)i), value = hp_digits_of((uint32_t)(i * 2654435761u % 1000000u));
    at = i == 0 ? PUT(at, "{\"id\":") : PUT(at, ",{\"id\":");
    at = hp_digits_put(at, id);
    at = PUT(at, ",\"name\":\"item-");
    at = hp_digits_put(at, id);
    at = PUT(at, "\",\"value\":");
    at = hp_digits_put(at, value);
    return PUT(at, "}");
}

static void append_head(struct hp_builder *b, uint64_t items)
{
    hp_builder_append_str(b, "{\"count\":");
    hp_builder_append_u64(b, items);
    hp_builder_append_str(b, ",\"items\":[");
}

static void append_record(struct hp_builder *b, uint64_t i)
{
    char *to = (char *)hp_builder_reserve(b, RECORD_BYTES_MAX);
    if (to != NULL)
        hp_builder_commit(b, (size_t)(put_record(to, i) - to));
}

static enum http_pull pull_document(struct http_request *r, void *ctx, uint64_t offset, struct http_slice *out)
{
    struct document *d = ctx;
    struct hp_builder b;
    if (d->closed)
        return HTTP_PULL_OK; /* an empty slice is the end */
    hp_builder_init(&b, http_pool(r), PIECE_BYTES);
    if (hp_builder_reserve(&b, PIECE_BYTES) == NULL)
        return HTTP_PULL_FAILED;
    if (offset == 0)
        append_head(&b, d->items);
    while (d->next < d->items && b.room >= RECORD_BYTES_MAX + sizeof TAIL)
        append_record(&b, d->next++);
    if (d->next == d->items) {
        hp_builder_append_str(&b, TAIL);
        d->closed = true;
    }
    struct hp_buffer *piece = hp_builder_finish(&b);
    if (piece == NULL)
        return HTTP_PULL_FAILED;
    *out = (struct http_slice){.data = piece->data, .len = piece->len, .owner = piece};
    return HTTP_PULL_OK;
}

static void respond_in_pieces(struct http_request *r, uint64_t items)
{
    static const struct http_header type = {HTTP_TEXT("content-type"), HTTP_TEXT("application/json")};
    struct document *d = hp_arena_alloc(http_arena(r), sizeof *d, alignof(struct document));
    if (d == NULL) {
        http_respond_error(r, 503, "no memory", NULL, 0);
        return;
    }
    *d = (struct document){.items = items};
    http_respond(r, &(struct http_response){
                        .status = 200,
                        .headers = &type,
                        .header_count = 1,
                        .pull = pull_document,
                        .pull_ctx = d,
                        .length = HTTP_LENGTH_UNKNOWN,
                    });
}

void data_handle(struct http_request *r)
{
    uint64_t items = ITEMS_PRESET;
    struct http_text wanted = http_query_value(r, "items");
    if (wanted.at != NULL && http_text_u64(wanted, ITEMS_MAX, &items) != 0) {
        http_respond_error(r, 400, "items must be a number from 0 to 100000", NULL, 0);
        return;
    }
    if (items > WHOLE_ITEMS_MAX) {
        respond_in_pieces(r, items);
        return;
    }
    struct hp_builder b;
    hp_builder_init(&b, http_pool(r), PIECE_BYTES);
    if (hp_builder_reserve(&b, HEAD_BYTES_MAX + items * RECORD_BYTES_MAX + sizeof TAIL) != NULL) {
        append_head(&b, items);
        char *from = (char *)b.buffer->data + b.buffer->len, *to = from;
        for (uint64_t i = 0; i < items; i++)
            to = put_record(to, i);
        hp_builder_commit(&b, (size_t)(PUT(to, TAIL) - from));
    }
    http_respond_buffer(r, 200, "application/json", hp_builder_finish(&b));
}
