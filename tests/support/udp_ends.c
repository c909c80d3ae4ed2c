/* SPDX-License-Identifier: MIT */
#include "udp_ends.h"

#include "test.h"

#include <poll.h>
#include <string.h>

int ends_socket(struct udp_socket *s, const char *address, bool reuse_port)
{
    struct udp_options options = {
        .reuse_port = reuse_port,
        .receive_buffer_bytes = 4u << 20,
        .send_buffer_bytes = 4u << 20,
    };
    struct addr local;
    CHECK(addr_parse(address, &local) == 0);
    return udp_open(s, &local, &options);
}

bool ends_have_ipv6(void)
{
    struct udp_socket s;
    if (ends_socket(&s, "[::1]:0", false) != 0)
        return false;
    udp_close(&s);
    return true;
}

void ends_open(struct ends *e, const char *address)
{
    e->manager = hp_pool_manager_new(0);
    CHECK(e->manager != NULL);
    e->pool = hp_byte_pool_new(e->manager, "data", 64, 64u << 10, 0);
    CHECK(e->pool != NULL);
    e->buffers = (struct udp_buffers){.pool = e->pool};
    CHECK(ends_socket(&e->from, address, false) == 0);
    CHECK(ends_socket(&e->to, address, false) == 0);
}

void ends_close(struct ends *e)
{
    udp_close(&e->from);
    udp_close(&e->to);
    udp_buffers_fini(&e->buffers);
    CHECK_U64(hp_pool_manager_live(e->manager), 0);
    hp_byte_pool_free(e->pool);
    hp_pool_manager_free(e->manager);
}

static void split(struct arrived *a, const struct udp_datagram *d)
{
    size_t at = 0;
    do {
        size_t len = d->len - at < d->segment ? d->len - at : d->segment;
        CHECK(a->count < ENDS_PACKETS_MAX && len <= sizeof a->packet->bytes);
        struct packet *p = &a->packet[a->count++];
        p->len = len;
        p->number = 0;
        p->ecn = d->ecn;
        p->path = d->path;
        memcpy(p->bytes, d->data + at, len);
        memcpy(&p->number, p->bytes, len < 4 ? len : 4);
        at += len;
    } while (at < d->len);
}

void ends_receive(struct ends *e, struct udp_socket *s, struct arrived *a, unsigned count)
{
    a->count = 0;
    while (a->count < count) {
        struct pollfd ready = {.fd = s->fd, .events = POLLIN};
        if (poll(&ready, 1, 10000) != 1)
            test_fail(__FILE__, __LINE__, "only %u of %u packets arrived", a->count, count);
        int n = udp_recv(s, &e->buffers);
        CHECK(n >= 0 && n <= (int)UDP_BATCH);
        for (int i = 0; i < n; i++)
            split(a, &e->buffers.datagram[i]);
    }
    CHECK_U64(a->count, count);
    CHECK(udp_recv(s, &e->buffers) == 0);
}

struct udp_train ends_train(const struct ends *e, uint8_t *data, size_t len, size_t segment, uint8_t ecn)
{
    struct udp_train t = {.data = data, .len = len, .segment = segment, .ecn = ecn};
    t.path = (struct net_path){.local = e->from.local, .remote = e->to.local};
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)test_random(256);
    for (uint32_t i = 0; i * segment + 4 <= len; i++)
        memcpy(data + i * segment, &i, 4);
    return t;
}

struct udp_train ends_packet(const struct net_path *path, const char *text)
{
    return (struct udp_train){.data = (const uint8_t *)text, .len = strlen(text), .segment = 1200, .path = *path};
}

void ends_check(const struct ends *e, const struct arrived *a, const struct udp_train *t)
{
    CHECK_U64(a->count, (t->len + t->segment - 1) / t->segment);
    for (unsigned i = 0; i < a->count; i++) {
        size_t at = i * t->segment, len = t->len - at < t->segment ? t->len - at : t->segment;
        const struct packet *p = &a->packet[i];
        CHECK_U64(p->len, len);
        CHECK(memcmp(p->bytes, t->data + at, len) == 0);
        CHECK_U64(p->ecn, t->ecn);
        CHECK(addr_equal(&p->path.local, &e->to.local));
        CHECK(addr_equal(&p->path.remote, &e->from.local));
        CHECK_U64(p->path.remote.len, e->from.local.len);
    }
}

void ends_pass(struct ends *e, size_t len, size_t segment, uint8_t ecn)
{
    static uint8_t data[UDP_BUFFER_BYTES];
    static struct arrived a;
    size_t sent;
    struct udp_train t = ends_train(e, data, len, segment, ecn);
    CHECK(udp_send(&e->from, &t, &sent) == UDP_OK);
    CHECK_U64(sent, len);
    ends_receive(e, &e->to, &a, (unsigned)((len + segment - 1) / segment));
    ends_check(e, &a, &t);
}
