/* SPDX-License-Identifier: MIT
 *
 * One HTTP/3 client connection without socket, clock or thread: the counterpart of server/conn.h, used by the load
 * generator and by the simulated-time tests.
 *
 *   client_init -> CLIENT_HANDSHAKE -> CLIENT_OPEN -> CLIENT_CLOSING -> CLIENT_DEAD -> client_fini
 */
#ifndef H3LOAD_CLIENT_H
#define H3LOAD_CLIENT_H

#include "client_tls.h"
#include "quic_write.h"

#include <h3pool/heap.h>

enum client_state {
    CLIENT_HANDSHAKE,
    CLIENT_OPEN,    /* requests can be submitted */
    CLIENT_CLOSING, /* CONNECTION_CLOSE leaves with the next flush */
    CLIENT_DEAD,
};

enum client_end {
    CLIENT_END_NONE,
    CLIENT_END_DONE,      /* closed by us */
    CLIENT_END_PEER,      /* closed by the server */
    CLIENT_END_REFUSED,   /* by the server, with CONNECTION_REFUSED, RFC 9000 section 20.1 */
    CLIENT_END_IDLE,      /* nothing came for the idle timeout */
    CLIENT_END_HANDSHAKE, /* the handshake took too long */
    CLIENT_END_TLS,       /* the certificate was not accepted, or another alert */
    CLIENT_END_QUIC,      /* transport error */
    CLIENT_END_H3,        /* connection error of HTTP/3 */
    CLIENT_END_NO_MEMORY,
};
const char *client_end_str(enum client_end end);

struct client;

/* One request and its response. Belongs to the caller, and must stay until on_done. */
struct client_request {
    const uint8_t *body; /* content to send, until on_done */
    size_t body_len;
    void *ctx;

    /* filled in */
    int64_t stream_id;
    unsigned status; /* 0: no response */
    bool complete;   /* the whole response has arrived */
    uint64_t bytes;  /* of its content so far */
    uint64_t header_bytes;
    uint64_t started_ns, ended_ns;
    struct client_request *next, *prev;
};

struct client_ops {
    /* Requests can be submitted; |client->ctx| is the caller's. */
    void (*on_open)(struct client *client);
    /* Content at offset |r->bytes| - |len|. */
    void (*on_data)(struct client *client, struct client_request *r, const uint8_t *data, size_t len);
    /* The stream is closed: |r->complete| tells whether the response is whole. Called for each submitted request. */
    void (*on_done)(struct client *client, struct client_request *r);
    /* The server allows more streams, after a submit was blocked. */
    void (*on_streams)(struct client *client);
};

/* What clients of one thread share. */
struct client_env {
    struct client_tls *tls;
    struct hp_byte_pool *heap;
    uint8_t *tx; /* UDP_BUFFER_BYTES */
    const struct client_ops *ops;
    void (*random)(void *ctx, void *bytes, size_t len);
    void *random_ctx;
    uint64_t idle_timeout_ns, handshake_timeout_ns;
    uint64_t stream_window, conn_window; /* initial flow-control windows */
};

struct client {
    struct quic_writer writer; /* first: ngtcp2's user data */
    const struct client_env *env;
    void *ctx;
    enum client_state state;
    enum client_end end;
    ngtcp2_conn *quic;
    ngtcp2_mem mem;
    ngtcp2_crypto_conn_ref ref;
    struct tls_session tls;
    struct h3 h3; /* nghttp3's connection and its role-neutral calls; no server request is in it */
    bool h3_open;
    struct hp_heap heap;
    struct client_request *requests;
    ngtcp2_ccerr error;
    uint64_t now_ns, started_ns, opened_ns;
};

/* Begins a connection to |host| over |path|. Returns 0, or -1 without memory. The first packet leaves with the first
 * flush. */
int client_init(struct client *c, const struct client_env *env, void *ctx, const char *host,
                const struct net_path *path, uint64_t now_ns) __attribute__((warn_unused_result));
/* Ends it silently; requests that are not done are reported incomplete. */
void client_fini(struct client *c);

/* Sends a request with the given fields, whose texts must stay until on_done. Returns 0, 1 if the server allows no more
 * streams for now, or -1 if the connection can't. Only when CLIENT_OPEN. */
int client_submit(struct client *c, struct client_request *r, const nghttp3_nv *fields, size_t count)
    __attribute__((warn_unused_result));
/* Closes with H3_NO_ERROR. */
void client_close(struct client *c);

void client_feed(struct client *c, const struct datagram *d, uint64_t now_ns);
/* Results as of quic_write, never negative. */
int client_flush(struct client *c, const struct sink *sink, uint64_t now_ns);
uint64_t client_deadline(const struct client *c);
void client_expire(struct client *c, uint64_t now_ns);

#endif
