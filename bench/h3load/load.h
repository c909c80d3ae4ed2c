/* SPDX-License-Identifier: MIT
 *
 * A thread of load: its share of the clients in one event loop, closed loop (a client keeps -m requests in flight and
 * starts the next when one is done). Latency is measured from the moment at which a request is handed to QUIC to that
 * at which its last byte has been read.
 *
 * Threads share nothing while they run; results are added up afterwards. After warm-up nothing is allocated: requests
 * and clients lie in arrays, and what the libraries allocate comes from pools.
 */
#ifndef H3LOAD_LOAD_H
#define H3LOAD_LOAD_H

#include "client.h"
#include "net/addr.h"

#include <hdr/hdr_histogram.h>
#include <stdatomic.h>

#define LOAD_URLS_MAX 64u
#define LOAD_HEADERS_MAX 32u
#define LOAD_FIELDS_MAX (LOAD_HEADERS_MAX + 5u)

/* One URL's field section, ready to be sent. Texts live as long as the configuration. */
struct load_target {
    nghttp3_nv fields[LOAD_FIELDS_MAX];
    size_t field_count;
    uint64_t verify_bytes; /* with --verify: the length that the content must have */
};

struct load_config {
    const char *host; /* for SNI and verification */
    struct addr server;
    struct load_target target[LOAD_URLS_MAX];
    size_t target_count;
    uint64_t requests; /* in all; 0: for |duration_ns| */
    uint64_t clients, streams, threads;
    uint64_t duration_ns;
    /* Not 0: each client makes its share of the requests, then stays, idle, for so long after the last one of all. */
    uint64_t hold_ns;
    uint64_t idle_timeout_ns, handshake_timeout_ns;
    const uint8_t *body; /* NULL: no content */
    size_t body_len;
    bool churn;  /* a new connection for each request */
    bool verify; /* compare each byte of /data/SIZE */
    struct client_tls *tls;
    struct hp_pool_manager *manager;
    const uint8_t *pattern; /* HTTP_PATTERN_BYTES */
};

/* What can be wrong with a request that was started. */
enum load_error {
    LOAD_ERROR_STATUS,     /* 4xx or 5xx */
    LOAD_ERROR_RESET,      /* the stream ended before the response did */
    LOAD_ERROR_CONTENT,    /* --verify found other bytes or another length */
    LOAD_ERROR_CONNECTION, /* the connection ended first; see connection ends for why */
    LOAD_ERRORS,
};
const char *load_error_str(enum load_error error);

#define LOAD_ENDS (CLIENT_END_NO_MEMORY + 1)

struct load_result {
    uint64_t started, done, ok, failed;
    uint64_t errors[LOAD_ERRORS];
    uint64_t status[6]; /* by hundreds; 0: none */
    uint64_t bytes_headers, bytes_data;
    uint64_t opened, connect_failed, ends[LOAD_ENDS];
    uint64_t cpu_ns;                         /* of the thread */
    uint64_t wall_ns;                        /* from its first packet to its last */
    struct hdr_histogram *latency, *connect; /* nanoseconds */
};

struct load_thread;

/* Starts thread |index| of |config->threads|. NULL with a reason on stderr. The functions below are for the thread that
 * calls this one. */
struct load_thread *load_thread_start(const struct load_config *config, unsigned index);
/* Requests done so far. */
uint64_t load_thread_done(const struct load_thread *t);
bool load_thread_ended(const struct load_thread *t);
/* Makes it end soon: no new requests, connections are closed. */
void load_thread_stop(struct load_thread *t);
/* Waits for the end, adds the result to |sum| and frees the thread. */
void load_thread_join(struct load_thread *t, struct load_result *sum);

/* Histograms of 1 us to an hour with three digits. Returns 0, or -1 without memory. */
int load_result_init(struct load_result *r);
void load_result_fini(struct load_result *r);

#endif
