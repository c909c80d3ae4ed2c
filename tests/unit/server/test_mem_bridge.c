/* SPDX-License-Identifier: MIT
 *
 * Each test runs in a process of its own: OpenSSL's hooks are set once, before its first allocation, and its end is for
 * the process.
 */
#include "mem_bridge.h"

#include "test.h"

#include <ev.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct hp_pool_manager *manager;

struct wanted {
    const char *name;
    struct hp_counters sum;
};

static void visit(void *ctx, const struct hp_pool_row *row)
{
    struct wanted *w = ctx;
    if (strcmp(row->name, w->name) == 0)
        w->sum = row->sum;
}

/* The sum over the pools of a name. */
static struct hp_counters counters(const char *name)
{
    struct wanted w = {.name = name};
    hp_pool_manager_walk(manager, visit, &w);
    return w.sum;
}

static void open_bridge(void)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    const char *wrong = bridge_init(manager);
    if (wrong != NULL)
        test_fail(__FILE__, __LINE__, "%s", wrong);
}

static void close_bridge(void)
{
    bridge_fini();
    CHECK_U64(hp_pool_manager_live(manager), 0);
    bridge_free();
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static void run_bare(void *ctx)
{
    ((void (*)(void))ctx)();
}

static void run_bridged(void *ctx)
{
    open_bridge();
    run_bare(ctx);
    close_bridge();
}

/* Runs |scenario| in a process of its own, with or without the bridge. */
static void in_child(void (*run)(void *ctx), void (*scenario)(void))
{
    char output[2000];
    if (test_in_child(run, (void *)scenario, output, sizeof output) != 0)
        test_fail(__FILE__, __LINE__, "in a process of its own: %s", output);
}

/* --- OpenSSL --------------------------------------------------------------------------------------------------------
 */

static void use_allocator(void)
{
    uint64_t before = counters("tls").live;
    CHECK(before > 0); /* what ngtcp2's helper keeps */
    char *p = OPENSSL_malloc(100);
    CHECK(p != NULL);
    CHECK_U64(counters("tls").live, before + 1);
    memset(p, 'x', 100);
    p = OPENSSL_realloc(p, 100000); /* to a mapping of its own */
    CHECK(p != NULL && p[0] == 'x' && p[99] == 'x');
    memset(p, 'y', 100000);
    p = OPENSSL_realloc(p, 10);
    CHECK(p != NULL && p[0] == 'y' && p[9] == 'y');
    CHECK_U64(counters("tls").live, before + 1);
    OPENSSL_free(p);
    CHECK_U64(counters("tls").live, before);
    p = OPENSSL_zalloc(3000);
    CHECK(p != NULL);
    for (int i = 0; i < 3000; i++)
        CHECK_U64(p[i], 0);
    OPENSSL_free(p);
    p = OPENSSL_realloc(NULL, 20);
    CHECK(p != NULL);
    OPENSSL_free(p);
    OPENSSL_free(NULL);
    CHECK(OPENSSL_malloc(0) == NULL);
    CHECK_U64(counters("tls").live, before);
}

static void test_openssl_allocates_from_the_pool(void)
{
    in_child(run_bridged, use_allocator);
}

static void use_library(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE], random[64];
    unsigned len;
    uint64_t gets = counters("tls").gets;
    CHECK(EVP_Digest("abc", 3, digest, &len, EVP_sha256(), NULL) == 1);
    CHECK(len == 32 && digest[0] == 0xba && digest[31] == 0xad);
    CHECK(RAND_bytes(random, sizeof random) == 1);
    CHECK(counters("tls").gets > gets);
    CHECK(counters("tls").live_bytes > 0);
}

static void test_the_library_works_on_it(void)
{
    in_child(run_bridged, use_library);
}

static void init_too_late(void)
{
    void *p = OPENSSL_malloc(10);
    CHECK(p != NULL);
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    const char *wrong = bridge_init(manager);
    CHECK(wrong != NULL);
    CHECK_STR(wrong, "OpenSSL has allocated before its memory functions could be set");
    OPENSSL_free(p);
    bridge_free();
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static void test_hooks_that_come_too_late(void)
{
    in_child(run_bare, init_too_late);
}

/* --- threads --------------------------------------------------------------------------------------------------------
 */

static struct handover {
    struct bridge_thread pools;
    void *block, *from_main;
} handover;

static void *worker(void *arg)
{
    unsigned char random[64];
    (void)arg;
    CHECK(bridge_thread_enter() == 0);
    handover.block = OPENSSL_malloc(500);
    CHECK(handover.block != NULL);
    OPENSSL_free(handover.from_main);
    CHECK(RAND_bytes(random, sizeof random) == 1); /* makes state of this thread */
    handover.pools = bridge_thread_leave();
    return NULL;
}

static void use_threads(void)
{
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        handover.from_main = OPENSSL_malloc(300);
        CHECK(handover.from_main != NULL);
        CHECK(pthread_create(&thread, NULL, worker, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        bridge_adopt(handover.pools);
        OPENSSL_free(handover.block); /* of the thread that has ended */
    }
}

static void test_blocks_cross_threads(void)
{
    in_child(run_bridged, use_threads);
}

static void *stranger(void *arg)
{
    (void)arg;
    void *p = OPENSSL_malloc(500); /* a thread that no one has told of pools */
    CHECK(p != NULL);
    OPENSSL_free(handover.from_main);
    OPENSSL_free(p);
    handover.pools = bridge_thread_leave();
    return NULL;
}

static void use_stranger(void)
{
    pthread_t thread;
    handover.from_main = OPENSSL_malloc(300);
    CHECK(handover.from_main != NULL);
    CHECK(pthread_create(&thread, NULL, stranger, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(handover.pools.tls != NULL);
    bridge_adopt(handover.pools);
}

static void test_a_thread_without_pools_gets_some(void)
{
    in_child(run_bridged, use_stranger);
}

/* --- libev ----------------------------------------------------------------------------------------------------------
 */

static int fired;

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    fired++;
    ev_break(loop, EVBREAK_ALL);
}

static void use_loop(void)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    ev_timer timer;
    CHECK(loop != NULL);
    CHECK(counters("loop").live > 0);
    ev_timer_init(&timer, on_timer, 0., 0.);
    ev_timer_start(loop, &timer);
    ev_run(loop, 0);
    CHECK_U64(fired, 1);
    ev_loop_destroy(loop);
    CHECK_U64(counters("loop").live, 0);
}

static void test_libev_allocates_from_its_pool(void)
{
    in_child(run_bridged, use_loop);
}

/* --- heaps ----------------------------------------------------------------------------------------------------------
 */

static void test_ngtcp2_and_nghttp3_allocate_from_a_heap(void)
{
    struct hp_heap heap;
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    struct hp_byte_pool *pool = hp_byte_pool_new(manager, "heap", 64, 64u << 10, 0);
    CHECK(pool != NULL);
    hp_heap_init(&heap, pool);
    ngtcp2_mem a = bridge_ngtcp2_mem(&heap);
    nghttp3_mem b = bridge_nghttp3_mem(&heap);
    char *p = a.malloc(100, a.user_data), *q = b.calloc(30, 10, b.user_data);
    CHECK(p != NULL && q != NULL);
    CHECK_U64(hp_heap_live(&heap), 2);
    for (int i = 0; i < 300; i++)
        CHECK_U64(q[i], 0);
    memset(p, 'p', 100);
    p = a.realloc(p, 20000, a.user_data);
    CHECK(p != NULL && p[99] == 'p');
    b.free(q, b.user_data);
    q = b.realloc(NULL, 5, b.user_data);
    CHECK(q != NULL);
    CHECK_U64(hp_heap_live(&heap), 2);
    a.free(p, a.user_data);
    b.free(q, b.user_data);
    a.free(NULL, a.user_data);
    CHECK_U64(hp_heap_live(&heap), 0);
    CHECK(!hp_heap_failed(&heap));
    CHECK(a.calloc(SIZE_MAX / 2, 4, a.user_data) == NULL);
    CHECK(hp_heap_failed(&heap));
    hp_heap_drop(&heap);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

TEST_MAIN(TEST(test_openssl_allocates_from_the_pool), TEST(test_the_library_works_on_it),
          TEST(test_hooks_that_come_too_late), TEST(test_blocks_cross_threads),
          TEST(test_a_thread_without_pools_gets_some), TEST(test_libev_allocates_from_its_pool),
          TEST(test_ngtcp2_and_nghttp3_allocate_from_a_heap))
