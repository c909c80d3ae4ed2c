/* SPDX-License-Identifier: MIT
 *
 * nghttp3's callbacks on one side, requests on the other. Field texts are copied into the request's arena, response
 * fields are handed over by reference (NGHTTP3_NV_FLAG_NO_COPY), as the arena outlives their encoding.
 */
#include "h3.h"

#include "mem_bridge.h"
#include "tls.h"

#include <string.h>

/* A field section that is so many times larger than allowed is not read to its end. */
#define FAR_TOO_LARGE 4u

static struct http_text text_of(nghttp3_rcbuf *buf)
{
    nghttp3_vec v = nghttp3_rcbuf_get_buf(buf);
    return (struct http_text){(const char *)v.base, v.len};
}

static int fail(struct h3 *h3, int liberr)
{
    h3->error = nghttp3_err_infer_quic_app_error_code(liberr);
    return -1;
}

static int check(struct h3 *h3, int rv)
{
    return rv == 0 ? 0 : fail(h3, rv);
}

/* --- nghttp3's callbacks --------------------------------------------------------------------------------------------
 */

static int on_begin_headers(nghttp3_conn *http, int64_t stream_id, void *ctx, void *stream_ctx)
{
    (void)stream_ctx;
    struct h3 *h3 = ctx;
    struct http_request *r = request_new(h3->env, h3, stream_id, &h3->requests);
    if (r == NULL) {
        h3->ops->stop_reading(h3->conn, stream_id, NGHTTP3_H3_REQUEST_REJECTED);
        h3->ops->reset(h3->conn, stream_id, NGHTTP3_H3_REQUEST_REJECTED);
        return 0;
    }
    return nghttp3_conn_set_stream_user_data(http, stream_id, r);
}

static enum request_field_kind field_kind(int32_t token, struct http_text name)
{
    switch (token) {
    case NGHTTP3_QPACK_TOKEN__METHOD:
        return REQUEST_FIELD_METHOD;
    case NGHTTP3_QPACK_TOKEN__PATH:
        return REQUEST_FIELD_PATH;
    case NGHTTP3_QPACK_TOKEN_CONTENT_LENGTH:
        return REQUEST_FIELD_CONTENT_LENGTH;
    default:
        return name.len != 0 && name.at[0] == ':' ? REQUEST_FIELD_PSEUDO : REQUEST_FIELD_OTHER;
    }
}

static void overload(struct h3 *h3, int64_t stream_id)
{
    h3->ops->stop_reading(h3->conn, stream_id, NGHTTP3_H3_EXCESSIVE_LOAD);
    h3->ops->reset(h3->conn, stream_id, NGHTTP3_H3_EXCESSIVE_LOAD);
}

static int on_header(nghttp3_conn *http, int64_t stream_id, int32_t token, nghttp3_rcbuf *name, nghttp3_rcbuf *value,
                     uint8_t flags, void *ctx, void *stream_ctx)
{
    (void)http, (void)flags;
    struct h3 *h3 = ctx;
    struct http_request *r = stream_ctx;
    struct http_text n = text_of(name);
    if (r == NULL)
        return 0;
    uint64_t far = FAR_TOO_LARGE * h3->env->max_header_bytes;
    bool was_far = r->field_bytes > far;
    request_header(r, field_kind(token, n), n, text_of(value));
    if (!was_far && r->field_bytes > far) /* 431 would wait for a section that may never end */
        overload(h3, stream_id);
    return 0;
}

static int on_end_headers(nghttp3_conn *http, int64_t stream_id, int fin, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_id, (void)ctx;
    if (stream_ctx != NULL)
        request_ready(stream_ctx, fin != 0);
    return 0;
}

/* Trailers are counted like other fields, and not kept. */
static int on_trailer(nghttp3_conn *http, int64_t stream_id, int32_t token, nghttp3_rcbuf *name, nghttp3_rcbuf *value,
                      uint8_t flags, void *ctx, void *stream_ctx)
{
    (void)http, (void)token, (void)flags;
    struct h3 *h3 = ctx;
    struct http_request *r = stream_ctx;
    if (r == NULL)
        return 0;
    unsigned refused = r->refuse;
    request_header(r, REQUEST_FIELD_PSEUDO, text_of(name), text_of(value));
    if (refused == 0 && r->refuse != 0)
        overload(h3, stream_id);
    return 0;
}

static int on_data(nghttp3_conn *http, int64_t stream_id, const uint8_t *data, size_t len, void *ctx, void *stream_ctx)
{
    (void)http;
    struct h3 *h3 = ctx;
    if (stream_ctx != NULL)
        request_body(stream_ctx, data, len);
    h3->ops->credit(h3->conn, stream_id, len);
    return 0;
}

static int on_consumed(nghttp3_conn *http, int64_t stream_id, size_t len, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_ctx;
    struct h3 *h3 = ctx;
    h3->ops->credit(h3->conn, stream_id, len);
    return 0;
}

static int on_end_stream(nghttp3_conn *http, int64_t stream_id, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_id, (void)ctx;
    if (stream_ctx != NULL)
        request_end(stream_ctx);
    return 0;
}

static int on_acked(nghttp3_conn *http, int64_t stream_id, uint64_t len, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_id, (void)ctx;
    if (stream_ctx != NULL)
        request_acked(stream_ctx, len);
    return 0;
}

static int on_stream_close(nghttp3_conn *http, int64_t stream_id, uint64_t code, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_id, (void)code;
    struct h3 *h3 = ctx;
    if (stream_ctx != NULL)
        request_free(stream_ctx, &h3->requests);
    return 0;
}

static int on_stop_sending(nghttp3_conn *http, int64_t stream_id, uint64_t code, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_ctx;
    struct h3 *h3 = ctx;
    h3->ops->stop_reading(h3->conn, stream_id, code);
    return 0;
}

static int on_reset_stream(nghttp3_conn *http, int64_t stream_id, uint64_t code, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_ctx;
    struct h3 *h3 = ctx;
    h3->ops->reset(h3->conn, stream_id, code);
    return 0;
}

static void random_bytes(uint8_t *out, size_t len)
{
    tls_random(out, len);
}

/* --- requests on their streams --------------------------------------------------------------------------------------
 */

static nghttp3_ssize read_body(nghttp3_conn *http, int64_t stream_id, nghttp3_vec *vec, size_t count, uint32_t *flags,
                               void *ctx, void *stream_ctx)
{
    (void)http, (void)count;
    struct h3 *h3 = ctx;
    struct http_slice slice;
    switch (request_read(stream_ctx, &slice)) {
    case REQUEST_READ_LATER:
        return NGHTTP3_ERR_WOULDBLOCK;
    case REQUEST_READ_FAILED:
        h3->ops->reset(h3->conn, stream_id, NGHTTP3_H3_INTERNAL_ERROR);
        return NGHTTP3_ERR_WOULDBLOCK;
    case REQUEST_READ_END:
        *flags |= NGHTTP3_DATA_FLAG_EOF;
        break;
    case REQUEST_READ_MORE:
        break;
    }
    if (slice.len == 0)
        return 0;
    vec[0] = (nghttp3_vec){.base = (uint8_t *)(uintptr_t)slice.data, .len = slice.len};
    return 1;
}

static void submit(void *stream_ctx, struct http_request *r, const struct http_header *fields, size_t count)
{
    static const nghttp3_data_reader reader = {read_body};
    struct h3 *h3 = stream_ctx;
    nghttp3_nv nv[HTTP_HEADERS_MAX + 4];
    for (size_t i = 0; i < count; i++)
        nv[i] = (nghttp3_nv){
            .name = (uint8_t *)(uintptr_t)fields[i].name.at,
            .value = (uint8_t *)(uintptr_t)fields[i].value.at,
            .namelen = fields[i].name.len,
            .valuelen = fields[i].value.len,
            .flags = NGHTTP3_NV_FLAG_NO_COPY_NAME | NGHTTP3_NV_FLAG_NO_COPY_VALUE,
        };
    int rv = NGHTTP3_ERR_NOMEM;
    if (count != 0)
        rv = nghttp3_conn_submit_response(h3->http, r->stream_id, nv, count, r->length != 0 ? &reader : NULL);
    if (rv != 0)
        h3->ops->reset(h3->conn, r->stream_id, NGHTTP3_H3_INTERNAL_ERROR);
    h3->ops->wake(h3->conn);
}

static void resume(void *stream_ctx, struct http_request *r)
{
    struct h3 *h3 = stream_ctx;
    (void)nghttp3_conn_resume_stream(h3->http, r->stream_id); /* fails only for a stream that is gone */
    h3->ops->wake(h3->conn);
}

static void stop_reading(void *stream_ctx, struct http_request *r)
{
    struct h3 *h3 = stream_ctx;
    h3->ops->stop_reading(h3->conn, r->stream_id, NGHTTP3_H3_NO_ERROR);
}

const struct request_ops h3_request_ops = {.submit = submit, .resume = resume, .stop_reading = stop_reading};

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static const nghttp3_callbacks callbacks = {
    .acked_stream_data = on_acked,
    .stream_close = on_stream_close,
    .recv_data = on_data,
    .deferred_consume = on_consumed,
    .begin_headers = on_begin_headers,
    .recv_header = on_header,
    .end_headers = on_end_headers,
    .recv_trailer = on_trailer,
    .stop_sending = on_stop_sending,
    .end_stream = on_end_stream,
    .reset_stream = on_reset_stream,
    .rand = random_bytes,
};

int h3_init(struct h3 *h3, struct hp_heap *heap, struct request_env *env, const struct h3_ops *ops, void *conn,
            const struct h3_streams *streams, uint64_t max_streams)
{
    nghttp3_settings settings;
    *h3 = (struct h3){.mem = bridge_nghttp3_mem(heap), .ops = ops, .conn = conn, .env = env};
    nghttp3_settings_default(&settings);
    settings.max_field_section_size = env->max_header_bytes;
    settings.qpack_max_dtable_capacity = 0;
    settings.qpack_encoder_max_dtable_capacity = 0;
    if (nghttp3_conn_server_new(&h3->http, &callbacks, &settings, &h3->mem, h3) != 0)
        return -1;
    nghttp3_conn_set_max_client_streams_bidi(h3->http, max_streams);
    if (nghttp3_conn_bind_control_stream(h3->http, streams->control) != 0 ||
        nghttp3_conn_bind_qpack_streams(h3->http, streams->qpack_encoder, streams->qpack_decoder) != 0)
        return -1;
    return 0;
}

void h3_fini(struct h3 *h3)
{
    nghttp3_conn_del(h3->http); /* first: it refers to bodies */
    h3->http = NULL;
    while (h3->requests != NULL)
        request_free(h3->requests, &h3->requests);
}

/* --- streams --------------------------------------------------------------------------------------------------------
 */

int h3_feed(struct h3 *h3, int64_t stream_id, const uint8_t *data, size_t len, bool fin, uint64_t now_ns)
{
    nghttp3_ssize n = nghttp3_conn_read_stream2(h3->http, stream_id, data, len, fin, now_ns);
    if (n < 0)
        return fail(h3, (int)n);
    h3->ops->credit(h3->conn, stream_id, (size_t)n);
    return 0;
}

int h3_acked(struct h3 *h3, int64_t stream_id, uint64_t len)
{
    return check(h3, nghttp3_conn_add_ack_offset(h3->http, stream_id, len));
}

int h3_stream_closed(struct h3 *h3, int64_t stream_id, uint64_t code)
{
    int rv = nghttp3_conn_close_stream(h3->http, stream_id, code);
    return rv == NGHTTP3_ERR_STREAM_NOT_FOUND ? 0 : check(h3, rv);
}

/* A client that aborts its request gets no response to it (RFC 9114 section 4.1), and without one nothing else would
 * end the stream's other direction. */
static void abort_unanswered(struct h3 *h3, int64_t stream_id)
{
    const struct http_request *r = h3->requests;
    while (r != NULL && r->stream_id != stream_id)
        r = r->next;
    if (r == NULL || !r->responded)
        h3->ops->reset(h3->conn, stream_id, NGHTTP3_H3_REQUEST_INCOMPLETE);
}

int h3_request_reset(struct h3 *h3, int64_t stream_id)
{
    if ((stream_id & 2) == 0) /* bidirectional, RFC 9000 section 2.1 */
        abort_unanswered(h3, stream_id);
    return h3_stream_reset(h3, stream_id);
}

int h3_stream_reset(struct h3 *h3, int64_t stream_id)
{
    return check(h3, nghttp3_conn_shutdown_stream_read(h3->http, stream_id));
}

int h3_unblock(struct h3 *h3, int64_t stream_id)
{
    return check(h3, nghttp3_conn_unblock_stream(h3->http, stream_id));
}

ssize_t h3_writev(struct h3 *h3, int64_t *stream_id, bool *fin, nghttp3_vec *vec, size_t count)
{
    int end = 0;
    nghttp3_ssize n = nghttp3_conn_writev_stream(h3->http, stream_id, &end, vec, count);
    *fin = end != 0;
    return n < 0 ? fail(h3, (int)n) : n;
}

int h3_written(struct h3 *h3, int64_t stream_id, size_t len)
{
    return check(h3, nghttp3_conn_add_write_offset(h3->http, stream_id, len));
}

void h3_block(struct h3 *h3, int64_t stream_id)
{
    nghttp3_conn_block_stream(h3->http, stream_id);
}

void h3_shut_write(struct h3 *h3, int64_t stream_id)
{
    nghttp3_conn_shutdown_stream_write(h3->http, stream_id);
}

int h3_shutdown_notice(struct h3 *h3)
{
    return check(h3, nghttp3_conn_submit_shutdown_notice(h3->http));
}

int h3_shutdown(struct h3 *h3)
{
    return check(h3, nghttp3_conn_shutdown(h3->http));
}

bool h3_drained(const struct h3 *h3)
{
    return nghttp3_conn_is_drained(h3->http) != 0;
}

void h3_set_max_streams(struct h3 *h3, uint64_t count)
{
    nghttp3_conn_set_max_client_streams_bidi(h3->http, count);
}
