/* SPDX-License-Identifier: MIT
 *
 * Out-of-memory torture: a scenario that uses every getter of the library runs under a limit of 1, 2, 3 ... units of
 * 64 KiB, until it passes; and with a failure injected at its 1st, 2nd, 3rd ... get. A step that fails must leave what
 * the others hold intact, and everything must come back.
 *
 * The limit is the manager's or each pool's; it stays ("forever"), or is lifted at the first refusal ("once"), and
 * then every later step must succeed. An injected failure is of one get, or of all from that one on.
 */
#include "pool_test.h"

#include <h3pool/arena.h>
#include <h3pool/builder.h>
#include <h3pool/heap.h>
#include <h3pool/kind.h>
#include <h3pool/object_pool.h>
#include <stdio.h>

#define BLOCKS 40u

struct world {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *bytes, *heap_blocks;
    struct hp_object_pool objects;
    struct hp_heap heap;
    struct hp_arena arena;
    struct hp_pool_kind *kind;
    struct hp_buffer *document, *buffer[BLOCKS];
    struct hp_bin *bin;
    unsigned char *block[BLOCKS], *heap_block[BLOCKS], *arena_block[BLOCKS], *bin_block[BLOCKS], *kind_block[BLOCKS];
    size_t len[BLOCKS];
    void *object[BLOCKS];
};

/* |checks|: by name, for injected failures; or NULL. */
static void world_open(struct world *w, uint64_t manager_limit, uint64_t pool_limit, const char *checks)
{
    struct hp_pool_options options = {.min = 1, .max = 4096, .limit = pool_limit};
    *w = (struct world){.manager = hp_pool_manager_new(manager_limit)};
    CHECK(w->manager != NULL);
    if (checks != NULL)
        set_checks(w->manager, checks);
    w->bytes = hp_byte_pool_new(w->manager, "bytes", 32, 64 * KIB, pool_limit);
    w->heap_blocks = hp_byte_pool_new(w->manager, "heap", 32, 64 * KIB, pool_limit);
    CHECK(w->bytes != NULL && w->heap_blocks != NULL);
    CHECK(hp_object_pool_init(&w->objects, w->manager, "objects", 3000, 4, NULL) == 0);
    atomic_store(&w->objects.blocks->limit_bytes, pool_limit);
    hp_heap_init(&w->heap, w->heap_blocks);
    hp_arena_init(&w->arena, w->bytes, 1024, 1u << 20);
    w->bin = hp_byte_pool_bin(w->bytes, 5000);
    CHECK((w->kind = hp_pool_kind_new(w->manager, "kind", &options)) != NULL);
}

/* --- the steps: each true when it got all it wanted -----------------------------------------------------------------
 */

static bool step_get(struct world *w, unsigned i)
{
    w->len[i] = i * 300 + 1;
    w->block[i] = hp_byte_pool_get(w->bytes, w->len[i]);
    if (w->block[i] != NULL)
        pattern_write(w->block[i], w->len[i], i);
    return w->block[i] != NULL;
}

static bool step_resize(struct world *w, unsigned i)
{
    if (w->block[i] == NULL)
        return true; /* its get was refused and has been seen */
    size_t len = w->len[i] * (i % 7 + 1);
    unsigned char *block = hp_byte_pool_resize(w->bytes, w->block[i], len);
    if (block == NULL) {
        CHECK(pattern_holds(w->block[i], w->len[i], i));
        return false;
    }
    CHECK(pattern_holds(block, w->len[i], i));
    w->block[i] = block;
    w->len[i] = len;
    pattern_write(block, len, i);
    return true;
}

static bool step_bin(struct world *w, unsigned i)
{
    w->bin_block[i] = hp_bin_get(w->bytes, w->bin);
    if (w->bin_block[i] != NULL)
        pattern_write(w->bin_block[i], 5000, i);
    return w->bin_block[i] != NULL;
}

static bool step_kind(struct world *w, unsigned i)
{
    w->kind_block[i] = hp_pool_get(w->kind, i * 300 + 1); /* the last ones have mappings of their own */
    if (w->kind_block[i] != NULL)
        pattern_write(w->kind_block[i], i * 300 + 1, i);
    return w->kind_block[i] != NULL;
}

static bool step_buffer(struct world *w, unsigned i)
{
    w->buffer[i] = hp_buffer_new(w->bytes, i * 100);
    if (w->buffer[i] != NULL)
        pattern_write(w->buffer[i]->data, i * 100, i);
    return w->buffer[i] != NULL;
}

static bool step_object(struct world *w, unsigned i)
{
    w->object[i] = hp_object_pool_get(&w->objects);
    if (w->object[i] != NULL)
        pattern_write(w->object[i], 3000, i);
    return w->object[i] != NULL;
}

static void check_heap_blocks(const struct world *w)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        CHECK(w->heap_block[i] == NULL || pattern_holds(w->heap_block[i], i * 500, i));
}

/* A refusal ends the heap, as it ends a connection; the next step begins another. */
static bool step_heap(struct world *w, unsigned i)
{
    void *block = i % 2 == 0 ? hp_heap_alloc(&w->heap, i * 100) : hp_heap_calloc(&w->heap, i, 100);
    if (block != NULL)
        w->heap_block[i] = hp_heap_resize(&w->heap, block, i * 500);
    if (w->heap_block[i] == NULL) {
        CHECK(hp_heap_failed(&w->heap));
        check_heap_blocks(w);
        hp_heap_drop(&w->heap);
        memset(w->heap_block, 0, sizeof w->heap_block);
        return false;
    }
    pattern_write(w->heap_block[i], i * 500, i);
    return true;
}

static bool step_arena(struct world *w, unsigned i)
{
    static const char text[BLOCKS * 200];
    w->arena_block[i] =
        i % 2 == 0 ? hp_arena_alloc(&w->arena, i * 200, 16) : (unsigned char *)hp_arena_copy(&w->arena, text, i * 200);
    if (w->arena_block[i] == NULL) {
        CHECK(w->arena.overflow);
        return false;
    }
    pattern_write(w->arena_block[i], i * 200, i);
    return true;
}

static bool step_document(struct world *w, unsigned i)
{
    struct hp_builder out;
    if (i != 0)
        return true;
    hp_builder_init(&out, w->bytes, 1u << 20);
    for (unsigned row = 0; row < 300; row++)
        hp_pool_manager_json(w->manager, &out);
    w->document = hp_builder_finish(&out);
    CHECK(w->document != NULL || counters_of(w->bytes).refused > 0);
    return w->document != NULL;
}

static void check_intact(const struct world *w)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        CHECK(w->bin_block[i] == NULL || pattern_holds(w->bin_block[i], 5000, i));
        CHECK(w->kind_block[i] == NULL || pattern_holds(w->kind_block[i], i * 300 + 1, i));
        CHECK(w->buffer[i] == NULL || pattern_holds(w->buffer[i]->data, i * 100, i));
        CHECK(w->block[i] == NULL || pattern_holds(w->block[i], w->len[i], i));
        CHECK(w->object[i] == NULL || pattern_holds(w->object[i], 3000, i));
        CHECK(w->arena_block[i] == NULL || pattern_holds(w->arena_block[i], i * 200, i));
    }
    check_heap_blocks(w);
}

/* Checks that everything is intact, gives it back, and that nothing is left. */
static void world_close(struct world *w)
{
    check_intact(w);
    for (unsigned i = 0; i < BLOCKS; i++) {
        hp_byte_pool_put(w->bytes, w->block[i]);
        hp_bin_put(w->bytes, w->bin, w->bin_block[i]);
        hp_pool_put(w->kind, w->kind_block[i]);
        hp_buffer_unref(w->buffer[i]);
        if (w->object[i] != NULL)
            hp_object_pool_put(&w->objects, w->object[i]);
        hp_heap_free(&w->heap, w->heap_block[i]);
    }
    CHECK_U64(hp_heap_live(&w->heap), 0);
    hp_heap_drop(&w->heap);
    hp_arena_reset(&w->arena);
    hp_buffer_unref(w->document);
    CHECK_U64(hp_pool_manager_live(w->manager), 0);
    hp_pool_kind_free(w->kind);
    hp_object_pool_fini(&w->objects);
    hp_byte_pool_free(w->bytes);
    hp_byte_pool_free(w->heap_blocks);
    CHECK_U64(hp_pool_manager_held(w->manager), 0);
    hp_pool_manager_free(w->manager);
}

static uint64_t refusals(const struct world *w)
{
    const struct hp_byte_pool *of_kind = hp_thread_pools[w->kind->index];
    return counters_of(w->bytes).refused + counters_of(w->heap_blocks).refused +
           counters_of(w->objects.blocks).refused + (of_kind != NULL ? counters_of(of_kind).refused : 0);
}

static void lift_limits(struct world *w)
{
    atomic_store(&w->bytes->limit_bytes, 0);
    atomic_store(&w->heap_blocks->limit_bytes, 0);
    atomic_store(&w->objects.blocks->limit_bytes, 0);
    if (hp_thread_pools[w->kind->index] != NULL)
        atomic_store(&hp_thread_pools[w->kind->index]->limit_bytes, 0);
    else
        w->kind->options.limit = 0;
}

/* Returns how many steps failed. */
static unsigned play(struct world *w, bool once)
{
    static bool (*const step[])(struct world *, unsigned) = {
        step_get, step_object, step_heap, step_arena, step_resize, step_document, step_bin, step_kind, step_buffer,
    };
    unsigned failed = 0;
    for (unsigned s = 0; s < sizeof step / sizeof step[0]; s++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            uint64_t refused = refusals(w);
            bool passed = step[s](w, i);
            CHECK(passed == (refusals(w) == refused)); /* a refusal is what fails a step, and always does */
            if (passed)
                continue;
            failed++;
            if (once)
                lift_limits(w);
        }
    }
    return failed;
}

static void torture(bool whole, bool once)
{
    static struct world w;
    unsigned failed = 1, n = 0;
    while (failed != 0) {
        uint64_t limit = ++n * 64 * KIB;
        CHECK(n < 1000);
        world_open(&w, whole ? limit : 0, whole ? 0 : limit, NULL);
        failed = play(&w, once);
        CHECK(!once || failed <= 1);
        CHECK(n != 1 || failed > 0);
        CHECK(once || hp_pool_manager_held(w.manager) <= limit * (whole ? 1 : 4));
        world_close(&w);
    }
    CHECK(n > 3); /* else hardly anything was refused */
}

static void test_limit_of_the_manager(void)
{
    torture(true, false);
}

static void test_limit_of_each_pool(void)
{
    torture(false, false);
}

static void test_refused_once(void)
{
    torture(false, true);
}

/* --- injected failures ----------------------------------------------------------------------------------------------
 */

/* The n-th get fails, or all from the n-th on, for each n until there are fewer gets. */
static void torture_injected(const char *failure, bool once)
{
    static struct world w;
    uint64_t n = 0, step = slowed() ? 7 : 1, failures = 0, gets;
    if (!pooled())
        return; /* the pass-through build injects nothing */
    do {
        char checks[64];
        snprintf(checks, sizeof checks, "%s=%llu", failure, (unsigned long long)(n += step));
        world_open(&w, 0, 0, checks);
        unsigned failed = play(&w, false);
        gets = hp_pool_manager_gets_counted(w.manager);
        CHECK_U64(failed != 0, gets >= n);
        CHECK(!once || failed <= 1);
        failures += failed;
        world_close(&w);
        CHECK(n < 5000);
    } while (gets >= n);
    printf("   %s: %llu runs, %llu steps failed\n", failure, (unsigned long long)(n / step),
           (unsigned long long)failures);
    CHECK(n > 9 * BLOCKS - 100); /* each step gets at least once */
}

static void test_each_get_fails_once(void)
{
    torture_injected("fail-once", true);
}

static void test_all_gets_fail_from_one_on(void)
{
    torture_injected("fail-from", false);
}

static void test_every_nth_get_fails(void)
{
    static struct world w;
    for (unsigned n = 1; n < 40 && pooled(); n++) {
        char checks[64];
        snprintf(checks, sizeof checks, "poison,fail=%u", n);
        world_open(&w, 0, 0, checks);
        unsigned failed = play(&w, false);
        CHECK(failed >= hp_pool_manager_gets_counted(w.manager) / n / 2); /* a heap that failed takes two */
        world_close(&w);
    }
}

TEST_MAIN(TEST(test_limit_of_the_manager), TEST(test_limit_of_each_pool), TEST(test_refused_once),
          TEST(test_each_get_fails_once), TEST(test_all_gets_fail_from_one_on), TEST(test_every_nth_get_fails))
