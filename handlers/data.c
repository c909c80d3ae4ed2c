/* SPDX-License-Identifier: MIT
 *
 * GET /data: a JSON document of |items| records, built for each request. Up to 200 records are one buffer; longer
 * documents are built in pieces of 16 KiB as the client takes them, so that their length does not show in memory.
 */
#include "handlers.h"

#include <h3pool/builder.h>

#define ITEMS_PRESET 10u
#define ITEMS_MAX 100000u
#define WHOLE_ITEMS_MAX 200u
#define PIECE_BYTES (16u << 10)
/* A record is shorter than this. */
#define RECORD_BYTES_MAX 96u

struct document {
    uint64_t items, next;
    bool closed;
};

static void append_head(struct hp_builder *b, uint64_t items)
{
    hp_builder_append_str(b, "{\"count\":");
    hp_builder_append_u64(b, items);
    hp_builder_append_str(b, ",\"items\":[");
}

static void append_record(struct hp_builder *b, uint64_t i)
{
    hp_builder_append_str(b, i == 0 ? "{\"id\":" : ",{\"id\":");
    hp_builder_append_u64(b, i);
    hp_builder_append_str(b, ",\"name\":\"item-");
    hp_builder_append_u64(b, i);
    hp_builder_append_str(b, "\",\"value\":");
    hp_builder_append_u64(b, i * 2654435761u % 1000000u);
    hp_builder_append_str(b, "}");
}

static void append_tail(struct hp_builder *b)
{
    hp_builder_append_str(b, "]}\n");
}

static enum http_pull pull_document(struct http_request *r, void *ctx, uint64_t offset, struct http_slice *out)
{
    struct document *d = ctx;
    struct hp_builder b;
    if (d->closed)
        return HTTP_PULL_OK; /* an empty slice is the end */
    hp_builder_init(&b, http_pool(r), PIECE_BYTES + RECORD_BYTES_MAX);
    if (hp_builder_reserve(&b, PIECE_BYTES) == NULL)
        return HTTP_PULL_FAILED;
    if (offset == 0)
        append_head(&b, d->items);
    while (d->next < d->items && b.buffer->len + RECORD_BYTES_MAX < PIECE_BYTES)
        append_record(&b, d->next++);
    if (d->next == d->items) {
        append_tail(&b);
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
    hp_builder_init(&b, http_pool(r), PIECE_BYTES * 2);
    if (hp_builder_reserve(&b, (items + 1) * RECORD_BYTES_MAX / 2) != NULL) {
        append_head(&b, items);
        for (uint64_t i = 0; i < items; i++)
            append_record(&b, i);
        append_tail(&b);
    }
    http_respond_buffer(r, 200, "application/json", hp_builder_finish(&b));
}
