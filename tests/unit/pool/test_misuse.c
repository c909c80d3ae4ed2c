/* SPDX-License-Identifier: MIT
 *
 * Misuse ends the process with one line that names the pool. In the pass-through build blocks are malloc's, so what
 * needs to recognise a block is left to malloc and its tools.
 */
#include "pool_test.h"

#include <h3pool/arena.h>
#include <h3pool/buffer.h>
#include <h3pool/heap.h>
#include <h3pool/object_pool.h>
#include <pthread.h>
#include <stdlib.h>

static struct hp_pool_manager *manager;
static struct hp_byte_pool *pool, *other;

static void open_pools(void)
{
    manager = hp_pool_manager_new(0);
    CHECK(manager != NULL);
    pool = hp_byte_pool_new(manager, "mine", 1, HP_CLASS_BYTES_MAX, 0);
    other = hp_byte_pool_new(manager, "other", 1, HP_CLASS_BYTES_MAX, 0);
    CHECK(pool != NULL && other != NULL);
}

static void close_pools(void)
{
    CHECK_U64(hp_pool_manager_live(manager), 0);
    hp_byte_pool_free(pool);
    hp_byte_pool_free(other);
    hp_pool_manager_free(manager);
}

static void *get(struct hp_byte_pool *from, size_t bytes)
{
    void *block = hp_byte_pool_get(from, bytes);
    CHECK(block != NULL);
    return block;
}

/* --- puts ----------------------------------------------------------------------------------------------------------
 */

static void put_twice(void *ctx)
{
    void *block = get(pool, *(size_t *)ctx);
    hp_byte_pool_put(pool, block);
    hp_byte_pool_put(pool, block);
}

static void put_twice_with_a_full_front(void *ctx)
{
    void *block[100];
    for (int i = 0; i < 100; i++)
        block[i] = get(pool, *(size_t *)ctx);
    for (int i = 0; i < 100; i++)
        hp_byte_pool_put(pool, block[i]);
    hp_byte_pool_put(pool, block[99]);
}

/* The block's run has gone back to its span by then, and the span stays because of the live block. */
static void put_after_trim(void *ctx)
{
    void *stays = get(pool, 3000), *block = get(pool, *(size_t *)ctx);
    hp_byte_pool_put(pool, block);
    hp_byte_pool_trim(pool);
    hp_byte_pool_put(pool, block);
    hp_byte_pool_put(pool, stays);
}

static void test_double_put(void)
{
    size_t size[] = {0, 1, 64, 200, 4096, 10 * KIB, 64 * KIB, HP_CLASS_BYTES_MAX, HP_CLASS_BYTES_MAX + 1};
    if (!pooled())
        return;
    open_pools();
    for (unsigned i = 0; i < sizeof size / sizeof size[0]; i++) {
        CHECK_DIES(put_twice, &size[i], "pool 'mine': ");
        CHECK_DIES(put_twice_with_a_full_front, &size[i], "pool 'mine': ");
        CHECK_DIES(put_after_trim, &size[i], "pool 'mine': ");
    }
    close_pools();
}

static void put_as_300_bytes(void *block)
{
    hp_byte_pool_put_sized(pool, block, 300);
}

/* A slice that one class has left and another has taken: the first one must not remember it. */
static void test_put_sized_after_the_slice_has_changed_hands(void)
{
    if (!pooled())
        return;
    open_pools();
    void *first = get(pool, 300), *stays = get(pool, 5000);
    hp_byte_pool_put_sized(pool, first, 300); /* which remembers the slice */
    hp_byte_pool_trim(pool);
    void *block = get(pool, 100), *front = get(pool, 300);
    CHECK((uintptr_t)first / HP_SLICE_BYTES == (uintptr_t)block / HP_SLICE_BYTES);
    CHECK_DIES(put_as_300_bytes, block, "was put as 300 bytes, but is a block of 112");
    hp_byte_pool_put(pool, front);
    hp_byte_pool_put(pool, block);
    hp_byte_pool_put(pool, stays);
    close_pools();
}

static void put_pointer(void *ctx)
{
    hp_byte_pool_put(pool, ctx);
}

static void put_any_pointer(void *ctx)
{
    hp_byte_pool_put_any(pool, ctx);
}

static void usable_of_pointer(void *ctx)
{
    CHECK(hp_byte_pool_usable(ctx) == 0);
}

static void test_foreign_pointers(void)
{
    char on_stack[64];
    static char in_data[64];
    if (!pooled())
        return;
    open_pools();
    void *from_malloc = malloc(100);
    CHECK(from_malloc != NULL);
    void *pointer[] = {on_stack, in_data, from_malloc, (void *)(uintptr_t)16, (void *)UINTPTR_MAX};
    for (unsigned i = 0; i < sizeof pointer / sizeof pointer[0]; i++) {
        CHECK_DIES(put_pointer, pointer[i], "pool 'mine': ");
        CHECK_DIES(put_any_pointer, pointer[i], "pool 'mine': ");
        CHECK_DIES(usable_of_pointer, pointer[i], "not from any pool");
    }
    free(from_malloc);
    close_pools();
}

/* Addresses inside the pool's own spans that are not blocks: the header, a slice that was never cut up, and what
 * follows the start of a huge block. */
static void test_pointers_beside_blocks(void)
{
    if (!pooled())
        return;
    open_pools();
    void *block = get(pool, 100), *huge = get(pool, 1024 * KIB);
    char *span = (char *)hp_span_of(block);
    CHECK_DIES(put_pointer, span, "pool 'mine': ");
    CHECK_DIES(put_pointer, span + HP_SPAN_BYTES - 4096, "pool 'mine': ");
    CHECK_DIES(put_pointer, (char *)huge + 4096, "pool 'mine': ");
    hp_byte_pool_put(pool, huge);
    hp_byte_pool_put(pool, block);
    close_pools();
}

static void test_block_of_another_pool(void)
{
    size_t size[] = {1, 4096, HP_CLASS_BYTES_MAX, 1024 * KIB};
    if (!pooled())
        return;
    open_pools();
    for (unsigned i = 0; i < sizeof size / sizeof size[0]; i++) {
        void *block = get(other, size[i]);
        CHECK_DIES(put_pointer, block, "pool 'mine': ");
        CHECK_DIES(put_pointer, block, "from pool 'other'");
        hp_byte_pool_put(other, block);
    }
    close_pools();
}

/* --- threads -------------------------------------------------------------------------------------------------------
 */

static void in_thread(void *(*run)(void *), void *ctx)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, ctx) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void *get_in_thread(void *ctx)
{
    get(pool, *(size_t *)ctx);
    return NULL;
}

static void get_by_another_thread(void *ctx)
{
    in_thread(get_in_thread, ctx);
}

/* Both builds. Seen when the front is empty, as on first use; the fast path does not look. */
static void test_get_by_another_thread(void)
{
    size_t size[] = {0, 100, 1024 * KIB};
    open_pools();
    for (unsigned i = 0; i < sizeof size / sizeof size[0]; i++)
        CHECK_DIES(get_by_another_thread, &size[i], "pool 'mine': get by a thread");
    close_pools();
}

static struct hp_object_pool objects;

static void *object_get_in_thread(void *ctx)
{
    CHECK(hp_object_pool_get(ctx) == NULL);
    return NULL;
}

static void object_get_by_another_thread(void *ctx)
{
    in_thread(object_get_in_thread, ctx);
}

static void *object_put_in_thread(void *object)
{
    hp_object_pool_put(&objects, object);
    return NULL;
}

static void object_put_by_another_thread(void *object)
{
    in_thread(object_put_in_thread, object);
}

static void object_put_twice(void *object)
{
    hp_object_pool_put(&objects, object);
    hp_object_pool_put(&objects, object);
}

static void test_objects(void)
{
    open_pools();
    for (uint32_t kept = 0; kept < 2; kept++) {
        CHECK(hp_object_pool_init(&objects, manager, "objects", 100, kept, NULL) == 0);
        CHECK_DIES(object_get_by_another_thread, &objects, "pool 'objects': get by a thread");
        void *object = hp_object_pool_get(&objects);
        CHECK(object != NULL);
        if (kept == 0) /* with room in the front, the fast path does not look */
            CHECK_DIES(object_put_by_another_thread, object, "pool 'objects': put by a thread");
        if (pooled())
            CHECK_DIES(object_put_twice, object, "pool 'objects': ");
        hp_object_pool_put(&objects, object);
        hp_object_pool_fini(&objects);
    }
    close_pools();
}

/* --- heaps and buffers ---------------------------------------------------------------------------------------------
 */

static struct hp_heap heap;

static void heap_free_twice(void *ctx)
{
    void *block = hp_heap_alloc(&heap, *(size_t *)ctx);
    hp_heap_free(&heap, block);
    hp_heap_free(&heap, block);
}

static void heap_resize_freed(void *ctx)
{
    void *block = hp_heap_alloc(&heap, *(size_t *)ctx);
    hp_heap_free(&heap, block);
    CHECK(hp_heap_resize(&heap, block, 10) == NULL);
}

static void heap_free_pointer(void *ctx)
{
    hp_heap_free(&heap, ctx);
}

static void test_heap(void)
{
    size_t size[] = {0, 100, 2000, 5000, 100 * KIB};
    static uint64_t no_block[4];
    if (!pooled())
        return;
    open_pools();
    hp_heap_init(&heap, pool);
    for (unsigned i = 0; i < sizeof size / sizeof size[0]; i++) {
        CHECK_DIES(heap_free_twice, &size[i], "pool 'mine': ");
        CHECK_DIES(heap_resize_freed, &size[i], "pool 'mine': ");
    }
    CHECK_DIES(heap_free_pointer, &no_block[2], "pool 'mine': ");
    close_pools();
}

static void buffer_unref_twice(void *ctx)
{
    (void)ctx;
    struct hp_buffer *buffer = hp_buffer_new(pool, 100);
    hp_buffer_unref(buffer);
    hp_buffer_unref(buffer);
}

static void test_buffer(void)
{
    if (!pooled())
        return;
    open_pools();
    CHECK_DIES(buffer_unref_twice, NULL, "is not a live buffer");
    close_pools();
}

/* --- what the code that sets up gets wrong: both builds ------------------------------------------------------------
 */

static void free_manager_before_pool(void *ctx)
{
    hp_pool_manager_free(ctx);
}

static void test_manager_freed_first(void)
{
    open_pools();
    CHECK_DIES(free_manager_before_pool, manager, "pool 'mine'");
    close_pools();
}

static void make_pool(void *ctx)
{
    const size_t *range = ctx;
    CHECK(hp_byte_pool_new(manager, "bad", range[0], range[1], 0) == NULL);
}

static void make_arena(void *ctx)
{
    const uint32_t *sizes = ctx;
    struct hp_arena arena;
    hp_arena_init(&arena, pool, sizes[0], sizes[1]);
}

static void test_impossible_settings(void)
{
    size_t range[][2] = {{0, 100}, {100, 99}, {1, HP_CLASS_BYTES_MAX + 1}};
    uint32_t sizes[][2] = {{63, 1000}, {1000, 999}};
    open_pools();
    for (unsigned i = 0; i < 3; i++)
        CHECK_DIES(make_pool, range[i], "pool 'bad': ");
    for (unsigned i = 0; i < 2; i++)
        CHECK_DIES(make_arena, sizes[i], "arena");
    close_pools();
}

TEST_MAIN(TEST(test_double_put), TEST(test_put_sized_after_the_slice_has_changed_hands), TEST(test_foreign_pointers),
          TEST(test_pointers_beside_blocks), TEST(test_block_of_another_pool), TEST(test_get_by_another_thread),
          TEST(test_objects), TEST(test_heap), TEST(test_buffer), TEST(test_manager_freed_first),
          TEST(test_impossible_settings))
