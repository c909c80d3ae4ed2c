/* SPDX-License-Identifier: MIT
 *
 * ngtcp2's callbacks of a connection: what QUIC tells, handed to HTTP/3, the ID table and the counters. A callback that
 * fails leaves the reason in conn->error and stops ngtcp2 with NGTCP2_ERR_CALLBACK_FAILURE.
 */
#include "conn.h"

#include "mem_bridge.h"
#include "net/clock.h"

#include <string.h>

/* The client's stream credit is renewed when this part of it is used up. */
#define STREAM_PORTIONS 8u

/* Fails with an HTTP/3 code unless |rv| is 0. */
static int check_h3(struct conn *c, int rv)
{
    if (rv == 0)
        return 0;
    ngtcp2_ccerr_set_application_error(&c->error, c->h3.error, NULL, 0);
    c->end = CONN_END_H3_ERROR;
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

/* --- HTTP/3's calls down to its streams -----------------------------------------------------------------------------
 */

static void credit(void *ctx, int64_t stream_id, size_t len)
{
    struct conn *c = ctx;
    (void)ngtcp2_conn_extend_max_stream_offset(c->quic, stream_id, len); /* fails only for a stream that is gone */
    ngtcp2_conn_extend_max_offset(c->quic, len);
}

static void stop_reading(void *ctx, int64_t stream_id, uint64_t code)
{
    struct conn *c = ctx;
    (void)ngtcp2_conn_shutdown_stream_read(c->quic, 0, stream_id, code);
    conn_wake(c);
}

static void reset(void *ctx, int64_t stream_id, uint64_t code)
{
    struct conn *c = ctx;
    (void)ngtcp2_conn_shutdown_stream_write(c->quic, 0, stream_id, code);
    conn_wake(c);
}

static void wake(void *ctx)
{
    conn_wake(ctx);
}

static const struct h3_ops h3_ops = {.credit = credit, .stop_reading = stop_reading, .reset = reset, .wake = wake};

static int open_h3(struct conn *c)
{
    struct h3_streams s;
    int64_t *const ids[] = {&s.control, &s.qpack_encoder, &s.qpack_decoder};
    for (unsigned i = 0; i < 3; i++)
        if (ngtcp2_conn_open_uni_stream(c->quic, ids[i], NULL) != 0) {
            /* The client must let us open three, RFC 9114 section 6.2. */
            ngtcp2_ccerr_set_application_error(&c->error, NGHTTP3_H3_GENERAL_PROTOCOL_ERROR, NULL, 0);
            c->end = CONN_END_H3_ERROR;
            return NGTCP2_ERR_CALLBACK_FAILURE;
        }
    c->h3_open = true;
    return h3_init(&c->h3, &c->heap, &c->env->requests, &h3_ops, c, &s, c->streams_max) == 0
               ? 0
               : NGTCP2_ERR_CALLBACK_FAILURE;
}

/* --- ngtcp2's callbacks ---------------------------------------------------------------------------------------------
 */

/* After the handshake the TLS object is gone (conn_feed), and nothing that a client may still say in TLS is allowed: a
 * KeyUpdate is forbidden (RFC 9001 section 6), and client authentication is not asked for. */
static int on_crypto_data(ngtcp2_conn *quic, ngtcp2_encryption_level level, uint64_t offset, const uint8_t *data,
                          size_t len, void *ctx)
{
    const struct conn *c = ctx;
    if (tls_session_native(&c->tls) != NULL)
        return ngtcp2_crypto_recv_crypto_data_cb(quic, level, offset, data, len, ctx);
    ngtcp2_conn_set_tls_alert(quic, TLS_ALERT_UNEXPECTED_MESSAGE);
    return NGTCP2_ERR_CRYPTO;
}

/* The next generation of keys is made ahead, and stays until it is used. */
static int on_update_key(ngtcp2_conn *quic, uint8_t *rx_secret, uint8_t *tx_secret, ngtcp2_crypto_aead_ctx *rx,
                         uint8_t *rx_iv, ngtcp2_crypto_aead_ctx *tx, uint8_t *tx_iv, const uint8_t *rx_now,
                         const uint8_t *tx_now, size_t len, void *ctx)
{
    bridge_making_keys(true);
    int rv = ngtcp2_crypto_update_key_cb(quic, rx_secret, tx_secret, rx, rx_iv, tx, tx_iv, rx_now, tx_now, len, ctx);
    bridge_making_keys(false);
    return rv;
}

static int on_tx_key(ngtcp2_conn *quic, ngtcp2_encryption_level level, void *ctx)
{
    (void)quic;
    return level == NGTCP2_ENCRYPTION_LEVEL_1RTT ? open_h3(ctx) : 0;
}

static int on_handshake_completed(ngtcp2_conn *quic, void *ctx)
{
    (void)quic;
    struct conn *c = ctx;
    c->handshake_done = true;
    METRIC_ADD(c->env->metrics, handshakes_completed, 1);
    return 0;
}

static int on_stream_data(ngtcp2_conn *quic, uint32_t flags, int64_t stream_id, uint64_t offset, const uint8_t *data,
                          size_t len, void *ctx, void *stream_ctx)
{
    (void)quic, (void)offset, (void)stream_ctx;
    struct conn *c = ctx;
    if (!c->h3_open)
        return 0;
    return check_h3(c, h3_feed(&c->h3, stream_id, data, len, (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0, c->now_ns));
}

static int on_acked(ngtcp2_conn *quic, int64_t stream_id, uint64_t offset, uint64_t len, void *ctx, void *stream_ctx)
{
    (void)quic, (void)offset, (void)stream_ctx;
    struct conn *c = ctx;
    return c->h3_open ? check_h3(c, h3_acked(&c->h3, stream_id, len)) : 0;
}

/* New credit for the streams that have closed: more than these if the budget has room for the connection to have more
 * at a time, fewer if it has had too many. */
static void give_streams(struct conn *c)
{
    uint64_t wanted = budget_streams(c->env->budget, c->env->connections, c->env->max_streams);
    uint64_t credit = wanted + c->streams_owed > c->streams_max ? wanted + c->streams_owed - c->streams_max : 0;
    c->streams_max += credit - c->streams_owed;
    c->streams_owed = 0;
    if (credit != 0)
        ngtcp2_conn_extend_max_streams_bidi(c->quic, credit);
}

static int on_stream_close(ngtcp2_conn *quic, uint32_t flags, int64_t stream_id, uint64_t code, void *ctx,
                           void *stream_ctx)
{
    (void)stream_ctx;
    struct conn *c = ctx;
    if ((flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) == 0)
        code = NGHTTP3_H3_NO_ERROR;
    if (c->h3_open && check_h3(c, h3_stream_closed(&c->h3, stream_id, code)) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    if (!ngtcp2_is_bidi_stream(stream_id)) {
        ngtcp2_conn_extend_max_streams_uni(quic, 1); /* of a reserved type, RFC 9114 section 6.2.3 */
        return 0;
    }
    /* In portions: a MAX_STREAMS frame for each stream would cost a packet, and its acknowledgement, per request. */
    c->streams_owed++;
    if (c->streams_owed * STREAM_PORTIONS >= c->streams_max)
        give_streams(c);
    return 0;
}

static int on_stream_reset(ngtcp2_conn *quic, int64_t stream_id, uint64_t final_size, uint64_t code, void *ctx,
                           void *stream_ctx)
{
    (void)quic, (void)final_size, (void)code, (void)stream_ctx;
    struct conn *c = ctx;
    METRIC_ADD(c->env->metrics, streams_reset, 1);
    return c->h3_open ? check_h3(c, h3_request_reset(&c->h3, stream_id)) : 0;
}

/* The client does not want the response any more. ngtcp2 resets the stream itself. */
static int on_stop_sending(ngtcp2_conn *quic, int64_t stream_id, uint64_t code, void *ctx, void *stream_ctx)
{
    (void)stream_ctx;
    struct conn *c = ctx;
    METRIC_ADD(c->env->metrics, streams_reset, 1);
    /* What it still sends is of no use either; without this a half-open stream would stay. */
    if (ngtcp2_is_bidi_stream(stream_id))
        (void)ngtcp2_conn_shutdown_stream_read(quic, 0, stream_id, code);
    return 0;
}

static int on_max_stream_data(ngtcp2_conn *quic, int64_t stream_id, uint64_t max, void *ctx, void *stream_ctx)
{
    (void)quic, (void)max, (void)stream_ctx;
    struct conn *c = ctx;
    return c->h3_open ? check_h3(c, h3_unblock(&c->h3, stream_id)) : 0;
}

static int on_max_streams(ngtcp2_conn *quic, uint64_t count, void *ctx)
{
    (void)quic;
    struct conn *c = ctx;
    if (c->h3_open)
        h3_set_max_streams(&c->h3, count);
    return 0;
}

static void on_rand(uint8_t *out, size_t len, const ngtcp2_rand_ctx *ctx)
{
    const struct conn_env *env = ctx->native_handle;
    env->random(env->random_ctx, out, len);
}

static int on_new_cid(ngtcp2_conn *quic, ngtcp2_cid *cid, ngtcp2_stateless_reset_token *token, size_t len, void *ctx)
{
    (void)quic;
    struct conn *c = ctx;
    struct conn_env *env = c->env;
    cid_draw(&env->steering, env->random, env->random_ctx, cid, len);
    if (ngtcp2_crypto_generate_stateless_reset_token(token->data, env->reset_secret, CONN_RESET_SECRET_LEN, cid) != 0 ||
        cid_table_add(&env->cids, c, &c->cids, cid->data, cid->datalen) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int on_remove_cid(ngtcp2_conn *quic, const ngtcp2_cid *cid, void *ctx)
{
    (void)quic;
    struct conn *c = ctx;
    cid_table_remove(&c->env->cids, &c->cids, cid->data, cid->datalen);
    return 0;
}

const ngtcp2_callbacks conn_callbacks = {
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = on_crypto_data,
    .handshake_completed = on_handshake_completed,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_stream_data = on_stream_data,
    .acked_stream_data_offset = on_acked,
    .stream_close = on_stream_close,
    .rand = on_rand,
    .remove_connection_id = on_remove_cid,
    .update_key = on_update_key,
    .stream_reset = on_stream_reset,
    .extend_max_remote_streams_bidi = on_max_streams,
    .extend_max_stream_data = on_max_stream_data,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .stream_stop_sending = on_stop_sending,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .recv_tx_key = on_tx_key,
    .get_new_connection_id2 = on_new_cid,
    .get_path_challenge_data2 = ngtcp2_crypto_get_path_challenge_data2_cb,
};
