/* SPDX-License-Identifier: MIT */
#include "net/udp.h"

#include "cid.h"
#include "test.h"
#include "udp_ends.h"

#include <string.h>
#include <sys/socket.h>

#define GROUP 4u

static void open_group(struct udp_socket group[GROUP], const struct cid_steering *steering)
{
    char text[ADDR_TEXT_CAP];
    CHECK(ends_socket(&group[0], "127.0.0.1:0", true) == 0);
    addr_format(&group[0].local, text);
    for (unsigned i = 1; i < GROUP; i++)
        CHECK(ends_socket(&group[i], text, true) == 0);
    CHECK(udp_steer(&group[0], steering->key, steering->count) == 0);
}

/* A datagram as it begins in QUIC; returns the worker that it is for. */
static uint32_t make_header(const struct cid_steering *steering, uint8_t out[32])
{
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)test_random(256);
    bool is_long = out[0] & 0x80;
    if (is_long)
        out[5] = 8 + (uint8_t)test_random(13);
    return cid_worker(steering, out + (is_long ? 6 : 1), is_long ? out[5] : CID_LEN);
}

static void test_steering_is_cid_worker_s(void)
{
    struct udp_socket group[GROUP];
    struct ends e;
    static struct arrived a;
    struct cid_steering steering = {.key = (uint32_t)test_random(1ull << 32) | 1, .count = GROUP};
    ends_open(&e, "127.0.0.1:0");
    open_group(group, &steering);
    for (int i = 0; i < 1000; i++) {
        uint8_t data[32];
        uint32_t worker = make_header(&steering, data);
        CHECK(worker < GROUP);
        CHECK(sendto(e.from.fd, data, sizeof data, 0, &group[0].local.sa, group[0].local.len) == sizeof data);
        ends_receive(&e, &group[worker], &a, 1);
        CHECK(memcmp(a.packet[0].bytes, data, sizeof data) == 0);
    }
    for (unsigned i = 0; i < GROUP; i++)
        udp_close(&group[i]);
    ends_close(&e);
}

static void test_short_datagrams_go_to_the_first(void)
{
    struct udp_socket group[GROUP];
    struct ends e;
    static struct arrived a;
    struct cid_steering steering = {.key = 0x9e3779b1, .count = GROUP};
    ends_open(&e, "127.0.0.1:0");
    open_group(group, &steering);
    for (size_t len = 0; len < 10; len++) {
        uint8_t data[10] = {len < 5 ? 0x40 : 0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
        CHECK(sendto(e.from.fd, data, len, 0, &group[0].local.sa, group[0].local.len) == (ssize_t)len);
        ends_receive(&e, &group[0], &a, 1);
        CHECK_U64(a.packet[0].len, len);
    }
    for (unsigned i = 0; i < GROUP; i++)
        udp_close(&group[i]);
    ends_close(&e);
}

TEST_MAIN(TEST(test_steering_is_cid_worker_s), TEST(test_short_datagrams_go_to_the_first))
