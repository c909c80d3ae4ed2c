/* SPDX-License-Identifier: MIT */
#include "pool_test.h"

#include <h3pool/heap.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;
static struct hp_heap heap;

static void open_heap(uint64_t limit)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "heap", 64, HP_CLASS_BYTES_MAX, limit);
    CHECK(pool != NULL);
    hp_heap_init(&heap, pool);
}

static uint64_t live_bytes(void)
{
    return heap.small_bytes + heap.large_bytes;
}

/* Dropping gives everything back, whatever was live. */
static void close_heap(void)
{
    hp_heap_drop(&heap);
    CHECK_U64(hp_heap_live(&heap), 0);
    CHECK_U64(hp_heap_held(&heap), 0);
    CHECK_U64(live_bytes(), 0);
    CHECK(!hp_heap_failed(&heap));
    CHECK_U64(counters_of(pool).live, 0);
    CHECK_U64(counters_of(pool).live_bytes, 0);
    hp_byte_pool_free(pool);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static void test_nothing_before_first_use(void)
{
    open_heap(0);
    hp_heap_free(&heap, NULL);
    CHECK_U64(hp_heap_held(&heap), 0);
    CHECK_U64(counters_of(pool).gets, 0);
    close_heap();
}

/* Every size around the border between blocks from chunks and large ones, and its neighbours' contents. */
static void test_every_small_size(void)
{
    enum { COUNT = 3000 };
    static unsigned char *block[COUNT];
    open_heap(0);
    for (size_t i = 0; i < COUNT; i++) {
        block[i] = hp_heap_alloc(&heap, i);
        CHECK(block[i] != NULL);
        CHECK_U64((uintptr_t)block[i] % 16, 0);
        pattern_write(block[i], i, i);
    }
    CHECK_U64(hp_heap_live(&heap), COUNT);
    CHECK(hp_heap_held(&heap) >= live_bytes() && live_bytes() >= (size_t)COUNT * (COUNT - 1) / 2);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(pattern_holds(block[i], i, i));
        hp_heap_free(&heap, block[i]);
    }
    CHECK_U64(hp_heap_live(&heap), 0);
    CHECK_U64(live_bytes(), 0);
    close_heap();
}

/* Up to a size the pass-through build keeps it with the block: what is counted must be what is taken off again. */
static void test_sizes_around_64_kib(void)
{
    enum { COUNT = 80 };
    void *block[COUNT];
    open_heap(0);
    for (size_t i = 0; i < COUNT; i++) {
        block[i] = hp_heap_alloc(&heap, 64 * KIB - COUNT / 2 - 8 + i);
        CHECK(block[i] != NULL);
        pattern_write(block[i], 64 * KIB - COUNT / 2 - 8 + i, i);
    }
    CHECK(hp_heap_held(&heap) >= COUNT * (64 * KIB - COUNT / 2 - 8));
    CHECK_U64(hp_heap_held(&heap), counters_of(pool).live_bytes);
    for (size_t i = 0; i < COUNT; i++) { /* from the middle of the ring */
        size_t j = i * 37 % COUNT;
        CHECK(pattern_holds(block[j], 64 * KIB - COUNT / 2 - 8 + j, j));
        hp_heap_free(&heap, block[j]);
        CHECK_U64(hp_heap_held(&heap), counters_of(pool).live_bytes);
    }
    CHECK_U64(hp_heap_held(&heap), 0);
    close_heap();
}

/* --- model ---------------------------------------------------------------------------------------------------------
 */

#define SLOTS 600u

struct slot {
    void *block;
    size_t len;
    uint64_t id;
};

static struct slot slot[SLOTS];

static size_t random_size(void)
{
    return test_random(((uint64_t)1 << test_random(test_random(20) == 0 ? 19 : 12)) + 1);
}

static void fill(struct slot *s, void *block, size_t len, uint64_t id)
{
    CHECK(block != NULL);
    CHECK_U64((uintptr_t)block % 16, 0);
    *s = (struct slot){.block = block, .len = len, .id = id};
    pattern_write(block, len, id);
}

static void check_zeroes(const char *block, size_t len)
{
    CHECK(len == 0 || (block[0] == 0 && memcmp(block, block + 1, len - 1) == 0));
}

/* Returns by how much the number of live blocks changes. */
static int play_once(struct slot *s, uint64_t id)
{
    size_t len = random_size();
    if (s->block == NULL && id % 3 == 0) {
        char *block = hp_heap_calloc(&heap, len / 8, 8);
        CHECK(block != NULL);
        check_zeroes(block, len / 8 * 8);
        fill(s, block, len / 8 * 8, id);
        return 1;
    }
    if (s->block == NULL) {
        fill(s, hp_heap_alloc(&heap, len), len, id);
        return 1;
    }
    CHECK(pattern_holds(s->block, s->len, s->id));
    if (id % 3 == 0) {
        void *block = hp_heap_resize(&heap, s->block, len);
        CHECK(block != NULL);
        CHECK(pattern_kept(block, len < s->len ? len : s->len, s->len, s->id));
        fill(s, block, len, id);
        return 0;
    }
    hp_heap_free(&heap, s->block);
    s->block = NULL;
    return -1;
}

static void test_model(void)
{
    uint64_t live = 0, most = 0;
    open_heap(0);
    for (uint64_t id = 1; id <= 200000; id++) {
        live += (uint64_t)(int64_t)play_once(&slot[test_random(SLOTS)], id);
        most = live > most ? live : most;
        CHECK_U64(hp_heap_live(&heap), live);
        CHECK(live_bytes() <= hp_heap_held(&heap));
        CHECK(hp_heap_held(&heap) <= counters_of(pool).live_bytes);
    }
    CHECK(most > SLOTS / 2);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slot[i].block == NULL)
            continue;
        CHECK(pattern_holds(slot[i].block, slot[i].len, slot[i].id));
        if (i % 2 == 0) /* the others are live when the heap is dropped */
            hp_heap_free(&heap, slot[i].block);
        slot[i].block = NULL;
    }
    CHECK(hp_heap_live(&heap) > 0);
    CHECK(!hp_heap_failed(&heap));
    close_heap();
}

/* --- the rest of the contract --------------------------------------------------------------------------------------
 */

static void test_large_blocks_are_given_back_one_by_one(void)
{
    void *block[10];
    open_heap(0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 10; i++) {
            block[i] = hp_heap_alloc(&heap, 50 * KIB);
            CHECK(block[i] != NULL);
        }
        CHECK(hp_heap_held(&heap) >= 10 * 50 * KIB);
        for (int i = 0; i < 10; i++) /* from both ends and the middle of the list */
            hp_heap_free(&heap, block[(i * 7 + 4) % 10]);
        CHECK_U64(hp_heap_live(&heap), 0);
        CHECK_U64(hp_heap_held(&heap), 0);
        CHECK_U64(counters_of(pool).live, 0);
    }
    close_heap();
}

static void test_freed_blocks_are_used_again(void)
{
    void *block[500];
    uint64_t held = 0;
    open_heap(0);
    for (int round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 500; i++) {
            block[i] = hp_heap_alloc(&heap, i);
            CHECK(block[i] != NULL);
        }
        if (round == 0)
            held = hp_heap_held(&heap);
        CHECK(hp_heap_held(&heap) <= held + held / 8); /* the allocator beneath may round each time differently */
        for (unsigned i = 0; i < 500; i++)
            hp_heap_free(&heap, block[i]);
    }
    close_heap();
}

static void test_calloc_overflow(void)
{
    open_heap(0);
    CHECK(hp_heap_calloc(&heap, SIZE_MAX, 2) == NULL);
    CHECK(hp_heap_failed(&heap));
    hp_heap_drop(&heap);
    CHECK(!hp_heap_failed(&heap));
    CHECK(hp_heap_calloc(&heap, SIZE_MAX / 16 + 2, 16) == NULL);
    CHECK(hp_heap_failed(&heap));
    hp_heap_drop(&heap);
    CHECK(hp_heap_alloc(&heap, SIZE_MAX) == NULL);
    CHECK(hp_heap_alloc(&heap, SIZE_MAX / 3) == NULL);
    CHECK(hp_heap_failed(&heap));
    CHECK_U64(hp_heap_held(&heap), 0);
    CHECK_U64(counters_of(pool).held_bytes, 0);
    close_heap();
}

/* A refused heap is frozen: nothing more is given out, and nothing that was changes until the drop. */
static void test_refusal_freezes(void)
{
    void *block[1000];
    unsigned count = 0;
    open_heap(256 * KIB);
    void *freed = hp_heap_alloc(&heap, 10);
    hp_heap_free(&heap, freed);
    while (count < 1000 && (block[count] = hp_heap_alloc(&heap, 1000)) != NULL) {
        CHECK(!hp_heap_failed(&heap));
        pattern_write(block[count], 1000, count);
        count++;
    }
    CHECK(count >= 100 && count < 1000);
    CHECK(hp_heap_failed(&heap));
    hp_heap_free(&heap, freed);
    CHECK(hp_heap_resize(&heap, freed, 10) == NULL);
    struct hp_counters before = counters_of(pool);
    for (unsigned i = 0; i < count; i++) {
        hp_heap_free(&heap, block[i]);
        hp_heap_free(&heap, block[i]); /* a user in the middle of a change may not know what it has freed */
        CHECK(hp_heap_alloc(&heap, i) == NULL);
        CHECK(hp_heap_calloc(&heap, i, 5) == NULL);
        CHECK(hp_heap_resize(&heap, block[i], 100 * KIB) == NULL);
    }
    for (unsigned i = 0; i < count; i++)
        CHECK(pattern_holds(block[i], 1000, i));
    CHECK_U64(hp_heap_live(&heap), count);
    CHECK_U64(counters_of(pool).gets, before.gets);
    CHECK_U64(counters_of(pool).puts, before.puts);
    CHECK_U64(counters_of(pool).refused, before.refused);
    hp_heap_drop(&heap);
    hp_byte_pool_trim(pool);
    CHECK(hp_heap_alloc(&heap, 120 * KIB) != NULL); /* as after init */
    CHECK(!hp_heap_failed(&heap));
    close_heap();
}

static void test_drop_with_live_blocks(void)
{
    open_heap(0);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 400; i++)
            CHECK(hp_heap_alloc(&heap, i * 20) != NULL);
        CHECK_U64(hp_heap_live(&heap), 400);
        CHECK(counters_of(pool).live > 0);
        hp_heap_drop(&heap);
        CHECK_U64(hp_heap_live(&heap), 0);
        CHECK_U64(counters_of(pool).live, 0);
    }
    close_heap();
}

TEST_MAIN(TEST(test_nothing_before_first_use), TEST(test_every_small_size), TEST(test_sizes_around_64_kib),
          TEST(test_model), TEST(test_large_blocks_are_given_back_one_by_one), TEST(test_freed_blocks_are_used_again),
          TEST(test_calloc_overflow), TEST(test_refusal_freezes), TEST(test_drop_with_live_blocks))
