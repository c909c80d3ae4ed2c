/* SPDX-License-Identifier: MIT
 *
 * /health and /stats: what the server says of itself.
 */
#include "handlers.h"

#include <h3pool/builder.h>

#define BODY_LIMIT 512u

void health_handle(struct http_request *r)
{
    const struct http_server *server = http_server(r);
    struct hp_builder b;
    hp_builder_init(&b, http_pool(r), BODY_LIMIT);
    hp_builder_append_str(&b, http_draining(r) ? "{\"status\":\"draining\",\"protocol\":\"h3\",\"version\":\""
                                               : "{\"status\":\"healthy\",\"protocol\":\"h3\",\"version\":\"");
    hp_builder_append_str(&b, server->version);
    hp_builder_append_str(&b, "\",\"build\":\"");
    hp_builder_append_str(&b, server->build);
    hp_builder_append_str(&b, "\",\"uptime_seconds\":");
    hp_builder_append_u64(&b, http_uptime_ns(r) / 1000000000u);
    hp_builder_append_str(&b, "}\n");
    http_respond_buffer(r, http_draining(r) ? 503 : 200, "application/json", hp_builder_finish(&b));
}

void stats_handle(struct http_request *r)
{
    const struct http_server *server = http_server(r);
    http_respond_buffer(r, 200, "application/json", server->stats(server->stats_ctx, http_pool(r)));
}
