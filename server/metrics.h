/* SPDX-License-Identifier: MIT
 *
 * The server's counters: declared here once; struct, JSON and log lines come from the list.
 *
 * Each worker writes its own struct with plain moves; anybody may read all of them and add up.
 */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include <h3pool/builder.h>
#include <h3pool/types.h>

#define METRICS(X)                                                                                                     \
    X(connections_accepted, "connections that a valid Initial began")                                                  \
    X(connections_active, "connections now, handshakes included")                                                      \
    X(connections_refused, "Initials without a connection: limit reached, draining, or no memory")                     \
    X(initials_waited, "Initial datagrams that waited until the handshakes before theirs had gone on")                 \
    X(connections_too_large, "connections closed because their account exceeded --connection-memory-limit")            \
    X(connections_sent_away, "idle connections told to go away for want of memory")                                    \
    X(requests_shed, "requests answered with 503 for want of memory")                                                  \
    X(handshakes_completed, "handshakes that completed")                                                               \
    X(requests, "requests whose field section was complete")                                                           \
    X(requests_active, "requests now")                                                                                 \
    X(responses_4xx, "responses with a status of 400 to 499")                                                          \
    X(responses_5xx, "responses with a status of 500 to 599")                                                          \
    X(streams_reset, "request streams that the client reset or stopped")                                               \
    X(datagrams_received, "UDP payloads, trains split")                                                                \
    X(datagrams_ignored, "of these: for no connection, malformed, or too short")                                       \
    X(bytes_received, "bytes of UDP payloads received")                                                                \
    X(bytes_sent, "bytes of UDP payloads sent")                                                                        \
    X(sends, "trains of packets sent")                                                                                 \
    X(sends_blocked, "sends that found the socket full")                                                               \
    X(version_negotiations, "Version Negotiation packets sent")

struct metrics {
#define X(name, text) _Atomic uint64_t name;
    METRICS(X)
#undef X
};

#define METRIC_ADD(metrics, name, n) HP_ADD((metrics)->name, (uint64_t)(n))
#define METRIC_SUB(metrics, name, n) HP_SUB((metrics)->name, (uint64_t)(n))

/* The metrics of all workers. */
struct metrics_set {
    struct metrics *const *of_worker;
    unsigned count;
};

/* Appends "name":value for each counter, added up over the workers, separated by commas. */
void metrics_json(const struct metrics_set *set, struct hp_builder *out);

#endif
