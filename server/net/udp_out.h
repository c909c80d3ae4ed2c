/* SPDX-License-Identifier: MIT
 *
 * The sending side of a socket with the one train that may be blocked: it is kept, and nothing more may be sent, until
 * the socket is writable again.
 */
#ifndef NET_UDP_OUT_H
#define NET_UDP_OUT_H

#include "net/udp.h"

#include <h3pool/buffer.h>

struct udp_out {
    struct udp_socket *socket;
    struct hp_byte_pool *pool;
    struct hp_buffer *held; /* what did not leave; NULL: nothing is blocked */
    struct udp_train train; /* its rest */
};

/* Sends a train, or keeps a copy of its rest and returns UDP_BLOCKED. Without memory for the copy the rest is lost, as
 * the network may lose it. Not while something is held. */
enum udp_result udp_out_send(struct udp_out *out, const struct udp_train *train);
/* Sends what is held, when the socket is writable. */
enum udp_result udp_out_resume(struct udp_out *out);
/* Drops what is held. */
void udp_out_fini(struct udp_out *out);

#endif
