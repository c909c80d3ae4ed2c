/* SPDX-License-Identifier: MIT
 *
 * One QUIC connection (RFC 9000) by ngtcp2, with its TLS session, its HTTP/3 layer, its heap, its IDs.
 *
 *            conn_accept            error, timeout, drained         conn_flush sends CONNECTION_CLOSE
 *   (Initial) ---------> CONN_OPEN -------------------> CONN_FAILED --------------------------> CONN_CLOSED
 *                           | peer closed, dropped,                                                  | 3 PTO
 *                           v heap failed                                                            v
 *                        CONN_DEAD <-----------------------------------------------------------------+
 *
 * From CONN_CLOSED on nothing is left but the packet that is repeated (RFC 9000 section 10.2.1) and the IDs.
 */
#ifndef SERVER_CONN_H
#define SERVER_CONN_H

#include "budget.h"
#include "cid.h"
#include "h3.h"
#include "metrics.h"
#include "net/addr.h"
#include "net/udp.h"
#include "quic_write.h"
#include "timerq.h"
#include "tls.h"

#include <h3pool/heap.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

enum conn_state {
    CONN_OPEN,   /* handshake or established */
    CONN_FAILED, /* decided to close; CONNECTION_CLOSE is not sent yet */
    CONN_CLOSED, /* closing period: answers packets with CONNECTION_CLOSE */
    CONN_DEAD,   /* to be freed by the endpoint, once it holds no other pointer to it */
};

enum conn_end {
    CONN_END_NONE,
    CONN_END_PEER,       /* the client sent CONNECTION_CLOSE */
    CONN_END_IDLE,       /* idle timeout */
    CONN_END_HANDSHAKE,  /* handshake timeout or failure */
    CONN_END_DROPPED,    /* ngtcp2 asked to drop it silently */
    CONN_END_QUIC_ERROR, /* transport error found by ngtcp2 */
    CONN_END_H3_ERROR,   /* connection error of HTTP/3 */
    CONN_END_DRAINED,    /* graceful shutdown completed */
    CONN_END_STOPPED,    /* the server stops at once */
    CONN_END_NO_MEMORY,  /* an allocation failed inside a library */
    CONN_END_TOO_LARGE,  /* its account is beyond --connection-memory-limit */
};
const char *conn_end_str(enum conn_end end);

/* Stateless reset tokens are made with a secret of so many bytes, RFC 9000 section 10.3.2. */
#define CONN_RESET_SECRET_LEN 32u

/* For so long a connection that is sent away has been quiet: one that has just come still brings its first request. */
#define CONN_QUIET_NS NS_PER_S

/* What connections of one worker share. */
struct conn_env {
    struct request_env requests;
    struct cid_table cids;
    struct cid_steering steering;
    cid_random random;
    void *random_ctx;
    struct tls_ctx *tls;
    struct hp_byte_pool *heap;   /* of all connections' heaps */
    struct hp_object_pool *pool; /* of struct conn */
    struct metrics *metrics;
    uint8_t *tx;                 /* UDP_BUFFER_BYTES, one train at a time */
    const struct budget *budget; /* NULL: none */
    uint64_t connections;        /* of this worker, with those that wait to begin */
    uint64_t max_streams, idle_timeout_ns, handshake_timeout_ns;
    uint64_t connection_bytes_max; /* --connection-memory-limit */
    ngtcp2_cc_algo cc;
    const uint8_t *reset_secret;                           /* CONN_RESET_SECRET_LEN bytes */
    void (*wake)(struct conn_env *env, struct conn *conn); /* the connection has something to send */
};

struct conn {
    struct quic_writer writer; /* first: ngtcp2's user data */
    struct conn_env *env;
    enum conn_state state;
    enum conn_end end;
    struct timer timer;
    struct conn *next, *prev; /* all of the endpoint */
    struct conn *next_dirty;
    bool dirty;
    bool young, half_open; /* these belong to admission.c */
    struct conn *younger, *older;
    uint64_t begun_ns;

    ngtcp2_conn *quic;
    ngtcp2_mem mem;
    ngtcp2_crypto_conn_ref ref;
    struct tls_session tls;
    struct h3 h3;
    bool h3_open, handshake_done;
    uint32_t streams_owed; /* closed, for which the client has not got new credit yet */
    uint64_t streams_max;  /* that the client may have at a time */
    struct hp_heap heap;
    struct cid_entry *cids;
    ngtcp2_ccerr error;
    uint64_t now_ns;

    enum { DRAIN_NO, DRAIN_WANTED, DRAIN_NOTICED, DRAIN_SHUTDOWN } drain;
    uint64_t drain_ns; /* when to take the next step */
    bool sent_away;    /* by conn_drain_idle */

    struct hp_buffer *close_packet;
    struct net_path close_path;
    uint64_t close_deadline_ns;
    uint32_t close_received; /* packets in the closing period */
    bool close_repeat;
};

/* Begins a connection for a client's first Initial, which is not fed yet. NULL without memory. */
struct conn *conn_accept(struct conn_env *env, const ngtcp2_pkt_hd *hd, const struct datagram *d, uint64_t now_ns)
    __attribute__((warn_unused_result));
/* Ends it at once, whatever its state, silently. */
void conn_free(struct conn *conn);

void conn_feed(struct conn *conn, const struct datagram *d, uint64_t now_ns);
/* When conn_expire wants to be called; CLOCK_NEVER. */
uint64_t conn_deadline(const struct conn *conn);
void conn_expire(struct conn *conn, uint64_t now_ns);
/* Writes what there is to write. Returns 0 when done, 1 when the sink takes no more, 2 when this turn's share is used
 * up and there may be more. */
int conn_flush(struct conn *conn, const struct sink *sink, uint64_t now_ns);
/* Begins graceful shutdown; the connection ends by itself when its requests are done. */
void conn_drain(struct conn *conn, uint64_t now_ns);
/* Begins it for a connection whose handshake is complete, that has no request in flight and that has neither received
 * nor sent anything for CONN_QUIET_NS; returns whether it did. */
bool conn_drain_idle(struct conn *conn, uint64_t now_ns);
/* The connection's account: bytes of the pools' blocks that the libraries and we hold for it, and a fixed sum for what
 * OpenSSL holds. Without the latter the accounts of all connections and what is held for none of them are the live
 * bytes of the endpoint's pools. Costs a walk over the connection's IDs and its requests in flight. */
uint64_t conn_account(const struct conn *conn);
/* The fixed sum in it: OpenSSL's hooks do not tell for whom it allocates. */
uint64_t conn_tls_account(const struct conn *conn);
/* Closes with a code of HTTP/3 (0x100 is H3_NO_ERROR); the packet leaves with the next flush. */
void conn_close(struct conn *conn, enum conn_end end, uint64_t h3_code);

/* --- between conn.c and conn_quic.c ---------------------------------------------------------------------------------
 */

extern const ngtcp2_callbacks conn_callbacks;
void conn_wake(struct conn *conn);

#endif
