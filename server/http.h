/* SPDX-License-Identifier: MIT
 *
 * What a handler sees of a request: this header and <h3pool/…>, nothing else.
 *
 * A handler is called once, when the request's field section is complete (the content may still be on its way). It
 * calls http_respond exactly once, at once or later: from the function that it gave to http_on_body. Everything here
 * happens on the connection's thread.
 *
 * Lifetimes: a request, what its getters return and what its arena holds live until the stream is closed, which is
 * after the client has acknowledged the whole response, or has gone.
 */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include <h3pool/arena.h>
#include <h3pool/buffer.h>
#include <h3pool/builder.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct http_request;

/* Text, not ended by 0. */
struct http_text {
    const char *at;
    size_t len;
};
#define HTTP_TEXT(literal) ((struct http_text){(literal), sizeof(literal) - 1})
static inline bool http_text_is(struct http_text text, const char *literal)
{
    return text.len == strlen(literal) && memcmp(text.at, literal, text.len) == 0;
}
/* Reads decimal digits that are the whole text; returns 0, or -1 for anything else and for numbers above |max|. */
int http_text_u64(struct http_text text, uint64_t max, uint64_t *out) __attribute__((warn_unused_result));

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_OTHER_METHOD };

/* --- the request ----------------------------------------------------------------------------------------------------
 */

enum http_method http_method(const struct http_request *r);
/* As sent: "/data/65536", without the query. */
struct http_text http_path(const struct http_request *r);
/* What follows '?', or empty. */
struct http_text http_query(const struct http_request *r);
/* The value of |name| in the query ("items" in "items=5&x=1"), at NULL if it is not there. */
struct http_text http_query_value(const struct http_request *r, const char *name);
/* The value of the first field of this name (lower case), at NULL if there is none. */
struct http_text http_field(const struct http_request *r, const char *name);

/* Memory of the request, bounded by --max-header. */
struct hp_arena *http_arena(struct http_request *r);
/* Pool for buffers of this thread. */
struct hp_byte_pool *http_pool(struct http_request *r);

/* The server as a handler may know it. */
struct http_server {
    const char *version;                                              /* "0.1.0" */
    const char *build;                                                /* "pooled" or "unpooled" */
    struct hp_buffer *(*stats)(void *ctx, struct hp_byte_pool *pool); /* the JSON of /stats; NULL without memory */
    void *stats_ctx;
    const uint8_t *pattern; /* HTTP_PATTERN_BYTES bytes, shared by all threads, see /data/SIZE */
};
const struct http_server *http_server(const struct http_request *r);
/* Nanoseconds since the server was started. */
uint64_t http_uptime_ns(const struct http_request *r);
/* True once the server has been told to stop. */
bool http_draining(const struct http_request *r);

/* The pattern of /data/SIZE: the byte at |i| is ((i mod 65521) * 2654435761 >> 24) & 255; repeated, so that a body can
 * be sent in large pieces from any offset. */
#define HTTP_PATTERN_PERIOD 65521u
#define HTTP_PATTERN_BYTES (HTTP_PATTERN_PERIOD * 5u)
void http_pattern_fill(uint8_t out[HTTP_PATTERN_BYTES]);

/* Content of the request, in pieces as they arrive: |data| is valid during the call; |fin| is true in the last call,
 * which may have |len| 0. A stream that dies ends without it. Flow-control credit is given back after each call. */
typedef void (*http_body_fn)(struct http_request *r, void *ctx, const uint8_t *data, size_t len, bool fin);
/* To be called by the handler. Without it the content is discarded. */
void http_on_body(struct http_request *r, http_body_fn on_body, void *ctx);

/* --- the response ---------------------------------------------------------------------------------------------------
 */

/* A response field: |name| in lower case; both texts static or in the request's arena. "date", "server" and
 * "content-length" are added by the server. */
struct http_header {
    struct http_text name, value;
};

/* A piece of a response body. */
struct http_slice {
    const uint8_t *data;
    size_t len;
    struct hp_buffer *owner; /* holds data: a reference that passes to the request until the piece is acknowledged;
                                NULL: data lives as long as the request */
};

enum http_pull { HTTP_PULL_OK, HTTP_PULL_FAILED };

/* Produces the piece of a body that begins at |offset|; never called for less than what is missing. HTTP_PULL_FAILED
 * resets the stream. */
typedef enum http_pull (*http_pull_fn)(struct http_request *r, void *ctx, uint64_t offset, struct http_slice *out);

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

struct http_response {
    unsigned status;
    const struct http_header *headers; /* needed during the call alone */
    size_t header_count;               /* at most HTTP_HEADERS_MAX */
    /* The body: either one slice, or |pull|, called as the client takes the body; then |length| is its length in bytes,
     * or HTTP_LENGTH_UNKNOWN and a slice of len 0 is the end. A response to HEAD sends none of it. */
    struct http_slice body;
    http_pull_fn pull;
    void *pull_ctx;
    uint64_t length;
};
#define HTTP_HEADERS_MAX 8u

/* Sends the response; |response->body.owner| passes to the request in any case. */
void http_respond(struct http_request *r, const struct http_response *response);

/* Shorthands: a buffer with its content type (the reference passes), and a JSON error {"error":text}. A NULL |buffer|
 * (an allocation failed) becomes 503. |headers| may be NULL. */
void http_respond_buffer(struct http_request *r, unsigned status, const char *content_type, struct hp_buffer *buffer);
void http_respond_error(struct http_request *r, unsigned status, const char *text, const struct http_header *headers,
                        size_t header_count);

/* A handler. */
typedef void (*http_handler)(struct http_request *r);

#endif
