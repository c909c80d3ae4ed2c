/* SPDX-License-Identifier: MIT
 *
 * IPv4 and IPv6 socket addresses as values.
 */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    socklen_t len;
};

/* Both ends of a datagram's way. */
struct net_path {
    struct addr local, remote;
};

/* Bytes of addr_format's longest text with its 0: "[" 45 "]:65535". */
#define ADDR_TEXT_CAP 56

/* Reads "127.0.0.1:4433" or "[::1]:4433"; port 0 is legal. Returns 0, or -1 if |text| is not exactly that. */
int addr_parse(const char *text, struct addr *out) __attribute__((warn_unused_result));
/* Writes the same form and returns |out|. */
const char *addr_format(const struct addr *addr, char out[ADDR_TEXT_CAP]);
/* Port in host byte order. */
uint16_t addr_port(const struct addr *addr);
/* Same family, address and port. */
bool addr_equal(const struct addr *a, const struct addr *b);

#endif
