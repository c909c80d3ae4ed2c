/* SPDX-License-Identifier: MIT
 *
 * A request and its response: field limits, content, body pieces until they are acknowledged. Knows HTTP, not nghttp3.
 *
 * Life:
 *   REQUEST_FIELDS     the field section is arriving
 *   REQUEST_CONTENT    the handler has been called, content is arriving
 *   REQUEST_COMPLETE   all content has arrived (or is discarded)
 * and, apart from that, |responded| once http_respond was called.
 */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "http.h"
#include "metrics.h"
#include "net/clock.h"

#include <h3pool/object_pool.h>

/* How a request reaches the stream that it belongs to. */
struct request_ops {
    /* Sends the field section; the body is then asked for with request_read. */
    void (*submit)(void *stream_ctx, struct http_request *r, const struct http_header *fields, size_t count);
    /* More of the body can be read again after REQUEST_READ_LATER. */
    void (*resume)(void *stream_ctx, struct http_request *r);
    /* What still comes of the request's content is not wanted. */
    void (*stop_reading)(void *stream_ctx, struct http_request *r);
};

/* What requests of one worker share. */
struct request_env {
    struct hp_object_pool *pool; /* of struct http_request */
    struct hp_byte_pool *data;   /* arenas and buffers */
    const struct request_ops *ops;
    http_handler handler;
    const struct http_server *server;
    struct metrics *metrics;
    uint64_t max_header_bytes, max_header_fields, max_body_bytes;
    uint64_t start_ns;       /* monotonic */
    uint64_t wall_offset_ns; /* wall clock less monotonic clock */
    uint64_t now_ns;         /* of this loop turn */
    bool draining;
    bool shedding;   /* for want of memory: new requests are answered with 503, but for a connection's first one */
    uint64_t date_s; /* wall clock that |date| says, in seconds; it is written anew when that has changed */
    char date[CLOCK_HTTP_DATE_CAP];
};

enum request_state { REQUEST_FIELDS, REQUEST_CONTENT, REQUEST_COMPLETE };

/* Pieces that may wait for their acknowledgement at a time. */
#define REQUEST_PIECES 8u
/* A field beyond the pseudo-fields; its texts lie behind it in the arena. */
struct request_field {
    struct request_field *next;
    struct http_text name, value;
};

struct http_request {
    struct request_env *env;
    void *stream_ctx;
    int64_t stream_id;
    struct http_request *next, *prev; /* of the connection */
    struct hp_arena arena;

    /* the request */
    enum request_state state;
    enum http_method method;
    unsigned refuse; /* status to refuse it with, once the field section is complete; 0: none */
    struct http_text path, query;
    uint32_t field_count;
    uint64_t field_bytes, content_bytes;
    struct request_field *kept;
    http_body_fn on_body;
    void *on_body_ctx;

    /* the response */
    bool responded;
    bool stopped; /* the client has been told that its content is not wanted */
    bool waiting; /* for acknowledgements, with all pieces in use */
    http_pull_fn pull;
    void *pull_ctx;
    struct http_slice body;
    uint64_t length, read, acked; /* bytes of the body: whole, handed to the stream, acknowledged */
    uint32_t piece_first, piece_count;
    struct {
        struct hp_buffer *owner;
        uint64_t end; /* offset behind it */
    } piece[REQUEST_PIECES];
};

/* A new request in |*list|, or NULL without memory. */
struct http_request *request_new(struct request_env *env, void *stream_ctx, int64_t stream_id,
                                 struct http_request **list) __attribute__((warn_unused_result));
/* Ends it, whatever its state; buffers and arena are given back. */
void request_free(struct http_request *r, struct http_request **list);

/* Bytes of the pools' blocks that it holds. */
uint64_t request_account(const struct http_request *r);

/* A field of the request (pseudo-fields with their colon); |kind| tells those that matter apart without comparing text.
 * Counts against --max-header (RFC 9114 section 4.2.2: 32 bytes on top of each) and --max-header-fields. */
enum request_field_kind {
    REQUEST_FIELD_OTHER,
    REQUEST_FIELD_METHOD,
    REQUEST_FIELD_PATH,
    REQUEST_FIELD_PSEUDO,
    REQUEST_FIELD_CONTENT_LENGTH
};
void request_header(struct http_request *r, enum request_field_kind kind, struct http_text name,
                    struct http_text value);
/* The field section is complete: refuses the request or calls the handler. |fin|: no content follows. */
void request_ready(struct http_request *r, bool fin);
/* Content, and its end. */
void request_body(struct http_request *r, const uint8_t *data, size_t len);
void request_end(struct http_request *r);

enum request_read { REQUEST_READ_MORE, REQUEST_READ_END, REQUEST_READ_LATER, REQUEST_READ_FAILED };
/* The next piece of the response's body, valid until acknowledged. END: |out| is the last one and may be empty. */
enum request_read request_read(struct http_request *r, struct http_slice *out);
/* |len| more bytes of the body are acknowledged. */
void request_acked(struct http_request *r, uint64_t len);

#endif
