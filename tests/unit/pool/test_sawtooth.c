/* SPDX-License-Identifier: MIT
 *
 * A load that rises to a peak and falls to nothing, twenty times, with blocks of random sizes: what is held must not
 * creep up, and trims must give the memory back to the system, not only in the books.
 */
#include "memory_test.h"

#include <stdio.h>

#define PEAK ((uint64_t)64 << 20)
#define CYCLES 20u
#define BLOCKS 200000u

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;
static void *block[BLOCKS];
static unsigned count;
static unsigned bits_max = 18; /* of a size: up to what a class can have */

/* Mostly small, so that there are many. */
static size_t random_size(void)
{
    return 1 + test_random((uint64_t)1 << (4 + test_random(bits_max - 3)));
}

static uint64_t peak_bytes(void)
{
    return slowed() ? PEAK / 8 : PEAK;
}

static void rise(void)
{
    for (uint64_t bytes = 0; bytes < peak_bytes() && count < BLOCKS;) {
        size_t size = random_size();
        CHECK((block[count] = hp_byte_pool_get(pool, size)) != NULL);
        memset(block[count++], 1, size);
        bytes += size;
    }
}

/* In another order than they came. */
static void fall(void)
{
    while (count > 0) {
        unsigned i = (unsigned)test_random(count);
        hp_byte_pool_put(pool, block[i]);
        block[i] = block[--count];
    }
}

static void open_pool(void)
{
    memset(block, 1, sizeof block); /* so that it is in the baseline */
    count = 0;
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    CHECK((pool = hp_byte_pool_new(manager, "sawtooth", 1, HP_CLASS_BYTES_MAX, 0)) != NULL);
}

static void close_pool(void)
{
    CHECK_U64(counters_of(pool).live, 0);
    hp_byte_pool_free(pool);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

/* Each cycle asks for the same blocks in the same order, and puts them in one of its own: what grows is the pool's
 * doing. */
static void test_what_is_held_does_not_creep_up(void)
{
    uint64_t seed = test_seed(), second = 0, most = 0;
    open_pool();
    for (unsigned cycle = 0; cycle < CYCLES; cycle++) {
        test_set_seed(seed);
        rise();
        uint64_t held = counters_of(pool).held_bytes;
        test_set_seed(seed + cycle + 1);
        fall();
        if (cycle == 1)
            second = counters_of(pool).peak_bytes;
        most = held > most ? held : most;
    }
    test_set_seed(seed);
    printf("   peak of %llu KiB live: held at most %llu KiB, %llu KiB by the second cycle\n",
           (unsigned long long)peak_bytes() / KIB, (unsigned long long)most / KIB, (unsigned long long)second / KIB);
    CHECK(counters_of(pool).peak_bytes <= second + second / 50);
    close_pool();
}

/* The same with other sizes in each cycle. Up to 32 KiB, as a few hundred blocks of more would make the cycles differ
 * by themselves. */
static void test_other_sizes_each_time(void)
{
    uint64_t second = 0;
    if (slowed())
        return; /* and so would a lower peak */
    bits_max = 15;
    open_pool();
    for (unsigned cycle = 0; cycle < CYCLES; cycle++) {
        rise();
        fall();
        if (cycle == 1)
            second = counters_of(pool).peak_bytes;
    }
    printf("   other sizes: held at most %llu KiB, %llu KiB by the second cycle\n",
           (unsigned long long)counters_of(pool).peak_bytes / KIB, (unsigned long long)second / KIB);
    CHECK(counters_of(pool).peak_bytes <= second + second / 50);
    close_pool();
    bits_max = 18;
}

static void check_given_back(uint64_t before, uint64_t peak, const char *how)
{
    uint64_t after = resident(), above = peak - before, given = peak > after ? peak - after : 0;
    printf("   %s: %llu KiB before, %llu KiB at the peak, %llu KiB after: %.1f %% given back\n", how,
           (unsigned long long)before / KIB, (unsigned long long)peak / KIB, (unsigned long long)after / KIB,
           100.0 * (double)given / (double)above);
    CHECK(above > peak_bytes() * 9 / 10);
    CHECK(given >= above * 9 / 10);
}

static void test_trim_gives_the_memory_back(void)
{
    if (!pooled() || slowed())
        return;
    open_pool();
    for (unsigned cycle = 0; cycle < 5; cycle++) {
        uint64_t before = resident();
        rise();
        uint64_t peak = resident();
        fall();
        hp_byte_pool_trim(pool);
        check_given_back(before, peak, "trim");
        CHECK_U64(counters_of(pool).held_bytes, 0);
    }
    close_pool();
}

static void test_idle_trims_give_the_memory_back(void)
{
    if (!pooled() || slowed())
        return;
    open_pool();
    for (unsigned cycle = 0; cycle < 5; cycle++) {
        uint64_t before = resident();
        rise();
        uint64_t peak = resident();
        fall();
        for (unsigned i = 0; i < 4; i++)
            hp_byte_pool_trim_idle(pool, SIZE_MAX);
        check_given_back(before, peak, "trim_idle");
    }
    close_pool();
}

TEST_MAIN(TEST(test_what_is_held_does_not_creep_up), TEST(test_other_sizes_each_time),
          TEST(test_trim_gives_the_memory_back), TEST(test_idle_trims_give_the_memory_back))
