/* SPDX-License-Identifier: MIT
 *
 * Out-of-memory torture: a scenario that uses the whole library runs under a limit of 1, 2, 3 ... units of 64 KiB,
 * until it passes. A step that fails must leave what the others hold intact, and everything must come back.
 *
 * The limit is the manager's or each pool's; it stays ("forever"), or is lifted at the first refusal ("once"), and
 * then every later step must succeed.
 */
#include "pool_test.h"

#include <h3pool/arena.h>
#include <h3pool/builder.h>
#include <h3pool/heap.h>
#include <h3pool/object_pool.h>

#define BLOCKS 40u

struct world {
    struct hp_pool_manager *manager;
    struct hp_byte_pool *bytes, *heap_blocks;
    struct hp_object_pool objects;
    struct hp_heap heap;
    struct hp_arena arena;
    struct hp_buffer *document;
    unsigned char *block[BLOCKS], *heap_block[BLOCKS], *arena_block[BLOCKS];
    size_t len[BLOCKS];
    void *object[BLOCKS];
};

static void world_open(struct world *w, uint64_t manager_limit, uint64_t pool_limit)
{
    *w = (struct world){.manager = hp_pool_manager_new(manager_limit)};
    CHECK(w->manager != NULL);
    w->bytes = hp_byte_pool_new(w->manager, "bytes", 32, 64 * KIB, pool_limit);
    w->heap_blocks = hp_byte_pool_new(w->manager, "heap", 32, 64 * KIB, pool_limit);
    CHECK(w->bytes != NULL && w->heap_blocks != NULL);
    CHECK(hp_object_pool_init(&w->objects, w->manager, "objects", 3000, 4, NULL) == 0);
    atomic_store(&w->objects.blocks->limit_bytes, pool_limit);
    hp_heap_init(&w->heap, w->heap_blocks);
    hp_arena_init(&w->arena, w->bytes, 1024, 1u << 20);
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
    void *block = hp_heap_alloc(&w->heap, i * 100);
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
    w->arena_block[i] = hp_arena_alloc(&w->arena, i * 200, 16);
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

/* Checks that everything is intact, gives it back, and that nothing is left. */
static void world_close(struct world *w)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        CHECK(w->block[i] == NULL || pattern_holds(w->block[i], w->len[i], i));
        CHECK(w->object[i] == NULL || pattern_holds(w->object[i], 3000, i));
        CHECK(w->arena_block[i] == NULL || pattern_holds(w->arena_block[i], i * 200, i));
    }
    check_heap_blocks(w);
    for (unsigned i = 0; i < BLOCKS; i++) {
        hp_byte_pool_put(w->bytes, w->block[i]);
        if (w->object[i] != NULL)
            hp_object_pool_put(&w->objects, w->object[i]);
        hp_heap_free(&w->heap, w->heap_block[i]);
    }
    CHECK_U64(hp_heap_live(&w->heap), 0);
    hp_heap_drop(&w->heap);
    hp_arena_reset(&w->arena);
    hp_buffer_unref(w->document);
    CHECK_U64(hp_pool_manager_live(w->manager), 0);
    hp_object_pool_fini(&w->objects);
    hp_byte_pool_free(w->bytes);
    hp_byte_pool_free(w->heap_blocks);
    CHECK_U64(hp_pool_manager_held(w->manager), 0);
    hp_pool_manager_free(w->manager);
}

static uint64_t refusals(const struct world *w)
{
    return counters_of(w->bytes).refused + counters_of(w->heap_blocks).refused + counters_of(w->objects.blocks).refused;
}

static void lift_limits(struct world *w)
{
    atomic_store(&w->bytes->limit_bytes, 0);
    atomic_store(&w->heap_blocks->limit_bytes, 0);
    atomic_store(&w->objects.blocks->limit_bytes, 0);
}

/* Returns how many steps failed. */
static unsigned play(struct world *w, bool once)
{
    static bool (*const step[])(struct world *, unsigned) = {step_get,   step_object, step_heap,
                                                             step_arena, step_resize, step_document};
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
        world_open(&w, whole ? limit : 0, whole ? 0 : limit);
        failed = play(&w, once);
        CHECK(!once || failed <= 1);
        CHECK(n != 1 || failed > 0);
        CHECK(once || hp_pool_manager_held(w.manager) <= limit * (whole ? 1 : 3));
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

TEST_MAIN(TEST(test_limit_of_the_manager), TEST(test_limit_of_each_pool), TEST(test_refused_once))
