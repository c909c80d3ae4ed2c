/* SPDX-License-Identifier: MIT
 *
 * What runs and spans promise without checks: links that a write after put does not turn into pointers, memory that is
 * kept and touched at birth, and trims that leave what is in use.
 */
#include "pool_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;

static void open_pool(struct hp_pool_options options)
{
    options.min = 1;
    options.max = options.max != 0 ? options.max : 64 * KIB;
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    CHECK((pool = hp_byte_pool_new_with(manager, "span", &options)) != NULL);
}

static void close_pool(void)
{
    hp_byte_pool_collect(pool);
    CHECK_U64(counters_of(pool).live, 0);
    hp_byte_pool_free(pool);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

/* --- links ----------------------------------------------------------------------------------------------------------
 */

#define LINKED 1200u

/* Changes 1 to 8 bytes, the first of them always. A single one is the hardest: the link changes least. */
static void spoil(unsigned char *block)
{
    uint64_t bytes = test_random(2) == 0 ? 1 : 1 + test_random(8);
    block[0] ^= (unsigned char)(1 + test_random(255));
    for (uint64_t i = 1; i < bytes; i++)
        block[i] = (unsigned char)test_random(256);
}

static void write_to_a_free_block(void *ctx)
{
    unsigned char *block[LINKED];
    test_set_seed(*(uint64_t *)ctx);
    size_t bytes = 1 + test_random(test_random(2) == 0 ? 16 : 1024); /* in small ones other blocks are near */
    for (unsigned i = 0; i < LINKED; i++)
        CHECK((block[i] = hp_byte_pool_get(pool, bytes)) != NULL);
    for (unsigned i = 0; i < LINKED; i++) {
        unsigned other = (unsigned)test_random(LINKED);
        unsigned char *swap = block[i];
        block[i] = block[other];
        block[other] = swap;
    }
    for (unsigned i = 0; i < LINKED / 2; i++) /* the first ones are back in their runs, which are not empty */
        hp_byte_pool_put(pool, block[i]);
    spoil(block[test_random(30)]);
    for (unsigned i = 0, k = 0; i < LINKED / 2; i++, k = 0) { /* what comes again was there before */
        const unsigned char *again = hp_byte_pool_get(pool, bytes);
        while (k < LINKED / 2 && block[k] != again)
            k++;
        CHECK(k < LINKED / 2);
    }
}

static void *put_some(void *ctx)
{
    unsigned char **block = ctx;
    for (unsigned i = 0; i < 10; i++)
        hp_byte_pool_put(pool, block[i]);
    return NULL;
}

static void write_to_a_block_that_waits(void *ctx)
{
    unsigned char *block[10];
    pthread_t thread;
    test_set_seed(*(uint64_t *)ctx);
    for (unsigned i = 0; i < 10; i++)
        CHECK((block[i] = hp_byte_pool_get(pool, 1 + test_random(64 * KIB))) != NULL);
    CHECK(pthread_create(&thread, NULL, put_some, block) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    spoil(block[test_random(10)]);
    hp_byte_pool_collect(pool);
}

static void test_spoiled_links_are_found(void)
{
    unsigned trials = fewer_if_slowed(1000, 50);
    if (!pooled())
        return;
    open_pool((struct hp_pool_options){0});
    for (unsigned i = 0; i < trials; i++) {
        uint64_t seed = test_random(UINT64_MAX);
        CHECK_DIES(write_to_a_free_block, &seed, "was written to after it was put");
        CHECK_DIES(write_to_a_block_that_waits, &seed, "was written to after it was put");
    }
    printf("   default   write to the first word of a free block      %u of %u\n", trials, trials);
    printf("   default   write to the first word of a waiting block   %u of %u\n", trials, trials);
    close_pool();
}

/* --- what is kept ---------------------------------------------------------------------------------------------------
 */

static uint64_t faults(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return (uint64_t)usage.ru_minflt;
}

#define KEEP (4096 * KIB)
#define BLOCKS 50u

static void get_touch_put(struct hp_byte_pool *from)
{
    static const size_t size[] = {64 * KIB, 1, 100, 700, 3000, 10 * KIB};
    void *block[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t bytes = size[i < 40 ? 0 : i % 6];
        block[i] = hp_byte_pool_get(from, bytes);
        CHECK(block[i] != NULL);
        memset(block[i], 1, bytes);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        hp_byte_pool_put(from, block[i]);
}

static void test_gets_within_what_is_kept_do_not_fault(void)
{
    if (!pooled() || slowed())
        return;
    open_pool((struct hp_pool_options){.keep_bytes = KEEP});
    CHECK_U64(counters_of(pool).held_bytes, KEEP);
    struct hp_byte_pool *warm = hp_byte_pool_new(manager, "warm", 1, 64 * KIB, 0);
    CHECK(warm != NULL);
    get_touch_put(warm); /* the test's own stack, code and so on */
    hp_byte_pool_free(warm);
    uint64_t before = faults();
    get_touch_put(pool);
    CHECK_U64(faults() - before, 0);
    for (unsigned i = 0; i < 3; i++) {
        hp_byte_pool_trim(pool);
        hp_byte_pool_trim_idle(pool, SIZE_MAX);
        CHECK_U64(counters_of(pool).held_bytes, KEEP);
        before = faults();
        get_touch_put(pool);
        CHECK_U64(faults() - before, 0);
    }
    close_pool();
}

/* Regression: blocks with mappings of their own counted as kept, and the trim took what was. */
static void test_huge_blocks_are_not_what_is_kept(void)
{
    if (!pooled())
        return;
    open_pool((struct hp_pool_options){.keep_bytes = KEEP});
    void *huge = hp_byte_pool_get(pool, 8192 * KIB);
    CHECK(huge != NULL);
    for (unsigned i = 0; i < 3; i++) {
        hp_byte_pool_trim(pool);
        hp_byte_pool_trim_idle(pool, SIZE_MAX);
    }
    hp_byte_pool_put(pool, huge);
    CHECK_U64(counters_of(pool).held_bytes, KEEP);
    close_pool();
}

static void test_what_cannot_be_kept_is_refused(void)
{
    struct hp_pool_options options = {.min = 1, .max = 100, .keep_bytes = KEEP, .limit = KEEP / 2};
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    pool = hp_byte_pool_new_with(manager, "span", &options);
    CHECK((pool == NULL) == pooled());
    hp_byte_pool_free(pool);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

/* Regression: free slices of the pool filled its limit, and a block with a mapping of its own was refused. */
static void test_free_slices_make_room_for_a_huge_block(void)
{
    void *block[60];
    open_pool((struct hp_pool_options){.limit = 4096 * KIB});
    for (unsigned i = 0; i < 60; i++)
        CHECK((block[i] = hp_byte_pool_get(pool, 60 * KIB)) != NULL);
    for (unsigned i = 0; i < 60; i++)
        hp_byte_pool_put(pool, block[i]);
    void *huge = hp_byte_pool_get(pool, 2048 * KIB);
    CHECK(huge != NULL);
    hp_byte_pool_put(pool, huge);
    CHECK_U64(counters_of(pool).refused, 0);
    close_pool();
}

/* Regression: unused slices in rows too short for a run stayed held while new ones were taken. */
static void test_no_new_peak_while_slices_lie_unused(void)
{
    void *block[120], *large[10];
    if (!pooled())
        return;
    open_pool((struct hp_pool_options){.max = HP_CLASS_BYTES_MAX});
    for (unsigned i = 0; i < 120; i++)
        CHECK((block[i] = hp_byte_pool_get(pool, 64 * KIB)) != NULL);
    uint64_t peak = counters_of(pool).peak_bytes;
    for (unsigned i = 0; i < 120; i += 2) /* half of the slices, none beside another */
        hp_byte_pool_put(pool, block[i]);
    for (unsigned i = 0; i < 10; i++) {
        CHECK((large[i] = hp_byte_pool_get(pool, 256 * KIB)) != NULL);
        memset(large[i], 1, 256 * KIB);
    }
    CHECK_U64(counters_of(pool).peak_bytes, peak);
    for (unsigned i = 0; i < 10; i++)
        hp_byte_pool_put(pool, large[i]);
    for (unsigned i = 1; i < 120; i += 2)
        hp_byte_pool_put(pool, block[i]);
    close_pool();
}

/* --- idle trims -----------------------------------------------------------------------------------------------------
 */

#define BASE 64u
#define SWING 128u

static void fill(void **block, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        CHECK((block[i] = hp_byte_pool_get(pool, 64 * KIB)) != NULL);
}

static void empty(void **block, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        hp_byte_pool_put(pool, block[i]);
}

static void test_a_steady_swing_keeps_its_memory(void)
{
    void *base[BASE], *swing[SWING];
    if (!pooled())
        return;
    open_pool((struct hp_pool_options){0});
    fill(base, BASE);
    for (unsigned i = 0; i < 20; i++) {
        fill(swing, SWING);
        empty(swing, SWING);
        size_t fell = hp_byte_pool_trim_idle(pool, SIZE_MAX);
        CHECK(i < 2 || fell == 0);
        CHECK(counters_of(pool).held_bytes >= (BASE + SWING) * 64 * KIB);
    }
    uint64_t peak = counters_of(pool).held_bytes, held = peak;
    for (unsigned i = 0; i < 100; i++) { /* nothing comes any more: all of the swing goes, a little with each call */
        size_t fell = hp_byte_pool_trim_idle(pool, 1024 * KIB);
        CHECK(fell <= 1024 * KIB);
        held -= fell;
        CHECK_U64(counters_of(pool).held_bytes, held);
    }
    CHECK(held <= (BASE + 16) * 64 * KIB);
    empty(base, BASE);
    for (unsigned i = 0; i < 3; i++)
        hp_byte_pool_trim_idle(pool, SIZE_MAX);
    CHECK_U64(counters_of(pool).held_bytes, 0);
    close_pool();
}

/* What was free at every moment goes, and no more: the load uses 32 of 128, then 96. */
static void test_the_least_that_was_free_goes(void)
{
    void *block[SWING];
    if (!pooled() || hp_watched())
        return; /* without fronts other numbers are exact */
    open_pool((struct hp_pool_options){0});
    fill(block, SWING);
    empty(block, SWING);
    hp_byte_pool_trim_idle(pool, SIZE_MAX); /* from here on it counts */
    uint64_t held = counters_of(pool).held_bytes;
    fill(block, 32);
    empty(block, 32);
    fill(block, 96);
    empty(block, 96);
    size_t fell = hp_byte_pool_trim_idle(pool, SIZE_MAX);
    CHECK(fell >= (SWING - 96 - 16) * 64 * KIB && fell <= (SWING - 96) * 64 * KIB);
    CHECK_U64(counters_of(pool).held_bytes, held - fell);
    close_pool();
}

/* A call empties a block of a front per 512 bytes that it may give back: here half of the front, with no run of it. */
static void test_idle_trims_empty_fronts_by_and_by(void)
{
    void *block[64];
    if (!pooled() || hp_watched())
        return; /* there are no fronts */
    open_pool((struct hp_pool_options){0});
    for (unsigned i = 0; i < 64; i++)
        CHECK((block[i] = hp_byte_pool_get(pool, 2 * KIB)) != NULL);
    for (unsigned i = 0; i < 64; i++) /* each run's blocks apart */
        hp_byte_pool_put(pool, block[i % 2 * 32 + i / 2]);
    hp_byte_pool_trim_idle(pool, 0); /* from here on it counts */
    CHECK_U64(hp_byte_pool_trim_idle(pool, 32 * 512), 0);
    CHECK_U64(hp_byte_pool_trim_idle(pool, SIZE_MAX), 0); /* what the half front was */
    CHECK(hp_byte_pool_trim_idle(pool, SIZE_MAX) > 0);
    close_pool();
}

/* --- huge pages -----------------------------------------------------------------------------------------------------
 */

/* The flags that the kernel shows for the mapping of an address: " hg " or " nh ". */
static bool has_flag(const void *address, const char *flag)
{
    char line[512];
    bool inside = false, found = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned long long from, to;
        if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
            inside = from <= (uintptr_t)address && (uintptr_t)address < to;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, flag) != NULL;
    }
    fclose(f);
    return found;
}

static void test_huge_pages_are_asked_for(void)
{
    for (int wanted = 0; wanted < 2; wanted++) {
        open_pool((struct hp_pool_options){.huge_pages = wanted != 0, .keep_bytes = 1024 * KIB});
        void *block = hp_byte_pool_get(pool, 1000), *huge = hp_byte_pool_get(pool, 3072 * KIB);
        CHECK(block != NULL && huge != NULL);
        memset(huge, 1, 3072 * KIB);
        if (pooled() && !slowed() && access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0) {
            CHECK(has_flag(block, wanted != 0 ? " hg " : " nh "));
            CHECK(has_flag(huge, wanted != 0 ? " hg " : " nh "));
        }
        hp_byte_pool_put(pool, block);
        hp_byte_pool_put(pool, huge);
        close_pool();
    }
}

TEST_MAIN(TEST(test_spoiled_links_are_found), TEST(test_gets_within_what_is_kept_do_not_fault),
          TEST(test_huge_blocks_are_not_what_is_kept), TEST(test_what_cannot_be_kept_is_refused),
          TEST(test_free_slices_make_room_for_a_huge_block), TEST(test_no_new_peak_while_slices_lie_unused),
          TEST(test_a_steady_swing_keeps_its_memory), TEST(test_the_least_that_was_free_goes),
          TEST(test_idle_trims_empty_fronts_by_and_by), TEST(test_huge_pages_are_asked_for))
