/* SPDX-License-Identifier: MIT
 *
 * What each check does to lawful use, and what reports say. That misuse is found is in test_check_deaths.c. The
 * pass-through build checks nothing, but reports what is live.
 */
#include "pool_test.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool;

static void open_pool(const char *checks)
{
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    set_checks(manager, checks);
    CHECK((pool = hp_byte_pool_new(manager, "checked", 1, 4096, 0)) != NULL);
}

static void close_pool(void)
{
    hp_byte_pool_free(pool);
    CHECK_U64(hp_pool_manager_held(manager), 0);
    hp_pool_manager_free(manager);
}

static unsigned char *get(size_t bytes)
{
    unsigned char *block = hp_byte_pool_get(pool, bytes);
    CHECK(block != NULL);
    return block;
}

/* --- reuse ----------------------------------------------------------------------------------------------------------
 */

#define MANY 300u

/* Gets so many times a block that is put at once; returns at which time |block| came again, or 0. */
static unsigned comes_again_after(const void *block, size_t bytes)
{
    for (unsigned i = 1; i <= MANY; i++) {
        void *next = get(bytes);
        hp_byte_pool_put(pool, next);
        if (next == block)
            return i;
    }
    return 0;
}

static void test_quarantine_keeps_as_many(void)
{
    static const struct {
        const char *checks;
        unsigned puts;
    } mode[] = {{"tag", 1}, {"quarantine=1", 2}, {"quarantine=10", 11}, {"all", 65}, {"quarantine=100,cold", 101}};
    for (unsigned i = 0; i < 5 && pooled(); i++) {
        open_pool(mode[i].checks);
        void *block = get(100);
        hp_byte_pool_put(pool, block);
        CHECK_U64(comes_again_after(block, 100), mode[i].puts);
        close_pool();
    }
}

/* What has been free for longest is reused first: never what was put last. */
static void test_cold_reuses_the_oldest(void)
{
    void *block[10];
    if (!pooled())
        return;
    open_pool("cold");
    for (unsigned i = 0; i < 10; i++)
        block[i] = get(100);
    for (unsigned i = 0; i < 10; i++)
        hp_byte_pool_put(pool, block[i]);
    for (unsigned i = 0; i < 30; i++) {
        void *next = get(100);
        CHECK(next == block[i % 10]);
        hp_byte_pool_put(pool, next);
    }
    close_pool();
}

static void test_zero_leaves_nothing_readable(void)
{
    static const size_t size[] = {1, 8, 100, 4000, 100 * KIB};
    static const unsigned char zeros[100 * KIB];
    static const char *const mode[] = {"zero", "zero,poison", "zero,poison,quarantine=2"};
    for (unsigned m = 0; m < 3 && pooled(); m++) {
        open_pool(mode[m]);
        for (unsigned i = 0; i < 50; i++) {
            unsigned char *block = get(size[i % 5]);
            HP_USABLE(block, size[i % 5]); /* what is not defined is looked at */
            CHECK(memcmp(block, zeros, size[i % 5]) == 0);
            memset(block, 0xee, size[i % 5]);
            hp_byte_pool_put(pool, block);
        }
        close_pool();
    }
}

static void test_one_get_in_so_many_is_guarded(void)
{
    unsigned guarded = 0;
    void *block[100];
    if (!pooled())
        return;
    open_pool("guard=7");
    for (unsigned i = 0; i < 100; i++) {
        block[i] = get(1 + i * 40);
        guarded += hp_span_of(block[i])->guarded != 0;
        CHECK((uintptr_t)block[i] % HP_BLOCK_ALIGN == 0);
    }
    CHECK_U64(guarded, 100 / 7);
    for (unsigned i = 0; i < 100; i++)
        hp_byte_pool_put(pool, block[i]);
    close_pool();
}

static void test_sizes_are_exact(void)
{
    if (!pooled())
        return;
    open_pool("tag");
    for (size_t bytes = 1; bytes < 10000; bytes += 97) {
        unsigned char *block = get(bytes);
        CHECK_U64(hp_byte_pool_usable(block), bytes);
        CHECK_U64(counters_of(pool).live_bytes, bytes);
        memset(block, 1, bytes);
        unsigned char *moved = hp_byte_pool_resize(pool, block, bytes + 1);
        CHECK(moved != NULL && moved != block && moved[bytes - 1] == 1);
        hp_byte_pool_put_sized(pool, moved, bytes + 1);
    }
    void *nothing = hp_byte_pool_get(pool, 0); /* is taken as 1 byte, by both. Regression */
    CHECK(nothing != NULL);
    hp_byte_pool_put_sized(pool, nothing, 0);
    close_pool();
}

/* Regression: the last run of a bin was unmapped unseen. */
static void write_after_put(void *ctx)
{
    (void)ctx;
    unsigned char *block = get(100);
    hp_byte_pool_put(pool, block);
    block[99] ^= 1;
    hp_byte_pool_free(pool);
}

static void test_the_end_of_a_pool_looks_at_every_block(void)
{
    open_pool("poison");
    if (pooled())
        CHECK_DIES(write_after_put, NULL, "was written to after it was put");
    close_pool();
}

/* --- reports --------------------------------------------------------------------------------------------------------
 */

/* What the manager reports. */
static char *report(uint64_t blocks)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    CHECK(to != NULL);
    CHECK_U64(hp_pool_manager_report(manager, to), blocks);
    CHECK(fclose(to) == 0);
    return text;
}

static __attribute__((noinline)) void *get_here(size_t bytes)
{
    void *block = get(bytes);
    memset(block, 1, bytes);
    return block;
}

/* Without optimisation the inline functions of the interface are frames too. */
#ifdef __OPTIMIZE__
#define INLINED_FRAMES (slowed() ? 3u : 0u)
#else
#define INLINED_FRAMES 3u
#endif

static const char *called_there_from;

static __attribute__((noinline)) void *get_there(size_t bytes)
{
    called_there_from = (const char *)__builtin_return_address(0) - 1;
    unsigned char *block = get(bytes);
    block[0] = 2;
    return block;
}

static size_t offset_of(void *(*function)(size_t))
{
    Dl_info info;
    CHECK(dladdr((void *)(uintptr_t)function, &info) != 0);
    return (size_t)((uintptr_t)function - (uintptr_t)info.dli_fbase);
}

/* At which place of the text's frames an address is; 100: at none. */
static unsigned frame_of(const char *text, const void *address)
{
    Dl_info info;
    CHECK(dladdr(address, &info) != 0);
    size_t wanted = (size_t)((uintptr_t)address - (uintptr_t)info.dli_fbase), offset;
    for (unsigned i = 0; (text = strstr(text, "+0x")) != NULL; i++, text++)
        if (sscanf(text, "+0x%zx)", &offset) == 1 && offset == wanted)
            return i;
    return 100;
}

/* Whether a frame of the text, "(program+0x123)", lies close behind the start of the function, and not in |other|. */
static bool names(const char *text, void *(*function)(size_t), void *(*other)(size_t))
{
    size_t from = offset_of(function), to = from + 400, offset;
    if (offset_of(other) > from && offset_of(other) < to)
        to = offset_of(other);
    for (; (text = strstr(text, "+0x")) != NULL; text++)
        if (sscanf(text, "+0x%zx)", &offset) == 1 && offset > from && offset < to)
            return true;
    return false;
}

static void test_report_by_caller(void)
{
    void *block[6];
    open_pool("callers");
    char *text = report(0);
    CHECK_STR(text, "");
    free(text);
    for (volatile unsigned i = 0; i < 6; i++) /* volatile: or a compiler may make several calls of each */
        block[i] = i < 4 ? get_here(10) : get_there(1000);
    text = report(6);
    if (pooled()) {
        static const char first[] = "h3pool: pool 'checked': 2 blocks of 2000 bytes are live, got by ";
        char *second = strchr(text, '\n');
        CHECK(second != NULL && strncmp(text, first, sizeof first - 1) == 0);
        *second++ = '\0';
        CHECK(strncmp(second, "h3pool: pool 'checked': 4 blocks of 40 bytes are live, got by ", 62) == 0);
        CHECK(names(text, get_there, get_here) && !names(text, get_here, get_there));
        /* Regression: get, get_there and then this, and no frames of the library before them. */
        CHECK(frame_of(text, called_there_from) <= INLINED_FRAMES + 2);
        CHECK(names(second, get_here, get_there) && !names(second, get_there, get_here));
        CHECK(strchr(second, '\n') != NULL && strchr(second, '\n')[1] == '\0');
    }
    free(text);
    for (unsigned i = 0; i < 6; i++)
        hp_byte_pool_put(pool, block[i]);
    close_pool();
}

static void *put_all(void *ctx)
{
    void **block = ctx;
    for (unsigned i = 0; i < 6; i++)
        hp_byte_pool_put(pool, block[i]);
    return NULL;
}

/* Regression: blocks that others had put, and the owner not taken in, counted as live. */
static void test_nothing_is_live_that_others_have_put(void)
{
    void *block[6];
    pthread_t thread;
    open_pool("all");
    for (unsigned i = 0; i < 6; i++)
        block[i] = get(100);
    CHECK(pthread_create(&thread, NULL, put_all, block) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    free(report(0));
    close_pool();
}

static void put_twice(void *ctx)
{
    hp_byte_pool_put(pool, ctx);
    hp_byte_pool_put(pool, ctx);
}

static void put_after_overflow(void *ctx)
{
    ((unsigned char *)ctx)[10] ^= 1;
    hp_byte_pool_put(pool, ctx);
}

static void test_messages_name_callers(void)
{
    open_pool("all");
    void *block = get_here(10);
    if (pooled()) {
        CHECK_DIES(put_twice, block, "was put twice, the first time by ");
        CHECK_DIES(put_after_overflow, block, "was written to beyond its 10 bytes, got by ");
    }
    hp_byte_pool_put(pool, block);
    close_pool();
}

/* --- leaks at exit --------------------------------------------------------------------------------------------------
 */

struct leak {
    const char *checks;
    unsigned blocks;
    size_t bytes;
};

static void leak_and_exit(void *ctx)
{
    const struct leak *leak = ctx;
    CHECK(setenv(HP_CHECKS_ENVIRONMENT, leak->checks, 1) == 0);
    CHECK((manager = hp_pool_manager_new(0)) != NULL);
    CHECK((pool = hp_byte_pool_new(manager, "leaky", 1, 4096, 0)) != NULL);
    for (unsigned i = 0; i < leak->blocks; i++) {
        hp_byte_pool_put(pool, get(leak->bytes));
        get_here(leak->bytes);
    }
    exit(0);
}

/* A line for the pool, with the right numbers; nothing where nothing is live. */
static void test_leaks_are_reported_at_exit(void)
{
    static const char *const mode[] = {"tag", "all", "guard", "callers"};
    unsigned trials = fewer_if_slowed(1000, 50), found = 0;
    for (unsigned i = 0; i < trials; i++) {
        char said[2048] = "", line[128], bytes[32] = "";
        struct leak leak = {mode[i % 4], (unsigned)test_random(30), 1 + test_random(5000)};
        test_in_child(leak_and_exit, &leak, said, sizeof said);
        if (pooled())
            snprintf(bytes, sizeof bytes, "%zu", leak.blocks * leak.bytes);
        snprintf(line, sizeof line, "h3pool: pool 'leaky': %u blocks of %s", leak.blocks, bytes);
        if (leak.blocks != 0)
            found += strstr(said, line) != NULL && strstr(said, "bytes are live") != NULL;
        else
            found += strstr(said, "leaky") == NULL;
    }
    printf("   leaks at exit                                   %u of %u\n", found, trials);
    CHECK_U64(found, trials);
}

TEST_MAIN(TEST(test_leaks_are_reported_at_exit), TEST(test_quarantine_keeps_as_many), TEST(test_cold_reuses_the_oldest),
          TEST(test_zero_leaves_nothing_readable), TEST(test_one_get_in_so_many_is_guarded), TEST(test_sizes_are_exact),
          TEST(test_the_end_of_a_pool_looks_at_every_block), TEST(test_report_by_caller),
          TEST(test_nothing_is_live_that_others_have_put), TEST(test_messages_name_callers))
