/* SPDX-License-Identifier: MIT */
#include "net/udp.h"

#include "test.h"
#include "udp_ends.h"

#include <string.h>
#include <sys/socket.h>

static void send_trains(const char *address)
{
    struct ends e;
    ends_open(&e, address);
    for (uint8_t ecn = 0; ecn < 4; ecn++) {
        ends_pass(&e, 1200, 1200, ecn);
        ends_pass(&e, 700, 1200, ecn);
        ends_pass(&e, 10 * 1200, 1200, ecn);
        ends_pass(&e, 9 * 1200 + 1, 1200, ecn);
        ends_pass(&e, UDP_TRAIN_PACKETS * 1000, 1000, ecn);
        ends_pass(&e, UDP_TRAIN_BYTES, 1452, ecn);
    }
    ends_close(&e);
}

static void test_trains_arrive_whole(void)
{
    send_trains("127.0.0.1:0");
    if (ends_have_ipv6())
        send_trains("[::1]:0");
}

static void test_more_than_a_batch(void)
{
    struct ends e;
    static struct arrived a;
    ends_open(&e, "127.0.0.1:0");
    for (uint32_t i = 0; i < 100; i++) {
        struct udp_train t = {
            .data = (const uint8_t *)&i, .len = 4, .segment = 4, .path = {.local = e.from.local, .remote = e.to.local}};
        size_t sent;
        CHECK(udp_send(&e.from, &t, &sent) == UDP_OK);
    }
    ends_receive(&e, &e.to, &a, 100);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_U64(a.packet[i].number, i);
    ends_close(&e);
}

static void test_an_empty_datagram_arrives(void)
{
    struct ends e;
    static struct arrived a;
    ends_open(&e, "127.0.0.1:0");
    CHECK(sendto(e.from.fd, "", 0, 0, &e.to.local.sa, e.to.local.len) == 0);
    ends_receive(&e, &e.to, &a, 1);
    CHECK_U64(a.packet[0].len, 0);
    ends_close(&e);
}

static void test_a_wildcard_socket_knows_both_ends(void)
{
    struct ends e;
    static struct arrived a;
    struct addr second;
    size_t sent;
    ends_open(&e, "0.0.0.0:0");
    char text[ADDR_TEXT_CAP];
    CHECK(addr_parse("127.0.0.2:0", &second) == 0);
    second.in.sin_port = e.to.local.in.sin_port;
    CHECK(addr_parse("127.0.0.3:1", &e.from.local) == 0); /* the source is the train's, not the socket's */
    struct net_path there = {.local = e.from.local, .remote = second};
    struct udp_train t = ends_packet(&there, "ping");
    CHECK(udp_send(&e.from, &t, &sent) == UDP_OK);
    ends_receive(&e, &e.to, &a, 1);
    CHECK(addr_equal(&a.packet[0].path.local, &second));
    CHECK(strncmp(addr_format(&a.packet[0].path.remote, text), "127.0.0.3:", 10) == 0);

    struct udp_train back = ends_packet(&a.packet[0].path, "pong");
    CHECK(udp_send(&e.to, &back, &sent) == UDP_OK);
    ends_receive(&e, &e.from, &a, 1);
    CHECK(addr_equal(&a.packet[0].path.remote, &second));
    ends_close(&e);
}

static void test_few_buffers_will_do(void)
{
    struct ends e;
    static uint8_t data[6 * 100];
    void *hoard[64];
    unsigned held = 0;
    size_t sent;
    ends_open(&e, "127.0.0.1:0");
    struct hp_byte_pool *small = hp_byte_pool_new(e.manager, "small", 64u << 10, 64u << 10, 3u << 20);
    CHECK(small != NULL);
    struct udp_buffers few = {.pool = small};
    while ((hoard[held] = hp_byte_pool_get(small, UDP_BUFFER_BYTES)) != NULL)
        CHECK(++held < 64);
    CHECK(held > 2);
    e.from.gso = false;
    struct udp_train t = ends_train(&e, data, sizeof data, 100, 0);
    CHECK(udp_send(&e.from, &t, &sent) == UDP_OK);
    CHECK(udp_recv(&e.to, &few) == 0); /* no memory: later */
    hp_byte_pool_put(small, hoard[--held]);
    hp_byte_pool_put(small, hoard[--held]);
    for (int i = 0; i < 3; i++) {
        CHECK(udp_recv(&e.to, &few) == 2);
        for (int k = 0; k < 2; k++)
            CHECK(few.datagram[k].len == 100 && memcmp(few.datagram[k].data, data + (i * 2 + k) * 100, 100) == 0);
    }
    udp_buffers_fini(&few);
    while (held > 0)
        hp_byte_pool_put(small, hoard[--held]);
    CHECK_U64(hp_pool_manager_live(e.manager), 0);
    hp_byte_pool_free(small);
    ends_close(&e);
}

TEST_MAIN(TEST(test_trains_arrive_whole), TEST(test_more_than_a_batch), TEST(test_an_empty_datagram_arrives),
          TEST(test_a_wildcard_socket_knows_both_ends), TEST(test_few_buffers_will_do))
