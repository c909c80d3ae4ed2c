/* SPDX-License-Identifier: MIT
 *
 * The machine of one worker: datagrams and a time go in, datagrams and a deadline come out. No socket, no clock, no
 * thread; its user brings them (worker.c), or plays them (tests/sim).
 *
 * The five verbs: feed, flush, deadline, expire, drain.
 */
#ifndef SERVER_ENDPOINT_H
#define SERVER_ENDPOINT_H

#include "conn.h"

/* Pools of one worker. They outlive the endpoint, so that a report shows what it left. */
struct endpoint_pools {
    struct hp_byte_pool *data; /* buffers, arenas, tables */
    struct hp_byte_pool *heap; /* chunks of the connections' heaps */
    struct hp_object_pool conn, cid, request;
};
/* Makes pools of the calling thread; |p| must not move. Returns 0, or -1 without memory. */
int endpoint_pools_init(struct endpoint_pools *p, struct hp_pool_manager *manager) __attribute__((warn_unused_result));
/* Ends them; no endpoint may use them any more. */
void endpoint_pools_fini(struct endpoint_pools *p);

struct endpoint_config {
    struct endpoint_pools *pools; /* of the calling thread */
    struct tls_ctx *tls;          /* the endpoint takes a reference of its own */
    struct cid_steering steering;
    cid_random random;
    void *random_ctx;
    http_handler handler;
    const struct http_server *server;
    struct metrics *metrics;
    uint64_t now_ns, wall_ns;    /* both clocks, now */
    uint64_t start_ns;           /* when the server was started */
    const uint8_t *reset_secret; /* CONN_RESET_SECRET_LEN bytes, which outlive the endpoint; the same for all workers */
    /* limits, see INTERFACE: --max-connections (of this worker) … */
    uint64_t max_connections, max_streams, max_header_bytes, max_header_fields, max_body_bytes;
    uint64_t connection_bytes_max; /* 0: none */
    uint64_t idle_timeout_ns, handshake_timeout_ns;
    const struct budget *budget; /* NULL: none */
    ngtcp2_cc_algo cc;
};

struct endpoint;

/* Makes an endpoint of the calling thread. NULL without memory. */
struct endpoint *endpoint_new(const struct endpoint_config *config) __attribute__((warn_unused_result));
/* Ends it with all its connections, silently. NULL is legal. */
void endpoint_free(struct endpoint *ep);

/* Takes in one QUIC datagram. */
void endpoint_feed(struct endpoint *ep, const struct datagram *d, uint64_t now_ns);
/* Writes what connections have to send into |sink|. Returns true if it is done, false if the sink takes no more (call
 * again when it does) or some connection has more than its share of this turn (the deadline is then now). */
bool endpoint_flush(struct endpoint *ep, const struct sink *sink, uint64_t now_ns);
/* When endpoint_expire wants to be called; CLOCK_NEVER. */
uint64_t endpoint_deadline(const struct endpoint *ep);
void endpoint_expire(struct endpoint *ep, uint64_t now_ns);
/* Begins graceful shutdown of all connections; new ones are refused. */
void endpoint_drain(struct endpoint *ep, uint64_t now_ns);

/* What the endpoint has, and for whom: bytes of live blocks, whose sum without |tls| is what is live in its pools. */
struct endpoint_accounts {
    uint64_t connections; /* the connections' accounts without the fixed sums for OpenSSL */
    uint64_t tls;         /* these sums */
    uint64_t waiting;     /* datagrams of clients whose handshake has not begun */
    uint64_t tables;      /* the endpoint, its tables of IDs and of timers, the buffer that it sends from */
};
/* Adds them up. Costs a walk over all connections, their IDs and their requests: for tests and reports. */
void endpoint_accounts(const struct endpoint *ep, struct endpoint_accounts *out);

/* Calls |visit| for each connection, for tests and reports. It must not change them. */
void endpoint_each(const struct endpoint *ep, void (*visit)(void *ctx, const struct conn *conn), void *ctx);
/* True when no connection is left but those in their closing period. */
bool endpoint_idle(const struct endpoint *ep);
/* Closes every connection now; the packets leave with the next flush. */
void endpoint_stop(struct endpoint *ep, uint64_t now_ns);
/* Sets the wall clock anew; it may be stepped, and the monotonic clock stands still in suspend. */
void endpoint_set_wall(struct endpoint *ep, uint64_t wall_ns, uint64_t now_ns);
/* New connections use |tls| from now on; the endpoint takes a reference. */
void endpoint_set_tls(struct endpoint *ep, struct tls_ctx *tls);

#endif
