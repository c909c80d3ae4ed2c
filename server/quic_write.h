/* SPDX-License-Identifier: MIT
 *
 * Writing packets of a QUIC connection that carries HTTP/3: the one place in which ngtcp2 asks nghttp3 for stream data.
 * Server connections and the load generator's client share it.
 */
#ifndef SERVER_QUIC_WRITE_H
#define SERVER_QUIC_WRITE_H

#include "h3.h"
#include "net/udp.h"

#include <h3pool/heap.h>
#include <ngtcp2/ngtcp2.h>

/* One QUIC datagram. */
struct datagram {
    const uint8_t *data;
    size_t len;
    struct net_path path;
    uint8_t ecn;
};

/* Where packets go. |send| returns 0 when the train is gone or taken over, 1 when it was taken over and nothing more
 * can be taken until the writer is told. */
struct sink {
    int (*send)(void *ctx, const struct udp_train *train);
    void *ctx;
};

/* The user data of the ngtcp2_conn must begin with this. */
struct quic_writer {
    ngtcp2_conn *quic;
    struct h3 *h3;              /* NULL until HTTP/3 is open */
    const struct hp_heap *heap; /* of the connection: if an allocation fails, writing stops */
    uint8_t *tx;                /* UDP_BUFFER_BYTES of room for one train */
    unsigned trains_max;
    uint64_t in_flight_max; /* bytes without acknowledgement beyond which no stream data is sent; 0: no such limit */
    bool h3_failed;         /* out: a negative result is h3->error's */
};

enum { QUIC_WRITE_DONE = 0, QUIC_WRITE_BLOCKED = 1, QUIC_WRITE_MORE = 2 };
/* Writes what there is to write, up to |trains_max| trains. Returns QUIC_WRITE_DONE; QUIC_WRITE_BLOCKED when the sink
 * takes no more; QUIC_WRITE_MORE when |trains_max| was reached; or ngtcp2's negative error. */
int quic_write(struct quic_writer *w, const struct sink *sink, uint64_t now_ns);

/* Paths of ngtcp2 and ours. The first refers to |path|, the second copies. */
ngtcp2_path quic_path(const struct net_path *path);
struct net_path quic_net_path(const ngtcp2_path *path);

#endif
