/* SPDX-License-Identifier: MIT
 *
 * Simulated time: one endpoint and its clients in one process and one thread, joined by a network of which loss, delay
 * and black-outs are set. Everything random comes from the test's seed but for TLS's own keys.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "bench/h3load/client.h"
#include "endpoint.h"
#include "net/clock.h"

#define SIM_CLIENTS_MAX 64u
#define SIM_REQUESTS_MAX 128u
#define SIM_FIELDS_MAX 1100u

struct sim_packet {
    struct sim_packet *next;
    uint64_t at_ns;
    bool to_server;
    struct net_path path; /* as the receiver sees it */
    uint8_t ecn;
    size_t len;
    uint8_t data[1500];
};

/* A client and what it wants: |wanted| requests of |path|, |parallel| at a time. */
struct sim_client {
    struct sim *sim;
    struct client client;
    struct net_path net;
    const char *path, *method;
    const uint8_t *upload;
    size_t upload_len;
    unsigned wanted, parallel;
    bool check_pattern; /* the content must be that of /data/SIZE */
    bool vanished;      /* its packets go nowhere, and none reach it */
    bool mute;          /* its packets go nowhere */
    bool open;
    unsigned extra_fields; /* of 100 bytes each, in its requests */

    unsigned submitted, done_count, complete, failed;
    unsigned last_status;
    uint64_t bytes;
    uint64_t wrong_bytes;
    char last_body[256]; /* the first bytes of the last response */
    struct client_request request[SIM_REQUESTS_MAX];
    bool busy[SIM_REQUESTS_MAX];
};

struct sim {
    struct hp_pool_manager *manager; /* of the server's pools */
    struct budget budget;
    struct endpoint_pools pools;
    struct endpoint *endpoint;
    struct metrics metrics;
    struct http_server http;
    uint8_t *pattern;
    struct tls_ctx *tls;
    struct client_env client_env;
    struct hp_pool_manager *client_manager; /* the server's limit is not the clients' */
    struct hp_byte_pool *client_heap;
    uint8_t tx[UDP_BUFFER_BYTES];
    uint64_t now_ns;
    struct sim_packet *packets; /* sorted by time */
    struct sim_client *client[SIM_CLIENTS_MAX];
    unsigned client_count;

    /* the network */
    unsigned loss_percent;
    uint64_t delay_ns, jitter_ns;
    uint64_t dark_from_ns, dark_until_ns;
    uint64_t lost, delivered;
    uint8_t first[1500]; /* the first packet to the server */
    size_t first_len;
    uint8_t last_to_client[64]; /* first bytes of the last packet to an unknown client */
    size_t last_to_client_len;
};

/* Settings of the endpoint that a test may change before sim_start. */
struct sim_settings {
    uint64_t max_connections, max_streams, max_body_bytes;
    uint64_t handshake_timeout_ns; /* 0: 10 s */
    struct cid_steering steering;
    uint64_t memory_limit, connection_bytes_max; /* 0: none */
    unsigned workers;                            /* that share the limit; 0: 1 */
};

/* Makes a world; |settings| may be NULL. The pools of the libraries' bridge are made once for the process. */
struct sim *sim_new(const struct sim_settings *settings);
/* Ends it, and checks that nothing is live in any of its pools. */
void sim_free(struct sim *sim);

/* A client that has not connected yet, to be filled in; sim_connect starts it. */
struct sim_client *sim_client(struct sim *sim, const char *path, unsigned wanted, unsigned parallel);
void sim_connect(struct sim_client *c);
/* Ends a client silently and lets its place be used by nobody. */
void sim_forget(struct sim_client *c);

/* Runs until |done| says so, or |for_ns| of simulated time have passed; returns whether |done| said so. */
bool sim_run(struct sim *sim, bool (*done)(struct sim *sim), uint64_t for_ns);
/* Ready-made conditions. */
bool sim_all_done(struct sim *sim); /* every client's requests */
bool sim_no_conns(struct sim *sim); /* the endpoint has no connection */
bool sim_never(struct sim *sim);

/* Carries a packet that was written outside the client's own flush. */
void sim_carry(struct sim_client *c, const uint8_t *packet, size_t len);
/* Another TLS context like the server's. */
struct tls_ctx *sim_server_tls(void);

/* Feeds bytes to the endpoint as a datagram from a client that does not exist. */
void sim_inject(struct sim *sim, const uint8_t *data, size_t len);

#endif
