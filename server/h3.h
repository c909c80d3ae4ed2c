/* SPDX-License-Identifier: MIT
 *
 * HTTP/3 of one connection (RFC 9114) by nghttp3: between QUIC streams, which it reaches through struct h3_ops, and
 * requests. Does not know QUIC.
 */
#ifndef SERVER_H3_H
#define SERVER_H3_H

#include "request.h"

#include <h3pool/heap.h>
#include <nghttp3/nghttp3.h>

/* What a connection does for its HTTP/3 layer. |conn| is what h3_init was given. */
struct h3_ops {
    /* |len| bytes of the stream have been consumed: give the client credit for as many. */
    void (*credit)(void *conn, int64_t stream_id, size_t len);
    /* Sends STOP_SENDING, or RESET_STREAM, with an HTTP/3 error code. */
    void (*stop_reading)(void *conn, int64_t stream_id, uint64_t code);
    void (*reset)(void *conn, int64_t stream_id, uint64_t code);
    /* There is something to write. */
    void (*wake)(void *conn);
};

struct h3 {
    nghttp3_conn *http;
    nghttp3_mem mem;
    const struct h3_ops *ops;
    void *conn;
    struct request_env *env;
    struct http_request *requests;
    uint64_t error; /* HTTP/3 code of what made a call fail */
};

/* Streams that a server opens for itself. */
struct h3_streams {
    int64_t control, qpack_encoder, qpack_decoder;
};

/* Operations of requests on their streams, for request_env. */
extern const struct request_ops h3_request_ops;

/* Begins HTTP/3 on a connection whose allocations come from |heap|. |max_streams|: request streams that the client may
 * have open at a time. Returns 0, or -1 without memory. */
int h3_init(struct h3 *h3, struct hp_heap *heap, struct request_env *env, const struct h3_ops *ops, void *conn,
            const struct h3_streams *streams, uint64_t max_streams) __attribute__((warn_unused_result));
/* Ends it with all its requests. */
void h3_fini(struct h3 *h3);

/* Stream data in order. Returns 0, or -1 with h3->error set: the connection must be closed with it. */
int h3_feed(struct h3 *h3, int64_t stream_id, const uint8_t *data, size_t len, bool fin, uint64_t now_ns)
    __attribute__((warn_unused_result));
/* Events of a stream, with the same result. */
int h3_acked(struct h3 *h3, int64_t stream_id, uint64_t len) __attribute__((warn_unused_result));
int h3_stream_closed(struct h3 *h3, int64_t stream_id, uint64_t code) __attribute__((warn_unused_result));
int h3_stream_reset(struct h3 *h3, int64_t stream_id) __attribute__((warn_unused_result));
/* As h3_stream_reset, on the server: a request that was not answered is reset too. */
int h3_request_reset(struct h3 *h3, int64_t stream_id) __attribute__((warn_unused_result));
int h3_unblock(struct h3 *h3, int64_t stream_id) __attribute__((warn_unused_result));

/* The next stream data to write: up to |count| pieces in |vec|, of |*stream_id| (-1: nothing), whose end is there if
 * |*fin|. Returns the number of pieces, or -1 with h3->error set. Then, by what became of it: */
ssize_t h3_writev(struct h3 *h3, int64_t *stream_id, bool *fin, nghttp3_vec *vec, size_t count);
int h3_written(struct h3 *h3, int64_t stream_id, size_t len) __attribute__((warn_unused_result));
void h3_block(struct h3 *h3, int64_t stream_id);
void h3_shut_write(struct h3 *h3, int64_t stream_id);

/* Graceful shutdown in two steps, RFC 9114 section 5.2; the second at least a round trip after the first. */
int h3_shutdown_notice(struct h3 *h3) __attribute__((warn_unused_result));
int h3_shutdown(struct h3 *h3) __attribute__((warn_unused_result));
/* After the second step: no request is left. */
bool h3_drained(const struct h3 *h3);

/* The client may open |count| request streams in all. */
void h3_set_max_streams(struct h3 *h3, uint64_t count);

#endif
