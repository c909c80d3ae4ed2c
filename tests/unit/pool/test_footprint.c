/* SPDX-License-Identifier: MIT
 *
 * A pool never costs more memory than hp_footprint says, whatever its callers do. Each pattern fills a pool to its
 * limit and tries for more; what counts is what the process has in memory, and beside it what the pool says it holds.
 */
#include "memory_test.h"

#include <stdio.h>

#define LIMIT ((uint64_t)24 << 20)
#define BLOCKS 400000u

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;
static uint64_t baseline, footprint, most;
static void *live[BLOCKS];
static unsigned count;

static void note(void)
{
    struct hp_counters c = counters_of(pool);
    uint64_t headers = 0, now = resident();
    if (!slowed()) {
        CHECK(now <= baseline + footprint);
        most = now > baseline + most ? now - baseline : most;
    }
    for (const struct hp_span *s = pool->spans; s != NULL; s = s->next)
        headers += s->huge_bytes == 0 ? 4096 : 0;
    CHECK(c.held_bytes <= LIMIT && c.peak_bytes <= LIMIT);
    CHECK(c.held_bytes + headers + pool->mapped_bytes <= footprint);
}

/* Every byte of every block is written. */
static bool get(size_t bytes)
{
    void *block = count < BLOCKS ? hp_byte_pool_get(pool, bytes) : NULL;
    if (block == NULL)
        return false;
    memset(block, 1, hp_byte_pool_usable(block));
    live[count++] = block;
    return true;
}

static void fill(size_t bytes)
{
    while (get(bytes))
        ;
    note();
}

/* Puts all blocks but one in |keep|; 0: all. */
static void put_all_but(unsigned keep)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++)
        if (keep != 0 && i % keep == 0)
            live[kept++] = live[i];
        else
            hp_byte_pool_put(pool, live[i]);
    count = kept;
    note();
}

static void open_pool(size_t max, uint64_t keep_bytes)
{
    struct hp_pool_options options = {.min = 1, .max = max, .limit = LIMIT, .keep_bytes = keep_bytes};
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    memset(live, 1, sizeof live);
    count = 0;
    most = 0;
    footprint = hp_footprint(&options);
    baseline = resident() + 64 * KIB; /* pages of the library's own data that any pool touches */
    CHECK((pool = hp_byte_pool_new_with(manager, "pool", &options)) != NULL);
    note();
}

static void close_pool(const char *name, size_t bytes)
{
    put_all_but(0);
    printf("   %-26s %6zu footprint %llu KiB, resident at most %llu KiB\n", name, bytes,
           (unsigned long long)footprint / KIB, (unsigned long long)most / KIB);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

static const size_t sizes[] = {16, 100, 700, 4096, 10 * KIB, 40 * KIB, 64 * KIB, 136 * KIB, HP_CLASS_BYTES_MAX};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void test_full_of_one_size(void)
{
    for (unsigned i = 0; i < SIZES && pooled(); i++) {
        open_pool(HP_CLASS_BYTES_MAX, 0);
        fill(sizes[i]);
        close_pool("blocks of", sizes[i]);
    }
}

static void test_full_of_huge_blocks(void)
{
    for (unsigned i = 0; i < SIZES && pooled(); i++) {
        open_pool(16, 0);
        fill(sizes[i] + 1);
        close_pool("in their own mappings", sizes[i]);
    }
}

/* As many spans as can be: after each trim only one slice in so many is left, and the next size does not fit between.
 */
static void test_few_slices_in_many_spans(void)
{
    for (unsigned keep = 2; keep <= 32 && pooled(); keep *= 2) {
        open_pool(HP_CLASS_BYTES_MAX, 0);
        for (unsigned round = 0; round < 6; round++) {
            fill(64 * KIB);
            put_all_but(keep);
            hp_byte_pool_trim(pool);
            note();
            fill(sizes[6 + round % 3]);
            put_all_but(keep);
            hp_byte_pool_trim(pool);
            note();
        }
        close_pool("one slice left of", keep);
    }
}

/* All classes at once, up and down, with and without trims. */
static void test_random_loads(void)
{
    unsigned rounds = fewer_if_slowed(60, 20);
    if (!pooled())
        return;
    open_pool(HP_CLASS_BYTES_MAX, 0);
    for (unsigned round = 0; round < rounds; round++) {
        while (get(1 + test_random((uint64_t)1 << (4 + test_random(16)))))
            ;
        fill(1 + test_random(1000)); /* what the large ones have left */
        put_all_but(test_random(2) == 0 ? 0 : 2 + (unsigned)test_random(30));
        if (test_random(3) == 0)
            hp_byte_pool_trim(pool);
        else if (test_random(2) == 0)
            hp_byte_pool_trim_idle(pool, test_random(LIMIT));
        note();
    }
    close_pool("random", rounds);
}

static void test_all_of_it_kept(void)
{
    if (!pooled())
        return;
    open_pool(HP_CLASS_BYTES_MAX, LIMIT);
    CHECK(counters_of(pool).held_bytes >= LIMIT - 2048 * KIB);
    fill(100);
    put_all_but(0);
    fill(256 * KIB);
    close_pool("all kept", (size_t)LIMIT / KIB);
}

/* Both builds say the same: the limit, a header page for each slice, the struct with its fronts, and no more. */
static void test_what_it_says(void)
{
    struct hp_pool_options o = {.min = 1, .max = HP_CLASS_BYTES_MAX, .limit = LIMIT};
    CHECK(hp_footprint(&o) >= LIMIT + LIMIT / 16 + 96 * 64);
    CHECK(hp_footprint(&o) <= LIMIT + LIMIT / 16 + 160 * KIB);
    o.max = 1;
    CHECK(hp_footprint(&o) <= LIMIT + LIMIT / 16 + 16 * KIB);
    o.limit = 1;
    CHECK(hp_footprint(&o) <= 32 * KIB);
    o.limit = 0;
    CHECK_U64(hp_footprint(&o), UINT64_MAX);
}

TEST_MAIN(TEST(test_what_it_says), TEST(test_full_of_one_size), TEST(test_full_of_huge_blocks),
          TEST(test_few_slices_in_many_spans), TEST(test_random_loads), TEST(test_all_of_it_kept))
