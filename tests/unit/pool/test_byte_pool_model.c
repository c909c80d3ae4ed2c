/* SPDX-License-Identifier: MIT
 *
 * Random use of a byte pool beside a model that always tells the truth: an array of the live blocks, each filled with
 * a pattern of its own. Overlaps destroy patterns; counters must be what the array says. Ten million operations, and
 * fewer where a tool watches each of them.
 */
#include "pool_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#define SLOTS 500u

struct slot {
    char *block; /* NULL: none */
    size_t len;  /* of the pattern */
    size_t usable;
    size_t bytes; /* asked for; 0: not known, after a resize that may have stayed in place */
    uint64_t id;
};

struct model {
    struct hp_byte_pool *pool;
    size_t size_max;
    bool limited;
    uint64_t gets, puts, remote_puts, live_bytes, refused, next_id;
    struct slot slot[SLOTS];
};

static uint64_t operations_in_all;

/* Sizes of all magnitudes; now and then 0. */
static size_t random_size(const struct model *m)
{
    unsigned bits = 0;
    while ((size_t)1 << bits < m->size_max)
        bits++;
    return test_random(((uint64_t)1 << test_random(bits + 1)) + 1);
}

static void got(struct model *m, struct slot *s, void *block, size_t bytes)
{
    *s = (struct slot){.block = block, .usable = hp_byte_pool_usable(block), .id = m->next_id++};
    CHECK(s->usable >= bytes && s->usable != 0);
    CHECK_U64((uintptr_t)block % HP_BLOCK_ALIGN, 0);
    s->len = test_random(2) == 0 ? s->usable : bytes;
    pattern_write(s->block, s->len, s->id);
}

static void do_get_of(struct model *m, struct slot *s, size_t bytes)
{
    void *block = hp_byte_pool_get(m->pool, bytes);
    if (block == NULL) {
        CHECK(m->limited);
        m->refused++;
        return;
    }
    m->gets++;
    got(m, s, block, bytes);
    s->bytes = bytes;
    m->live_bytes += s->usable;
}

static void do_get(struct model *m, struct slot *s)
{
    do_get_of(m, s, random_size(m));
}

/* --- a thread that puts what is handed to it ------------------------------------------------------------------------
 */

static struct {
    pthread_t thread;
    struct hp_byte_pool *pool;
    _Atomic(void *) block; /* NULL: none */
    _Atomic bool ends;
} other;

static void *put_what_is_handed(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&other.ends)) {
        void *block = atomic_load(&other.block);
        if (block == NULL) {
            sched_yield();
            continue;
        }
        hp_byte_pool_put(other.pool, block);
        atomic_store(&other.block, NULL);
    }
    return NULL;
}

/* Returns when the block has been put, so that the model knows. */
static void put_by_the_other(struct model *m, void *block)
{
    atomic_store(&other.block, block);
    while (atomic_load(&other.block) != NULL)
        sched_yield();
    m->remote_puts++;
}

static void do_put(struct model *m, struct slot *s)
{
    CHECK(pattern_holds(s->block, s->len, s->id));
    uint64_t how = test_random(400);
    if (how == 0)
        put_by_the_other(m, s->block);
    else if (how < 100)
        hp_byte_pool_put_any(m->pool, s->block);
    else if (how < 200 && s->bytes != 0)
        hp_byte_pool_put_sized(m->pool, s->block, s->bytes);
    else
        hp_byte_pool_put(m->pool, s->block);
    m->puts++;
    m->live_bytes -= s->usable;
    *s = (struct slot){0};
}

static void do_resize(struct model *m, struct slot *s)
{
    size_t bytes = random_size(m) + 1, kept = s->len < bytes ? s->len : bytes;
    struct slot old = *s;
    char *block = hp_byte_pool_resize(m->pool, s->block, bytes);
    if (block == NULL) {
        CHECK(m->limited);
        m->refused++;
        CHECK(pattern_holds(s->block, s->len, s->id));
        return;
    }
    CHECK(pattern_kept(block, kept, old.len, old.id));
    if (block != old.block) {
        m->gets++;
        m->puts++;
    }
    got(m, s, block, bytes);
    m->live_bytes += s->usable;
    m->live_bytes -= old.usable;
}

static void check_counters(const struct model *m)
{
    hp_byte_pool_collect(m->pool);
    struct hp_counters c = counters_of(m->pool);
    CHECK_U64(c.gets, m->gets);
    CHECK_U64(c.puts, m->puts);
    CHECK_U64(c.live, m->gets - m->puts);
    CHECK_U64(c.live_bytes, m->live_bytes);
    CHECK_U64(c.refused, m->refused);
    CHECK_U64(c.remote_puts, m->remote_puts);
    CHECK(c.live_bytes <= c.held_bytes && c.held_bytes <= c.peak_bytes);
}

/* Patterns see an overlap when a block is looked at; this sees it at once. */
static void check_no_overlap(const struct model *m)
{
    for (const struct slot *a = m->slot; a < m->slot + SLOTS; a++)
        for (const struct slot *b = m->slot; a->block != NULL && b < a; b++)
            CHECK(b->block == NULL || a->block + a->usable <= b->block || b->block + b->usable <= a->block);
}

/* Gets until one is refused: random use alone may not come to the limit in the few operations of a slow tool. */
static void meet_the_limit(struct model *m)
{
    size_t bytes = m->size_max < HP_CLASS_BYTES_MAX ? m->size_max : HP_CLASS_BYTES_MAX;
    for (struct slot *s = m->slot; s < m->slot + SLOTS && m->refused == 0; s++)
        if (s->block == NULL)
            do_get_of(m, s, bytes);
}

static void play(struct model *m, unsigned operations)
{
    for (unsigned i = 0; i < operations; i++) {
        struct slot *s = &m->slot[test_random(SLOTS)];
        if (s->block == NULL)
            do_get(m, s);
        else if (test_random(4) == 0)
            do_resize(m, s);
        else
            do_put(m, s);
        if (i % 256 == 0)
            check_counters(m);
        if (i % 4096 == 0)
            check_no_overlap(m);
        if (i % 20000 == 19999)
            hp_byte_pool_trim(m->pool);
        else if (i % 1000 == 999)
            hp_byte_pool_trim_idle(m->pool, test_random(4096 * KIB));
    }
    operations_in_all += operations;
    for (struct slot *s = m->slot; s < m->slot + SLOTS; s++)
        if (s->block != NULL)
            do_put(m, s);
    check_counters(m);
    CHECK_U64(counters_of(m->pool).live, 0);
}

/* |checks|: by name, or none. */
static void run_model_with(const char *checks, struct hp_pool_options options, size_t size_max, unsigned operations)
{
    static struct model m;
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    if (checks != NULL)
        set_checks(manager, checks);
    m = (struct model){.size_max = size_max, .limited = options.limit != 0};
    m.pool = other.pool = hp_byte_pool_new_with(manager, "model", &options);
    CHECK(m.pool != NULL);
    atomic_store(&other.ends, false);
    CHECK(pthread_create(&other.thread, NULL, put_what_is_handed, NULL) == 0);
    if (m.limited)
        meet_the_limit(&m);
    play(&m, fewer_if_slowed(operations, 50));
    atomic_store(&other.ends, true);
    CHECK(pthread_join(other.thread, NULL) == 0);
    if (options.limit != 0) {
        CHECK(m.refused > 0);
        CHECK(counters_of(m.pool).peak_bytes <= options.limit);
    }
    hp_byte_pool_trim(m.pool);
    CHECK_U64(hp_pool_manager_held(manager), pooled() ? options.keep_bytes : 0);
    hp_byte_pool_free(m.pool);
    hp_pool_manager_free(manager);
}

static void run_model(size_t min, size_t max, uint64_t limit, size_t size_max, unsigned operations)
{
    run_model_with(NULL, (struct hp_pool_options){.min = min, .max = max, .limit = limit}, size_max, operations);
}

static void test_few_small_classes(void)
{
    run_model(48, 4096, 0, 4096, 10000000);
}

static void test_all_classes_and_huge_blocks(void)
{
    run_model(1, HP_CLASS_BYTES_MAX, 0, 512 * KIB, 300000);
}

static void test_many_huge_blocks(void)
{
    run_model(1, 100, 0, 16 * KIB, 100000);
}

static void test_one_class(void)
{
    run_model(64 * KIB, 64 * KIB, 0, 64 * KIB, 100000);
}

static void test_with_a_limit(void)
{
    run_model(1, HP_CLASS_BYTES_MAX, 3072 * KIB, 512 * KIB, 300000);
}

static void test_small_classes_with_a_limit(void)
{
    run_model(1, 4096, 192 * KIB, 8192, 3000000);
}

static void test_with_memory_kept(void)
{
    run_model_with(NULL, (struct hp_pool_options){.min = 1, .max = 64 * KIB, .keep_bytes = 2048 * KIB}, 64 * KIB,
                   500000);
}

/* Here blocks are never exact, as the checks count what was asked for. */
static void test_with_checks(void)
{
    run_model_with("all", (struct hp_pool_options){.min = 1, .max = 8192}, 4096, 200000);
    run_model_with("tag", (struct hp_pool_options){.min = 1, .max = 8192, .limit = 256 * KIB}, 16 * KIB, 200000);
    run_model_with("cold,poison,zero,guard=50", (struct hp_pool_options){.min = 1, .max = 8192}, 16 * KIB, 100000);
}

static void test_enough_operations(void)
{
    printf("   %llu random operations, %s\n", (unsigned long long)operations_in_all, hp_build_name());
    CHECK(slowed() || operations_in_all == 0 || operations_in_all >= 10000000); /* 0: run alone */
}

TEST_MAIN(TEST(test_few_small_classes), TEST(test_all_classes_and_huge_blocks), TEST(test_many_huge_blocks),
          TEST(test_one_class), TEST(test_with_a_limit), TEST(test_small_classes_with_a_limit),
          TEST(test_with_memory_kept), TEST(test_with_checks), TEST(test_enough_operations))
