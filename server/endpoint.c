/* SPDX-License-Identifier: MIT
 *
 * Leads datagrams to connections, begins and frees connections, keeps their timers and who has something to send. A
 * connection is freed only here, after the call into it has returned.
 */
#include "endpoint.h"

#include "admission.h"
#include "net/clock.h"

#include <string.h>

/* RFC 9000 section 14.1: a client pads its Initial datagrams to this. */
#define INITIAL_BYTES_MIN 1200u
#define REPLY_CAP 256u
/* Answers to packets without a connection that wait for the next flush. */
#define REPLIES_MAX 16u
/* Connections that a turn looks at for idle ones to send away, and when it does so again. */
#define GOAWAY_LOOKS 64u
#define GOAWAY_PERIOD_NS (100 * NS_PER_MS)
#define CONNS_KEPT 64u
#define CIDS_KEPT 1024u
#define REQUESTS_KEPT 256u
#define DATA_BLOCK_MAX (256u << 10)

struct reply {
    struct net_path path;
    size_t len;
    uint8_t data[REPLY_CAP];
};

struct endpoint {
    struct conn_env env; /* first: conn_env leads back to the endpoint */
    struct hp_byte_pool *data;
    struct timerq timers;
    struct admission admission;
    struct conn *conns, *oldest; /* the newest one first */
    struct conn *look;           /* who is looked at next for being idle; NULL: the oldest one */
    struct conn *dirty_first, *dirty_last;
    uint64_t conn_count, max_connections;
    uint64_t sent_away;  /* connections that are on their way out */
    uint64_t look_at_ns; /* the budget wants idle ones to leave; CLOCK_NEVER */
    bool more;           /* a connection used up its share of the last flush */
    unsigned reply_count;
    struct reply reply[REPLIES_MAX];
};

/* --- who has something to send --------------------------------------------------------------------------------------
 */

static void wake(struct conn_env *env, struct conn *c)
{
    struct endpoint *ep = (struct endpoint *)env;
    if (c->dirty)
        return;
    c->dirty = true;
    c->next_dirty = NULL;
    if (ep->dirty_last != NULL)
        ep->dirty_last->next_dirty = c;
    else
        ep->dirty_first = c;
    ep->dirty_last = c;
}

static struct conn *take_dirty(struct endpoint *ep)
{
    struct conn *c = ep->dirty_first;
    ep->dirty_first = c->next_dirty;
    if (ep->dirty_first == NULL)
        ep->dirty_last = NULL;
    c->dirty = false;
    return c;
}

/* --- connections ----------------------------------------------------------------------------------------------------
 */

static void drop_conn(struct endpoint *ep, struct conn *c)
{
    timerq_set(&ep->timers, &c->timer, CLOCK_NEVER);
    admission_end(&ep->admission, c);
    if (ep->look == c)
        ep->look = c->prev;
    if (c->next != NULL)
        c->next->prev = c->prev;
    else
        ep->oldest = c->prev;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        ep->conns = c->next;
    ep->conn_count--;
    ep->sent_away -= c->sent_away;
    conn_free(c);
}

/* After a flush: frees a connection that died, else sets its timer. One that has something to send again gets there
 * with the next flush. */
static void settle(struct endpoint *ep, struct conn *c)
{
    if (c->dirty)
        return;
    if (c->state == CONN_DEAD)
        drop_conn(ep, c);
    else
        timerq_set(&ep->timers, &c->timer, conn_deadline(c));
}

static struct conn *accept_conn(struct endpoint *ep, const ngtcp2_pkt_hd *hd, const struct datagram *d, uint64_t now_ns)
{
    if (timerq_reserve(&ep->timers, (uint32_t)ep->conn_count + 1) != 0)
        return NULL;
    struct conn *c = conn_accept(&ep->env, hd, d, now_ns);
    if (c == NULL)
        return NULL;
    c->next = ep->conns;
    if (ep->conns != NULL)
        ep->conns->prev = c;
    else
        ep->oldest = c;
    ep->conns = c;
    ep->conn_count++;
    admission_begin(&ep->admission, c, now_ns);
    return c;
}

/* --- packets without a connection -----------------------------------------------------------------------------------
 */

static struct reply *new_reply(struct endpoint *ep, const struct datagram *d)
{
    if (ep->reply_count == REPLIES_MAX)
        return NULL;
    struct reply *r = &ep->reply[ep->reply_count];
    r->path = d->path;
    return r;
}

static void commit_reply(struct endpoint *ep, struct reply *r, ngtcp2_ssize len)
{
    if (len <= 0)
        return;
    r->len = (size_t)len;
    ep->reply_count++;
}

/* RFC 9000 section 6: the versions we speak, and a reserved one, to keep clients from growing rigid. */
static void negotiate_version(struct endpoint *ep, const ngtcp2_version_cid *vc, const struct datagram *d)
{
    struct reply *r = d->len >= INITIAL_BYTES_MIN ? new_reply(ep, d) : NULL;
    if (r == NULL)
        return;
    uint8_t unused;
    ep->env.random(ep->env.random_ctx, &unused, 1);
    const uint32_t versions[] = {0x1a2a3a4au | (uint32_t)(unused & 0xf0) << 24, NGTCP2_PROTO_VER_V1};
    METRIC_ADD(ep->env.metrics, version_negotiations, 1);
    commit_reply(ep, r,
                 ngtcp2_pkt_write_version_negotiation(r->data, REPLY_CAP, unused, vc->scid, vc->scidlen, vc->dcid,
                                                      vc->dcidlen, versions, 2));
}

static void refuse_conn(struct endpoint *ep, const ngtcp2_pkt_hd *hd, const struct datagram *d)
{
    METRIC_ADD(ep->env.metrics, connections_refused, 1);
    struct reply *r = new_reply(ep, d);
    if (r == NULL)
        return;
    commit_reply(ep, r,
                 ngtcp2_crypto_write_connection_close(r->data, REPLY_CAP, hd->version, &hd->scid, &hd->dcid,
                                                      NGTCP2_CONNECTION_REFUSED, NULL, 0));
}

static void flush_replies(struct endpoint *ep, const struct sink *sink, bool *blocked)
{
    while (ep->reply_count > 0 && !*blocked) {
        const struct reply *r = &ep->reply[--ep->reply_count];
        struct udp_train train = {.data = r->data, .len = r->len, .segment = r->len, .path = r->path};
        METRIC_ADD(ep->env.metrics, sends, 1);
        METRIC_ADD(ep->env.metrics, bytes_sent, r->len);
        *blocked = sink->send(sink->ctx, &train) != 0;
    }
}

/* --- the verbs ------------------------------------------------------------------------------------------------------
 */

static bool refusing(const struct endpoint *ep)
{
    return ep->env.requests.draining || ep->conn_count >= ep->max_connections ||
           budget_stage(ep->env.budget) >= BUDGET_REFUSE;
}

static bool can_reply(const struct endpoint *ep)
{
    return ep->reply_count < REPLIES_MAX;
}

/* Begins a connection, or refuses it. */
static struct conn *begin_conn(struct endpoint *ep, const ngtcp2_pkt_hd *hd, const struct datagram *d, uint64_t now_ns)
{
    struct conn *c = NULL;
    if (!refusing(ep))
        c = accept_conn(ep, hd, d, now_ns);
    if (c == NULL)
        refuse_conn(ep, hd, d);
    return c;
}

/* The connection of a datagram's first packet, or NULL; then |hd->type| says whether it is a client's first Initial. */
static struct conn *conn_of(struct endpoint *ep, const struct datagram *d, ngtcp2_pkt_hd *hd)
{
    ngtcp2_version_cid vc;
    *hd = (ngtcp2_pkt_hd){0};
    if (d->len == 0) /* legal in UDP; ngtcp2 asserts on it */
        return NULL;
    int rv = ngtcp2_pkt_decode_version_cid(&vc, d->data, d->len, CID_LEN);
    if (rv == NGTCP2_ERR_VERSION_NEGOTIATION)
        negotiate_version(ep, &vc, d);
    if (rv != 0)
        return NULL;
    struct conn *c = cid_table_find(&ep->env.cids, vc.dcid, vc.dcidlen);
    if (c == NULL && (d->len < INITIAL_BYTES_MIN || ngtcp2_accept(hd, d->data, d->len) != 0))
        *hd = (ngtcp2_pkt_hd){0};
    return c;
}

static void feed_conn(struct endpoint *ep, struct conn *c, const struct datagram *d, uint64_t now_ns)
{
    conn_feed(c, d, now_ns);
    if (c->handshake_done)
        admission_complete(&ep->admission, c, now_ns);
    else if (c->state != CONN_OPEN)
        admission_end(&ep->admission, c);
}

/* Sends idle connections away, so many at a time as the budget asks for: what they hold comes back later. */
static void send_away(struct endpoint *ep, uint64_t wanted, uint64_t now_ns)
{
    uint64_t looks = ep->conn_count < GOAWAY_LOOKS ? ep->conn_count : GOAWAY_LOOKS;
    for (; ep->sent_away < wanted && looks-- != 0; ep->look = ep->look->prev) {
        if (ep->look == NULL)
            ep->look = ep->oldest;
        if (!conn_drain_idle(ep->look, now_ns))
            continue;
        ep->sent_away++;
        METRIC_ADD(ep->env.metrics, connections_sent_away, 1);
    }
}

/* What the budget asks for. */
static void obey_budget(struct endpoint *ep, uint64_t now_ns)
{
    uint64_t wanted = budget_sent_away(ep->env.budget);
    ep->env.connections = ep->conn_count + ep->admission.count;
    ep->env.requests.shedding = budget_stage(ep->env.budget) >= BUDGET_SHED;
    ep->admission.young_max = budget_handshakes(ep->env.budget);
    ep->look_at_ns = wanted != 0 && ep->conn_count != 0 ? now_ns + GOAWAY_PERIOD_NS : CLOCK_NEVER;
    send_away(ep, wanted, now_ns);
}

/* Whether who is first in line is admitted, or refused: nobody waits for that any longer. */
static bool has_turn(const struct endpoint *ep)
{
    return can_reply(ep) && (refusing(ep) || admission_next(&ep->admission));
}

/* The handshakes whose turn has come, with all that their clients have sent meanwhile. */
static void admit_waiting(struct endpoint *ep, uint64_t now_ns)
{
    struct admission *a = &ep->admission;
    struct admission_datagram *w, *more;
    admission_turn(a, now_ns);
    while (has_turn(ep) && (w = admission_take(a)) != NULL) {
        ngtcp2_pkt_hd hd;
        struct conn *c = conn_of(ep, &w->datagram, &hd);
        if (c == NULL && now_ns - w->at_ns < ep->env.handshake_timeout_ns)
            c = begin_conn(ep, &hd, &w->datagram, now_ns);
        if (c != NULL)
            feed_conn(ep, c, &w->datagram, now_ns);
        while ((more = admission_take_more(a, &w->datagram)) != NULL) {
            if (c != NULL) /* otherwise the client has got his answer */
                feed_conn(ep, c, &more->datagram, now_ns);
            admission_put(a, more);
        }
        admission_put(a, w);
    }
}

void endpoint_feed(struct endpoint *ep, const struct datagram *d, uint64_t now_ns)
{
    ngtcp2_pkt_hd hd;
    ep->env.requests.now_ns = now_ns;
    METRIC_ADD(ep->env.metrics, datagrams_received, 1);
    METRIC_ADD(ep->env.metrics, bytes_received, d->len);
    struct conn *c = conn_of(ep, d, &hd);
    if (c == NULL && hd.type == NGTCP2_PKT_INITIAL) {
        if (refusing(ep) ? can_reply(ep) : admission_open(&ep->admission)) {
            c = begin_conn(ep, &hd, d, now_ns);
        } else if (admission_wait(&ep->admission, d, now_ns)) {
            METRIC_ADD(ep->env.metrics, initials_waited, 1);
            return;
        }
    }
    if (c != NULL)
        feed_conn(ep, c, d, now_ns);
    else
        METRIC_ADD(ep->env.metrics, datagrams_ignored, 1);
}

bool endpoint_flush(struct endpoint *ep, const struct sink *sink, uint64_t now_ns)
{
    ep->env.requests.now_ns = now_ns;
    bool blocked = false;
    ep->more = false;
    obey_budget(ep, now_ns);
    admit_waiting(ep, now_ns);
    flush_replies(ep, sink, &blocked);
    struct conn *last = ep->dirty_last; /* those that are woken meanwhile wait for the next turn */
    while (!blocked && ep->dirty_first != NULL) {
        struct conn *c = take_dirty(ep);
        bool at_last = c == last;
        int rv = conn_flush(c, sink, now_ns);
        blocked = rv == 1;
        if (rv != 0)
            wake(&ep->env, c);
        ep->more |= rv == 2;
        settle(ep, c);
        if (at_last)
            break;
    }
    if (blocked)
        ep->more = false; /* who has more waits for the sink like everybody */
    return !blocked && ep->dirty_first == NULL;
}

uint64_t endpoint_deadline(const struct endpoint *ep)
{
    if (ep->more)
        return 0;
    const struct timer *t = timerq_first(&ep->timers);
    uint64_t at_ns = admission_deadline(&ep->admission);
    if (ep->admission.first != NULL && refusing(ep) && can_reply(ep))
        return 0;
    if (ep->look_at_ns < at_ns)
        at_ns = ep->look_at_ns;
    return t != NULL && t->at_ns < at_ns ? t->at_ns : at_ns;
}

void endpoint_expire(struct endpoint *ep, uint64_t now_ns)
{
    ep->env.requests.now_ns = now_ns;
    struct timer *t;
    /* A connection may want to be called again at once (pacing); each gets its turn once. */
    for (uint64_t i = 0; i < ep->conn_count && (t = timerq_first(&ep->timers)) != NULL && t->at_ns <= now_ns; i++) {
        struct conn *c = (struct conn *)((char *)t - offsetof(struct conn, timer));
        conn_expire(c, now_ns);
        if (c->state != CONN_OPEN)
            admission_end(&ep->admission, c);
        timerq_set(&ep->timers, t, CLOCK_NEVER); /* set again when it is flushed, for which expiry marks it */
    }
}

void endpoint_drain(struct endpoint *ep, uint64_t now_ns)
{
    ep->env.requests.draining = true;
    admission_fini(&ep->admission); /* they find out when they try again */
    for (struct conn *c = ep->conns; c != NULL; c = c->next)
        conn_drain(c, now_ns);
}

void endpoint_stop(struct endpoint *ep, uint64_t now_ns)
{
    ep->env.requests.draining = true;
    for (struct conn *c = ep->conns; c != NULL; c = c->next) {
        c->now_ns = now_ns;
        conn_close(c, CONN_END_STOPPED, NGHTTP3_H3_NO_ERROR);
    }
}

void endpoint_each(const struct endpoint *ep, void (*visit)(void *ctx, const struct conn *conn), void *ctx)
{
    for (const struct conn *c = ep->conns; c != NULL; c = c->next)
        visit(ctx, c);
}

static uint64_t bytes_of(const void *block)
{
    return block != NULL ? hp_byte_pool_usable(block) : 0;
}

void endpoint_accounts(const struct endpoint *ep, struct endpoint_accounts *out)
{
    *out = (struct endpoint_accounts){
        .waiting = admission_account(&ep->admission),
        .tables = bytes_of(ep) + bytes_of(ep->env.tx) + bytes_of(ep->env.cids.bucket) + bytes_of(ep->timers.heap),
    };
    for (const struct conn *c = ep->conns; c != NULL; c = c->next) {
        uint64_t tls = conn_tls_account(c);
        out->tls += tls;
        out->connections += conn_account(c) - tls;
    }
}

bool endpoint_idle(const struct endpoint *ep)
{
    for (const struct conn *c = ep->conns; c != NULL; c = c->next)
        if (c->state != CONN_CLOSED)
            return false;
    return true;
}

void endpoint_set_wall(struct endpoint *ep, uint64_t wall_ns, uint64_t now_ns)
{
    ep->env.requests.wall_offset_ns = wall_ns - now_ns;
}

void endpoint_set_tls(struct endpoint *ep, struct tls_ctx *tls)
{
    tls_ctx_ref(tls);
    tls_ctx_unref(ep->env.tls);
    ep->env.tls = tls;
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static void configure(struct endpoint *ep, const struct endpoint_config *config)
{
    ep->max_connections = config->max_connections;
    ep->look_at_ns = CLOCK_NEVER;
    ep->data = config->pools->data;
    ep->env.heap = config->pools->heap;
    ep->env.pool = &config->pools->conn;
    ep->env.requests.data = config->pools->data;
    ep->env.requests.pool = &config->pools->request;
    ep->env.steering = config->steering;
    ep->env.random = config->random;
    ep->env.random_ctx = config->random_ctx;
    ep->env.tls = tls_ctx_ref(config->tls);
    ep->env.metrics = config->metrics;
    ep->env.max_streams = config->max_streams;
    ep->env.budget = config->budget;
    ep->env.connection_bytes_max = config->connection_bytes_max;
    ep->env.idle_timeout_ns = config->idle_timeout_ns;
    ep->env.handshake_timeout_ns = config->handshake_timeout_ns;
    ep->env.cc = config->cc;
    ep->env.wake = wake;
    ep->env.reset_secret = config->reset_secret;
    struct request_env *r = &ep->env.requests;
    r->ops = &h3_request_ops;
    r->handler = config->handler;
    r->server = config->server;
    r->metrics = config->metrics;
    r->max_header_bytes = config->max_header_bytes;
    r->max_header_fields = config->max_header_fields;
    r->max_body_bytes = config->max_body_bytes;
    r->start_ns = config->start_ns;
    r->wall_offset_ns = config->wall_ns - config->now_ns;
    r->now_ns = config->now_ns;
}

static int make_tables(struct endpoint *ep, struct hp_object_pool *cids)
{
    uint64_t key;
    ep->env.random(ep->env.random_ctx, &key, sizeof key);
    timerq_init(&ep->timers, ep->data);
    admission_init(&ep->admission, ep->data, budget_handshakes(ep->env.budget), budget_waiting(ep->env.budget));
    ep->env.tx = hp_byte_pool_get(ep->data, UDP_BUFFER_BYTES);
    if (ep->env.tx == NULL)
        return -1;
    return cid_table_init(&ep->env.cids, ep->data, cids, key, (uint32_t)ep->max_connections);
}

struct endpoint *endpoint_new(const struct endpoint_config *config)
{
    struct endpoint *ep = hp_byte_pool_get(config->pools->data, sizeof *ep);
    if (ep == NULL)
        return NULL;
    memset(ep, 0, sizeof *ep);
    configure(ep, config);
    if (make_tables(ep, &config->pools->cid) != 0) {
        endpoint_free(ep);
        return NULL;
    }
    return ep;
}

void endpoint_free(struct endpoint *ep)
{
    if (ep == NULL)
        return;
    while (ep->conns != NULL)
        drop_conn(ep, ep->conns);
    if (ep->env.cids.bucket != NULL)
        cid_table_fini(&ep->env.cids);
    admission_fini(&ep->admission);
    timerq_fini(&ep->timers);
    tls_ctx_unref(ep->env.tls);
    hp_byte_pool_put(ep->data, ep->env.tx);
    hp_byte_pool_put(ep->data, ep);
}

/* --- pools ----------------------------------------------------------------------------------------------------------
 */

int endpoint_pools_init(struct endpoint_pools *p, struct hp_pool_manager *manager)
{
    *p = (struct endpoint_pools){0};
    p->data = hp_byte_pool_new(manager, "data", 64, DATA_BLOCK_MAX, 0);
    /* ngtcp2 keeps traffic secrets, reset tokens and TLS messages in its connection's heap, among all else. */
    p->heap = hp_byte_pool_new_with(manager, "heap",
                                    &(struct hp_pool_options){.min = 512, .max = DATA_BLOCK_MAX, .secret = true});
    if (p->data == NULL || p->heap == NULL ||
        hp_object_pool_init(&p->conn, manager, "conn", sizeof(struct conn), CONNS_KEPT, NULL) != 0 ||
        hp_object_pool_init(&p->cid, manager, "cid", sizeof(struct cid_entry), CIDS_KEPT, NULL) != 0 ||
        hp_object_pool_init(&p->request, manager, "request", sizeof(struct http_request), REQUESTS_KEPT, NULL) != 0) {
        endpoint_pools_fini(p);
        return -1;
    }
    return 0;
}

void endpoint_pools_fini(struct endpoint_pools *p)
{
    hp_object_pool_fini(&p->request);
    hp_object_pool_fini(&p->cid);
    hp_object_pool_fini(&p->conn);
    hp_byte_pool_free(p->heap);
    hp_byte_pool_free(p->data);
    *p = (struct endpoint_pools){0};
}
