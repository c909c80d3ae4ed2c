/* SPDX-License-Identifier: MIT
 *
 * A full socket is injected: this program is linked with --wrap=sendmsg.
 */
#include "net/udp_out.h"

#include "test.h"
#include "udp_ends.h"

#include <errno.h>
#include <string.h>

static unsigned passing = UINT32_MAX; /* calls that go through before the socket is full */

ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    if (passing-- != 0)
        return __real_sendmsg(fd, msg, flags);
    passing = 0;
    errno = EAGAIN;
    return -1;
}

/* The rest of a train is kept, survives its source, and leaves in order once the socket has room. */
static void test_what_is_blocked_leaves_later(void)
{
    struct ends e;
    struct arrived a;
    uint8_t data[10 * 100], copy[sizeof data];
    ends_open(&e, "127.0.0.1:0");
    e.from.gso = false; /* a call per packet */
    struct udp_out out = {.socket = &e.from, .pool = e.pool};
    struct udp_train t = ends_train(&e, data, sizeof data, 100, 2);
    memcpy(copy, data, sizeof data);
    passing = 3;
    CHECK(udp_out_send(&out, &t) == UDP_BLOCKED);
    CHECK(out.held != NULL);
    memset(data, 0, sizeof data);
    passing = 4;
    CHECK(udp_out_resume(&out) == UDP_BLOCKED);
    passing = UINT32_MAX;
    CHECK(udp_out_resume(&out) == UDP_OK);
    CHECK(out.held == NULL);
    ends_receive(&e, &e.to, &a, 10);
    t.data = copy;
    ends_check(&e, &a, &t);
    ends_close(&e);
}

/* Without memory for the copy the rest is lost, and nothing is blocked. */
static void test_without_memory_the_rest_is_lost(void)
{
    struct ends e;
    struct arrived a;
    uint8_t data[10 * 100];
    ends_open(&e, "127.0.0.1:0");
    e.from.gso = false;
    struct hp_byte_pool *poor = hp_byte_pool_new(e.manager, "poor", 64, 4096, 1);
    CHECK(poor != NULL);
    struct udp_out out = {.socket = &e.from, .pool = poor};
    struct udp_train t = ends_train(&e, data, sizeof data, 100, 0);
    passing = 3;
    CHECK(udp_out_send(&out, &t) == UDP_OK);
    CHECK(out.held == NULL);
    passing = UINT32_MAX;
    ends_receive(&e, &e.to, &a, 3);
    hp_byte_pool_free(poor);
    ends_close(&e);
}

static void test_fini_drops_what_is_held(void)
{
    struct ends e;
    uint8_t data[1000];
    ends_open(&e, "127.0.0.1:0");
    struct udp_out out = {.socket = &e.from, .pool = e.pool};
    struct udp_train t = ends_train(&e, data, sizeof data, sizeof data, 0);
    passing = 0;
    CHECK(udp_out_send(&out, &t) == UDP_BLOCKED);
    udp_out_fini(&out);
    CHECK(out.held == NULL);
    passing = UINT32_MAX;
    ends_close(&e);
}

TEST_MAIN(TEST(test_what_is_blocked_leaves_later), TEST(test_without_memory_the_rest_is_lost),
          TEST(test_fini_drops_what_is_held))
