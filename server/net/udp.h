/* SPDX-License-Identifier: MIT
 *
 * The socket calls of the QUIC path: batches in (recvmmsg, UDP_GRO), trains of equal packets out (UDP_SEGMENT), ECN
 * and the local address both ways. What the kernel lacks is found out at run time and done without.
 */
#ifndef NET_UDP_H
#define NET_UDP_H

#include "net/addr.h"

#include <h3pool/byte_pool.h>

#define UDP_BATCH 16u
/* Room for one receive, or one train: the largest UDP payload fits. */
#define UDP_BUFFER_BYTES 65536u
/* Most packets that the kernel accepts in one train. */
#define UDP_TRAIN_PACKETS 64u
/* Longest train, with the IP and UDP headers below 64 KiB. */
#define UDP_TRAIN_BYTES 65000u

/* One received UDP payload, valid until the next udp_recv. */
struct udp_datagram {
    const uint8_t *data;
    size_t len;
    size_t segment; /* with GRO: length of each packet in data but the last; else len */
    struct net_path path;
    uint8_t ecn; /* RFC 3168 codepoint */
};

/* Packets of one path to send: each |segment| bytes long, but the last, which may be shorter. */
struct udp_train {
    const uint8_t *data;
    size_t len;
    size_t segment;
    struct net_path path;
    uint8_t ecn;
};

/* Room for a batch, shared by the sockets of a thread. */
struct udp_buffers {
    struct hp_byte_pool *pool;
    uint8_t *buffer[UDP_BATCH]; /* taken from |pool| at the first receive */
    struct udp_datagram datagram[UDP_BATCH];
};

struct udp_socket {
    int fd;
    struct addr local; /* as bound: the port is known, the address may be a wildcard */
    bool gso;
    uint64_t receive_buffer_bytes; /* as the kernel counts */
};

struct udp_options {
    bool reuse_port;               /* one of a group of sockets that share the address */
    uint64_t receive_buffer_bytes; /* wanted; 0 keeps the system's */
    uint64_t send_buffer_bytes;
};

enum udp_result {
    UDP_OK = 0,
    UDP_BLOCKED = -1, /* the socket is full: wait until it is writable */
    UDP_FATAL = -2,   /* the socket is unusable */
};
const char *udp_result_str(enum udp_result result);

/* Opens a non-blocking socket bound to |local|. Returns 0, or -1 with errno. */
int udp_open(struct udp_socket *socket, const struct addr *local, const struct udp_options *options)
    __attribute__((warn_unused_result));
void udp_close(struct udp_socket *socket);
/* Ties it to one peer: only what that peer sends is received, and |local| becomes the address that the kernel chose.
 * Returns 0, or -1 with errno. */
int udp_connect(struct udp_socket *socket, const struct addr *peer) __attribute__((warn_unused_result));

/* Makes the kernel choose the socket of this one's SO_REUSEPORT group (numbered in the order in which they were
 * bound) by a keyed hash of the destination connection ID: cid_worker() in program form. Returns 0, or -1 with errno.
 */
int udp_steer(struct udp_socket *socket, uint32_t key, uint32_t count) __attribute__((warn_unused_result));

/* Receives up to UDP_BATCH payloads into |buffers->datagram|. Returns their number, 0 when nothing waits or there is no
 * memory for them, or UDP_FATAL. Errors that a peer or a router can cause (ICMP) are skipped. */
int udp_recv(struct udp_socket *socket, struct udp_buffers *buffers);
/* Gives the buffers back; before that, a zeroed struct with a pool is ready for use. */
void udp_buffers_fini(struct udp_buffers *buffers);

/* Sends a train. On UDP_BLOCKED |*sent| bytes are gone (a multiple of the segment size) and the rest is the caller's
 * to send later. A packet that the kernel refuses for its own reasons (too big, unreachable, filtered) counts as sent:
 * to QUIC it is lost. */
enum udp_result udp_send(struct udp_socket *socket, const struct udp_train *train, size_t *sent);

#endif
