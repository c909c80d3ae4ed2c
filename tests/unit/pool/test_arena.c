/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

#include <h3pool/arena.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;

static void open_pool(void)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "arena", 64, 64u << 10, 0);
    CHECK(pool != NULL);
}

static void close_pool(void)
{
    CHECK_U64(hp_pool_manager_live(manager), 0);
    CHECK_U64(counters_of(pool).live_bytes, 0);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

static void test_nothing_before_first_use(void)
{
    open_pool();
    struct hp_arena arena;
    hp_arena_init(&arena, pool, 1024, 4096);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_arena_reset(&arena);
    close_pool();
}

static void test_blocks_keep_their_contents(void)
{
    open_pool();
    struct hp_arena arena;
    unsigned char *block[200];
    hp_arena_init(&arena, pool, 64, 1u << 20);
    for (unsigned i = 0; i < 200; i++) {
        size_t align = (size_t)1 << test_random(5);
        block[i] = hp_arena_alloc(&arena, i + 1, align);
        CHECK(block[i] != NULL);
        CHECK_U64((uintptr_t)block[i] % align, 0);
        memset(block[i], (int)i, i + 1);
    }
    for (unsigned i = 0; i < 200; i++)
        for (unsigned k = 0; k <= i; k++)
            CHECK_U64(block[i][k], i);
    hp_arena_reset(&arena);
    close_pool();
}

static void test_limit_sets_overflow(void)
{
    open_pool();
    struct hp_arena arena;
    hp_arena_init(&arena, pool, 256, 1024);
    CHECK(hp_arena_alloc(&arena, 900, 1) != NULL);
    CHECK(!arena.overflow);
    CHECK(hp_arena_alloc(&arena, 900, 1) == NULL);
    CHECK(arena.overflow);
    hp_arena_reset(&arena);
    CHECK(!arena.overflow);
    CHECK(hp_arena_alloc(&arena, 900, 1) != NULL);
    hp_arena_reset(&arena);
    close_pool();
}

static void test_rewind_gives_back(void)
{
    open_pool();
    struct hp_arena arena;
    hp_arena_init(&arena, pool, 256, 1u << 20);
    char *first = hp_arena_copy(&arena, "first", 5);
    CHECK(first != NULL);
    struct hp_arena_mark mark = hp_arena_mark(&arena);
    uint32_t held = arena.held_bytes;
    for (int i = 0; i < 100; i++)
        CHECK(hp_arena_alloc(&arena, 100, 8) != NULL);
    CHECK(arena.held_bytes > held);
    hp_arena_rewind(&arena, mark);
    CHECK_U64(arena.held_bytes, held);
    CHECK_STR(first, "first");
    char *again = hp_arena_copy(&arena, "again", 5);
    CHECK(again == first + 6); /* the place after "first" is free again */
    hp_arena_reset(&arena);
    close_pool();
}

TEST_MAIN(TEST(test_nothing_before_first_use), TEST(test_blocks_keep_their_contents), TEST(test_limit_sets_overflow),
          TEST(test_rewind_gives_back))
