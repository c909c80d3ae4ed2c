/* SPDX-License-Identifier: MIT
 *
 * Requests without a network: drives server/request.h as server/h3.c does, and records what the answer was.
 *
 *   struct fake f;
 *   fake_open(&f, router_handle, 0);
 *   struct fake_stream *s = fake_get(&f, "GET", "/health");
 *   CHECK_U64(s->status, 200);
 *   fake_free(s);
 *   fake_close(&f);        checks that nothing is live
 *
 * Field texts given to the request are overwritten after each call, and response fields are compared once more when
 * the stream ends, so that a text that does not live long enough is found.
 */
#ifndef TESTS_SUPPORT_FAKE_REQUEST_H
#define TESTS_SUPPORT_FAKE_REQUEST_H

#include "request.h"

#include <h3pool/manager.h>

/* 1994-11-06 08:49:37 UTC, the example of RFC 9110: what "date" says. */
#define FAKE_WALL_NS 784111777000000000ull
#define FAKE_DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define FAKE_UPTIME_S 77u
/* Of longer bodies only the length is kept. */
#define FAKE_BODY_KEPT (64u << 20)

struct fake {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *data;
    struct hp_object_pool requests;
    struct metrics metrics;
    struct http_server server;
    struct request_env env;
    struct http_request *list;
    uint8_t *pattern;
    void *hoard; /* blocks that fake_exhaust took */
};

struct fake_stream {
    struct fake *fake;
    struct http_request *request;
    unsigned submits, resumes, stops; /* calls of request_ops */
    unsigned status;                  /* 0: none */
    size_t field_count;
    struct http_header field[HTTP_HEADERS_MAX + 4]; /* as handed over, :status included */
    struct {
        char name[40], value[160];
    } text[HTTP_HEADERS_MAX + 4]; /* as they were then */
    bool ended, failed;
    uint64_t body_bytes;
    char *body; /* the first FAKE_BODY_KEPT bytes, ended by 0 */
    size_t body_cap;
};

/* Opens pools with the presets of the server's options. |limit_bytes|: of the pool of texts and buffers, and twice that
 * of all; 0: none. */
void fake_open(struct fake *f, http_handler handler, uint64_t limit_bytes);
void fake_close(struct fake *f);

/* A request with :method, :scheme, :authority and :path; NULL leaves one of these two out. */
struct fake_stream *fake_begin(struct fake *f, const char *method, const char *path);
void fake_field(struct fake_stream *s, const char *name, const char *value);
/* Reads the response's body to its end, and acknowledges it whenever the request waits for that. */
void fake_drain(struct fake_stream *s);
/* All of a request without content: begin, ready, drain. */
struct fake_stream *fake_get(struct fake *f, const char *method, const char *path);
/* Closes the stream. */
void fake_free(struct fake_stream *s);

/* The value of a response field, or NULL. */
const char *fake_value(const struct fake_stream *s, const char *name);

/* Takes all memory that the pool of texts and buffers can give, and gives it back. Needs a limit. */
void fake_exhaust(struct fake *f);
void fake_relieve(struct fake *f);

#endif
