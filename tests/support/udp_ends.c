/* SPDX-License-Identifier: MIT */
#include "udp_ends.h"

#include "test.h"

#include <poll.h>
#include <string.h>


static void open_pool(void)
{
    memset(&plan, 0, sizeof plan);
    e.manager = hp_pool_e.manager_new(0);
    CHECK(e.manager != NULL);
    pool = hp_byte_pool_new(e.manager, "data", 64, 64u << 10, 0);
    CHECK(pool != NULL);
}

static void close_pool(void)
{
    CHECK_U64(hp_pool_e.manager_live(e.manager), 0);
    hp_byte_pool_free(pool);
    hp_pool_e.manager_free(e.manager);
}

static int ends_socket(struct udp_socket *s, const char *text, bool reuse_port)
{
    struct addr local;
    CHECK(addr_parse(text, &local) == 0);
    return udp_open(s, &local,
                    &(struct udp_options){
                        .reuse_port = reuse_port, .receive_buffer_bytes = 4u << 20, .send_buffer_bytes = 4u << 20});
}

static void ends_open(struct ends *e, const char *address)
{
    open_pool();
    CHECK(ends_socket(&e->from, address, false) == 0);
    CHECK(ends_socket(&e->to, address, false) == 0);
}

static void ends_close(struct ends *e)
{
    udp_close(&e->from);
    udp_close(&e->to);
    close_pool();
}

static bool ends_have_ipv6(void)
{
    struct udp_socket s;
    if (ends_socket(&s, "[::1]:0", false) != 0)
        return false;
    udp_close(&s);
    return true;
}


static void split(struct arrived *a, const struct udp_datagram *d)
{
    size_t at = 0;
    do {
        size_t len = d->len - at < d->segment ? d->len - at : d->segment;
        CHECK(a->count < ENDS_PACKETS_MAX);
        struct packet *p = &a->packet[a->count++];
        *p = (struct packet){.len = len, .ecn = d->ecn, .path = d->path};
        memcpy(&p->first, d->data + at, len < 4 ? len : 4);
        p->last = len != 0 ? d->data[at + len - 1] : 0;
        at += len;
    } while (at < d->len);
}

/* Receives until |count| packets are there; fails the test after 10 seconds without one. */
static void ends_receive(&e, struct udp_socket *s, struct arrived *a, unsigned count)
{
    struct udp_datagram d[UDP_BATCH];
    a->count = 0;
    while (a->count < count) {
        struct pollfd ready = {.fd = s->fd, .events = POLLIN};
        if (poll(&ready, 1, 10000) != 1)
            test_fail(__FILE__, __LINE__, "only %u of %u packets arrived", a->count, count);
        int n = udp_recv(s, pool, d);
        CHECK(n >= 0 && n <= (int)UDP_BATCH);
        for (int i = 0; i < n; i++)
            split(a, &d[i]);
    }
    CHECK_U64(a->count, count);
    CHECK(udp_recv(s, pool, d) == 0);
}

/* A train of |len| bytes in packets of |segment|, numbered from 0 in their first four bytes. */
static struct udp_train ends_train(const struct ends *e, uint8_t *data, size_t len, size_t segment, uint8_t ecn)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7);
    for (uint32_t i = 0; i * segment + 4 <= len; i++)
        memcpy(data + i * segment, &i, 4);
    return (struct udp_train){.data = data,
                              .len = len,
                              .segment = segment,
                              .path = {.local = e->from.local, .remote = e->to.local},
                              .ecn = ecn};
}

static void check_train(const struct ends *e, const struct arrived *a, const struct udp_train *t, unsigned skip)
{
    for (unsigned i = 0; i < a->count; i++) {
        size_t at = (i + skip) * t->segment, len = t->len - at < t->segment ? t->len - at : t->segment;
        const struct packet *p = &a->packet[i];
        CHECK_U64(p->len, len);
        CHECK_U64(p->first, i + skip);
        CHECK_U64(p->last, t->data[at + len - 1]);
        CHECK_U64(p->ecn, t->ecn);
        CHECK(addr_equal(&p->path.local, &e->to.local));
        CHECK(addr_equal(&p->path.remote, &e->from.local));
        CHECK_U64(p->path.remote.len, e->from.local.len);
    }
}

/* Sends one train from end to end, and checks what arrives. */
static void ends_pass(struct ends *e, size_t len, size_t segment, uint8_t ecn)
{
    static uint8_t data[UDP_BUFFER_BYTES];
    static struct arrived a;
    size_t sent;
    struct udp_train t = ends_train(e, data, len, segment, ecn);
    CHECK(udp_send(&e->from, &t, &sent) == UDP_OK);
    CHECK_U64(sent, len);
    ends_receive(&e, &e->to, &a, (unsigned)((len + segment - 1) / segment));
    check_train(e, &a, &t, 0);
}

