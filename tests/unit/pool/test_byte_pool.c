/* SPDX-License-Identifier: MIT
 *
 * A byte pool in one thread. Random use is in test_byte_pool_model.c, threads in test_byte_pool_threads.c, misuse in
 * test_misuse.c.
 */
#include "pool_test.h"

#include <stdlib.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;

static void open_pool(size_t min, size_t max, uint64_t limit)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "bytes", min, max, limit);
    CHECK(pool != NULL);
}

/* Every test ends with nothing live, and with nothing held once trimmed. */
static void close_pool(void)
{
    CHECK_U64(counters_of(pool).live, 0);
    CHECK_U64(counters_of(pool).live_bytes, 0);
    hp_byte_pool_trim(pool);
    CHECK_U64(counters_of(pool).held_bytes, 0);
    hp_byte_pool_free(pool);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static void check_block(void *block, size_t bytes)
{
    CHECK(block != NULL);
    size_t usable = hp_byte_pool_usable(block);
    CHECK(usable >= bytes);
    CHECK_U64((uintptr_t)block % HP_BLOCK_ALIGN, 0);
    if (pooled() && bytes <= pool->bytes_max) {
        CHECK_U64(usable, hp_class_bytes(hp_class_of(bytes)));
        if ((usable & (usable - 1)) == 0 && usable <= 64 * KIB)
            CHECK_U64((uintptr_t)block % usable, 0);
    }
    memset(block, 0xa5, usable);
}

static void test_sizes_around_every_class(void)
{
    open_pool(1, HP_CLASS_BYTES_MAX, 0);
    for (unsigned c = 0; c < HP_CLASS_COUNT; c++) {
        for (size_t bytes = hp_class_bytes(c) - 1; bytes <= hp_class_bytes(c) + 1; bytes++) {
            void *block[3];
            for (int i = 0; i < 3; i++) {
                block[i] = hp_byte_pool_get(pool, bytes);
                check_block(block[i], bytes);
            }
            for (int i = 0; i < 3; i++)
                hp_byte_pool_put(pool, block[i]);
        }
    }
    close_pool();
}

/* More blocks than two runs of the class have, so that blocks of several runs lie side by side. */
static void check_class_over_runs(unsigned c)
{
    size_t bytes = hp_class_bytes(c), count = 8 * HP_SLICE_BYTES / bytes + 3;
    void **block = calloc(count, sizeof *block);
    CHECK(block != NULL);
    for (size_t i = 0; i < count; i++) {
        block[i] = hp_byte_pool_get(pool, bytes);
        CHECK(block[i] != NULL);
        pattern_write(block[i], bytes, i + 1);
    }
    CHECK_U64(counters_of(pool).live, count);
    for (size_t i = 0; i < count; i++)
        CHECK(pattern_holds(block[i], bytes, i + 1));
    for (size_t i = 0; i < count; i++)
        hp_byte_pool_put(pool, block[i]);
    CHECK_U64(counters_of(pool).live, 0);
    free(block);
}

static void test_every_class_over_several_runs(void)
{
    open_pool(1, HP_CLASS_BYTES_MAX, 0);
    for (unsigned c = 0; c < HP_CLASS_COUNT; c++)
        check_class_over_runs(c);
    close_pool();
}

/* Regression: a get of 0 bytes takes the slow path, which once filled a front that was full already. */
static void test_get_of_nothing_with_a_full_front(void)
{
    enum { COUNT = 300 };
    void *block[COUNT];
    open_pool(1, 4096, 0);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            block[i] = hp_byte_pool_get(pool, round == 0 ? 1 : 0);
            CHECK(block[i] != NULL);
            CHECK(hp_byte_pool_usable(block[i]) >= 1);
            memset(block[i], (int)i, 1);
        }
        CHECK_U64(counters_of(pool).live, COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            CHECK_U64(*(unsigned char *)block[i], i & 0xff);
            for (unsigned k = 0; k < i; k++)
                CHECK(block[i] != block[k]);
        }
        for (unsigned i = 0; i < COUNT; i++)
            hp_byte_pool_put(pool, block[i]);
    }
    close_pool();
}

static void test_small_requests_get_the_smallest_class(void)
{
    open_pool(1000, 4096, 0);
    void *block = hp_byte_pool_get(pool, 1);
    CHECK(block != NULL);
    if (pooled()) /* the pass-through build gets from malloc what was asked for */
        CHECK_U64(hp_byte_pool_usable(block), 1024);
    hp_byte_pool_put(pool, block);
    close_pool();
}

static void test_put_of_null(void)
{
    hp_byte_pool_put(NULL, NULL); /* as at the end of a program whose start failed */
    open_pool(1, 4096, 0);
    hp_byte_pool_put(pool, NULL);
    hp_byte_pool_put_any(pool, NULL);
    CHECK_U64(counters_of(pool).puts, 0);
    hp_byte_pool_free(NULL);
    close_pool();
}

static void test_bin_of_one_size(void)
{
    enum { COUNT = 200 };
    void *block[COUNT];
    open_pool(1, 4096, 0);
    struct hp_bin *bin = hp_byte_pool_bin(pool, 700);
    CHECK_U64(bin->block_bytes, 704);
    for (unsigned i = 0; i < COUNT; i++) {
        block[i] = hp_bin_get(pool, bin);
        CHECK(block[i] != NULL);
        pattern_write(block[i], 704, i);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK(pattern_holds(block[i], 704, i));
        hp_bin_put(pool, bin, block[i]);
    }
    CHECK_U64(counters_of(pool).gets, COUNT);
    CHECK_U64(counters_of(pool).puts, COUNT);
    close_pool();
}

/* Larger than the last class: a mapping each, given back to the system by the put. */
static void test_huge_blocks(void)
{
    static const size_t size[] = {4097, HP_CLASS_BYTES_MAX + 1, HP_SPAN_BYTES, 5 * HP_SPAN_BYTES + 77};
    void *block[4];
    open_pool(64, 4096, 0);
    for (int i = 0; i < 4; i++) {
        block[i] = hp_byte_pool_get(pool, size[i]);
        check_block(block[i], size[i]);
        pattern_write(block[i], size[i], (uint64_t)i + 1);
    }
    CHECK_U64(counters_of(pool).live, 4);
    CHECK(counters_of(pool).live_bytes >= size[0] + size[1] + size[2] + size[3]);
    CHECK(counters_of(pool).held_bytes >= counters_of(pool).live_bytes);
    for (int i = 0; i < 4; i++) {
        CHECK(pattern_holds(block[i], size[i], (uint64_t)i + 1));
        hp_byte_pool_put(pool, block[i]);
        if (pooled())
            CHECK(!hp_span_known(block[i]));
    }
    close_pool();
}

/* What no system can give is refused, counted as such, and leaves no trace in the accounts. */
static void test_impossible_sizes(void)
{
    static const size_t size[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 4};
    open_pool(1, 4096, 0);
    for (uint64_t i = 0; i < sizeof size / sizeof size[0]; i++) {
        CHECK(hp_byte_pool_get(pool, size[i]) == NULL);
        CHECK_U64(counters_of(pool).refused, i + 1);
        CHECK_U64(counters_of(pool).held_bytes, 0);
    }
    CHECK_U64(hp_pool_manager_held(manager), 0);
    close_pool();
}

/* Gets until refused, checks the accounts, and that a put makes room again. */
static void check_limit(size_t bytes, uint64_t limit)
{
    static void *block[4096];
    unsigned count = 0;
    open_pool(1, HP_CLASS_BYTES_MAX, limit);
    for (uint64_t round = 1; round <= 3; round++) {
        while (count < 4096 && (block[count] = hp_byte_pool_get(pool, bytes)) != NULL)
            count++;
        struct hp_counters c = counters_of(pool);
        CHECK(count > 0 && count < 4096);
        CHECK(count >= limit / 2 / hp_byte_pool_usable(block[0]));
        CHECK_U64(c.live, count);
        CHECK_U64(c.refused, round); /* only the get that returned NULL, not what fills a front */
        CHECK(c.live_bytes <= c.held_bytes && c.held_bytes <= limit && c.peak_bytes <= limit);
        unsigned left = round == 3 ? 0 : count / 2;
        while (count > left)
            hp_byte_pool_put(pool, block[--count]);
    }
    close_pool();
}

static void test_limit_refuses_and_recovers(void)
{
    check_limit(1000, 1024 * KIB);
    check_limit(64 * KIB, 1024 * KIB);
    if (pooled()) /* to the byte, where malloc adds some of its own */
        check_limit(64 * KIB, 64 * KIB);
    check_limit(300 * KIB, 1024 * KIB); /* huge blocks */
}

static void test_limit_is_for_all_classes(void)
{
    open_pool(1, HP_CLASS_BYTES_MAX, 64 * KIB);
    void *small = hp_byte_pool_get(pool, 100);
    CHECK(small != NULL);
    CHECK(hp_byte_pool_get(pool, 60 * KIB + 5 * KIB) == NULL);
    CHECK(hp_byte_pool_get(pool, 1024 * KIB) == NULL);
    CHECK_U64(counters_of(pool).refused, 2);
    hp_byte_pool_put(pool, small);
    hp_byte_pool_trim(pool); /* what the class of 100 bytes has kept is for all classes now */
    void *large = hp_byte_pool_get(pool, 60 * KIB);
    CHECK(large != NULL);
    hp_byte_pool_put(pool, large);
    close_pool();
}

static void test_resize_keeps_contents(void)
{
    static const size_t size[] = {1, 16, 17, 200, 100, 1500, 64 * KIB, 300 * KIB, 3000 * KIB, 70 * KIB, 5, 4 * KIB};
    open_pool(1, HP_CLASS_BYTES_MAX, 0);
    void *block = hp_byte_pool_resize(pool, NULL, 9);
    CHECK(block != NULL);
    size_t len = hp_byte_pool_usable(block);
    for (unsigned i = 0; i < sizeof size / sizeof size[0]; i++) {
        pattern_write(block, len, i + 77);
        void *resized = hp_byte_pool_resize(pool, block, size[i]);
        CHECK(resized != NULL);
        size_t room = hp_byte_pool_usable(resized);
        CHECK(room >= size[i]);
        CHECK(pattern_kept(resized, len < size[i] ? len : size[i], len, i + 77));
        CHECK_U64(counters_of(pool).live, 1);
        CHECK_U64(counters_of(pool).live_bytes, room);
        block = resized;
        len = room;
    }
    CHECK(hp_byte_pool_resize(pool, block, 0) == NULL);
    close_pool();
}

static void test_resize_within_the_block_stays(void)
{
    open_pool(1, HP_CLASS_BYTES_MAX, 0);
    char *block = hp_byte_pool_get(pool, 1000);
    CHECK(block != NULL);
    size_t usable = hp_byte_pool_usable(block);
    CHECK(hp_byte_pool_resize(pool, block, usable) == block);
    memset(block, 1, usable); /* the sanitizers must know that all of it may be used now */
    CHECK(hp_byte_pool_resize(pool, block, usable / 2) == block);
    CHECK_U64(counters_of(pool).gets, 1);
    block = hp_byte_pool_resize(pool, block, usable / 10); /* now it would waste too much */
    CHECK(block != NULL);
    CHECK(hp_byte_pool_usable(block) < usable / 2);
    hp_byte_pool_put(pool, block);
    close_pool();
}

static void test_refused_resize_leaves_the_block(void)
{
    open_pool(1, HP_CLASS_BYTES_MAX, 64 * KIB);
    void *block = hp_byte_pool_get(pool, 1000);
    CHECK(block != NULL);
    pattern_write(block, 1000, 4711);
    CHECK(hp_byte_pool_resize(pool, block, 100 * KIB) == NULL);
    CHECK(hp_byte_pool_resize(pool, block, SIZE_MAX) == NULL);
    CHECK_U64(counters_of(pool).refused, 2);
    CHECK_U64(counters_of(pool).live, 1);
    CHECK(pattern_holds(block, 1000, 4711));
    hp_byte_pool_put(pool, block);
    close_pool();
}

/* The slices of empty runs are used again, and leave the account when they have lain idle. */
static void test_empty_runs_are_used_again(void)
{
    enum { COUNT = 100 };
    void *block[COUNT];
    if (!pooled())
        return;
    open_pool(1, HP_CLASS_BYTES_MAX, 0);
    void *stays = hp_byte_pool_get(pool, 100); /* keeps a span */
    CHECK(stays != NULL);
    uint64_t held = 0;
    for (int round = 0; round < 20; round++) {
        size_t bytes = (round % 4 + 1) * 16 * KIB;
        for (int i = 0; i < COUNT; i++)
            CHECK((block[i] = hp_byte_pool_get(pool, bytes)) != NULL);
        for (int i = 0; i < COUNT; i++)
            hp_byte_pool_put(pool, block[i]);
        if (round == 3)
            held = counters_of(pool).held_bytes;
        CHECK(round <= 3 || counters_of(pool).held_bytes <= held + 64 * KIB);
    }
    CHECK(counters_of(pool).held_bytes > COUNT * 60 * KIB);
    hp_byte_pool_trim_idle(pool, SIZE_MAX); /* begins to count */
    hp_byte_pool_trim_idle(pool, SIZE_MAX);
    hp_byte_pool_trim_idle(pool, SIZE_MAX);
    CHECK(counters_of(pool).held_bytes <= 64 * KIB); /* what stays */
    hp_byte_pool_put(pool, stays);
    close_pool();
}

static void test_trim_gives_back_and_the_pool_works_on(void)
{
    enum { COUNT = 2000 };
    static void *block[COUNT];
    open_pool(1, HP_CLASS_BYTES_MAX, 0);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            block[i] = hp_byte_pool_get(pool, i * 3);
            CHECK(block[i] != NULL);
            pattern_write(block[i], i * 3, i);
        }
        for (unsigned i = 0; i < COUNT; i++)
            if (i % 100 != 0)
                hp_byte_pool_put(pool, block[i]);
        uint64_t before = counters_of(pool).held_bytes;
        size_t fell = hp_byte_pool_trim(pool);
        CHECK(fell > before / 4);
        CHECK_U64(counters_of(pool).held_bytes, before - fell);
        CHECK_U64(hp_pool_manager_held(manager), before - fell);
        CHECK_U64(counters_of(pool).live, COUNT / 100);
        for (unsigned i = 0; i < COUNT; i += 100) {
            CHECK(pattern_holds(block[i], i * 3, i)); /* trim has discarded nothing that is live */
            hp_byte_pool_put(pool, block[i]);
        }
    }
    CHECK_U64(counters_of(pool).gets, 3 * COUNT);
    close_pool();
}

TEST_MAIN(TEST(test_sizes_around_every_class), TEST(test_every_class_over_several_runs),
          TEST(test_get_of_nothing_with_a_full_front), TEST(test_small_requests_get_the_smallest_class),
          TEST(test_put_of_null), TEST(test_bin_of_one_size), TEST(test_huge_blocks), TEST(test_impossible_sizes),
          TEST(test_limit_refuses_and_recovers), TEST(test_limit_is_for_all_classes), TEST(test_resize_keeps_contents),
          TEST(test_resize_within_the_block_stays), TEST(test_refused_resize_leaves_the_block),
          TEST(test_empty_runs_are_used_again), TEST(test_trim_gives_back_and_the_pool_works_on))
