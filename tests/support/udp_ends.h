/* SPDX-License-Identifier: MIT
 *
 * Two UDP sockets on the loopback interface, and trains of numbered packets between them.
 */
#ifndef TESTS_SUPPORT_UDP_ENDS_H
#define TESTS_SUPPORT_UDP_ENDS_H

#include "net/udp.h"

#include <h3pool/manager.h>

#define ENDS_PACKETS_MAX 128u

struct ends {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *pool;
    struct udp_socket from, to;
    struct udp_buffers buffers;
};

/* Packets by themselves, whether they came singly or as trains. */
struct arrived {
    struct packet {
        size_t len;
        uint32_t number; /* first four bytes */
        uint8_t ecn, bytes[1500];
        struct net_path path;
    } packet[ENDS_PACKETS_MAX];
    unsigned count;
};

/* A socket at |address| with large buffers; the result is udp_open's. */
int ends_socket(struct udp_socket *s, const char *address, bool reuse_port);
/* True if there is an IPv6 loopback interface. */
bool ends_have_ipv6(void);

/* Two sockets at |address| ("127.0.0.1:0") with a pool. */
void ends_open(struct ends *e, const char *address);
/* Closes them and checks that nothing is live. */
void ends_close(struct ends *e);

/* Receives |count| packets and no more; fails the test after 10 seconds without one. */
void ends_receive(struct ends *e, struct udp_socket *s, struct arrived *a, unsigned count);
/* A train of |len| bytes in |data|, in packets of |segment|, numbered from 0 in their first four bytes. */
struct udp_train ends_train(const struct ends *e, uint8_t *data, size_t len, size_t segment, uint8_t ecn);
/* A train of one packet that holds |text|. */
struct udp_train ends_packet(const struct net_path *path, const char *text);
/* Checks that |a| is all of the train, in order, with its ECN mark and addresses. */
void ends_check(const struct ends *e, const struct arrived *a, const struct udp_train *t);
/* Sends a train from end to end, and checks what arrives. */
void ends_pass(struct ends *e, size_t len, size_t segment, uint8_t ecn);

#endif
