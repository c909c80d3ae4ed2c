/* SPDX-License-Identifier: MIT
 *
 * Reading of recorded sequences, and their replay: it asks for what was recorded, and nothing is live behind it.
 */
#include "bench/micro/replay.h"
#include "bench/micro/trace.h"

#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int read_text(struct trace *t, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/h3pool-replay-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    int rv = trace_read(t, path);
    unlink(path);
    return rv;
}

static void check_event(const struct trace *t, size_t i, enum trace_kind kind, unsigned slot, uint32_t bytes)
{
    CHECK(i < t->count);
    CHECK_U64(t->events[i].kind, kind);
    CHECK_U64(t->events[i].slot, slot);
    CHECK_U64(t->events[i].bytes, bytes);
}

static void test_events(void)
{
    struct trace t;
    CHECK(read_text(&t, "# a comment: m5\nm100c20\nt2f1m30 r0,300"
                        "f0\n") != 0); /* a blank is nothing */
    CHECK(read_text(&t, "# a comment: m5\nm100c20\nt2f1m30r0,300f0\nm7\n") == 0);
    check_event(&t, 0, TRACE_MALLOC, 0, 100);
    check_event(&t, 1, TRACE_CALLOC, 1, 20);
    check_event(&t, 2, TRACE_FREE, 0, 100);
    check_event(&t, 3, TRACE_MALLOC, 0, 30); /* has the slot of the freed one */
    check_event(&t, 4, TRACE_REALLOC, 0, 300);
    check_event(&t, 5, TRACE_FREE, 0, 300);
    check_event(&t, 6, TRACE_MALLOC, 0, 7);
    check_event(&t, 7, TRACE_FREE, 0, 7); /* what was live at the end of the file */
    check_event(&t, 8, TRACE_FREE, 1, 20);
    CHECK_U64(t.count, 9);
    CHECK_U64(t.slots, 2);
    CHECK_U64(t.allocations, 5);
    CHECK_U64(t.peak_bytes, 320);
    CHECK_U64(t.peak_at, 5);
}

static void test_what_is_refused(void)
{
    static const char *const wrong[] = {
        "",     "# nothing\n", "m",    "mm5",   "x5",       "m5000000000", "f0",
        "m5f1", "m5f0f0",      "m5r0", "m5r0,", "m5r0,6f1", "m5 f0",
    };
    struct trace t;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK(read_text(&t, wrong[i]) != 0);
    CHECK(trace_read(&t, "/nowhere/file") != 0);
}

static void check_replay(const char *text, uint64_t blocks)
{
    static struct ways_cases cases;
    struct trace t;
    struct bench b = {0};
    struct hp_counters before, after;
    CHECK(read_text(&t, text) == 0);
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    ways_home = ways_home_make(manager);
    cases.count = 0;
    replay_add_cases(&cases, &t);
    CHECK(cases.count >= 2);
    for (size_t i = 0; i < cases.count; i++) {
        hp_byte_pool_counters(ways_home.bytes, &before);
        cases.list[i].run(&b, 10);
        hp_byte_pool_counters(ways_home.bytes, &after);
        if (strcmp(cases.list[i].name, "Trace/alloc=pool-bytes") == 0)
            CHECK_U64(after.gets - before.gets, 10 * blocks);
        CHECK_U64(hp_pool_manager_live(manager), 0);
    }
    ways_home_end(&ways_home);
    hp_pool_manager_free(manager);
}

static void test_replay_balances(void)
{
    check_replay("m100c20m0f2m3000r0,9000m300000f0", 6); /* two stay live in the file; the resize is a get of its own */
    check_replay("m1", 1);
}

static void test_memory_and_waste(void)
{
    struct trace t;
    CHECK(read_text(&t, "m100c20f1m3000r0,9000m300000f0") == 0);
    struct hp_pool_manager *manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    CHECK(replay_memory(&t, manager, "pool-nothing") != 0);
    CHECK(replay_memory(&t, manager, "pool-bytes") == 0); /* ends the manager, with nothing live */
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    struct hp_byte_pool *pool = hp_byte_pool_new(manager, "pool", 16, 65536, 0);
    CHECK(pool != NULL && replay_waste(&t, pool) == 0);
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_byte_pool_free(pool);
    hp_pool_manager_free(manager);
}

static void test_name_of_malloc(void)
{
    CHECK_STR(ways_heap_name(), "glibc");
}

TEST_MAIN(TEST(test_events), TEST(test_what_is_refused), TEST(test_replay_balances), TEST(test_memory_and_waste),
          TEST(test_name_of_malloc))
