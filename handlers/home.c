/* SPDX-License-Identifier: MIT
 *
 * GET /: what this server is, and its routes.
 */
#include "handlers.h"

static const char page[] =
    "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>h3pool</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "td{padding:.2rem 1rem .2rem 0;vertical-align:top}code{font-size:.95em}</style>\n"
    "<h1>h3pool</h1>\n<p>An HTTP/3 server whose memory is a contract: every buffer of a request comes from a pool, is "
    "counted, bounded and given back.</p>\n<table>\n"
    "<tr><td><code><a href=\"/health\">GET /health</a></code><td>state, version, build, uptime\n"
    "<tr><td><code><a href=\"/data\">GET /data?items=N</a></code><td>JSON document of N records (10; 0 to 100000)\n"
    "<tr><td><code><a href=\"/data/65536\">GET /data/SIZE</a></code><td>SIZE bytes of a known pattern (K, M, G; up to "
    "16G), with Range\n"
    "<tr><td><code>POST /data</code><td>reads the content, answers its length and CRC-32C\n"
    "<tr><td><code><a href=\"/stats\">GET /stats</a></code><td>connections, requests, bytes, pools as JSON\n"
    "</table>\n</html>\n";

void home_handle(struct http_request *r)
{
    static const struct http_header type = {HTTP_TEXT("content-type"), HTTP_TEXT("text/html; charset=utf-8")};
    http_respond(r, &(struct http_response){
                        .status = 200,
                        .headers = &type,
                        .header_count = 1,
                        .body = {.data = (const uint8_t *)page, .len = sizeof page - 1},
                    });
}
