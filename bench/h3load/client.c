/* SPDX-License-Identifier: MIT
 *
 * The client side of a connection. It has a socket of its own, so its connection ID is empty and needs no table. What
 * it reads is consumed at once, so flow-control credit is given back at once.
 */
#include "client.h"

#include "mem_bridge.h"
#include "net/clock.h"

#include <string.h>

#define DCID_LEN 16u
#define TRAINS_PER_FLUSH 4u
#define CLOSE_PACKET_CAP 1200u

const char *client_end_str(enum client_end end)
{
    static const char *const text[] = {
        [CLIENT_END_NONE] = "open",
        [CLIENT_END_DONE] = "done",
        [CLIENT_END_PEER] = "closed by the server",
        [CLIENT_END_REFUSED] = "refused",
        [CLIENT_END_IDLE] = "idle timeout",
        [CLIENT_END_HANDSHAKE] = "handshake timeout",
        [CLIENT_END_TLS] = "TLS error",
        [CLIENT_END_QUIC] = "QUIC error",
        [CLIENT_END_H3] = "HTTP/3 error",
        [CLIENT_END_NO_MEMORY] = "no memory",
    };
    return text[end];
}

static void die(struct client *c, enum client_state state, enum client_end end)
{
    c->state = state;
    if (c->end == CLIENT_END_NONE)
        c->end = end;
}

/* --- nghttp3 --------------------------------------------------------------------------------------------------------
 */

static int on_header(nghttp3_conn *http, int64_t stream_id, int32_t token, nghttp3_rcbuf *name, nghttp3_rcbuf *value,
                     uint8_t flags, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_id, (void)flags, (void)ctx;
    struct client_request *r = stream_ctx;
    nghttp3_vec n = nghttp3_rcbuf_get_buf(name), v = nghttp3_rcbuf_get_buf(value);
    r->header_bytes += n.len + v.len;
    if (token == NGHTTP3_QPACK_TOKEN__STATUS && v.len == 3)
        r->status = (unsigned)((v.base[0] - '0') * 100 + (v.base[1] - '0') * 10 + (v.base[2] - '0'));
    return 0;
}

static void credit(struct client *c, int64_t stream_id, size_t len)
{
    (void)ngtcp2_conn_extend_max_stream_offset(c->quic, stream_id, len);
    ngtcp2_conn_extend_max_offset(c->quic, len);
}

static int on_data(nghttp3_conn *http, int64_t stream_id, const uint8_t *data, size_t len, void *ctx, void *stream_ctx)
{
    (void)http;
    struct client *c = ctx;
    struct client_request *r = stream_ctx;
    r->bytes += len;
    if (c->env->ops->on_data != NULL)
        c->env->ops->on_data(c, r, data, len);
    credit(c, stream_id, len);
    return 0;
}

static int on_consumed(nghttp3_conn *http, int64_t stream_id, size_t len, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_ctx;
    credit(ctx, stream_id, len);
    return 0;
}

static int on_end(nghttp3_conn *http, int64_t stream_id, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_id;
    struct client *c = ctx;
    struct client_request *r = stream_ctx;
    r->complete = r->status != 0;
    r->ended_ns = c->now_ns;
    return 0;
}

static void done(struct client *c, struct client_request *r)
{
    if (r->next != NULL)
        r->next->prev = r->prev;
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        c->requests = r->next;
    c->env->ops->on_done(c, r);
}

static int on_close(nghttp3_conn *http, int64_t stream_id, uint64_t code, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_id, (void)code;
    if (stream_ctx != NULL)
        done(ctx, stream_ctx);
    return 0;
}

static int on_stop_sending(nghttp3_conn *http, int64_t stream_id, uint64_t code, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_ctx;
    struct client *c = ctx;
    (void)ngtcp2_conn_shutdown_stream_read(c->quic, 0, stream_id, code);
    return 0;
}

static int on_reset(nghttp3_conn *http, int64_t stream_id, uint64_t code, void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_ctx;
    struct client *c = ctx;
    (void)ngtcp2_conn_shutdown_stream_write(c->quic, 0, stream_id, code);
    return 0;
}

static void random_bytes(uint8_t *out, size_t len)
{
    tls_random(out, len);
}

static const nghttp3_callbacks http_callbacks = {
    .stream_close = on_close,
    .recv_data = on_data,
    .deferred_consume = on_consumed,
    .recv_header = on_header,
    .stop_sending = on_stop_sending,
    .end_stream = on_end,
    .reset_stream = on_reset,
    .rand = random_bytes,
};

static nghttp3_ssize read_body(nghttp3_conn *http, int64_t stream_id, nghttp3_vec *vec, size_t count, uint32_t *flags,
                               void *ctx, void *stream_ctx)
{
    (void)http, (void)stream_id, (void)count, (void)ctx;
    struct client_request *r = stream_ctx;
    *flags |= NGHTTP3_DATA_FLAG_EOF;
    if (r->body_len == 0)
        return 0;
    vec[0] = (nghttp3_vec){.base = (uint8_t *)(uintptr_t)r->body, .len = r->body_len};
    return 1;
}

/* --- ngtcp2 ---------------------------------------------------------------------------------------------------------
 */

static int check_h3(struct client *c, int rv)
{
    if (rv == 0)
        return 0;
    ngtcp2_ccerr_set_application_error(&c->error, c->h3.error, NULL, 0);
    c->end = CLIENT_END_H3;
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_stream_data(ngtcp2_conn *quic, uint32_t flags, int64_t stream_id, uint64_t offset, const uint8_t *data,
                          size_t len, void *ctx, void *stream_ctx)
{
    (void)quic, (void)offset, (void)stream_ctx;
    struct client *c = ctx;
    nghttp3_ssize n = nghttp3_conn_read_stream2(c->h3.http, stream_id, data, len,
                                                (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0, c->now_ns);
    if (n < 0) {
        c->h3.error = nghttp3_err_infer_quic_app_error_code((int)n);
        return check_h3(c, -1);
    }
    credit(c, stream_id, (size_t)n);
    return 0;
}

static int on_acked(ngtcp2_conn *quic, int64_t stream_id, uint64_t offset, uint64_t len, void *ctx, void *stream_ctx)
{
    (void)quic, (void)offset, (void)stream_ctx;
    struct client *c = ctx;
    return check_h3(c, h3_acked(&c->h3, stream_id, len));
}

static int on_stream_close(ngtcp2_conn *quic, uint32_t flags, int64_t stream_id, uint64_t code, void *ctx,
                           void *stream_ctx)
{
    (void)quic, (void)stream_ctx;
    struct client *c = ctx;
    if ((flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) == 0)
        code = NGHTTP3_H3_NO_ERROR;
    return check_h3(c, h3_stream_closed(&c->h3, stream_id, code));
}

static int on_stream_reset(ngtcp2_conn *quic, int64_t stream_id, uint64_t final_size, uint64_t code, void *ctx,
                           void *stream_ctx)
{
    (void)quic, (void)final_size, (void)code, (void)stream_ctx;
    struct client *c = ctx;
    return check_h3(c, h3_stream_reset(&c->h3, stream_id));
}

static int on_max_stream_data(ngtcp2_conn *quic, int64_t stream_id, uint64_t max, void *ctx, void *stream_ctx)
{
    (void)quic, (void)max, (void)stream_ctx;
    struct client *c = ctx;
    return check_h3(c, h3_unblock(&c->h3, stream_id));
}

static int on_max_streams(ngtcp2_conn *quic, uint64_t count, void *ctx)
{
    (void)quic, (void)count;
    struct client *c = ctx;
    if (c->state == CLIENT_OPEN && c->env->ops->on_streams != NULL)
        c->env->ops->on_streams(c);
    return 0;
}

static void on_rand(uint8_t *out, size_t len, const ngtcp2_rand_ctx *ctx)
{
    const struct client_env *env = ctx->native_handle;
    env->random(env->random_ctx, out, len);
}

static int on_new_cid(ngtcp2_conn *quic, ngtcp2_cid *cid, ngtcp2_stateless_reset_token *token, size_t len, void *ctx)
{
    (void)quic;
    struct client *c = ctx;
    cid->datalen = len;
    c->env->random(c->env->random_ctx, cid->data, len);
    c->env->random(c->env->random_ctx, token->data, sizeof token->data);
    return 0;
}

static int open_h3(struct client *c)
{
    nghttp3_settings settings;
    int64_t control, encoder, decoder;
    nghttp3_settings_default(&settings);
    c->h3 = (struct h3){.mem = bridge_nghttp3_mem(&c->heap)};
    if (ngtcp2_conn_open_uni_stream(c->quic, &control, NULL) != 0 ||
        ngtcp2_conn_open_uni_stream(c->quic, &encoder, NULL) != 0 ||
        ngtcp2_conn_open_uni_stream(c->quic, &decoder, NULL) != 0 ||
        nghttp3_conn_client_new(&c->h3.http, &http_callbacks, &settings, &c->h3.mem, c) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    c->h3_open = true;
    return nghttp3_conn_bind_control_stream(c->h3.http, control) == 0 &&
                   nghttp3_conn_bind_qpack_streams(c->h3.http, encoder, decoder) == 0
               ? 0
               : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_rx_key(ngtcp2_conn *quic, ngtcp2_encryption_level level, void *ctx)
{
    (void)quic;
    return level == NGTCP2_ENCRYPTION_LEVEL_1RTT ? open_h3(ctx) : 0;
}

static int on_handshake_completed(ngtcp2_conn *quic, void *ctx)
{
    (void)quic;
    struct client *c = ctx;
    c->state = CLIENT_OPEN;
    c->opened_ns = c->now_ns;
    c->env->ops->on_open(c);
    return 0;
}

static const ngtcp2_callbacks quic_callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .handshake_completed = on_handshake_completed,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_stream_data = on_stream_data,
    .acked_stream_data_offset = on_acked,
    .stream_close = on_stream_close,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .extend_max_local_streams_bidi = on_max_streams,
    .rand = on_rand,
    .update_key = ngtcp2_crypto_update_key_cb,
    .stream_reset = on_stream_reset,
    .extend_max_stream_data = on_max_stream_data,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .recv_rx_key = on_rx_key,
    .get_new_connection_id2 = on_new_cid,
    .get_path_challenge_data2 = ngtcp2_crypto_get_path_challenge_data2_cb,
};

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static ngtcp2_conn *quic_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct client *)ref->user_data)->quic;
}

static int new_quic(struct client *c, const struct net_path *path)
{
    const struct client_env *env = c->env;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid dcid = {.datalen = DCID_LEN}, scid = {0};
    env->random(env->random_ctx, dcid.data, DCID_LEN);
    ngtcp2_settings_default(&settings);
    settings.initial_ts = c->now_ns;
    settings.rand_ctx.native_handle = (void *)(uintptr_t)env;
    settings.handshake_timeout = env->handshake_timeout_ns;
    settings.ack_thresh = 1; /* acknowledge with each flush, on the next requests */
    ngtcp2_transport_params_default(&params);
    params.initial_max_stream_data_bidi_local = env->stream_window;
    params.initial_max_stream_data_uni = 256u << 10;
    params.initial_max_data = env->conn_window;
    params.initial_max_streams_uni = 8;
    params.max_idle_timeout = env->idle_timeout_ns;
    ngtcp2_path quic = quic_path(path);
    return ngtcp2_conn_client_new(&c->quic, &dcid, &scid, &quic, NGTCP2_PROTO_VER_V1, &quic_callbacks, &settings,
                                  &params, &c->mem, c);
}

int client_init(struct client *c, const struct client_env *env, void *ctx, const char *host,
                const struct net_path *path, uint64_t now_ns)
{
    *c = (struct client){.env = env, .ctx = ctx, .now_ns = now_ns, .started_ns = now_ns};
    hp_heap_init(&c->heap, env->heap);
    c->mem = bridge_ngtcp2_mem(&c->heap);
    c->ref = (ngtcp2_crypto_conn_ref){.get_conn = quic_of_ref, .user_data = c};
    ngtcp2_ccerr_default(&c->error);
    if (new_quic(c, path) != 0 || client_tls_session_init(&c->tls, env->tls, host, &c->ref) != 0) {
        client_fini(c);
        return -1;
    }
    ngtcp2_conn_set_tls_native_handle(c->quic, tls_session_native(&c->tls));
    return 0;
}

void client_fini(struct client *c)
{
    if (c->h3_open)
        nghttp3_conn_del(c->h3.http);
    c->h3_open = false;
    while (c->requests != NULL)
        done(c, c->requests);
    ngtcp2_conn_del(c->quic);
    c->quic = NULL;
    tls_session_fini(&c->tls);
    hp_heap_drop(&c->heap);
    die(c, CLIENT_DEAD, CLIENT_END_NO_MEMORY);
}

/* --- use ------------------------------------------------------------------------------------------------------------
 */

int client_submit(struct client *c, struct client_request *r, const nghttp3_nv *fields, size_t count)
{
    static const nghttp3_data_reader reader = {read_body};
    int rv = ngtcp2_conn_open_bidi_stream(c->quic, &r->stream_id, NULL);
    if (rv != 0)
        return rv == NGTCP2_ERR_STREAM_ID_BLOCKED ? 1 : -1;
    r->status = 0;
    r->complete = false;
    r->bytes = r->header_bytes = 0;
    r->started_ns = c->now_ns;
    r->prev = NULL;
    r->next = c->requests;
    if (nghttp3_conn_submit_request(c->h3.http, r->stream_id, fields, count, r->body != NULL ? &reader : NULL, r) != 0)
        return -1;
    if (c->requests != NULL)
        c->requests->prev = r;
    c->requests = r;
    return 0;
}

void client_close(struct client *c)
{
    if (c->state == CLIENT_DEAD || c->state == CLIENT_CLOSING)
        return;
    ngtcp2_ccerr_set_application_error(&c->error, NGHTTP3_H3_NO_ERROR, NULL, 0);
    die(c, CLIENT_CLOSING, CLIENT_END_DONE);
}

/* How the server has ended it. */
static enum client_end peer_end(const struct client *c)
{
    const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(c->quic);
    bool refused = e->type == NGTCP2_CCERR_TYPE_TRANSPORT && e->error_code == NGTCP2_CONNECTION_REFUSED;
    return refused ? CLIENT_END_REFUSED : CLIENT_END_PEER;
}

static void quic_failed(struct client *c, int rv)
{
    switch (rv) {
    case NGTCP2_ERR_DRAINING:
        die(c, CLIENT_DEAD, peer_end(c));
        return;
    case NGTCP2_ERR_IDLE_CLOSE:
        die(c, CLIENT_DEAD, CLIENT_END_IDLE);
        return;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        die(c, CLIENT_DEAD, CLIENT_END_HANDSHAKE);
        return;
    case NGTCP2_ERR_CRYPTO:
        ngtcp2_ccerr_set_tls_alert(&c->error, ngtcp2_conn_get_tls_alert(c->quic), NULL, 0);
        die(c, CLIENT_CLOSING, CLIENT_END_TLS);
        return;
    default:
        if (c->end == CLIENT_END_NONE)
            ngtcp2_ccerr_set_liberr(&c->error, rv, NULL, 0);
        die(c, CLIENT_CLOSING, CLIENT_END_QUIC);
    }
}

static void check_heap(struct client *c)
{
    if (hp_heap_failed(&c->heap))
        die(c, CLIENT_DEAD, CLIENT_END_NO_MEMORY);
}

void client_feed(struct client *c, const struct datagram *d, uint64_t now_ns)
{
    if (c->state != CLIENT_HANDSHAKE && c->state != CLIENT_OPEN)
        return;
    c->now_ns = now_ns;
    ngtcp2_path path = quic_path(&d->path);
    ngtcp2_pkt_info info = {.ecn = d->ecn};
    int rv = ngtcp2_conn_read_pkt(c->quic, &path, &info, d->data, d->len, now_ns);
    if (rv != 0)
        quic_failed(c, rv);
    check_heap(c);
}

static int flush_close(struct client *c, const struct sink *sink)
{
    ngtcp2_path_storage storage;
    ngtcp2_pkt_info info = {0};
    ngtcp2_path_storage_zero(&storage);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->quic, &storage.path, &info, c->env->tx, CLOSE_PACKET_CAP,
                                                        &c->error, c->now_ns);
    die(c, CLIENT_DEAD, c->end);
    if (n <= 0)
        return QUIC_WRITE_DONE;
    struct udp_train train = {
        .data = c->env->tx,
        .len = (size_t)n,
        .segment = (size_t)n,
        .path = quic_net_path(&storage.path),
    };
    return sink->send(sink->ctx, &train) != 0 ? QUIC_WRITE_BLOCKED : QUIC_WRITE_DONE;
}

int client_flush(struct client *c, const struct sink *sink, uint64_t now_ns)
{
    c->now_ns = now_ns;
    if (c->state == CLIENT_HANDSHAKE || c->state == CLIENT_OPEN) {
        c->writer = (struct quic_writer){
            .quic = c->quic,
            .h3 = c->h3_open ? &c->h3 : NULL,
            .heap = &c->heap,
            .tx = c->env->tx,
            .trains_max = TRAINS_PER_FLUSH,
        };
        int rv = quic_write(&c->writer, sink, now_ns);
        check_heap(c);
        if (rv >= 0)
            return rv;
        if (c->state != CLIENT_DEAD)
            quic_failed(c, rv);
    }
    return c->state == CLIENT_CLOSING ? flush_close(c, sink) : QUIC_WRITE_DONE;
}

uint64_t client_deadline(const struct client *c)
{
    return c->state == CLIENT_HANDSHAKE || c->state == CLIENT_OPEN ? ngtcp2_conn_get_expiry(c->quic) : CLOCK_NEVER;
}

void client_expire(struct client *c, uint64_t now_ns)
{
    if (c->state != CLIENT_HANDSHAKE && c->state != CLIENT_OPEN)
        return;
    c->now_ns = now_ns;
    int rv = ngtcp2_conn_handle_expiry(c->quic, now_ns);
    if (rv != 0)
        quic_failed(c, rv);
    check_heap(c);
}
