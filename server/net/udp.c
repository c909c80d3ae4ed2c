/* SPDX-License-Identifier: MIT
 *
 * recvmmsg takes up to 16 payloads a call, each of which may be a train that GRO put together; a train that leaves is
 * one sendmsg with UDP_SEGMENT. Where a device or an old kernel refuses that (EIO, EINVAL), the socket sends singly
 * from then on.
 *
 * Path MTU: IP_PMTUDISC_PROBE sets DF and ignores what ICMP says, so a forged "packet too big" does nothing; QUIC's own
 * discovery finds the size.
 */
#include "net/udp.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

union control {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(int))];
};

const char *udp_result_str(enum udp_result result)
{
    switch (result) {
    case UDP_OK:
        return "ok";
    case UDP_BLOCKED:
        return "blocked";
    case UDP_FATAL:
        return "fatal socket error";
    }
    return "?";
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* As large as the system lets us: root may pass net.core.[rw]mem_max. */
static void set_buffer(int fd, int force, int name, uint64_t bytes)
{
    int value = bytes > (1u << 30) ? 1 << 30 : (int)bytes;
    if (bytes != 0 && set_int(fd, SOL_SOCKET, force, value) != 0)
        (void)set_int(fd, SOL_SOCKET, name, value);
}

static void set_ip_options(int fd, int family)
{
    if (family == AF_INET6) {
        (void)set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        (void)set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        (void)set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    } else {
        (void)set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
        (void)set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
        (void)set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    }
    (void)set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
}

static int open_bound(const struct addr *local, bool reuse_port)
{
    int fd = socket(local->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if ((local->sa.sa_family == AF_INET6 && set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0) ||
        (reuse_port && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0) || bind(fd, &local->sa, local->len) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static void read_local(struct udp_socket *s)
{
    socklen_t len = sizeof s->local.in6;
    getsockname(s->fd, &s->local.sa, &len);
}

int udp_open(struct udp_socket *s, const struct addr *local, const struct udp_options *options)
{
    *s = (struct udp_socket){.fd = open_bound(local, options->reuse_port), .local = *local, .gso = true};
    if (s->fd < 0)
        return -1;
    read_local(s);
    set_ip_options(s->fd, local->sa.sa_family);
    set_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF, options->receive_buffer_bytes);
    set_buffer(s->fd, SO_SNDBUFFORCE, SO_SNDBUF, options->send_buffer_bytes);
    int got = 0;
    socklen_t len = sizeof got;
    getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &got, &len);
    s->receive_buffer_bytes = (uint64_t)got;
    return 0;
}

int udp_connect(struct udp_socket *s, const struct addr *peer)
{
    if (connect(s->fd, &peer->sa, peer->len) != 0)
        return -1;
    read_local(s);
    return 0;
}

void udp_close(struct udp_socket *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

int udp_steer(struct udp_socket *s, uint32_t key, uint32_t count)
{
    /* Four bytes of the destination connection ID: from offset 1 in a short header, 6 in a long one (RFC 9000
     * section 17). A load past the end of a datagram makes the program return 0. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80, 2, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 1),
        BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 6),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, key),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program;
    memset(&program, 0, sizeof program); /* the padding, too: the kernel copies all of it */
    program.len = sizeof code / sizeof code[0];
    program.filter = code;
    return setsockopt(s->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
}

static void read_control(const struct udp_socket *s, struct msghdr *msg, struct udp_datagram *d)
{
    d->path.local = s->local;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        int value = 0;
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            d->path.local.in.sin_addr = info.ipi_addr;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            d->path.local.in6.sin6_addr = info.ipi6_addr;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            d->ecn = *CMSG_DATA(c) & 3;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            memcpy(&value, CMSG_DATA(c), sizeof value);
            d->ecn = (uint8_t)(value & 3);
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&value, CMSG_DATA(c), sizeof value);
            if (value > 0)
                d->segment = (size_t)value;
        }
    }
}

static bool have_buffers(struct udp_buffers *b)
{
    for (unsigned i = 0; i < UDP_BATCH; i++)
        if (b->buffer[i] == NULL && (b->buffer[i] = hp_byte_pool_get(b->pool, UDP_BUFFER_BYTES)) == NULL)
            return i != 0; /* fewer than wanted will do */
    return true;
}

void udp_buffers_fini(struct udp_buffers *b)
{
    for (unsigned i = 0; i < UDP_BATCH && b->pool != NULL; i++)
        hp_byte_pool_put(b->pool, b->buffer[i]);
    *b = (struct udp_buffers){.pool = b->pool};
}

int udp_recv(struct udp_socket *s, struct udp_buffers *b)
{
    if (b->buffer[UDP_BATCH - 1] == NULL && !have_buffers(b))
        return 0;
    struct mmsghdr msgs[UDP_BATCH];
    struct iovec iov[UDP_BATCH];
    union control control[UDP_BATCH];
    unsigned count = 0;
    for (; count < UDP_BATCH && b->buffer[count] != NULL; count++) {
        iov[count] = (struct iovec){.iov_base = b->buffer[count], .iov_len = UDP_BUFFER_BYTES};
        msgs[count].msg_hdr = (struct msghdr){
            .msg_name = &b->datagram[count].path.remote.sa,
            .msg_namelen = sizeof b->datagram[count].path.remote.in6,
            .msg_iov = &iov[count],
            .msg_iovlen = 1,
            .msg_control = &control[count],
            .msg_controllen = sizeof control[count],
        };
    }
    int n;
    do
        n = recvmmsg(s->fd, msgs, count, 0, NULL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EBADF || errno == ENOTSOCK ? UDP_FATAL : 0;
    for (int i = 0; i < n; i++) {
        struct udp_datagram *d = &b->datagram[i];
        d->data = b->buffer[i];
        d->len = d->segment = msgs[i].msg_len;
        d->ecn = 0;
        d->path.remote.len = msgs[i].msg_hdr.msg_namelen;
        read_control(s, &msgs[i].msg_hdr, d);
    }
    return n;
}

static void *add_control(struct msghdr *msg, int level, int type, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)((char *)msg->msg_control + msg->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    msg->msg_controllen += CMSG_SPACE(len);
    return CMSG_DATA(c);
}

static void write_control(struct msghdr *msg, const struct udp_train *t, bool segment)
{
    bool v6 = t->path.local.sa.sa_family == AF_INET6;
    if (v6) {
        struct in6_pktinfo info = {.ipi6_addr = t->path.local.in6.sin6_addr};
        memcpy(add_control(msg, IPPROTO_IPV6, IPV6_PKTINFO, sizeof info), &info, sizeof info);
    } else {
        struct in_pktinfo info = {.ipi_spec_dst = t->path.local.in.sin_addr};
        memcpy(add_control(msg, IPPROTO_IP, IP_PKTINFO, sizeof info), &info, sizeof info);
    }
    if (t->ecn != 0) {
        int value = t->ecn;
        memcpy(add_control(msg, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, sizeof value), &value,
               sizeof value);
    }
    if (segment) {
        uint16_t size = (uint16_t)t->segment;
        memcpy(add_control(msg, IPPROTO_UDP, UDP_SEGMENT, sizeof size), &size, sizeof size);
    }
}

static ssize_t send_bytes(struct udp_socket *s, const struct udp_train *t, const uint8_t *data, size_t len)
{
    union control control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {
        .msg_name = (void *)(uintptr_t)&t->path.remote.sa,
        .msg_namelen = t->path.remote.len,
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
    };
    write_control(&msg, t, len > t->segment);
    ssize_t n;
    do
        n = sendmsg(s->fd, &msg, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

enum udp_result udp_send(struct udp_socket *s, const struct udp_train *t, size_t *sent)
{
    *sent = 0;
    while (*sent < t->len) {
        size_t left = t->len - *sent;
        size_t n = s->gso || left < t->segment ? left : t->segment;
        if (send_bytes(s, t, t->data + *sent, n) >= 0) {
            *sent += n;
            continue;
        }
        switch (errno) {
        case EAGAIN:
        case ENOBUFS:
            return UDP_BLOCKED;
        case EBADF:
        case ENOTSOCK:
            return UDP_FATAL;
        case EIO:
        case EINVAL:
            if (n > t->segment) {
                s->gso = false;
                continue;
            }
            break;
        default:
            break;
        }
        *sent += n; /* lost, as the network may lose it */
    }
    return UDP_OK;
}
