/* SPDX-License-Identifier: MIT
 *
 * The routes, in one table.
 */
#include "router.h"

#include "handlers.h"

#include <string.h>

#define BIT(method) (1u << (method))
#define READ (BIT(HTTP_GET) | BIT(HTTP_HEAD))
#define WRITE (BIT(HTTP_POST) | BIT(HTTP_PUT))

static const struct route {
    struct http_text path;
    bool prefix; /* |path| is the beginning */
    unsigned methods;
    const char *allow;
    http_handler handler;
} routes[] = {
    {HTTP_TEXT("/health"), false, READ, "GET, HEAD", health_handle},
    {HTTP_TEXT("/data"), false, READ, "GET, HEAD, POST, PUT", data_handle},
    {HTTP_TEXT("/data"), false, WRITE, "GET, HEAD, POST, PUT", upload_handle},
    {HTTP_TEXT("/data/"), true, READ, "GET, HEAD", pattern_handle},
    {HTTP_TEXT("/stats"), false, READ, "GET, HEAD", stats_handle},
    {HTTP_TEXT("/"), false, READ, "GET, HEAD", home_handle},
};

static bool matches(const struct route *route, struct http_text path)
{
    if (route->prefix ? path.len <= route->path.len : path.len != route->path.len)
        return false;
    return memcmp(path.at, route->path.at, route->path.len) == 0;
}

void router_handle(struct http_request *r)
{
    struct http_text path = http_path(r);
    const char *allow = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!matches(&routes[i], path))
            continue;
        if (routes[i].methods & BIT(http_method(r))) {
            routes[i].handler(r);
            return;
        }
        allow = routes[i].allow;
    }
    if (allow == NULL) {
        http_respond_error(r, 404, "not found", NULL, 0);
        return;
    }
    struct http_header header = {HTTP_TEXT("allow"), {allow, strlen(allow)}};
    http_respond_error(r, 405, "method not allowed", &header, 1);
}
