/* SPDX-License-Identifier: MIT
 *
 * What a kernel does not do on demand (a device that refuses trains, a full socket) is injected: this program is linked
 * with --wrap=sendmsg.
 */
#include "net/udp.h"

#include "test.h"
#include "udp_ends.h"

#include <errno.h>
#include <string.h>

/* --- injected failures ----------------------------------------------------------------------------------------------
 */

/* What happens to the next calls of sendmsg: |fail| calls fail with |error|, after |pass| that go through. With
 * |trains_only|, single packets go through and are not counted. */
static struct {
    unsigned pass, fail;
    int error;
    bool trains_only;
    unsigned calls, trains;
} plan;

ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);

static bool is_train(const struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)msg, c))
        if (c->cmsg_level == IPPROTO_UDP)
            return true;
    return false;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    bool train = is_train(msg);
    plan.calls++;
    plan.trains += train;
    if (plan.fail != 0 && (train || !plan.trains_only) && plan.pass-- == 0) {
        plan.pass = 0;
        plan.fail--;
        errno = plan.error;
        return -1;
    }
    return __real_sendmsg(fd, msg, flags);
}

/* --- failures -------------------------------------------------------------------------------------------------------
 */

static void open_failing(struct ends *e, unsigned pass, unsigned fail, int error)
{
    ends_open(e, "127.0.0.1:0");
    memset(&plan, 0, sizeof plan);
    plan.pass = pass;
    plan.fail = fail;
    plan.error = error;
}

static void test_refused_trains_are_sent_singly_ever_after(void)
{
    static const int errors[] = {EIO, EINVAL};
    for (int i = 0; i < 2; i++) {
        struct ends e;
        open_failing(&e, 0, 1, errors[i]);
        plan.trains_only = true;
        CHECK(e.from.gso);
        ends_pass(&e, 9 * 1200 + 100, 1200, 1);
        CHECK(!e.from.gso);
        CHECK_U64(plan.trains, 1);
        CHECK_U64(plan.calls, 11);
        ends_pass(&e, 5 * 1200, 1200, 2);
        CHECK(!e.from.gso);
        CHECK_U64(plan.trains, 1);
        CHECK_U64(plan.calls, 16);
        ends_close(&e);
    }
}

static void test_refused_packets_are_lost(void)
{
    static const int errors[] = {EMSGSIZE, ECONNREFUSED, EPERM, ENETUNREACH, EHOSTUNREACH, EIO, EINVAL};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct ends e;
        static uint8_t data[5 * 1000];
        static struct arrived a;
        size_t sent;
        open_failing(&e, 2, 1, errors[i]);
        e.from.gso = false;
        struct udp_train t = ends_train(&e, data, sizeof data, 1000, 0);
        CHECK(udp_send(&e.from, &t, &sent) == UDP_OK);
        CHECK_U64(sent, sizeof data);
        ends_receive(&e, &e.to, &a, 4);
        CHECK_U64(a.packet[1].number, 1);
        CHECK_U64(a.packet[2].number, 3);
        ends_close(&e);
    }
}

static void test_a_train_too_big_is_lost_and_trains_go_on(void)
{
    struct ends e;
    static uint8_t data[5 * 1000];
    size_t sent;
    open_failing(&e, 0, 1, EMSGSIZE);
    struct udp_train t = ends_train(&e, data, sizeof data, 1000, 0);
    CHECK(udp_send(&e.from, &t, &sent) == UDP_OK);
    CHECK_U64(sent, sizeof data);
    CHECK(e.from.gso);
    ends_pass(&e, 5 * 1000, 1000, 0);
    ends_close(&e);
}

/* The socket is full after |pass| calls; what is left is sent later. */
static void block_after(bool gso, unsigned pass, int error, size_t gone)
{
    struct ends e;
    static uint8_t data[5 * 1000 + 10];
    static struct arrived a;
    size_t sent, more;
    open_failing(&e, pass, 1, error);
    e.from.gso = gso;
    struct udp_train t = ends_train(&e, data, sizeof data, 1000, 3);
    CHECK(udp_send(&e.from, &t, &sent) == UDP_BLOCKED);
    CHECK_U64(sent, gone);
    CHECK(e.from.gso == gso);
    struct udp_train rest = t;
    rest.data += sent;
    rest.len -= sent;
    CHECK(udp_send(&e.from, &rest, &more) == UDP_OK);
    CHECK_U64(sent + more, sizeof data);
    ends_receive(&e, &e.to, &a, 6);
    ends_check(&e, &a, &t);
    ends_close(&e);
}

static void test_a_full_socket_keeps_the_rest(void)
{
    block_after(true, 0, EAGAIN, 0);
    block_after(true, 0, ENOBUFS, 0);
    block_after(false, 0, EAGAIN, 0);
    block_after(false, 3, EAGAIN, 3000);
    block_after(false, 5, ENOBUFS, 5000);
}

static void test_a_signal_is_no_error(void)
{
    struct ends e;
    open_failing(&e, 0, 3, EINTR);
    ends_pass(&e, 5 * 1000, 1000, 0);
    CHECK(e.from.gso);
    ends_close(&e);
}

static void test_a_closed_socket_is_fatal(void)
{
    struct ends e;
    size_t sent;
    open_failing(&e, 0, 0, 0);
    struct net_path there = {.local = e.from.local, .remote = e.to.local};
    struct udp_train t = ends_packet(&there, "x");
    udp_close(&e.from);
    CHECK(udp_send(&e.from, &t, &sent) == UDP_FATAL);
    CHECK_U64(sent, 0);
    CHECK(udp_recv(&e.from, &e.buffers) == UDP_FATAL);
    CHECK_STR(udp_result_str(UDP_OK), "ok");
    CHECK_STR(udp_result_str(UDP_BLOCKED), "blocked");
    CHECK_STR(udp_result_str(UDP_FATAL), "fatal socket error");
    ends_close(&e);
}

static void test_nobody_at_the_other_end(void)
{
    struct ends e;
    size_t sent;
    open_failing(&e, 0, 0, 0);
    struct addr gone = e.to.local;
    udp_close(&e.to);
    struct net_path there = {.local = e.from.local, .remote = gone};
    struct udp_train t = ends_packet(&there, "x");
    for (int i = 0; i < 3; i++) {
        CHECK(udp_send(&e.from, &t, &sent) == UDP_OK);
        CHECK_U64(sent, 1);
        CHECK(udp_recv(&e.from, &e.buffers) == 0);
    }
    ends_close(&e);
}

static void test_an_address_in_use_is_an_error(void)
{
    struct ends e;
    struct udp_socket s;
    open_failing(&e, 0, 0, 0);
    errno = 0;
    CHECK(udp_open(&s, &e.to.local, &(struct udp_options){0}) == -1);
    CHECK_U64(errno, EADDRINUSE);
    udp_close(&s);
    ends_close(&e);
}

TEST_MAIN(TEST(test_refused_trains_are_sent_singly_ever_after), TEST(test_refused_packets_are_lost),
          TEST(test_a_train_too_big_is_lost_and_trains_go_on), TEST(test_a_full_socket_keeps_the_rest),
          TEST(test_a_signal_is_no_error), TEST(test_a_closed_socket_is_fatal), TEST(test_nobody_at_the_other_end),
          TEST(test_an_address_in_use_is_an_error))
