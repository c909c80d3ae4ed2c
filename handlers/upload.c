/* SPDX-License-Identifier: MIT
 *
 * POST /data: counts and sums up the content as it arrives; nothing of it is kept.
 */
#include "crc32c.h"
#include "handlers.h"

#include <h3pool/builder.h>

struct upload {
    uint64_t bytes;
    uint32_t crc;
};

static void on_body(struct http_request *r, void *ctx, const uint8_t *data, size_t len, bool fin)
{
    struct upload *u = ctx;
    struct hp_builder b;
    u->bytes += len;
    u->crc = crc32c(u->crc, data, len);
    if (!fin)
        return;
    hp_builder_init(&b, http_pool(r), 128);
    hp_builder_append_str(&b, "{\"bytes\":");
    hp_builder_append_u64(&b, u->bytes);
    hp_builder_append_str(&b, ",\"crc32c\":\"");
    hp_builder_append_hex(&b, u->crc, 8);
    hp_builder_append_str(&b, "\"}\n");
    http_respond_buffer(r, 200, "application/json", hp_builder_finish(&b));
}

void upload_handle(struct http_request *r)
{
    struct upload *u = hp_arena_alloc(http_arena(r), sizeof *u, alignof(struct upload));
    if (u == NULL) {
        http_respond_error(r, 503, "no memory", NULL, 0);
        return;
    }
    *u = (struct upload){0};
    http_on_body(r, on_body, u);
}
