/* SPDX-License-Identifier: MIT */
#include "timerq.h"

#include "test.h"

#include <h3pool/manager.h>
#include <string.h>

#define TIMERS 300u

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;
static struct timerq q;

static void open_queue(void)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "data", 64, 64u << 10, 0);
    CHECK(pool != NULL);
    timerq_init(&q, pool);
}

static void close_queue(void)
{
    timerq_fini(&q);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

static void test_an_empty_queue(void)
{
    open_queue();
    struct timer t = {0};
    CHECK(timerq_first(&q) == NULL);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    timerq_set(&q, &t, UINT64_MAX); /* cancelling what is not set */
    CHECK(timerq_first(&q) == NULL);
    CHECK_U64(t.place, 0);
    close_queue();
}

static void test_in_order(void)
{
    open_queue();
    struct timer t[TIMERS] = {0};
    CHECK(timerq_reserve(&q, TIMERS) == 0);
    for (unsigned i = 0; i < TIMERS; i++)
        timerq_set(&q, &t[i * 7 % TIMERS], 1000 + i * 7 % TIMERS);
    for (unsigned i = 0; i < TIMERS; i++) {
        CHECK(timerq_first(&q) == &t[i]);
        timerq_set(&q, &t[i], UINT64_MAX);
        CHECK_U64(t[i].place, 0);
    }
    CHECK(timerq_first(&q) == NULL);
    close_queue();
}

/* The invariants of a binary heap whose members know their places. */
static void check_heap(void)
{
    for (uint32_t i = 1; i <= q.count; i++) {
        CHECK_U64(q.heap[i]->place, i);
        CHECK(i == 1 || q.heap[i / 2]->at_ns <= q.heap[i]->at_ns);
    }
}

/* The model: an array that is kept sorted by insertion. */
static struct timer *sorted[TIMERS];
static unsigned count;

static void model_set(struct timer *t, uint64_t at_ns)
{
    unsigned i = 0;
    while (i < count && sorted[i] != t)
        i++;
    if (i < count)
        memmove(sorted + i, sorted + i + 1, (--count - i) * sizeof *sorted);
    if (at_ns == UINT64_MAX)
        return;
    for (i = count++; i > 0 && sorted[i - 1]->at_ns > at_ns; i--)
        sorted[i] = sorted[i - 1];
    sorted[i] = t;
}

static void run_model(uint64_t range, unsigned cancel_of_10)
{
    struct timer t[TIMERS] = {0};
    open_queue();
    count = 0;
    CHECK(timerq_reserve(&q, TIMERS) == 0);
    for (unsigned i = 0; i < 20000; i++) {
        /* Either any timer, or the first, which is what expiry does. */
        struct timer *one = count != 0 && test_random(3) == 0 ? timerq_first(&q) : &t[test_random(TIMERS)];
        uint64_t at = test_random(10) < cancel_of_10 ? UINT64_MAX : test_random(range);
        timerq_set(&q, one, at);
        model_set(one, at);
        CHECK_U64(q.count, count);
        CHECK((one->place != 0) == (at != UINT64_MAX));
        if (count == 0)
            CHECK(timerq_first(&q) == NULL);
        else
            CHECK_U64(timerq_first(&q)->at_ns, sorted[0]->at_ns);
        check_heap();
    }
    while (count != 0) {
        struct timer *first = timerq_first(&q);
        CHECK_U64(first->at_ns, sorted[0]->at_ns);
        timerq_set(&q, first, UINT64_MAX);
        model_set(first, UINT64_MAX);
    }
    CHECK(timerq_first(&q) == NULL);
    close_queue();
}

static void test_agrees_with_a_sorted_array(void)
{
    run_model(1ull << 50, 3);
    run_model(1ull << 50, 6);
    run_model(20, 2); /* many at the same time */
}

static void test_growing_keeps_what_is_set(void)
{
    static struct timer t[5000];
    open_queue();
    memset(t, 0, sizeof t);
    for (uint32_t i = 0; i < 5000; i++) {
        CHECK(timerq_reserve(&q, i + 1) == 0);
        timerq_set(&q, &t[i], 10000 - i);
        CHECK(timerq_first(&q) == &t[i]);
    }
    CHECK(q.cap < 10000);
    CHECK_U64(hp_pool_manager_live(manager), 1);
    check_heap();
    CHECK(timerq_reserve(&q, 1) == 0); /* never shrinks below what is set */
    CHECK(q.cap >= 5000);
    close_queue();
}

static void test_no_memory_keeps_the_queue(void)
{
    struct timer t = {0};
    manager = hp_pool_manager_new(4u << 20);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "data", 64, 64u << 10, 0);
    CHECK(pool != NULL);
    timerq_init(&q, pool);
    CHECK(timerq_reserve(&q, 1) == 0);
    timerq_set(&q, &t, 5);
    CHECK(timerq_reserve(&q, 10u << 20) == -1);
    CHECK(timerq_first(&q) == &t);
    close_queue();
}

TEST_MAIN(TEST(test_an_empty_queue), TEST(test_in_order), TEST(test_agrees_with_a_sorted_array),
          TEST(test_growing_keeps_what_is_set), TEST(test_no_memory_keeps_the_queue))
