/* SPDX-License-Identifier: MIT
 *
 * A worker: one thread with its event loop, its sockets, its endpoint, its pools. Workers share nothing but what their
 * configuration points to. The functions below are called by the main thread.
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "config.h"
#include "endpoint.h"

struct worker;

struct worker_config {
    struct hp_pool_manager *manager;
    struct udp_socket *sockets; /* |socket_count| of this worker, bound; the worker closes them */
    unsigned socket_count;
    struct budget *budget;
    int pressure_fd; /* pressure.h; the first worker's, -1 for the others; the worker closes it */
    bool memtrace;
    struct endpoint_config endpoint; /* but for pools, random and clocks, which are the worker's */
};

/* Starts a thread and waits until it serves. NULL if it can't; the sockets are closed then. */
struct worker *worker_start(const struct worker_config *config) __attribute__((warn_unused_result));
/* Commands, carried out by the worker's own thread soon after. */
void worker_drain(struct worker *w); /* finish what is in flight, then end */
void worker_stop(struct worker *w);  /* close everything and end */
void worker_set_tls(struct worker *w, struct tls_ctx *tls);
/* True once the thread is about to end; never blocks. */
bool worker_ended(const struct worker *w);
/* Waits for the thread's end. Its pools stay for the report, until worker_free. */
void worker_join(struct worker *w);
/* Returns the pools to the system. */
void worker_free(struct worker *w);

#endif
