/* SPDX-License-Identifier: MIT */
#include "net/addr.h"

#include "test.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static void test_texts_round_trip(void)
{
    static const char *const texts[] = {"127.0.0.1:4433",
                                        "0.0.0.0:0",
                                        "255.255.255.255:65535",
                                        "[::1]:4433",
                                        "[::]:0",
                                        "[2001:db8::ff00:42:8329]:443",
                                        "[::ffff:192.0.2.1]:1",
                                        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct addr a;
        char *out = test_guarded(ADDR_TEXT_CAP);
        if (addr_parse(texts[i], &a) != 0)
            test_fail(__FILE__, __LINE__, "'%s' was refused", texts[i]);
        CHECK_STR(addr_format(&a, out), texts[i]);
        CHECK_U64(a.len, texts[i][0] == '[' ? sizeof a.in6 : sizeof a.in);
    }
}

static void test_fields_are_in_network_order(void)
{
    struct addr a;
    CHECK(addr_parse("1.2.3.4:258", &a) == 0);
    CHECK_U64(a.in.sin_family, AF_INET);
    CHECK_U64(ntohl(a.in.sin_addr.s_addr), 0x01020304);
    CHECK_U64(ntohs(a.in.sin_port), 258);
    CHECK_U64(addr_port(&a), 258);
    CHECK(addr_parse("[::5]:7", &a) == 0);
    CHECK_U64(a.in6.sin6_family, AF_INET6);
    CHECK_U64(a.in6.sin6_addr.s6_addr[15], 5);
    CHECK_U64(addr_port(&a), 7);
}

static void test_random_addresses_round_trip(void)
{
    for (int i = 0; i < 2000; i++) {
        struct addr a = {0}, b;
        char text[ADDR_TEXT_CAP];
        if (test_random(2) == 0) {
            a.in.sin_family = AF_INET;
            a.in.sin_addr.s_addr = (uint32_t)test_random(1ull << 32);
            a.in.sin_port = (uint16_t)test_random(65536);
            a.len = sizeof a.in;
        } else {
            a.in6.sin6_family = AF_INET6;
            for (int k = 0; k < 16; k++)
                a.in6.sin6_addr.s6_addr[k] = test_random(2) ? (uint8_t)test_random(256) : 0;
            a.in6.sin6_port = (uint16_t)test_random(65536);
            a.len = sizeof a.in6;
        }
        CHECK(addr_parse(addr_format(&a, text), &b) == 0);
        CHECK(addr_equal(&a, &b));
        CHECK_U64(a.len, b.len);
    }
}

static void test_anything_else_is_refused(void)
{
    static const char *const bad[] = {"",
                                      ":",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      ":4433",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:99999",
                                      "127.0.0.1:100000",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:+1",
                                      "127.0.0.1: 1",
                                      "127.0.0.1:1 ",
                                      "127.0.0.1:0x1",
                                      " 127.0.0.1:1",
                                      "127.0.0:1",
                                      "127.0.0.256:1",
                                      "localhost:1",
                                      "::1:4433",
                                      "[::1]",
                                      "[::1]4433",
                                      "[::1]:",
                                      "[::1]:1]:2",
                                      "[::1:4433",
                                      "[]:1",
                                      "[127.0.0.1]:1",
                                      "[fe80::1%lo]:1",
                                      "[1:2:3:4:5:6:7:8:9]:1",
                                      "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct addr a;
        size_t len = strlen(bad[i]) + 1;
        char *text = memcpy(test_guarded(len), bad[i], len);
        if (addr_parse(text, &a) == 0)
            test_fail(__FILE__, __LINE__, "'%s' was taken", bad[i]);
    }
}

static void test_equal(void)
{
    struct addr a, b;
    static const struct {
        const char *a, *b;
        bool equal;
    } pairs[] = {{"127.0.0.1:1", "127.0.0.1:1", true},  {"127.0.0.1:1", "127.0.0.1:2", false},
                 {"127.0.0.1:1", "127.0.0.2:1", false}, {"[::1]:1", "[::1]:1", true},
                 {"[::1]:1", "[::1]:2", false},         {"[::1]:1", "[::2]:1", false},
                 {"0.0.0.0:1", "[::]:1", false}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        CHECK(addr_parse(pairs[i].a, &a) == 0 && addr_parse(pairs[i].b, &b) == 0);
        CHECK(addr_equal(&a, &b) == pairs[i].equal);
        CHECK(addr_equal(&b, &a) == pairs[i].equal);
    }
    CHECK(addr_parse("[::1]:1", &a) == 0 && addr_parse("[::1]:1", &b) == 0);
    b.in6.sin6_flowinfo = 5; /* what the kernel may fill in says nothing about where it leads */
    CHECK(addr_equal(&a, &b));
}

TEST_MAIN(TEST(test_texts_round_trip), TEST(test_fields_are_in_network_order), TEST(test_random_addresses_round_trip),
          TEST(test_anything_else_is_refused), TEST(test_equal))
