/* SPDX-License-Identifier: MIT
 *
 * bench-handlers, bench-handlers-unpooled: what a request costs between the HTTP/3 library and the handler, on one
 * thread, without a network. The objects are the server's own; pools and limits are as the server makes them.
 *
 * HandleHealth and HandleData measure the whole life of a GET of /health and of /data?items=N:
 *     request_new, request_header for the six fields that curl sends, request_ready, router, handler, http_respond, the
 *     call that submits the response's fields, request_read until the body's end, request_acked, request_free.
 * With part=respond only that from request_ready to the body's end is measured: from the complete field section to the
 * array of response fields and the bytes of the body. Requests are made and freed in batches of BATCH outside of it, so
 * that many are live at a time; each has memory of its own.
 *
 * Not in it: nghttp3 (QPACK, framing), QUIC, the kernel. What is submitted and read is not copied, as in the server.
 * Time goes on by a microsecond a request, so that what is prepared once a second is prepared as often as in a server
 * that answers a million requests a second. /data?items=N builds its JSON document for each request; N is 25, the
 * first with which it is 1 KiB or more: 1,046 bytes.
 */
#include "bench.h"
#include "handlers/router.h"
#include "net/clock.h"
#include "request.h"

#include <h3pool/manager.h>
#include <stdio.h>
#include <stdlib.h>

/* As in server/endpoint.c. */
#define DATA_BLOCK_MAX (256u << 10)
#define REQUESTS_KEPT 256u

#define DATA_ITEMS "25"
#define BATCH 64u
#define WALL_NS 1700000000000000000ull

struct field {
    enum request_field_kind kind;
    struct http_text name, value;
};
#define FIELD(kind, name, value)                                                                                       \
    {                                                                                                                  \
        kind, {name, sizeof(name) - 1}, {value, sizeof(value) - 1},                                                    \
    }
#define GET_OF(path)                                                                                                   \
    {                                                                                                                  \
        FIELD(REQUEST_FIELD_METHOD, ":method", "GET"), FIELD(REQUEST_FIELD_PSEUDO, ":scheme", "https"),                \
            FIELD(REQUEST_FIELD_PSEUDO, ":authority", "localhost:4433"), FIELD(REQUEST_FIELD_PATH, ":path", path),     \
            FIELD(REQUEST_FIELD_OTHER, "user-agent", "curl/8.14.1"), FIELD(REQUEST_FIELD_OTHER, "accept", "*/*"),      \
    }
#define FIELDS 6u
static const struct field get_health[FIELDS] = GET_OF("/health");
static const struct field get_data[FIELDS] = GET_OF("/data?items=" DATA_ITEMS);

/* The one worker. */
static struct {
    struct hp_object_pool requests;
    struct metrics metrics;
    struct http_server server;
    struct request_env env;
    struct http_request *list;
    uint64_t submits, fields, body_bytes;
} w;

static void require(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench-handlers: %s\n", what);
        exit(1);
    }
}

/* --- the stream -----------------------------------------------------------------------------------------------------
 */

static void on_submit(void *stream_ctx, struct http_request *r, const struct http_header *fields, size_t count)
{
    (void)stream_ctx, (void)r;
    bench_use(fields);
    w.submits++;
    w.fields += count;
}

static void on_other(void *stream_ctx, struct http_request *r)
{
    (void)stream_ctx, (void)r;
    require(false, "a GET needs neither resume nor stop_reading");
}

static const struct request_ops ops = {.submit = on_submit, .resume = on_other, .stop_reading = on_other};

static struct http_request *begin(const struct field *fields)
{
    struct http_request *r = request_new(&w.env, NULL, 0, &w.list);
    require(r != NULL, "no memory");
    for (unsigned i = 0; i < FIELDS; i++)
        request_header(r, fields[i].kind, fields[i].name, fields[i].value);
    return r;
}

static uint64_t respond(struct http_request *r)
{
    struct http_slice piece;
    enum request_read more;
    uint64_t bytes = 0;
    w.env.now_ns += NS_PER_US;
    request_ready(r, true);
    do {
        more = request_read(r, &piece);
        bench_use(piece.data);
        bytes += piece.len;
    } while (more == REQUEST_READ_MORE);
    require(more == REQUEST_READ_END, "the body has no end");
    w.body_bytes += bytes;
    return bytes;
}

static void end(struct http_request *r, uint64_t bytes)
{
    request_acked(r, bytes);
    request_free(r, &w.list);
}

/* --- the benchmarks -------------------------------------------------------------------------------------------------
 */

static void whole(const struct field *fields, uint64_t iterations)
{
    for (uint64_t i = 0; i < iterations; i++) {
        struct http_request *r = begin(fields);
        end(r, respond(r));
    }
}

static void part(struct bench *b, const struct field *fields, uint64_t iterations)
{
    struct http_request *r[BATCH];
    uint64_t bytes[BATCH];
    bench_pause(b);
    for (uint64_t done = 0; done < iterations; done += BATCH) {
        unsigned n = iterations - done < BATCH ? (unsigned)(iterations - done) : BATCH;
        for (unsigned i = 0; i < n; i++)
            r[i] = begin(fields);
        bench_resume(b);
        for (unsigned i = 0; i < n; i++)
            bytes[i] = respond(r[i]);
        bench_pause(b);
        for (unsigned i = 0; i < n; i++)
            end(r[i], bytes[i]);
    }
    bench_resume(b);
}

static void health_whole(struct bench *b, uint64_t iterations)
{
    (void)b;
    whole(get_health, iterations);
}

static void health_part(struct bench *b, uint64_t iterations)
{
    part(b, get_health, iterations);
}

static void data_whole(struct bench *b, uint64_t iterations)
{
    (void)b;
    whole(get_data, iterations);
}

static void data_part(struct bench *b, uint64_t iterations)
{
    part(b, get_data, iterations);
}

static const struct bench_case cases[] = {
    {"HandleHealth", health_whole},
    {"HandleHealth/part=respond", health_part},
    {"HandleData", data_whole},
    {"HandleData/part=respond", data_part},
};

int main(int argc, char **argv)
{
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    require(manager != NULL, "no memory");
    struct hp_byte_pool *data = hp_byte_pool_new(manager, "data", 64, DATA_BLOCK_MAX, 0);
    int rv = hp_object_pool_init(&w.requests, manager, "request", sizeof(struct http_request), REQUESTS_KEPT, NULL);
    require(data != NULL && rv == 0, "no memory");
    w.server = (struct http_server){.version = hp_version(), .build = hp_build_name()};
    w.env = (struct request_env){
        .pool = &w.requests,
        .data = data,
        .ops = &ops,
        .handler = router_handle,
        .server = &w.server,
        .metrics = &w.metrics,
        .max_header_bytes = 16u << 10,
        .max_header_fields = 100,
        .max_body_bytes = 16u << 20,
        .start_ns = NS_PER_S,
        .wall_offset_ns = WALL_NS,
        .now_ns = 2 * NS_PER_S,
    };
    rv = bench_main("h3pool/handlers", cases, sizeof cases / sizeof cases[0], argc, argv);
    require(HP_READ(w.metrics.requests) == w.submits && w.fields == 5 * w.submits, "not every request was answered");
    require(HP_READ(w.metrics.responses_4xx) == 0 && HP_READ(w.metrics.responses_5xx) == 0, "errors were answered");
    hp_object_pool_fini(&w.requests);
    require(hp_pool_manager_live(manager) == 0, "memory is live at the end");
    hp_byte_pool_free(data);
    hp_pool_manager_free(manager);
    return rv;
}
