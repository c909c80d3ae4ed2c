/* SPDX-License-Identifier: MIT
 *
 * Life of a connection. All that ngtcp2 and nghttp3 allocate for it lies in its own heap; when an allocation in it has
 * failed, the libraries' structures can't be trusted: nothing is called but their destructors, over a frozen heap.
 */
#include "conn.h"

#include "mem_bridge.h"
#include "net/clock.h"
#include "net/log.h"
#include "quic_write.h"

#include <string.h>

/* Flow-control windows (RFC 9000 section 4): small at first, grown by ngtcp2 with use. */
#define STREAM_WINDOW (256u << 10)
#define STREAM_WINDOW_MAX (6u << 20)
#define CONN_WINDOW (1u << 20)
#define CONN_WINDOW_MAX (8u << 20)
/* The client's control stream and its two of QPACK, and some that RFC 9114 section 6.2.3 reserves. */
#define UNI_STREAMS 8u
/* Trains that one connection may send in a loop turn, so that it does not starve others. */
#define TRAINS_PER_TURN 4u
#define CLOSE_PACKET_CAP 1200u
/* What OpenSSL holds for a connection, rounded up: its session during the handshake, the contexts of its keys later. */
#define TLS_SESSION_BYTES (80u << 10)
#define TLS_KEYS_BYTES (6u << 10)

const char *conn_end_str(enum conn_end end)
{
    static const char *const text[] = {
        [CONN_END_NONE] = "open",
        [CONN_END_PEER] = "closed by the client",
        [CONN_END_IDLE] = "idle timeout",
        [CONN_END_HANDSHAKE] = "handshake failed",
        [CONN_END_DROPPED] = "dropped",
        [CONN_END_QUIC_ERROR] = "QUIC error",
        [CONN_END_H3_ERROR] = "HTTP/3 error",
        [CONN_END_DRAINED] = "drained",
        [CONN_END_STOPPED] = "server stopped",
        [CONN_END_NO_MEMORY] = "no memory",
        [CONN_END_TOO_LARGE] = "its memory exceeds --connection-memory-limit",
    };
    return text[end];
}

void conn_wake(struct conn *c)
{
    c->env->wake(c->env, c);
}

/* --- birth ----------------------------------------------------------------------------------------------------------
 */

static ngtcp2_conn *quic_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct conn *)ref->user_data)->quic;
}

static int new_quic(struct conn *c, const ngtcp2_pkt_hd *hd, const ngtcp2_cid *scid, const struct net_path *path)
{
    struct conn_env *env = c->env;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_settings_default(&settings);
    settings.initial_ts = c->now_ns;
    settings.rand_ctx.native_handle = env;
    settings.cc_algo = env->cc;
    settings.handshake_timeout = env->handshake_timeout_ns;
    settings.ack_thresh = 1; /* what arrived is acknowledged with this turn's flush, so on the responses */
    settings.max_window = CONN_WINDOW_MAX;
    settings.max_stream_window = STREAM_WINDOW_MAX;
    ngtcp2_transport_params_default(&params);
    params.original_dcid = hd->dcid;
    params.original_dcid_present = 1;
    params.initial_max_stream_data_bidi_remote = STREAM_WINDOW;
    params.initial_max_stream_data_uni = STREAM_WINDOW;
    params.initial_max_data = CONN_WINDOW;
    params.initial_max_streams_bidi = c->streams_max;
    params.initial_max_streams_uni = UNI_STREAMS;
    params.max_idle_timeout = env->idle_timeout_ns;
    params.active_connection_id_limit = 7;
    params.stateless_reset_token_present = 1;
    ngtcp2_path quic = quic_path(path);
    if (ngtcp2_crypto_generate_stateless_reset_token(params.stateless_reset_token, env->reset_secret,
                                                     CONN_RESET_SECRET_LEN, scid) != 0)
        return -1;
    return ngtcp2_conn_server_new(&c->quic, &hd->scid, scid, &quic, hd->version, &conn_callbacks, &settings, &params,
                                  &c->mem, c);
}

struct conn *conn_accept(struct conn_env *env, const ngtcp2_pkt_hd *hd, const struct datagram *d, uint64_t now_ns)
{
    struct conn *c = hp_object_pool_get(env->pool);
    if (c == NULL)
        return NULL;
    *c = (struct conn){.env = env, .state = CONN_OPEN, .timer.at_ns = CLOCK_NEVER, .now_ns = now_ns};
    c->streams_max = budget_streams(env->budget, env->connections, env->max_streams);
    hp_heap_init(&c->heap, env->heap);
    c->mem = bridge_ngtcp2_mem(&c->heap);
    c->ref = (ngtcp2_crypto_conn_ref){.get_conn = quic_of_ref, .user_data = c};
    ngtcp2_ccerr_default(&c->error);
    METRIC_ADD(env->metrics, connections_active, 1);
    ngtcp2_cid scid;
    cid_draw(&env->steering, env->random, env->random_ctx, &scid, CID_LEN);
    /* The client's first ID stays in the table to the end: a late or replayed copy of its first Initial must not begin
     * a second connection. */
    if (new_quic(c, hd, &scid, &d->path) != 0 || tls_session_init(&c->tls, env->tls, &c->ref) != 0 ||
        cid_table_add(&env->cids, c, &c->cids, scid.data, scid.datalen) != 0 ||
        cid_table_add(&env->cids, c, &c->cids, hd->dcid.data, hd->dcid.datalen) != 0) {
        conn_free(c);
        return NULL;
    }
    ngtcp2_conn_set_tls_native_handle(c->quic, tls_session_native(&c->tls));
    METRIC_ADD(env->metrics, connections_accepted, 1);
    return c;
}

/* --- death ----------------------------------------------------------------------------------------------------------
 */

/* Ends the libraries' part: from here on the connection is a packet and some IDs at most. After a failed allocation the
 * libraries' lists may be inconsistent; their destructors are safe all the same, since the heap is frozen. */
static void end_protocols(struct conn *c)
{
    if (c->h3_open)
        h3_fini(&c->h3);
    c->h3_open = false;
    ngtcp2_conn_del(c->quic);
    c->quic = NULL;
    tls_session_fini(&c->tls); /* after the connection, which it must not outlive in use */
    assert(hp_heap_failed(&c->heap) || hp_heap_live(&c->heap) == 0);
    hp_heap_drop(&c->heap);
}

void conn_free(struct conn *c)
{
    end_protocols(c);
    cid_table_remove_all(&c->env->cids, &c->cids);
    hp_buffer_unref(c->close_packet);
    METRIC_SUB(c->env->metrics, connections_active, 1);
    hp_object_pool_put(c->env->pool, c);
}

static void set_state(struct conn *c, enum conn_state state, enum conn_end end)
{
    c->state = state;
    if (c->end == CONN_END_NONE)
        c->end = end;
    if (state == CONN_FAILED || state == CONN_DEAD)
        log_debug("connection: %s (code 0x%llx)", conn_end_str(c->end), (unsigned long long)c->error.error_code);
}

/* Takes the result of a call of ngtcp2 that was not 0. */
static void quic_failed(struct conn *c, int rv)
{
    switch (rv) {
    case NGTCP2_ERR_DRAINING:
        set_state(c, CONN_DEAD, CONN_END_PEER);
        return;
    case NGTCP2_ERR_IDLE_CLOSE:
        set_state(c, CONN_DEAD, CONN_END_IDLE);
        return;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        set_state(c, CONN_DEAD, CONN_END_HANDSHAKE);
        return;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
        set_state(c, CONN_DEAD, CONN_END_DROPPED);
        return;
    case NGTCP2_ERR_CRYPTO:
        ngtcp2_ccerr_set_tls_alert(&c->error, ngtcp2_conn_get_tls_alert(c->quic), NULL, 0);
        set_state(c, CONN_FAILED, CONN_END_HANDSHAKE);
        return;
    case NGTCP2_ERR_CALLBACK_FAILURE: /* the callback may have said why */
        if (c->end == CONN_END_NONE)
            ngtcp2_ccerr_set_liberr(&c->error, rv, NULL, 0);
        break;
    default:
        ngtcp2_ccerr_set_liberr(&c->error, rv, NULL, 0);
        break;
    }
    set_state(c, CONN_FAILED, CONN_END_QUIC_ERROR);
}

static void fail_h3(struct conn *c)
{
    ngtcp2_ccerr_set_application_error(&c->error, c->h3.error, NULL, 0);
    set_state(c, CONN_FAILED, CONN_END_H3_ERROR);
}

static void check_heap(struct conn *c)
{
    if (hp_heap_failed(&c->heap))
        set_state(c, CONN_DEAD, CONN_END_NO_MEMORY);
}

void conn_close(struct conn *c, enum conn_end end, uint64_t h3_code)
{
    if (c->state != CONN_OPEN)
        return;
    ngtcp2_ccerr_set_application_error(&c->error, h3_code, NULL, 0);
    set_state(c, CONN_FAILED, end);
    conn_wake(c);
}

/* --- input and time -------------------------------------------------------------------------------------------------
 */

static void feed_closed(struct conn *c)
{
    /* Answers the 1st, 2nd, 4th, 8th … packet, RFC 9000 section 10.2.1. */
    c->close_received++;
    if ((c->close_received & (c->close_received - 1)) == 0) {
        c->close_repeat = true;
        conn_wake(c);
    }
}

/* OpenSSL has said all that it has to say when the handshake completes: its tickets are with ngtcp2. The keys are
 * ngtcp2's by then, updates of them included; so a third of an idle connection's memory can go. */
static void release_tls(struct conn *c)
{
    if (tls_session_native(&c->tls) == NULL)
        return;
    ngtcp2_conn_set_tls_native_handle(c->quic, NULL);
    tls_session_fini(&c->tls);
}

void conn_feed(struct conn *c, const struct datagram *d, uint64_t now_ns)
{
    c->now_ns = now_ns;
    if (c->state == CONN_CLOSED)
        feed_closed(c);
    if (c->state != CONN_OPEN)
        return;
    ngtcp2_path path = quic_path(&d->path);
    ngtcp2_pkt_info info = {.ecn = d->ecn};
    int rv = ngtcp2_conn_read_pkt(c->quic, &path, &info, d->data, d->len, now_ns);
    if (rv != 0)
        quic_failed(c, rv);
    else if (c->handshake_done)
        release_tls(c);
    check_heap(c);
    conn_wake(c);
}

uint64_t conn_deadline(const struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return c->close_deadline_ns;
    if (c->state != CONN_OPEN)
        return CLOCK_NEVER;
    uint64_t at = ngtcp2_conn_get_expiry(c->quic);
    if (c->drain == DRAIN_NOTICED && c->drain_ns < at)
        at = c->drain_ns;
    return at;
}

void conn_drain(struct conn *c, uint64_t now_ns)
{
    if (c->state != CONN_OPEN || c->drain != DRAIN_NO)
        return;
    c->now_ns = now_ns;
    if (c->handshake_done) {
        c->drain = DRAIN_WANTED;
    } else { /* nothing is in flight yet, and a client that stalls must not hold the server up */
        ngtcp2_ccerr_set_transport_error(&c->error, NGTCP2_CONNECTION_REFUSED, NULL, 0);
        set_state(c, CONN_FAILED, CONN_END_DRAINED);
    }
    conn_wake(c);
}

bool conn_drain_idle(struct conn *c, uint64_t now_ns)
{
    if (c->state != CONN_OPEN || c->drain != DRAIN_NO || !c->handshake_done || c->h3.requests != NULL ||
        now_ns - c->now_ns < CONN_QUIET_NS)
        return false;
    conn_drain(c, now_ns);
    c->sent_away = true;
    return true;
}

/* Takes the step of a graceful shutdown that is due: notice, a PTO later the final GOAWAY, and the end. */
static void step_drain(struct conn *c)
{
    if (c->drain == DRAIN_NO)
        return;
    int rv = 0;
    if (c->drain == DRAIN_WANTED) {
        rv = h3_shutdown_notice(&c->h3);
        c->drain = DRAIN_NOTICED;
        c->drain_ns = c->now_ns + ngtcp2_conn_get_pto(c->quic);
    } else if (c->drain == DRAIN_NOTICED && c->now_ns >= c->drain_ns) {
        rv = h3_shutdown(&c->h3);
        c->drain = DRAIN_SHUTDOWN;
    }
    if (rv != 0)
        conn_close(c, CONN_END_H3_ERROR, c->h3.error);
}

void conn_expire(struct conn *c, uint64_t now_ns)
{
    c->now_ns = now_ns;
    conn_wake(c); /* a flush follows in any case: it writes, or frees the connection */
    if (c->state == CONN_CLOSED && now_ns >= c->close_deadline_ns)
        set_state(c, CONN_DEAD, c->end);
    if (c->state != CONN_OPEN)
        return;
    int rv = ngtcp2_conn_handle_expiry(c->quic, now_ns);
    if (rv != 0)
        quic_failed(c, rv);
    check_heap(c);
}

/* --- the account ----------------------------------------------------------------------------------------------------
 */

uint64_t conn_tls_account(const struct conn *c)
{
    if (c->quic == NULL)
        return 0;
    return tls_session_native(&c->tls) != NULL ? TLS_SESSION_BYTES : TLS_KEYS_BYTES;
}

uint64_t conn_account(const struct conn *c)
{
    uint64_t bytes = c->env->pool->bin->block_bytes + hp_heap_held(&c->heap) + conn_tls_account(c);
    for (const struct cid_entry *id = c->cids; id != NULL; id = id->next_mine)
        bytes += c->env->cids.entries->bin->block_bytes;
    for (const struct http_request *r = c->h3_open ? c->h3.requests : NULL; r != NULL; r = r->next)
        bytes += request_account(r);
    if (c->close_packet != NULL)
        bytes += hp_byte_pool_usable(c->close_packet);
    return bytes;
}

static void check_account(struct conn *c)
{
    uint64_t most = c->env->connection_bytes_max;
    if (most == 0 || conn_account(c) <= most)
        return;
    METRIC_ADD(c->env->metrics, connections_too_large, 1);
    conn_close(c, CONN_END_TOO_LARGE, NGHTTP3_H3_EXCESSIVE_LOAD);
}

/* --- output ---------------------------------------------------------------------------------------------------------
 */

/* A flush in progress. */
struct flush {
    struct conn *conn;
    const struct sink *sink;
};

static int send_train(struct conn *c, const struct sink *sink, const struct udp_train *train)
{
    METRIC_ADD(c->env->metrics, sends, 1);
    METRIC_ADD(c->env->metrics, bytes_sent, train->len);
    return sink->send(sink->ctx, train);
}

static int count_and_send(void *ctx, const struct udp_train *train)
{
    struct flush *f = ctx;
    return send_train(f->conn, f->sink, train);
}

static int flush_open(struct conn *c, const struct sink *sink)
{
    struct flush flush = {.conn = c, .sink = sink};
    struct sink counted = {.send = count_and_send, .ctx = &flush};
    c->writer = (struct quic_writer){
        .quic = c->quic,
        .h3 = c->h3_open ? &c->h3 : NULL,
        .heap = &c->heap,
        .tx = c->env->tx,
        .trains_max = TRAINS_PER_TURN,
        .in_flight_max = budget_in_flight(c->env->budget, c->env->connections),
    };
    int rv = quic_write(&c->writer, &counted, c->now_ns);
    check_heap(c);
    if (c->state != CONN_OPEN)
        return 0;
    if (rv >= 0)
        return rv;
    if (c->writer.h3_failed)
        fail_h3(c);
    else
        quic_failed(c, rv);
    return 0;
}

/* Sends CONNECTION_CLOSE and gives up everything but the packet, for the closing period of three PTO. */
static int flush_failed(struct conn *c, const struct sink *sink)
{
    ngtcp2_path_storage storage;
    ngtcp2_pkt_info info = {0};
    ngtcp2_path_storage_zero(&storage);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->quic, &storage.path, &info, c->env->tx, CLOSE_PACKET_CAP,
                                                        &c->error, c->now_ns);
    c->close_deadline_ns = c->now_ns + 3 * ngtcp2_conn_get_pto(c->quic);
    c->close_packet = n > 0 ? hp_buffer_new(c->env->requests.data, (size_t)n) : NULL;
    end_protocols(c);
    if (c->close_packet == NULL) {
        set_state(c, CONN_DEAD, c->end);
        return 0;
    }
    memcpy(c->close_packet->data, c->env->tx, (size_t)n);
    c->close_packet->len = (size_t)n;
    c->close_path = quic_net_path(&storage.path);
    c->close_repeat = true;
    c->state = CONN_CLOSED;
    return conn_flush(c, sink, c->now_ns);
}

static int flush_closed(struct conn *c, const struct sink *sink)
{
    if (!c->close_repeat)
        return 0;
    c->close_repeat = false;
    struct udp_train train = {
        .data = c->close_packet->data,
        .len = c->close_packet->len,
        .segment = c->close_packet->len,
        .path = c->close_path,
    };
    return send_train(c, sink, &train);
}

int conn_flush(struct conn *c, const struct sink *sink, uint64_t now_ns)
{
    c->now_ns = now_ns;
    int result = 0;
    if (c->state == CONN_OPEN) {
        step_drain(c);
        check_account(c);
        if (c->state == CONN_OPEN)
            result = flush_open(c, sink);
        if (result == 0 && c->state == CONN_OPEN && c->drain == DRAIN_SHUTDOWN && h3_drained(&c->h3))
            conn_close(c, CONN_END_DRAINED, NGHTTP3_H3_NO_ERROR);
    }
    if (result == 0 && c->state == CONN_FAILED)
        return flush_failed(c, sink);
    if (c->state == CONN_CLOSED)
        return flush_closed(c, sink);
    return result;
}
