/* SPDX-License-Identifier: MIT
 *
 * A packet is filled from as many streams as fit, and packets of equal size are aggregated into trains that leave in
 * one system call. ngtcp2 copies stream data into packets, so a train needs no more than the one buffer.
 */
#include "quic_write.h"

#include <string.h>

ngtcp2_path quic_path(const struct net_path *p)
{
    return (ngtcp2_path){
        .local = {.addr = (ngtcp2_sockaddr *)(uintptr_t)&p->local.sa, .addrlen = p->local.len},
        .remote = {.addr = (ngtcp2_sockaddr *)(uintptr_t)&p->remote.sa, .addrlen = p->remote.len},
    };
}

struct net_path quic_net_path(const ngtcp2_path *p)
{
    struct net_path out = {.local.len = p->local.addrlen, .remote.len = p->remote.addrlen};
    memcpy(&out.local.in6, p->local.addr, p->local.addrlen);
    memcpy(&out.remote.in6, p->remote.addr, p->remote.addrlen);
    return out;
}

/* What became of one call of ngtcp2_conn_writev_stream. */
enum wrote { WROTE_PACKET, WROTE_AGAIN, WROTE_ERROR };

static enum wrote account_write(struct quic_writer *w, int64_t stream_id, ngtcp2_ssize rv, ngtcp2_ssize taken)
{
    switch (rv) {
    case NGTCP2_ERR_STREAM_DATA_BLOCKED:
        h3_block(w->h3, stream_id);
        return WROTE_AGAIN;
    case NGTCP2_ERR_STREAM_SHUT_WR:
    case NGTCP2_ERR_STREAM_NOT_FOUND:
        h3_shut_write(w->h3, stream_id);
        return WROTE_AGAIN;
    default:
        break;
    }
    if (taken >= 0 && h3_written(w->h3, stream_id, (size_t)taken) != 0) {
        w->h3_failed = true;
        return WROTE_ERROR;
    }
    if (rv == NGTCP2_ERR_WRITE_MORE)
        return WROTE_AGAIN;
    return rv < 0 ? WROTE_ERROR : WROTE_PACKET;
}

static uint64_t in_flight(ngtcp2_conn *quic)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(quic, &info);
    return info.bytes_in_flight;
}

static ngtcp2_ssize write_packet(ngtcp2_conn *quic, ngtcp2_path *path, ngtcp2_pkt_info *info, uint8_t *to, size_t cap,
                                 ngtcp2_tstamp now, void *ctx)
{
    struct quic_writer *w = ctx;
    nghttp3_vec vec[16];
    bool full = w->in_flight_max != 0 && in_flight(quic) >= w->in_flight_max;
    for (;;) {
        int64_t stream_id = -1;
        bool fin = false;
        ssize_t count = 0;
        if (w->h3 != NULL && !full && ngtcp2_conn_get_max_data_left(quic) != 0)
            count = h3_writev(w->h3, &stream_id, &fin, vec, sizeof vec / sizeof vec[0]);
        if (count < 0) {
            w->h3_failed = true;
            return NGTCP2_ERR_CALLBACK_FAILURE;
        }
        uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
        if (stream_id >= 0)
            flags |= NGTCP2_WRITE_STREAM_FLAG_PADDING; /* a packet that more data follows is as long as the others */
        if (fin)
            flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
        ngtcp2_ssize taken = -1;
        ngtcp2_ssize rv = ngtcp2_conn_writev_stream(quic, path, info, to, cap, &taken, flags, stream_id,
                                                    (const ngtcp2_vec *)vec, (size_t)count, now);
        switch (account_write(w, stream_id, rv, taken)) {
        case WROTE_PACKET:
            return rv;
        case WROTE_ERROR:
            return rv < 0 ? rv : NGTCP2_ERR_CALLBACK_FAILURE;
        case WROTE_AGAIN:
            break;
        }
    }
}

int quic_write(struct quic_writer *w, const struct sink *sink, uint64_t now_ns)
{
    ngtcp2_path_storage storage;
    ngtcp2_path_storage_zero(&storage);
    int result = QUIC_WRITE_MORE;
    for (unsigned i = 0; i < w->trains_max; i++) {
        ngtcp2_pkt_info info = {0};
        size_t quantum = ngtcp2_conn_get_send_quantum(w->quic), segment = 0;
        size_t cap = quantum < UDP_TRAIN_BYTES ? quantum : UDP_TRAIN_BYTES;
        ngtcp2_ssize n = ngtcp2_conn_write_aggregate_pkt2(w->quic, &storage.path, &info, w->tx, cap, &segment,
                                                          write_packet, UDP_TRAIN_PACKETS, now_ns);
        if (n < 0)
            return (int)n;
        if (hp_heap_failed(w->heap))
            return NGTCP2_ERR_NOMEM;
        if (n == 0) {
            result = QUIC_WRITE_DONE;
            break;
        }
        struct udp_train train = {
            .data = w->tx,
            .len = (size_t)n,
            .segment = segment,
            .path = quic_net_path(&storage.path),
            .ecn = info.ecn,
        };
        if (sink->send(sink->ctx, &train) != 0) {
            result = QUIC_WRITE_BLOCKED;
            break;
        }
    }
    ngtcp2_conn_update_pkt_tx_time(w->quic, now_ns);
    return result;
}
